// SPDX-License-Identifier: Apache-2.0
// Execution of one workgroup, instruction by instruction over all lanes.
#include "kernels/interpreter/machine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "backplane/float16.h"
#include "kernels/ir/evaluate.h"

namespace bp::kernels {
namespace {

bool is_finite(uint32_t bits) {
  return (bits & 0x7f800000u) != 0x7f800000u;
}
bool is_nan(uint32_t bits) {
  return (bits & 0x7fffffffu) > 0x7f800000u;
}

// Groups count from 1 in the shadow, so that none is mistaken for "nobody".
constexpr uint32_t kFirstGroup = 1;

}  // namespace

Machine::Machine(const Kernel& kernel, std::span<const Binding> bindings,
                 std::span<const uint32_t> params, const RunOptions& options)
    : kernel_(kernel), bindings_(bindings), params_(params), options_(options) {}

Status Machine::prepare() {
  match_ = BP_TRY(match_brackets(kernel_));
  size_t total = 0;
  for (const Inst& inst : kernel_.insts) {
    offsets_.push_back(total);
    total += size_t{inst.type.lanes} * kernel_.threads;
  }
  registers_.assign(total, 0);
  for (const SharedArray& array : kernel_.shared) {
    shared_.emplace_back(size_t{array.count} * array.element.lanes);
  }
  shared_shadow_.resize(shared_.size());
  global_shadow_.resize(bindings_.size());
  for (size_t i = 0; i < bindings_.size(); ++i) {
    global_shadow_[i].reset(bindings_[i].words.size(), bindings_[i].initialized);
  }
  group_ = kFirstGroup;
  orders_groups_ = orders_groups(kernel_);
  return {};
}

Status Machine::run_group(uint32_t x, uint32_t y) {
  group_x_ = x;
  group_y_ = y;
  shared_epoch_ = global_epoch_ = released_ = 0;
  known_.clear();
  met_.clear();
  mask_.assign(kernel_.threads, 1);
  frames_.clear();
  for (size_t i = 0; i < shared_.size(); ++i) shared_shadow_[i].reset(shared_[i].size(), false);
  ValueId pc = 0;
  while (pc < kernel_.insts.size()) {
    if (++counters_.instructions > options_.max_steps) {
      return error(Code::kExhausted, "gave up after {} instructions", options_.max_steps);
    }
    BP_TRY(step(&pc));
    ++pc;
  }
  ++group_;
  return {};
}

Status Machine::finding(const char* name, ValueId at, uint32_t thread, std::string detail) const {
  return error(Code::kFailedPrecondition,
               "{}: instruction {} ('{}'), group ({}, {}), thread {}{}{}", name, at,
               op_info(kernel_.insts[at].op).name, group_x_, group_y_, thread,
               detail.empty() ? "" : ", ", detail);
}

Status Machine::fault(Fault fault, ValueId at, uint32_t thread, const std::string& where,
                      uint64_t word) const {
  if (fault == Fault::kNone) return {};
  return finding(fault == Fault::kRace ? "race" : "uninitialized read", at, thread,
                 fmt::format("{} word {}", where, word));
}

bool Machine::any_active() const {
  return std::find(mask_.begin(), mask_.end(), 1) != mask_.end();
}
bool Machine::all_active() const {
  return std::find(mask_.begin(), mask_.end(), 0) == mask_.end();
}

template <typename F>
Status Machine::each_lane(ValueId, F body) {
  for (uint32_t t = 0; t < kernel_.threads; ++t) {
    if (mask_[t] == 0) continue;
    Status status = body(t);
    if (!status.ok()) return status;
  }
  return {};
}

Status Machine::step(ValueId* pc) {
  const ValueId at = *pc;
  const Op op = kernel_.insts[at].op;
  if (op <= Op::kSubgroupId) return leaf(at);
  if (op <= Op::kFma) return arithmetic(at);
  if (op <= Op::kDot4) return packed(at);
  if (op <= Op::kAtomicAdd) return memory(at);
  if (op <= Op::kAssign) return variable(at);
  if (op == Op::kFor) return loop_begin(pc);
  if (op == Op::kEndFor) return loop_next(pc);
  if (op <= Op::kEndIf) return branch(pc);
  if (op >= Op::kFragFill) return fragment(at);
  return collective(at);
}

Status Machine::leaf(ValueId at) {
  const Inst& inst = kernel_.insts[at];
  for (uint32_t t = 0; t < kernel_.threads; ++t) {
    uint32_t v = 0;
    switch (inst.op) {
      case Op::kConst:
        v = static_cast<uint32_t>(inst.imm);
        break;
      case Op::kParam:
        v = params_[inst.imm];
        break;
      case Op::kGroupX:
        v = group_x_;
        break;
      case Op::kGroupY:
        v = group_y_;
        break;
      case Op::kTid:
        v = t;
        break;
      case Op::kLane:
        v = t % kernel_.subgroup_size;
        break;
      default:
        v = t / kernel_.subgroup_size;
        break;
    }
    *reg(at, t) = v;
  }
  return {};
}

Status Machine::arithmetic(ValueId at) {
  const Inst& inst = kernel_.insts[at];
  const Kind kind = kernel_.insts[inst.arg[0]].type.kind;
  const uint32_t count = arg_count(inst);
  const bool trap = options_.trap_nonfinite && inst.type.kind == Kind::kF32;
  return each_lane(at, [&](uint32_t t) -> Status {
    uint32_t in[3] = {0, 0, 0};
    for (uint32_t i = 0; i < count; ++i) in[i] = *reg(inst.arg[i], t);
    uint32_t out;
    if (!evaluate(inst.op, kind, in[0], in[1], in[2], &out)) {
      return finding("undefined arithmetic", at, t,
                     fmt::format("operands {:#x}, {:#x}", in[0], in[1]));
    }
    *reg(at, t) = out;
    if (!trap || is_finite(out)) return {};
    bool finite = true, nan = false;
    for (uint32_t i = 0; i < count; ++i) {
      finite = finite && is_finite(in[i]);
      nan = nan || is_nan(in[i]);
    }
    if (!finite && (nan || !is_nan(out))) return {};
    return finding("non-finite result", at, t,
                   fmt::format("operands {} and {}", float_of(in[0]), float_of(in[1])));
  });
}

Status Machine::packed(ValueId at) {
  const Inst& inst = kernel_.insts[at];
  if (inst.op == Op::kDot4)
    counters_.dot4 += static_cast<uint64_t>(std::count(mask_.begin(), mask_.end(), 1));
  return each_lane(at, [&](uint32_t t) -> Status {
    const uint32_t a = *reg(inst.arg[0], t);
    uint32_t* out = reg(at, t);
    switch (inst.op) {
      case Op::kSelect:
        *out = *reg(inst.arg[a != 0 ? 1 : 2], t);
        return {};
      case Op::kBitcast:
        *out = a;
        return {};
      case Op::kExtract:
        *out = reg(inst.arg[0], t)[inst.imm];
        return {};
      case Op::kMakeVec:
        for (uint32_t i = 0; i < inst.type.lanes; ++i) out[i] = *reg(inst.arg[i], t);
        return {};
      case Op::kCast:
        if (evaluate_cast(kernel_.insts[inst.arg[0]].type.kind, inst.type.kind, a, out)) return {};
        return finding("cast out of range", at, t, fmt::format("operand {}", float_of(a)));
      case Op::kUnpackF16x2:
        out[0] = bits_of(f16_to_f32(static_cast<uint16_t>(a)));
        out[1] = bits_of(f16_to_f32(static_cast<uint16_t>(a >> 16)));
        return {};
      case Op::kPackF16x2:
        return pack_f16(at, t, a, *reg(inst.arg[1], t));
      default:
        *out = evaluate_dot4(a, *reg(inst.arg[1], t), *reg(inst.arg[2], t));
        return {};
    }
  });
}

Status Machine::pack_f16(ValueId at, uint32_t t, uint32_t low, uint32_t high) {
  const uint32_t a = f32_to_f16(float_of(low)), b = f32_to_f16(float_of(high));
  const bool overflow =
      ((a & 0x7c00u) == 0x7c00u && is_finite(low)) || ((b & 0x7c00u) == 0x7c00u && is_finite(high));
  if (options_.trap_nonfinite && overflow) {
    return finding("non-finite result", at, t,
                   fmt::format("{} or {} exceeds f16", float_of(low), float_of(high)));
  }
  *reg(at, t) = a | b << 16;
  return {};
}

Status Machine::memory(ValueId at) {
  const Op op = kernel_.insts[at].op;
  const bool shared = op == Op::kLoadShared || op == Op::kStoreShared;
  return each_lane(
      at, [&](uint32_t t) { return shared ? access_shared(at, t) : access_global(at, t); });
}

Status Machine::access_global(ValueId at, uint32_t t) {
  const Inst& inst = kernel_.insts[at];
  const Binding& binding = bindings_[inst.imm];
  const std::string& name = kernel_.buffers[inst.imm].name;
  const Type type = inst.op == Op::kStore ? kernel_.insts[inst.arg[1]].type : inst.type;
  const uint64_t first = uint64_t{*reg(inst.arg[0], t)} * type.lanes;
  if (first + type.lanes > binding.words.size()) {
    return finding("out of bounds", at, t,
                   fmt::format("'{}' word {} of {}", name, first, binding.words.size()));
  }
  if (binding.offset_words % type.lanes != 0) {
    return finding("misaligned", at, t,
                   fmt::format("'{}' is bound at word {}, accessed {} at a time", name,
                               binding.offset_words, type.lanes));
  }
  const Accessor who = accessor(t, global_epoch_);
  (inst.op == Op::kLoad ? counters_.loaded_words : counters_.stored_words) += type.lanes;
  for (uint32_t i = 0; i < type.lanes; ++i) {
    const uint64_t word = first + i;
    Shadow& shadow = global_shadow_[inst.imm];
    uint32_t& memory = binding.words[word];
    if (inst.op == Op::kLoad) {
      BP_TRY(fault(shadow.read(word, who), at, t, name, word));
      reg(at, t)[i] = memory;
      continue;
    }
    const uint32_t v = reg(inst.arg[1], t)[i];
    if (inst.op == Op::kStore) {
      BP_TRY(fault(shadow.write(word, who), at, t, name, word));
      memory = v;
    } else {
      BP_TRY(fault(shadow.atomic(word, who), at, t, name, word));
      *reg(at, t) = memory;
      memory += v;
      if (orders_groups_ && t == 0) meet(static_cast<uint32_t>(inst.imm), word);
    }
    if (binding.written != nullptr) (*binding.written)[word] = 1;
  }
  return {};
}

// An atomic passes on what groups before it released, and what this one has.
void Machine::meet(uint32_t buffer, uint64_t word) {
  Known& there = words_[{buffer, word}];
  met_.add(there);
  if (released_ != 0) there.learn(group_, released_);
}

Status Machine::access_shared(ValueId at, uint32_t t) {
  const Inst& inst = kernel_.insts[at];
  const SharedArray& array = kernel_.shared[inst.imm];
  const uint32_t index = *reg(inst.arg[0], t);
  if (index >= array.count) {
    return finding("out of bounds", at, t,
                   fmt::format("'{}' element {} of {}", array.name, index, array.count));
  }
  const Accessor who = accessor(t, shared_epoch_);
  for (uint32_t i = 0; i < array.element.lanes; ++i) {
    const size_t word = size_t{index} * array.element.lanes + i;
    if (inst.op == Op::kLoadShared) {
      BP_TRY(fault(shared_shadow_[inst.imm].read(word, who), at, t, array.name, word));
      reg(at, t)[i] = shared_[inst.imm][word];
    } else {
      BP_TRY(fault(shared_shadow_[inst.imm].write(word, who), at, t, array.name, word));
      shared_[inst.imm][word] = reg(inst.arg[1], t)[i];
    }
  }
  return {};
}

Status Machine::variable(ValueId at) {
  const Inst& inst = kernel_.insts[at];
  const ValueId to = inst.op == Op::kAssign ? inst.arg[0] : at;
  const ValueId from = inst.op == Op::kAssign ? inst.arg[1] : inst.arg[0];
  return each_lane(at, [&](uint32_t t) -> Status {
    std::copy_n(reg(from, t), kernel_.insts[to].type.lanes, reg(to, t));
    return {};
  });
}

Status Machine::branch(ValueId* pc) {
  const Inst& inst = kernel_.insts[*pc];
  if (inst.op == Op::kIf) {
    frames_.push_back({*pc, mask_});
    for (uint32_t t = 0; t < kernel_.threads; ++t) {
      mask_[t] = static_cast<uint8_t>(mask_[t] & *reg(inst.arg[0], t));
    }
    if (!any_active()) *pc = match_[*pc] - 1;  // to its Else or EndIf
    return {};
  }
  if (inst.op == Op::kElse) {
    const Inst& opened = kernel_.insts[frames_.back().opened];
    for (uint32_t t = 0; t < kernel_.threads; ++t) {
      mask_[t] = static_cast<uint8_t>(frames_.back().outer_mask[t] & (*reg(opened.arg[0], t) ^ 1u));
    }
    if (!any_active()) *pc = match_[*pc] - 1;
    return {};
  }
  mask_ = std::move(frames_.back().outer_mask);
  frames_.pop_back();
  return {};
}

Status Machine::loop_begin(ValueId* pc) {
  const ValueId at = *pc;
  const Inst& inst = kernel_.insts[at];
  frames_.push_back({at, mask_});
  for (uint32_t t = 0; t < kernel_.threads; ++t) {
    if (mask_[t] == 0) continue;
    if (*reg(inst.arg[2], t) == 0) return finding("endless loop", at, t, "step 0");
    *reg(at, t) = *reg(inst.arg[0], t);
    mask_[t] = *reg(at, t) < *reg(inst.arg[1], t);
  }
  if (any_active()) return {};
  *pc = match_[at];
  mask_ = std::move(frames_.back().outer_mask);
  frames_.pop_back();
  return {};
}

Status Machine::loop_next(ValueId* pc) {
  const ValueId at = frames_.back().opened;
  const Inst& inst = kernel_.insts[at];
  for (uint32_t t = 0; t < kernel_.threads; ++t) {
    if (mask_[t] == 0) continue;
    const uint64_t next = uint64_t{*reg(at, t)} + *reg(inst.arg[2], t);
    if (next > ~uint32_t{0}) return finding("endless loop", at, t, "the counter wraps");
    *reg(at, t) = static_cast<uint32_t>(next);
    mask_[t] = next < *reg(inst.arg[1], t);
  }
  if (any_active()) {
    *pc = at;
    return {};
  }
  mask_ = std::move(frames_.back().outer_mask);
  frames_.pop_back();
  return {};
}

void Machine::reduce(ValueId at) {
  const Inst& inst = kernel_.insts[at];
  constexpr Op kOps[] = {Op::kAdd, Op::kMin, Op::kMax};
  const Op op = kOps[static_cast<size_t>(reduce_op(inst))];
  const uint32_t width = reduce_width(inst), lanes = inst.type.lanes;
  for (uint32_t t = 0; t < kernel_.threads; ++t) {
    std::copy_n(reg(inst.arg[0], t), lanes, reg(at, t));
  }
  for (uint32_t step = 1; step < width; step *= 2) {
    for (uint32_t t = 0; t < kernel_.threads; ++t) {
      if ((t & step) != 0) continue;
      for (uint32_t i = 0; i < lanes; ++i) {
        uint32_t* low = reg(at, t) + i;
        uint32_t* high = reg(at, t ^ step) + i;
        uint32_t both = 0;
        evaluate(op, inst.type.kind, *low, *high, 0, &both);
        *low = *high = both;
      }
    }
  }
}

Status Machine::collective(ValueId at) {
  const Inst& inst = kernel_.insts[at];
  if (!all_active()) {
    const auto absent = std::find(mask_.begin(), mask_.end(), 0) - mask_.begin();
    return finding("divergent barrier or collective", at, static_cast<uint32_t>(absent),
                   "is absent");
  }
  if (inst.op == Op::kBarrier) {
    ++counters_.barriers;
    ++shared_epoch_;
    if ((inst.imm & kBarrierGlobal) != 0) ++global_epoch_;
    if ((inst.imm & kBarrierRelease) != 0) released_ = global_epoch_;
    if ((inst.imm & kBarrierAcquire) != 0) known_.add(met_);
  } else if (inst.op == Op::kGroupReduce) {
    reduce(at);
  } else {
    ++counters_.shuffles;
    for (uint32_t t = 0; t < kernel_.threads; ++t) {
      *reg(at, t) = *reg(inst.arg[0], t ^ static_cast<uint32_t>(inst.imm));
    }
  }
  return {};
}

}  // namespace bp::kernels
