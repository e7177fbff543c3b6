// SPDX-License-Identifier: Apache-2.0
// Types, scopes and limits of kernels.
#include "kernels/verify.h"

#include <cctype>
#include <utility>

namespace bp::kernels {
namespace {

bool is_scalar(Type t) {
  return t.lanes == 1 && t.kind != Kind::kNone && t.kind <= Kind::kF32;
}
bool is_number(Type t) {
  return is_scalar(t) && t.kind != Kind::kBool;
}
bool is_integer(Type t) {
  return t == kI32 || t == kU32;
}
bool is_lanes(uint32_t n) {
  return n == 1 || n == 2 || n == 4;
}

bool is_type(Type t) {
  if (is_fragment(t)) return t.lanes == 4 || t.lanes == 8 || t.lanes == 16;
  return is_lanes(t.lanes) && t.kind <= Kind::kF32;
}

// An identifier that is safe in every dialect: a letter, then letters, digits, underscores.
bool is_name(const std::string& name) {
  if (name.empty() || name.size() > kMaxNameBytes) return false;
  if (std::isalpha(static_cast<unsigned char>(name[0])) == 0) return false;
  for (char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') return false;
  }
  return name.find("__") == std::string::npos;  // reserved in GLSL and C++
}

class Verifier {
 public:
  explicit Verifier(const Kernel& kernel) : k_(kernel) {}
  Status run();

 private:
  Status declarations() const;
  Status operands(ValueId at) const;
  Status types(ValueId at);
  Status arithmetic(const Inst& inst) const;
  Status memory(const Inst& inst);
  Status control(const Inst& inst) const;
  Status collective(const Inst& inst) const;
  Status fragment(const Inst& inst) const;
  Status fragments_are_fresh() const;
  Status meeting_points() const;
  Type arg(const Inst& inst, size_t i) const { return k_.insts[inst.arg[i]].type; }
  bool args_are(const Inst& inst, Type type) const {
    for (uint32_t i = 0; i < arg_count(inst); ++i) {
      if (arg(inst, i) != type) return false;
    }
    return true;
  }
  Status wrong(const Inst& inst, const char* what) const {
    return error(Code::kInvalidArgument, "'{}' {}", op_info(inst.op).name, what);
  }
  Status need(bool condition, const Inst& inst, const char* what) const {
    return condition ? Status() : wrong(inst, what);
  }

  const Kernel& k_;
  std::vector<bool> in_sight_;
  std::vector<uint8_t> written_width_;  // by buffer; 0: not seen
};

template <typename... Args>
Status invalid(fmt::format_string<Args...> format, Args&&... args) {
  return error(Code::kInvalidArgument, format, std::forward<Args>(args)...);
}

Status Verifier::declarations() const {
  if (!is_name(k_.name)) return invalid("'{}' is no name for a kernel", k_.name);
  if (k_.threads == 0 || k_.threads > kMaxThreads) {
    return invalid("{} threads; 1 to {} are possible", k_.threads, kMaxThreads);
  }
  if (k_.subgroup_size > 128 || (k_.subgroup_size != 0 && !is_power_of_two(k_.subgroup_size))) {
    return invalid("subgroups of {} do not exist", k_.subgroup_size);
  }
  if (k_.buffers.size() > kMaxBuffers)
    return invalid("{} buffers, {} at most", k_.buffers.size(), kMaxBuffers);
  if (k_.params.size() > kMaxParams)
    return invalid("{} params, {} at most", k_.params.size(), kMaxParams);
  if (k_.insts.size() > kMaxInstructions) {
    return invalid("{} instructions, {} at most: unroll less", k_.insts.size(), kMaxInstructions);
  }
  for (const Buffer& b : k_.buffers) {
    if (!is_name(b.name)) return invalid("'{}' is no name for a buffer", b.name);
  }
  for (const Param& p : k_.params) {
    if (!is_name(p.name)) return invalid("'{}' is no name for a param", p.name);
    if (!is_number({p.kind, 1})) return invalid("param '{}' has no 4-byte kind", p.name);
  }
  if (k_.shared.size() > kMaxSharedArrays) return invalid("{} shared arrays", k_.shared.size());
  for (const SharedArray& s : k_.shared) {
    if (!is_name(s.name)) return invalid("'{}' is no name for a shared array", s.name);
    if (!is_number({s.element.kind, 1}) || !is_lanes(s.element.lanes) || s.count == 0) {
      return invalid("shared array '{}' has no elements of 4, 8 or 16 bytes", s.name);
    }
  }
  if (shared_bytes(k_) > kMaxSharedBytes) {
    return invalid("{} bytes of shared memory, {} at most", shared_bytes(k_), kMaxSharedBytes);
  }
  return {};
}

Status Verifier::operands(ValueId at) const {
  const Inst& inst = k_.insts[at];
  if (inst.op >= Op::kCount) return error(Code::kInvalidArgument, "is no operation");
  if (!is_type(inst.type)) return wrong(inst, "has no type");
  const uint32_t count = arg_count(inst);
  for (uint32_t i = 0; i < inst.arg.size(); ++i) {
    const ValueId arg = inst.arg[i];
    if (i >= count) {
      if (arg != kNoValue) return wrong(inst, "has too many operands");
      continue;
    }
    if (arg >= at) return wrong(inst, "uses what is not defined yet");
    if (!in_sight_[arg]) return wrong(inst, "uses a value outside its block");
    const bool wants_variable = (inst.op == Op::kGet || inst.op == Op::kAssign) && i == 0;
    if (wants_variable != (k_.insts[arg].op == Op::kVar)) {
      return wrong(inst, "mixes up variables and values");
    }
    if (!wants_variable && !op_info(k_.insts[arg].op).has_value) {
      return wrong(inst, "uses what has no value");
    }
  }
  return {};
}

Status Verifier::arithmetic(const Inst& inst) const {
  const Type t = inst.type;
  const Op op = inst.op;
  if (op == Op::kConst || op == Op::kTid || op == Op::kGroupX || op == Op::kGroupY) {
    return need(op == Op::kConst ? is_scalar(t) && inst.imm <= ~0u : t == kU32, inst,
                "has a wrong type");
  }
  if (op == Op::kLane || op == Op::kSubgroupId) {
    return need(t == kU32 && k_.subgroup_size != 0, inst, "needs a subgroup size");
  }
  if (op == Op::kParam) {
    const bool exists = inst.imm < k_.params.size();
    return need(exists && t == Type{k_.params[inst.imm].kind, 1}, inst, "names no param");
  }
  if (op == Op::kSelect) {
    return need(arg(inst, 0) == kBool && is_scalar(t) && arg(inst, 1) == t && arg(inst, 2) == t,
                inst, "needs a condition and two operands of one type");
  }
  if (op == Op::kCast) return need(is_scalar(t) && is_scalar(arg(inst, 0)), inst, "needs scalars");
  if (op == Op::kBitcast)
    return need(is_number(t) && is_number(arg(inst, 0)), inst, "needs numbers");
  if (op == Op::kMakeVec) {
    return need(t.lanes > 1 && args_are(inst, {t.kind, 1}), inst, "needs lanes of its kind");
  }
  if (op == Op::kExtract) {
    const Type from = arg(inst, 0);
    return need(from.lanes > 1 && inst.imm < from.lanes && t == Type{from.kind, 1}, inst,
                "names no lane");
  }
  if (op == Op::kUnpackF16x2) {
    return need(arg(inst, 0) == kU32 && t == Type{Kind::kF32, 2}, inst, "is u32 to f32x2");
  }
  if (op == Op::kPackF16x2)
    return need(args_are(inst, kF32) && t == kU32, inst, "is f32, f32 to u32");
  if (op == Op::kDot4) {
    return need(arg(inst, 0) == kU32 && arg(inst, 1) == kU32 && arg(inst, 2) == kI32 && t == kI32,
                inst, "is u32, u32, i32 to i32");
  }
  if (op >= Op::kEq && op <= Op::kGe) {
    return need(t == kBool && is_number(arg(inst, 0)) && arg(inst, 0) == arg(inst, 1), inst,
                "compares two numbers of one kind");
  }
  if (op == Op::kShl || op == Op::kShr) {
    return need(is_integer(t) && arg(inst, 0) == t && arg(inst, 1) == kU32, inst,
                "shifts an integer by a u32");
  }
  if (op == Op::kAnd || op == Op::kOr || op == Op::kXor || op == Op::kNot) {
    return need((is_integer(t) || t == kBool) && args_are(inst, t), inst, "needs integers or b1");
  }
  if (op == Op::kMod) return need(is_integer(t) && args_are(inst, t), inst, "needs integers");
  if ((op >= Op::kFloor && op <= Op::kRcp) || op == Op::kFma) {
    return need(t == kF32 && args_are(inst, t), inst, "needs f32");
  }
  return need(is_number(t) && args_are(inst, t), inst, "needs operands of one kind");
}

Status Verifier::memory(const Inst& inst) {
  if (arg(inst, 0) != kU32) return wrong(inst, "needs a u32 index");
  if (inst.op == Op::kLoadShared || inst.op == Op::kStoreShared) {
    if (inst.imm >= k_.shared.size()) return wrong(inst, "names no shared array");
    const Type element = k_.shared[inst.imm].element;
    const Type used = inst.op == Op::kLoadShared ? inst.type : arg(inst, 1);
    return need(used == element, inst, "does not have the array's element type");
  }
  if (inst.imm >= k_.buffers.size()) return wrong(inst, "names no buffer");
  const Access access = k_.buffers[inst.imm].access;
  Type used = inst.type;
  if (inst.op == Op::kLoad) {
    if (access == Access::kWrite) return wrong(inst, "reads a write-only buffer");
    if (used.kind != Kind::kU32) return wrong(inst, "yields u32 words");
  } else {
    if (access == Access::kRead) return wrong(inst, "writes a read-only buffer");
    used = arg(inst, 1);
    if (inst.op == Op::kStore && used.kind != Kind::kU32) return wrong(inst, "takes u32 words");
    if (inst.op == Op::kAtomicAdd && (!is_integer(used) || inst.type != used)) {
      return wrong(inst, "needs one u32 or i32");
    }
  }
  if (access == Access::kRead) return {};
  uint8_t& width = written_width_[inst.imm];
  if (width != 0 && width != used.lanes)
    return wrong(inst, "uses a second width on a written buffer");
  width = used.lanes;
  return {};
}

Status Verifier::control(const Inst& inst) const {
  switch (inst.op) {
    case Op::kVar:
      return need(
          (is_scalar(inst.type) || inst.type.kind == Kind::kFragSum) && arg(inst, 0) == inst.type,
          inst, "needs a scalar or a fragment of sums");
    case Op::kGet:
      return need(arg(inst, 0) == inst.type, inst, "does not have the variable's type");
    case Op::kAssign:
      return need(arg(inst, 0) == arg(inst, 1), inst, "does not have the variable's type");
    case Op::kFor:
      return need(inst.type == kU32 && args_are(inst, kU32) && inst.imm <= kMaxUnroll, inst,
                  "needs u32 bounds and a sane unroll hint");
    case Op::kIf:
      return need(arg(inst, 0) == kBool, inst, "needs a b1");
    default:
      return {};
  }
}

Status Verifier::collective(const Inst& inst) const {
  if (inst.op == Op::kBarrier) {
    constexpr uint64_t kGroup = kBarrierShared | kBarrierGlobal;
    return need(inst.imm == kBarrierShared || inst.imm == kGroup ||
                    inst.imm == (kGroup | kBarrierRelease) ||
                    inst.imm == (kGroup | kBarrierAcquire),
                inst, "has unknown flags");
  }
  if (!is_number({inst.type.kind, 1}) || arg(inst, 0) != inst.type) {
    return wrong(inst, "needs one number or vector");
  }
  if (inst.op == Op::kShuffleXor) {
    return need(inst.type.lanes == 1 && inst.imm > 0 && inst.imm < k_.subgroup_size &&
                    k_.threads % k_.subgroup_size == 0,
                inst, "needs full subgroups and a mask inside them");
  }
  const uint32_t width = reduce_width(inst);
  return need(is_power_of_two(width) && width > 1 && width <= k_.threads &&
                  k_.threads % width == 0 && inst.imm >> 32 <= 2,
              inst, "needs a width that is a power of two and divides the group");
}

Status Verifier::fragment(const Inst& inst) const {
  const bool memory = inst.op == Op::kFragLoad || inst.op == Op::kFragStore;
  const Type type = inst.op == Op::kFragStore ? arg(inst, 2) : inst.type;
  if (!is_fragment(type) || k_.threads % fragment_width(type) != 0) {
    return wrong(inst, "needs fragments whose threads divide the group");
  }
  if (memory) {
    if (arg(inst, 0) != kU32 || arg(inst, 1) != kU32) {
      return wrong(inst, "needs a u32 index and stride");
    }
    if (inst.imm >= k_.shared.size()) return wrong(inst, "names no shared array");
  }
  switch (inst.op) {
    case Op::kFragFill:
      return need(type.kind == Kind::kFragSum && arg(inst, 0) == kF32, inst, "is f32 to sums");
    case Op::kFragLoad:
      return need(type.kind == Kind::kFragIn && k_.shared[inst.imm].element.kind == Kind::kU32,
                  inst, "reads words of halves");
    case Op::kFragStore:
      return need(inst.type == kNoType && type.kind == Kind::kFragSum &&
                      k_.shared[inst.imm].element == kF32,
                  inst, "writes sums to single f32");
    default:
      return need(type.kind == Kind::kFragSum && arg(inst, 2) == type &&
                      arg(inst, 0) == Type{Kind::kFragIn, type.lanes} &&
                      arg(inst, 1) == arg(inst, 0),
                  inst, "needs two inputs and sums of the same threads");
  }
}

// A load may be done where it stands or, without matrix units, at each use. Some matrix units hold
// the two inputs of a product differently, so that one fragment cannot be both.
Status Verifier::fragments_are_fresh() const {
  std::vector<bool> fresh(k_.insts.size(), false);
  std::vector<uint32_t> sides(k_.insts.size(), 0);  // 1: a product's first input, 2: second
  ValueId oldest = 0;                               // loads before it are stale
  for (ValueId at = 0; at < k_.insts.size(); ++at) {
    const Inst& inst = k_.insts[at];
    const bool bracket = inst.op >= Op::kFor && inst.op <= Op::kEndIf;
    if (bracket || inst.op == Op::kBarrier || inst.op == Op::kGroupReduce ||
        inst.op == Op::kStoreShared || inst.op == Op::kFragStore) {
      oldest = at;
    }
    fresh[at] = inst.op == Op::kFragLoad;
    if (inst.op != Op::kMma) continue;
    for (uint32_t i = 0; i < 2; ++i) {
      if (!fresh[inst.arg[i]] || inst.arg[i] < oldest) {
        return invalid("instruction {}: 'mma' of what was not loaded just before", at);
      }
      sides[inst.arg[i]] |= 1u << i;
      if (sides[inst.arg[i]] == 3) {
        return invalid(
            "instruction {}: a fragment is the first input of one 'mma' and the second "
            "of another; load it twice",
            at);
      }
    }
  }
  return {};
}

Status Verifier::types(ValueId at) {
  const Inst& inst = k_.insts[at];
  if (inst.op < Op::kLoad) return arithmetic(inst);
  if (inst.op <= Op::kAtomicAdd) return memory(inst);
  if (inst.op <= Op::kEndIf) return control(inst);
  if (inst.op >= Op::kFragFill) return fragment(inst);
  return collective(inst);
}

Status Verifier::run() {
  BP_TRY(declarations());
  BP_TRY(match_brackets(k_));
  in_sight_.assign(k_.insts.size(), false);
  written_width_.assign(k_.buffers.size(), 0);
  std::vector<ValueId> opened;  // first position inside each open bracket
  for (ValueId at = 0; at < k_.insts.size(); ++at) {
    BP_TRY(operands(at).with_context("instruction {}", at));
    BP_TRY(types(at).with_context("instruction {}", at));
    const Op op = k_.insts[at].op;
    if (op == Op::kElse || op == Op::kEndFor || op == Op::kEndIf) {
      for (ValueId i = opened.back(); i < at; ++i) in_sight_[i] = false;
      opened.pop_back();
    }
    in_sight_[at] = true;
    // A loop's induction value is inside its bracket, so the bracket starts at the For itself.
    if (op == Op::kFor || op == Op::kIf || op == Op::kElse) opened.push_back(at);
  }
  BP_TRY(fragments_are_fresh());
  return meeting_points();
}

// Where threads meet: all of a group get there, and OpenCL compilers can tell.
Status Verifier::meeting_points() const {
  const std::vector<bool> uniform = uniform_control(k_);
  const std::vector<ValueId> conditions = group_conditions(k_);
  for (ValueId at = 0; at < k_.insts.size(); ++at) {
    const Op op = k_.insts[at].op;
    if (op < Op::kBarrier) continue;
    if (!uniform[at]) {
      return invalid("instruction {}: '{}' under control that differs between threads", at,
                     op_info(op).name);
    }
    if (op != Op::kShuffleXor && conditions[at] != kNoValue) {
      return invalid(
          "instruction {}: '{}' under the condition of instruction {}, which differs between "
          "groups; PoCL miscompiles that: guard the work around it instead",
          at, op_info(op).name, conditions[at]);
    }
  }
  return {};
}

}  // namespace

Status verify(const Kernel& kernel) {
  return Verifier(kernel).run().with_context("kernel '{}'", kernel.name);
}

Status verify_for(const Kernel& kernel, const Caps& caps) {
  BP_TRY(verify(kernel));
  const auto refuse = [&](const char* what, uint64_t has, uint64_t limit) {
    return error(Code::kFailedPrecondition, "kernel '{}' needs {} {}; '{}' gives {}", kernel.name,
                 has, what, caps.name, limit);
  };
  if (kernel.threads > caps.max_threads) return refuse("threads", kernel.threads, caps.max_threads);
  if (shared_bytes(kernel) > caps.shared_bytes) {
    return refuse("bytes of shared memory", shared_bytes(kernel), caps.shared_bytes);
  }
  if (kernel.params.size() * 4 > caps.max_param_bytes) {
    return refuse("bytes of params", kernel.params.size() * 4, caps.max_param_bytes);
  }
  if (kernel.buffers.size() > caps.max_buffers) {
    return refuse("buffers", kernel.buffers.size(), caps.max_buffers);
  }
  if (kernel.subgroup_size != 0 && kernel.subgroup_size != caps.subgroup_size) {
    return refuse("threads in a subgroup", kernel.subgroup_size, caps.subgroup_size);
  }
  if (orders_groups(kernel) && !caps.device_barrier) {
    return error(Code::kFailedPrecondition,
                 "kernel '{}' orders groups, which '{}' has no barriers for", kernel.name,
                 caps.name);
  }
  for (const Inst& inst : kernel.insts) {
    const bool matrix = inst.op >= Op::kFragFill && inst.op < Op::kCount;
    if (matrix && is_fragment(inst.type) && caps.matrix &&
        fragment_width(inst.type) != caps.subgroup_size) {
      return refuse("threads in a fragment", fragment_width(inst.type), caps.subgroup_size);
    }
    if (inst.op == Op::kGroupReduce || (inst.op == Op::kDot4 && !caps.dot4) ||
        (matrix && !caps.matrix)) {
      return error(Code::kFailedPrecondition,
                   "kernel '{}' holds '{}', which '{}' lacks: legalize it", kernel.name,
                   op_info(inst.op).name, caps.name);
    }
  }
  return {};
}

}  // namespace bp::kernels
