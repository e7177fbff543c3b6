// SPDX-License-Identifier: Apache-2.0
// Which control is the same for all threads of a group.
//
// A value differs between threads when it comes from Tid, Lane or SubgroupId, from another thread
// (collectives), from an atomic, or from an operand that differs. A variable differs once it is
// given such a value or is assigned under differing control. Assignments act backwards through
// loops, so rounds repeat until no variable changes; each round marks at least one more.
#include "kernels/verify.h"

namespace bp::kernels {
namespace {

bool varies_by_itself(Op op) {
  switch (op) {
    case Op::kTid:
    case Op::kLane:
    case Op::kSubgroupId:
    case Op::kAtomicAdd:
    case Op::kGroupReduce:
    case Op::kShuffleXor:
      return true;
    default:
      return false;
  }
}

struct Analysis {
  const Kernel& kernel;
  std::vector<bool> varies;   // by instruction; of a Var: the variable
  std::vector<bool> uniform;  // control at the instruction

  // True when some variable became varying that was not.
  bool round() {
    bool changed = false;
    std::vector<bool> outer;  // control around each open bracket
    bool now = true;
    for (ValueId at = 0; at < kernel.insts.size(); ++at) {
      const Inst& inst = kernel.insts[at];
      if (inst.op == Op::kEndFor || inst.op == Op::kEndIf) {
        now = outer.back();
        outer.pop_back();
      }
      uniform[at] = now;
      bool differs = varies_by_itself(inst.op);
      for (uint32_t i = 0; i < arg_count(inst); ++i) differs = differs || varies[inst.arg[i]];
      if (inst.op == Op::kAssign) {
        if ((differs || !now) && !varies[inst.arg[0]]) changed = varies[inst.arg[0]] = true;
      } else if (inst.op != Op::kVar) {
        varies[at] = differs;
      } else if (differs && !varies[at]) {
        changed = varies[at] = true;
      }
      if (inst.op == Op::kFor || inst.op == Op::kIf) {
        outer.push_back(now);
        now = now && !differs;
      }
    }
    return changed;
  }
};

}  // namespace

std::vector<bool> uniform_control(const Kernel& kernel) {
  Analysis analysis{kernel, std::vector<bool>(kernel.insts.size(), false),
                    std::vector<bool>(kernel.insts.size(), true)};
  while (analysis.round()) {
  }
  return std::move(analysis.uniform);
}

}  // namespace bp::kernels
