// SPDX-License-Identifier: Apache-2.0
// Which values of a plan are kept as int8 between our own kernels.
//
// Decoding with int8 dot products needs activations as int8, with a scale for every 32. Where every
// reader of a value is such a product of ours, the kernel that makes the value quantizes it, once,
// into the memory that the plan reserved for its floats; nobody else ever looks at it. Passes of
// more than kInt8Tokens tokens keep floats: they multiply in tiles. So do small matrices, which are
// as fast with floats. Immutable; any thread.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "backplane/op_shapes.h"
#include "kernels/plugin/device.h"

namespace bp::kernels {

inline constexpr uint64_t kInt8Tokens = 8;

struct Placement {
  std::set<uint32_t> int8_values;
};

// The ops with `chosen` are those that this target will run.
Placement find_int8_values(const Device& device, const std::vector<ops::Op>& ops,
                           const std::vector<bool>& chosen, const ops::Ranges& ranges);

// Where the two parts of an int8 value lie within its operand.
struct Int8Layout {
  uint64_t quants_bytes = 0;  // [tokens, columns] int8, from the operand's first byte
  uint64_t scales_offset = 0;
  uint64_t scales_bytes = 0;  // [tokens, columns / 32] pairs of scale and sum
};
// For values of up to `tokens` tokens; false where the operand's bytes as floats do not hold it.
bool int8_layout(const Device& device, uint64_t tokens, uint64_t columns, Int8Layout* out);

}  // namespace bp::kernels
