// SPDX-License-Identifier: Apache-2.0
// Cases of the kernels at the beginning of a step: embedding.
#pragma once

#include "kernels/library/embed.h"
#include "kernels/testing/cases.h"

namespace bp::kernels::testing {

// The part of a table from `first_row` on; ids inside it, before it, and in no table.
Result<Case> embed_case(const EmbedSpec& spec, uint32_t vocabulary, uint32_t first_row,
                        uint32_t threads, uint64_t seed);

}  // namespace bp::kernels::testing
