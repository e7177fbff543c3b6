// SPDX-License-Identifier: Apache-2.0
// Fragments: each thread holds a run of elements in row order, which no kernel can tell.
#include <cmath>

#include "backplane/float16.h"
#include "kernels/interpreter/machine.h"
#include "kernels/ir/evaluate.h"

namespace bp::kernels {

Status Machine::fragment(ValueId at) {
  const Inst& inst = kernel_.insts[at];
  if (!all_active()) return finding("divergent barrier or collective", at, 0, "a thread is absent");
  const Type type = inst.op == Op::kFragStore ? kernel_.insts[inst.arg[2]].type : inst.type;
  if (inst.op == Op::kFragFill) {
    for (uint32_t t = 0; t < kernel_.threads; ++t) {
      for (uint32_t i = 0; i < type.lanes; ++i) reg(at, t)[i] = *reg(inst.arg[0], t);
    }
    return {};
  }
  for (uint32_t first = 0; first < kernel_.threads; first += fragment_width(type)) {
    BP_TRY(inst.op == Op::kMma ? fragment_product(at, first) : fragment_memory(at, first));
  }
  return {};
}

Status Machine::fragment_memory(ValueId at, uint32_t first_thread) {
  const Inst& inst = kernel_.insts[at];
  const SharedArray& array = kernel_.shared[inst.imm];
  const bool load = inst.op == Op::kFragLoad;
  const Type type = load ? inst.type : kernel_.insts[inst.arg[2]].type;
  const uint32_t index = *reg(inst.arg[0], first_thread), stride = *reg(inst.arg[1], first_thread);
  for (uint32_t t = first_thread; t < first_thread + fragment_width(type); ++t) {
    if (*reg(inst.arg[0], t) != index || *reg(inst.arg[1], t) != stride) {
      return finding("divergent barrier or collective", at, t, "index or stride differ");
    }
  }
  const auto element = [&](ValueId id, uint32_t i) {
    return reg(id, first_thread + i / type.lanes) + i % type.lanes;
  };
  // A thread behind all of the group's, one for each subgroup.
  const Accessor who = accessor(kernel_.threads + first_thread, shared_epoch_);
  const uint32_t per_row = load ? kFragmentSize / 2 : kFragmentSize;
  for (uint32_t i = 0; i < kFragmentSize * per_row; ++i) {
    const uint64_t start = index + uint64_t{stride} * (i / per_row);
    const uint64_t word = start * array.element.lanes + i % per_row;
    if (word >= shared_[inst.imm].size()) {
      return finding("out of bounds", at, first_thread,
                     fmt::format("'{}' word {} of {}", array.name, word, shared_[inst.imm].size()));
    }
    Shadow& shadow = shared_shadow_[inst.imm];
    if (load) {
      BP_TRY(fault(shadow.read(word, who), at, first_thread, array.name, word));
      const uint32_t pair = shared_[inst.imm][word];
      *element(at, 2 * i) = bits_of(f16_to_f32(static_cast<uint16_t>(pair)));
      *element(at, 2 * i + 1) = bits_of(f16_to_f32(static_cast<uint16_t>(pair >> 16)));
    } else {
      BP_TRY(fault(shadow.write(word, who), at, first_thread, array.name, word));
      shared_[inst.imm][word] = *element(inst.arg[2], i);
    }
  }
  return {};
}

Status Machine::fragment_product(ValueId at, uint32_t first_thread) {
  const Inst& inst = kernel_.insts[at];
  const uint32_t lanes = inst.type.lanes;
  const auto element = [&](ValueId id, uint32_t row, uint32_t column) {
    const uint32_t i = row * kFragmentSize + column;
    return reg(id, first_thread + i / lanes) + i % lanes;
  };
  ++counters_.mma;
  for (uint32_t row = 0; row < kFragmentSize; ++row) {
    for (uint32_t column = 0; column < kFragmentSize; ++column) {
      float sum = float_of(*element(inst.arg[2], row, column));
      const bool finite = std::isfinite(sum);
      for (uint32_t i = 0; i < kFragmentSize; ++i) {
        sum = std::fma(float_of(*element(inst.arg[0], row, i)),
                       float_of(*element(inst.arg[1], column, i)), sum);
      }
      if (options_.trap_nonfinite && finite && !std::isfinite(sum)) {
        return finding("non-finite result", at, first_thread,
                       fmt::format("row {}, column {}", row, column));
      }
      *element(at, row, column) = bits_of(sum);
    }
  }
  return {};
}

}  // namespace bp::kernels
