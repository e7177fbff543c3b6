// SPDX-License-Identifier: Apache-2.0
// Cases of the kernels around a decoding step: embedding, argmax, rope and cache write, attention.
#pragma once

#include "kernels/library/attention.h"
#include "kernels/library/embed.h"
#include "kernels/library/rope.h"
#include "kernels/testing/cases.h"

namespace bp::kernels::testing {

// The part of a table from `first_row` on; ids inside it, before it, and in no table.
Result<Case> embed_case(const EmbedSpec& spec, uint32_t vocabulary, uint32_t first_row,
                        uint32_t threads, uint64_t seed);
Result<Case> argmax_case(uint32_t rows, uint32_t columns, uint32_t threads, uint64_t seed);
Result<Case> kv_slots_case(uint32_t page_size, uint64_t seed);
Result<Case> rope_case(const RopeSpec& spec, uint32_t page_size, uint64_t seed);
Result<Case> token_map_case();
// Two sequences of different lengths; one with two query tokens. With splits, `check` joins the
// parts itself.
Result<Case> attention_case(const AttentionSpec& spec, const AttentionSchedule& schedule,
                            uint64_t seed);
Result<Case> combine_case(const AttentionSpec& spec, uint32_t splits, uint32_t threads,
                          uint64_t seed);

}  // namespace bp::kernels::testing
