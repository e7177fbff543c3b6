// SPDX-License-Identifier: Apache-2.0
// Liveness from effects backwards; an Assign lives when its variable does.
#include "kernels/builder/unused.h"

#include <utility>

namespace bp::kernels {
namespace {

bool is_root(Op op) {
  switch (op) {
    case Op::kStore:
    case Op::kStoreShared:
    case Op::kAtomicAdd:
    case Op::kBarrier:
    case Op::kFor:
    case Op::kEndFor:
    case Op::kIf:
    case Op::kElse:
    case Op::kEndIf:
    case Op::kFragStore:
      return true;
    default:
      return false;
  }
}

std::vector<bool> live_values(const Kernel& kernel) {
  const size_t n = kernel.insts.size();
  std::vector<std::vector<ValueId>> assigns(n);  // by variable
  std::vector<bool> live(n, false);
  std::vector<ValueId> todo;
  for (ValueId at = 0; at < n; ++at) {
    const Inst& inst = kernel.insts[at];
    if (inst.op == Op::kAssign && inst.arg[0] < n) assigns[inst.arg[0]].push_back(at);
    if (is_root(inst.op)) todo.push_back(at);
  }
  while (!todo.empty()) {
    const ValueId at = todo.back();
    todo.pop_back();
    if (live[at]) continue;
    live[at] = true;
    for (ValueId arg : kernel.insts[at].arg) {
      if (arg < n && !live[arg]) todo.push_back(arg);
    }
    for (ValueId assign : assigns[at]) todo.push_back(assign);
  }
  return live;
}

}  // namespace

Kernel drop_unused(Kernel kernel) {
  const std::vector<bool> live = live_values(kernel);
  std::vector<ValueId> renamed(kernel.insts.size(), kNoValue);
  std::vector<Inst> kept;
  for (size_t at = 0; at < kernel.insts.size(); ++at) {
    if (!live[at]) continue;
    Inst inst = kernel.insts[at];
    for (ValueId& arg : inst.arg) {
      if (arg < renamed.size()) arg = renamed[arg];
    }
    renamed[at] = static_cast<ValueId>(kept.size());
    kept.push_back(inst);
  }
  kernel.insts = std::move(kept);
  return kernel;
}

}  // namespace bp::kernels
