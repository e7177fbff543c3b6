// SPDX-License-Identifier: Apache-2.0
// Re-emits a kernel through the builder and replaces nodes on the way.
#include "kernels/legalize.h"

#include <algorithm>
#include <map>
#include <utility>

#include "kernels/builder/builder.h"
#include "kernels/verify.h"

namespace bp::kernels {
namespace {

class Legalizer {
 public:
  Legalizer(const Kernel& kernel, const Caps& caps)
      : k_(kernel),
        caps_(caps),
        // Partial subgroups are not portable, so a group that does not fill them uses none.
        subgroup_(caps.subgroup_size != 0 && kernel.threads % caps.subgroup_size == 0
                      ? caps.subgroup_size
                      : 0),
        b_(kernel.name, kernel.threads) {}

  Result<Kernel> run();

 private:
  void copy(ValueId at);
  Val copy_value(const Inst& inst);
  Val combine(ReduceOp op, Val a, Val b);
  Val reduce(const Inst& inst);
  Val shuffle_tree(ReduceOp op, Val x, uint32_t width);
  Val across_subgroups(ReduceOp op, Val x, uint32_t width);
  Val shared_tree(ReduceOp op, Val x, uint32_t width);
  struct Scratch {
    Shared array;
    uint64_t read_after = 0;  // barriers when it was last read; see `barriers_`
  };
  Scratch& scratch(Type element, uint32_t count);
  void barrier(bool global = false);
  Val dot4_by_bytes(Val a, Val b, Val acc);
  Type fragment_of(const Inst& inst) const;
  bool split_fragment(ValueId at);
  std::vector<Val> split_product(const Inst& inst);
  void split_store(const Inst& inst);
  // Of a fragment that threads hold without matrix units: neighbours in one row.
  Val fragment_row(Type type);
  Val fragment_column(Type type);
  Val arg(const Inst& inst, size_t i) const { return values_[inst.arg[i]]; }

  const Kernel& k_;
  const Caps& caps_;
  const uint32_t subgroup_;
  Builder b_;
  std::vector<Val> values_;
  std::vector<Shared> shared_;
  // Fragments in pieces: the elements of this thread, and where inputs lie.
  struct Input {
    Shared array;
    uint32_t lanes = 1;
    Val index, stride;
  };
  std::map<ValueId, std::vector<Val>> sums_;
  std::map<ValueId, std::vector<Var>> sum_vars_;
  std::map<ValueId, Input> inputs_;
  // Scratch arrays by element type and count; reused by all reductions of the kernel.
  std::map<std::pair<uint32_t, uint32_t>, Scratch> scratch_;
  uint32_t depth_ = 0;
  uint64_t barriers_ = 0;  // outside loops and branches so far
};

Val Legalizer::combine(ReduceOp op, Val a, Val b) {
  constexpr Op kOps[] = {Op::kAdd, Op::kMin, Op::kMax};
  return apply(kOps[static_cast<size_t>(op)], a, b);
}

Val Legalizer::shuffle_tree(ReduceOp op, Val x, uint32_t width) {
  b_.set_subgroup_size(subgroup_);
  for (uint32_t mask = 1; mask < width; mask *= 2) {
    std::vector<Val> other;
    for (uint32_t lane = 0; lane < x.lanes(); ++lane) {
      other.push_back(b_.emit(Op::kShuffleXor, {x.type().kind, 1}, {x[lane]}, mask));
    }
    x = combine(op, x, make_vec(other));
  }
  return x;
}

void Legalizer::barrier(bool global) {
  b_.barrier(global);
  if (depth_ == 0) ++barriers_;
}

// The array that a reduction may write now. Readers of the one before must be done with it: by a
// barrier since then, or by one more. Inside loops the reader may come from the round before.
Legalizer::Scratch& Legalizer::scratch(Type element, uint32_t count) {
  const uint32_t type = static_cast<uint32_t>(element.kind) << 8 | element.lanes;
  const auto [at, is_new] = scratch_.try_emplace({type, count});
  if (is_new) {
    at->second.array = b_.shared("reduce" + std::to_string(scratch_.size() - 1), element, count);
  }
  if (depth_ > 0 || (!is_new && at->second.read_after == barriers_)) barrier();
  return at->second;
}

Val Legalizer::across_subgroups(ReduceOp op, Val x, uint32_t width) {
  x = shuffle_tree(op, x, subgroup_);
  const Val lane = b_.emit(Op::kLane, kU32), subgroup = b_.emit(Op::kSubgroupId, kU32);
  Scratch& own = scratch(x.type(), k_.threads / subgroup_);
  const Shared slots = own.array;
  b_.when(lane == 0, [&] { slots.store(subgroup, x); });
  barrier();
  own.read_after = barriers_;
  const uint32_t count = width / subgroup_;
  const Val first = subgroup & ~(count - 1);
  // Up to four slots are read by every thread. More are spread over the lanes, which then shuffle;
  // a lane with several takes neighbours, so that the tree stays the same.
  const uint32_t lanes = count <= 4 ? 1 : std::min(count, subgroup_);
  const uint32_t each = count / lanes;
  std::vector<Val> v;
  const Val base = first + (lane & (lanes - 1)) * each;
  for (uint32_t i = 0; i < each; ++i) v.push_back(slots.load(base + i));
  while (v.size() > 1) {
    for (size_t i = 0; i < v.size() / 2; ++i) v[i] = combine(op, v[2 * i], v[2 * i + 1]);
    v.resize(v.size() / 2);
  }
  return shuffle_tree(op, v[0], lanes);
}

Val Legalizer::shared_tree(ReduceOp op, Val x, uint32_t width) {
  Scratch& own = scratch(x.type(), k_.threads);
  const Shared slots = own.array;
  const Val t = b_.tid();
  slots.store(t, x);
  barrier();
  for (uint32_t step = 1; step < width; step *= 2) {
    b_.when((t & (2 * step - 1)) == 0,
            [&] { slots.store(t, combine(op, slots.load(t), slots.load(t + step))); });
    barrier();
  }
  own.read_after = barriers_;
  return slots.load(width == k_.threads ? b_.constant(Kind::kU32, 0) : t & ~(width - 1));
}

Val Legalizer::reduce(const Inst& inst) {
  const uint32_t width = reduce_width(inst);
  const ReduceOp op = reduce_op(inst);
  if (subgroup_ == 0) return shared_tree(op, arg(inst, 0), width);
  if (width <= subgroup_) return shuffle_tree(op, arg(inst, 0), width);
  return across_subgroups(op, arg(inst, 0), width);
}

Val Legalizer::dot4_by_bytes(Val a, Val b, Val acc) {
  for (uint32_t i = 0; i < 4; ++i) acc = acc + signed_byte(a, i) * signed_byte(b, i);
  return acc;
}

// The fragment type that an instruction deals in, or none.
Type Legalizer::fragment_of(const Inst& inst) const {
  if (is_fragment(inst.type)) return inst.type;
  if (inst.op == Op::kAssign) return fragment_of(k_.insts[inst.arg[0]]);
  return inst.op == Op::kFragStore ? k_.insts[inst.arg[2]].type : kNoType;
}

Val Legalizer::fragment_row(Type type) {
  return b_.tid() % fragment_width(type) / (kFragmentSize / type.lanes);
}
Val Legalizer::fragment_column(Type type) {
  return b_.tid() % (kFragmentSize / type.lanes) * type.lanes;
}

// One row of a against `lanes` rows of b, in the order in which the interpreter sums.
std::vector<Val> Legalizer::split_product(const Inst& inst) {
  const Type type = inst.type;
  const Input &a = inputs_.at(inst.arg[0]), &b = inputs_.at(inst.arg[1]);
  const Val row = fragment_row(type), column = fragment_column(type);
  std::vector<Val> sums = sums_.at(inst.arg[2]);
  const auto halves = [](const Input& in, const Val& of_row, uint32_t word) {
    const Val words = in.array.load(in.index + in.stride * of_row + word / in.lanes);
    return unpack_f16x2(words[word % in.lanes]);
  };
  for (uint32_t word = 0; word < kFragmentSize / 2; ++word) {
    const Val left = halves(a, row, word);
    for (uint32_t i = 0; i < type.lanes; ++i)
      sums[i] = dot(left, halves(b, column + i, word), sums[i]);
  }
  return sums;
}

void Legalizer::split_store(const Inst& inst) {
  const Type type = fragment_of(inst);
  const Val first = arg(inst, 0) + arg(inst, 1) * fragment_row(type) + fragment_column(type);
  const std::vector<Val>& sums = sums_.at(inst.arg[2]);
  for (uint32_t i = 0; i < type.lanes; ++i) shared_[inst.imm].store(first + i, sums[i]);
}

// Replaces a fragment by what each thread holds of it; false where the device has matrix units.
bool Legalizer::split_fragment(ValueId at) {
  const Inst& inst = k_.insts[at];
  const Type type = fragment_of(inst);
  if (!is_fragment(type)) return false;
  if (caps_.matrix && fragment_width(type) == subgroup_) {
    b_.set_subgroup_size(subgroup_);
    return false;
  }
  switch (inst.op) {
    case Op::kVar:
      for (const Val& v : sums_.at(inst.arg[0])) sum_vars_[at].push_back(b_.var(v));
      break;
    case Op::kGet:
      for (const Var& v : sum_vars_.at(inst.arg[0])) sums_[at].push_back(v.get());
      break;
    case Op::kAssign:
      for (uint32_t i = 0; i < type.lanes; ++i)
        sum_vars_.at(inst.arg[0])[i].set(sums_.at(inst.arg[1])[i]);
      break;
    case Op::kFragFill:
      sums_[at].assign(type.lanes, arg(inst, 0));
      break;
    case Op::kFragLoad:
      inputs_[at] = {shared_[inst.imm], k_.shared[inst.imm].element.lanes, arg(inst, 0),
                     arg(inst, 1)};
      break;
    case Op::kMma:
      sums_[at] = split_product(inst);
      break;
    default:
      split_store(inst);
      break;
  }
  return true;
}

Val Legalizer::copy_value(const Inst& inst) {
  if (inst.op == Op::kGroupReduce) return reduce(inst);
  if (inst.op == Op::kDot4 && !caps_.dot4) {
    return dot4_by_bytes(arg(inst, 0), arg(inst, 1), arg(inst, 2));
  }
  switch (arg_count(inst)) {
    case 0:
      return b_.emit(inst.op, inst.type, {}, inst.imm);
    case 1:
      return b_.emit(inst.op, inst.type, {arg(inst, 0)}, inst.imm);
    case 2:
      return b_.emit(inst.op, inst.type, {arg(inst, 0), arg(inst, 1)}, inst.imm);
    case 3:
      return b_.emit(inst.op, inst.type, {arg(inst, 0), arg(inst, 1), arg(inst, 2)}, inst.imm);
    default:
      break;
  }
  return b_.emit(inst.op, inst.type, {arg(inst, 0), arg(inst, 1), arg(inst, 2), arg(inst, 3)},
                 inst.imm);
}

void Legalizer::copy(ValueId at) {
  const Inst& inst = k_.insts[at];
  switch (inst.op) {
    case Op::kFor:
      ++depth_;
      values_[at] =
          b_.open_for(arg(inst, 0), arg(inst, 1), arg(inst, 2), static_cast<uint32_t>(inst.imm));
      return;
    case Op::kIf:
      ++depth_;
      return b_.open_if(arg(inst, 0));
    case Op::kElse:
      return b_.open_else();
    case Op::kEndFor:
      --depth_;
      return b_.close_for();
    case Op::kEndIf:
      --depth_;
      return b_.close_if();
    default:
      if (!split_fragment(at)) values_[at] = copy_value(inst);
  }
}

Result<Kernel> Legalizer::run() {
  for (const Buffer& buffer : k_.buffers) b_.buffer(buffer.name, buffer.access, buffer.constant);
  for (const Param& p : k_.params) b_.param(p.name, p.kind);
  for (const SharedArray& s : k_.shared) shared_.push_back(b_.shared(s.name, s.element, s.count));
  values_.resize(k_.insts.size());
  for (ValueId at = 0; at < k_.insts.size(); ++at) copy(at);
  Kernel out = BP_TRY(b_.finish());
  out.bound_by_loads = k_.bound_by_loads;
  BP_TRY(verify_for(out, caps_));
  return out;
}

}  // namespace

Result<Kernel> legalize(const Kernel& kernel, const Caps& caps) {
  BP_TRY(verify(kernel));
  if (kernel.subgroup_size != 0) {
    return error(Code::kInvalidArgument, "kernel '{}' is legalized already", kernel.name);
  }
  return Legalizer(kernel, caps).run().with_context("legalizing for '{}'", caps.name);
}

}  // namespace bp::kernels
