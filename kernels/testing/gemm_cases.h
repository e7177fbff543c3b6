// SPDX-License-Identifier: Apache-2.0
// Cases of matrix times many vectors.
#pragma once

#include "kernels/library/gemm.h"
#include "kernels/testing/cases.h"

namespace bp::kernels::testing {

// A launch over spec.rows rows, the first of which is row first_row of y. What lies beside them in
// y must stay as it was.
Result<Case> gemm_case(const GemmSpec& spec, const GemmSchedule& schedule, uint32_t tokens,
                       uint32_t first_row, uint64_t seed);

}  // namespace bp::kernels::testing
