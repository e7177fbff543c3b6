// SPDX-License-Identifier: Apache-2.0
// Rows picked by number: op embed (a weight's rows, any format, times a factor) and op gather_rows
// (activations).
#pragma once

#include <cstdint>
#include <string>

#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"

namespace bp::kernels {

struct EmbedSpec {
  std::string format = "f32";  // of the table; "f32" also serves gather_rows
  uint32_t columns = 0;        // n
  float scale = 1.0f;
};

// Launch on grid (ids, 1). Buffers: ids [T] i32; the table's planes; y [T, n] f32. Params, u32:
// first_row, rows: the bound planes hold that part of the table, and only ids inside it are served,
// so that a table larger than what a device can bind is read by several launches; vocabulary: ids
// from there on get zeros from the launch whose first_row is 0.
Result<Kernel> build_embed(const EmbedSpec& spec, uint32_t threads);

}  // namespace bp::kernels
