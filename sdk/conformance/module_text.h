// SPDX-License-Identifier: Apache-2.0
// A small kernel in each dialect that the contract knows, in the convention for arguments that
// generated kernels use: buffers first, 32-bit scalars after them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bp::conformance {

// Buffers: 0 x (read), 1 y (written). Params: n, mul, stride. One row of a 2D array for each group
// in y, `threads` columns for each group in x. With v(t) = x[row][column of thread t], or 0 from
// column n on, thread t writes, where its column is below n,
//
//   y[row][column] = v(t) · mul + v((t + 1) mod threads) + row          (all 32 bits, wrapping)
//
// The neighbour's value goes through shared memory and a barrier.
struct ModuleText {
  std::string text;
  std::string entry;
};
inline constexpr uint32_t kModuleBuffers = 2;
inline constexpr uint32_t kModuleParams = 3;

// Empty text for a dialect that this program cannot write.
ModuleText module_text(std::string_view dialect, uint32_t threads, uint32_t subgroup);
// The same with a mistake that every compiler reports.
ModuleText broken_module_text(std::string_view dialect, uint32_t threads, uint32_t subgroup);

}  // namespace bp::conformance
