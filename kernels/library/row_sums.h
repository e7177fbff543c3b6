// SPDX-License-Identifier: Apache-2.0
// Op row_sums: the sum of every row, by reading each element once and writing next to nothing. What
// it takes is what the device needs to read memory, the limit that decoding is measured against.
#pragma once

#include <cstdint>

#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"

namespace bp::kernels {

struct RowSumsSpec {
  uint32_t columns = 0;  // a multiple of 4
};

// Launch on grid (rows, 1). Buffers: x [rows, n] f32; y [rows] f32. No params.
Result<Kernel> build_row_sums(const RowSumsSpec& spec, uint32_t threads);

}  // namespace bp::kernels
