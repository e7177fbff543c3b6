// SPDX-License-Identifier: Apache-2.0
// Cases of the kernels over paged caches: rope with the cache write, attention of a few tokens and
// the joining of its parts, attention of many.
#pragma once

#include <string>
#include <vector>

#include "kernels/library/attention.h"
#include "kernels/library/prompt_attention.h"
#include "kernels/library/rope.h"
#include "kernels/testing/cases.h"

namespace bp::kernels::testing {

// A pass over sequences with these numbers of query tokens and positions, pages in random order,
// and the attention of all its tokens.
struct AttentionData {
  Words query_start, context_length, page_table;
  uint32_t sequences = 0, blocks = 0, pages = 0, tokens = 0;
  std::vector<float> q;  // [T, H, D]
  Words k, v;            // caches
  std::vector<double> want;
};
AttentionData attention_data(const AttentionSpec& spec, const std::vector<uint32_t>& queries,
                             const std::vector<uint32_t>& contexts, uint64_t seed);

// Five tokens, three of which have no place in the pool.
Result<Case> rope_case(const RopeSpec& spec, uint32_t page_size, uint64_t seed);
// Sequences of different lengths, one of them without query tokens. With splits, `check` joins the
// parts itself.
Result<Case> attention_case(const AttentionSpec& spec, const AttentionSchedule& schedule,
                            uint64_t seed);
// Sequence s has queries[s] tokens, the last of contexts[s] positions.
Result<Case> prompt_attention_case(const AttentionSpec& spec,
                                   const PromptAttentionSchedule& schedule,
                                   const std::vector<uint32_t>& queries,
                                   const std::vector<uint32_t>& contexts, uint64_t seed);
Result<Case> combine_case(const AttentionSpec& spec, uint32_t splits, bool int8, uint64_t seed);

}  // namespace bp::kernels::testing
