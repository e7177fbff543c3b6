// SPDX-License-Identifier: Apache-2.0
// Cases of the kernels around a product of halves.
#pragma once

#include "kernels/library/halves.h"
#include "kernels/testing/cases.h"

namespace bp::kernels::testing {

// Rows [first_row, first_row + rows) of a matrix of all_rows. Equal to the rounded weights, to the
// bit.
Result<Case> weight_halves_case(const std::string& format, uint32_t all_rows, uint32_t first_row,
                                uint32_t rows, uint32_t columns, uint64_t seed);
Result<Case> activation_halves_case(uint32_t tokens, uint32_t columns, uint64_t seed);
Result<Case> product_end_case(const ProductEndSpec& spec, uint32_t tokens, uint32_t first_row,
                              uint64_t seed);
// Appends a few of each.
Status add_halves_samples(std::vector<Case>* out);

}  // namespace bp::kernels::testing
