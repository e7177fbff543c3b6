// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/placement.h"

#include <algorithm>
#include <cstdlib>

#include "kernels/library/norm.h"
#include "kernels/library/weights.h"

namespace bp::kernels {
namespace {

// Below so many weights a product takes little longer than its launch, and floats cost nothing.
// With few elements in a sum, rounding also averages out less. The variable is for tests.
uint64_t least_elements() {
  constexpr uint64_t kLeastElements = uint64_t{1} << 22;
  const char* const said = std::getenv("BACKPLANE_INT8_ELEMENTS");
  return said == nullptr ? kLeastElements : std::strtoull(said, nullptr, 10);
}

bool is_int8_weight(const ops::Operand& weight) {
  if (!weight.is_weight() || weight.rank != 2 ||
      static_cast<size_t>(weight.format) >= ops::kWeightFormatCount) {
    return false;
  }
  if (weight.dims[0].offset * weight.dims[1].offset < least_elements()) return false;
  const WeightReader* reader =
      find_weight_reader(kWeightFormats[static_cast<size_t>(weight.format)].name);
  return reader != nullptr && reader->has_int8();
}

// Is `op` a product that reads `value` as its x and nothing else?
bool is_int8_reader(const ops::Op& op, uint32_t value) {
  if (op.name != "linear" && op.name != "linear_glu") return false;
  for (uint32_t i = 1; i < op.input_count; ++i) {
    const ops::Operand& operand = op.inputs[i];
    if (operand.present() && !operand.is_weight() && operand.value == value) return false;
  }
  if (!is_int8_weight(op.input(1))) return false;
  // Gate and up share a kernel only in one format; slot 3 of linear is the residual.
  const ops::Operand& up = op.input(3);
  return op.name == "linear" || !up.present() || up.format == op.input(1).format;
}

bool is_maker(const ops::Op& op) {
  return op.name == "attention" || op.name == "linear_glu" ||
         (op.name == "rms_norm" && !op.input(2).present()) ||
         (op.name == "layer_norm" && !op.input(3).present());
}

bool reads(const ops::Op& op, uint32_t value) {
  for (uint32_t i = 0; i < op.input_count; ++i) {
    const ops::Operand& operand = op.inputs[i];
    if (operand.present() && !operand.is_weight() && operand.value == value) return true;
  }
  return false;
}

}  // namespace

bool int8_layout(const Device& device, uint64_t tokens, uint64_t columns, Int8Layout* out) {
  if (columns == 0 || columns % kActivationBlock != 0) return false;
  const uint64_t at_once = std::min(tokens, kInt8Tokens);
  uint64_t floats = 0;
  if (__builtin_mul_overflow(tokens, columns, &floats) || floats > UINT64_MAX / 8) return false;
  const uint64_t alignment = device.offset_alignment;
  out->quants_bytes = at_once * columns;
  out->scales_offset = (out->quants_bytes + alignment - 1) / alignment * alignment;
  out->scales_bytes = at_once * columns / kActivationBlock * 8;
  return out->scales_offset + out->scales_bytes <= floats * sizeof(float);
}

Placement find_int8_values(const Device& device, const std::vector<ops::Op>& ops,
                           const std::vector<bool>& chosen, const ops::Ranges& ranges) {
  Placement out;
  if (!device.caps.dot4) return out;  // emulated, they are slower than floats
  for (size_t maker = 0; maker < ops.size(); ++maker) {
    const ops::Op& op = ops[maker];
    if (!chosen[maker] || !is_maker(op)) continue;
    const ops::Operand& y = op.output(0);
    if (y.role != BP_ROLE_SCRATCH || y.rank != 2) continue;
    uint64_t columns = 0, tokens = 0;
    Int8Layout layout;
    if (!y.constant_dim(1, &columns) || !ranges.maximum(y.dims[0], &tokens) ||
        !int8_layout(device, tokens, columns, &layout)) {
      continue;
    }
    bool any = false, all = true;
    for (size_t i = 0; i < ops.size() && all; ++i) {
      if (i == maker || !reads(ops[i], y.value)) continue;
      any = true;
      all = chosen[i] && is_int8_reader(ops[i], y.value) &&
            ops::same_dim(ops[i].inputs[0].dims[0], y.dims[0]);
    }
    if (any && all) out.int8_values.insert(y.value);
  }
  return out;
}

}  // namespace bp::kernels
