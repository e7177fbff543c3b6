// SPDX-License-Identifier: Apache-2.0
// Cases of the kernels that look for large logits.
#pragma once

#include "kernels/library/sample.h"
#include "kernels/testing/cases.h"

namespace bp::kernels::testing {

Result<Case> argmax_case(uint32_t rows, uint32_t columns, uint32_t threads, uint64_t seed);
// Many elements are equal; the first row has both zeros, infinities and NaN.
Result<Case> top_k_case(const TopKSpec& spec, const TopKSchedule& schedule, uint32_t rows,
                        uint64_t seed);
Result<Case> top_k_join_case(const TopKSpec& spec, const TopKSchedule& schedule, uint32_t rows,
                             uint64_t seed);

}  // namespace bp::kernels::testing
