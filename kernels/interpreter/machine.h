// SPDX-License-Identifier: Apache-2.0
// One workgroup of the interpreter: registers of all lanes, the mask stack, shared memory.
#pragma once

#include <map>
#include <span>
#include <utility>
#include <vector>

#include "kernels/interpreter/interpreter.h"
#include "kernels/interpreter/shadow.h"
#include "kernels/ir/ir.h"

namespace bp::kernels {

class Machine {
 public:
  Machine(const Kernel& kernel, std::span<const Binding> bindings, std::span<const uint32_t> params,
          const RunOptions& options);
  // Makes room and matches brackets. Before anything else.
  Status prepare();
  Status run_group(uint32_t x, uint32_t y);
  const Counters& counters() const { return counters_; }

 private:
  struct Frame {
    ValueId opened;
    std::vector<uint8_t> outer_mask;
  };
  // A run of 32-bit registers for one instruction: lane-major, then vector lanes.
  uint32_t* reg(ValueId id, uint32_t thread) {
    return &registers_[offsets_[id] + size_t{thread} * kernel_.insts[id].type.lanes];
  }
  template <typename F>
  Status each_lane(ValueId at, F body);
  Status step(ValueId* pc);
  Status leaf(ValueId at);
  Status arithmetic(ValueId at);
  Status packed(ValueId at);
  Status pack_f16(ValueId at, uint32_t thread, uint32_t low, uint32_t high);
  Status memory(ValueId at);
  Status access_global(ValueId at, uint32_t thread);
  Status access_shared(ValueId at, uint32_t thread);
  Status variable(ValueId at);
  Status branch(ValueId* pc);
  Status loop_begin(ValueId* pc);
  Status loop_next(ValueId* pc);
  Status collective(ValueId at);
  void reduce(ValueId at);
  Status fragment(ValueId at);
  Status fragment_memory(ValueId at, uint32_t first_thread);
  Status fragment_product(ValueId at, uint32_t first_thread);
  bool any_active() const;
  bool all_active() const;
  Status finding(const char* name, ValueId at, uint32_t thread, std::string detail) const;
  Status fault(Fault fault, ValueId at, uint32_t thread, const std::string& where,
               uint64_t word) const;
  Accessor accessor(uint32_t thread, uint32_t epoch) const {
    return {group_, thread, epoch, orders_groups_ ? &known_ : nullptr};
  }
  void meet(uint32_t buffer, uint64_t word);

  const Kernel& kernel_;
  std::span<const Binding> bindings_;
  std::span<const uint32_t> params_;
  const RunOptions options_;
  Counters counters_;
  std::vector<ValueId> match_;
  std::vector<size_t> offsets_;
  std::vector<uint32_t> registers_;
  std::vector<uint8_t> mask_;
  std::vector<Frame> frames_;
  std::vector<std::vector<uint32_t>> shared_;
  std::vector<Shadow> shared_shadow_;
  std::vector<Shadow> global_shadow_;
  uint32_t group_ = 0, group_x_ = 0, group_y_ = 0;
  uint32_t shared_epoch_ = 0, global_epoch_ = 0;
  // Order between groups: what this one has released, has met at words since its last acquire, and
  // knows since then; and what groups had released and known when they last changed each word.
  bool orders_groups_ = false;
  uint32_t released_ = 0;
  Known known_, met_;
  std::map<std::pair<uint32_t, uint64_t>, Known> words_;
};

}  // namespace bp::kernels
