// SPDX-License-Identifier: Apache-2.0
// Which control is the same for all threads of a group, and which conditions for all groups.
//
// A value differs between threads when it comes from Tid, Lane or SubgroupId, from another thread
// (collectives), from an atomic, or from an operand that differs. A value differs between groups
// when it comes from GroupX or GroupY, from memory that groups write, or from such an operand. A
// variable differs once it is given such a value or is assigned under differing control.
// Assignments act backwards through loops, so rounds repeat until no variable changes; each round
// marks at least one more.
#include "kernels/verify.h"

namespace bp::kernels {
namespace {

bool differs_between_threads(const Kernel&, const Inst& inst) {
  switch (inst.op) {
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

bool differs_between_groups(const Kernel& kernel, const Inst& inst) {
  switch (inst.op) {
    case Op::kGroupX:
    case Op::kGroupY:
    case Op::kLoadShared:
      return true;
    case Op::kLoad:
      return kernel.buffers[inst.imm].access != Access::kRead;
    default:
      return false;
  }
}

struct Analysis {
  Analysis(const Kernel& of, bool (*differs)(const Kernel&, const Inst&))
      : kernel(of),
        varies_by_itself(differs),
        varies(of.insts.size(), false),
        uniform(of.insts.size(), true) {
    while (round()) {
    }
  }

  const Kernel& kernel;
  bool (*varies_by_itself)(const Kernel&, const Inst&);
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
      bool differs = varies_by_itself(kernel, inst);
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
  return std::move(Analysis(kernel, differs_between_threads).uniform);
}

std::vector<ValueId> group_conditions(const Kernel& kernel) {
  const Analysis analysis(kernel, differs_between_groups);
  std::vector<ValueId> around(kernel.insts.size(), kNoValue);
  std::vector<ValueId> outer;  // what held before each open bracket
  ValueId now = kNoValue;
  for (ValueId at = 0; at < kernel.insts.size(); ++at) {
    const Op op = kernel.insts[at].op;
    if (op == Op::kEndFor || op == Op::kEndIf) {
      now = outer.back();
      outer.pop_back();
    }
    around[at] = now;
    if (op == Op::kFor || op == Op::kIf) outer.push_back(now);
    if (op == Op::kIf && analysis.varies[at]) now = at;
  }
  return around;
}

}  // namespace bp::kernels
