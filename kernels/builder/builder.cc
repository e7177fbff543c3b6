// SPDX-License-Identifier: Apache-2.0
// Emission: operands checked for belonging here, values shared, brackets opened and closed.
#include "kernels/builder/builder.h"

#include <cmath>

#include "kernels/builder/unused.h"
#include "kernels/ir/evaluate.h"
#include "kernels/verify.h"

namespace bp::kernels {
namespace {

// Of no elements where no such fragment exists, which finish() refuses.
Type fragment_type(Kind kind, uint32_t width) {
  const bool exists = width == 16 || width == 32 || width == 64;
  return {kind, static_cast<uint8_t>(exists ? kFragmentElements / width : 0)};
}

}  // namespace

size_t Builder::KeyHash::operator()(const Inst& inst) const noexcept {
  uint64_t h = static_cast<uint64_t>(inst.op) | static_cast<uint64_t>(inst.type.kind) << 8 |
               static_cast<uint64_t>(inst.type.lanes) << 16;
  for (ValueId arg : inst.arg) h = (h ^ arg) * 0x9e3779b97f4a7c15u;
  h = (h ^ inst.imm) * 0x9e3779b97f4a7c15u;
  return static_cast<size_t>(h ^ h >> 32);
}

bool Builder::KeyEqual::operator()(const Inst& a, const Inst& b) const noexcept {
  return a.op == b.op && a.type == b.type && a.arg == b.arg && a.imm == b.imm;
}

Builder::Builder(std::string_view name, uint32_t threads) {
  kernel_.name = name;
  kernel_.threads = threads;
  open_scope();
}

void Builder::fail(Status why) {
  if (error_.ok() && !why.ok()) {
    error_ = std::move(why).with_context("building kernel '{}'", kernel_.name);
  }
}

Buf Builder::buffer(std::string_view name, Access access, bool constant) {
  kernel_.buffers.push_back({std::string(name), access, constant});
  return Buf(this, static_cast<uint32_t>(kernel_.buffers.size() - 1));
}

Val Builder::param(std::string_view name, Kind kind) {
  kernel_.params.push_back({std::string(name), kind});
  return emit(Op::kParam, {kind, 1}, {}, kernel_.params.size() - 1);
}

Shared Builder::shared(std::string_view name, Type element, uint32_t count) {
  kernel_.shared.push_back({std::string(name), element, count});
  return Shared(this, static_cast<uint32_t>(kernel_.shared.size() - 1), element);
}

Val Builder::constant(Kind kind, uint32_t bits) {
  return emit(Op::kConst, {kind, 1}, {}, bits);
}

Val Builder::materialize(Val v, Kind kind) {
  if (!v.is_literal()) return v;
  const double x = v.literal();
  if (kind == Kind::kF32) return constant(kind, bits_of(static_cast<float>(x)));
  const bool fits = kind == Kind::kU32   ? x >= -2147483648.0 && x <= 4294967295.0
                    : kind == Kind::kI32 ? x >= -2147483648.0 && x <= 2147483647.0
                                         : x == 0.0 || x == 1.0;
  if (!fits || !v.is_integer_literal()) {
    fail(error(Code::kInvalidArgument, "the literal {} is no {}", x, type_text({kind, 1})));
    return constant(kind, 0);
  }
  return constant(kind, static_cast<uint32_t>(static_cast<int64_t>(x)));
}

Val Builder::emit(Op op, Type type, std::initializer_list<Val> args, uint64_t imm) {
  Inst inst{op, type, {kNoValue, kNoValue, kNoValue, kNoValue}, imm};
  size_t n = 0;
  for (const Val& a : args) {
    if (a.builder() != this) {
      fail(error(Code::kInvalidArgument, "operand {} of '{}' is not a value of this kernel", n,
                 op_info(op).name));
      return value(constant(type.kind == Kind::kNone ? Kind::kU32 : type.kind, 0).id());
    }
    inst.arg[n++] = a.id();
  }
  if (!op_info(op).pure) return push(inst);
  Val folded;
  if (fold(&inst, &folded)) return folded;
  if (const auto found = known_.find(inst); found != known_.end()) return value(found->second);
  const Val made = push(inst);
  known_.emplace(inst, made.id());
  scopes_.back().push_back(inst);
  return made;
}

Val Builder::push(const Inst& inst) {
  if (kernel_.insts.size() >= 2 * size_t{kMaxInstructions}) {
    fail(error(Code::kInvalidArgument, "more than {} instructions before unused ones are dropped",
               2 * kMaxInstructions));
    return Val(this, 0, inst.type);
  }
  kernel_.insts.push_back(inst);
  return Val(this, static_cast<ValueId>(kernel_.insts.size() - 1), inst.type);
}

void Builder::close_scope() {
  for (const Inst& key : scopes_.back()) known_.erase(key);
  scopes_.pop_back();
}

Var Builder::var(Val initial) {
  if (initial.is_literal()) {
    initial = materialize(initial, initial.is_integer_literal() ? Kind::kU32 : Kind::kF32);
  }
  const Val v = emit(Op::kVar, initial.type(), {initial});
  return Var(this, v.id(), v.type());
}

Val Builder::open_for(Val lo, Val hi, Val step, uint32_t unroll) {
  const Val v = emit(
      Op::kFor, kU32,
      {materialize(lo, Kind::kU32), materialize(hi, Kind::kU32), materialize(step, Kind::kU32)},
      unroll);
  open_scope();
  return v;
}

void Builder::close_for() {
  close_scope();
  emit(Op::kEndFor, kNoType);
}

void Builder::open_if(Val condition) {
  emit(Op::kIf, kNoType, {materialize(condition, Kind::kBool)});
  open_scope();
}

void Builder::open_else() {
  close_scope();
  emit(Op::kElse, kNoType);
  open_scope();
}

void Builder::close_if() {
  close_scope();
  emit(Op::kEndIf, kNoType);
}

void Builder::loop(Val lo, Val hi, Val step, const std::function<void(Val)>& body,
                   uint32_t unroll) {
  lo = materialize(lo, Kind::kU32);
  hi = materialize(hi, Kind::kU32);
  step = materialize(step, Kind::kU32);
  uint32_t l, h, s;
  if (constant_bits(lo, &l) && constant_bits(hi, &h) && constant_bits(step, &s) && s != 0) {
    if (l >= h) return;
    if (h - l <= s) return body(lo);
  }
  body(open_for(lo, hi, step, unroll));
  close_for();
}

void Builder::when(Val condition, const std::function<void()>& body) {
  when(condition, body, nullptr);
}

void Builder::when(Val condition, const std::function<void()>& body,
                   const std::function<void()>& other) {
  condition = materialize(condition, Kind::kBool);
  uint32_t known;
  if (constant_bits(condition, &known)) {
    if (known != 0) body();
    if (known == 0 && other) other();
    return;
  }
  open_if(condition);
  body();
  if (other) {
    open_else();
    other();
  }
  close_if();
}

void Builder::barrier(bool global) {
  emit(Op::kBarrier, kNoType, {}, global ? kBarrierShared | kBarrierGlobal : kBarrierShared);
}

Val Builder::reduce(ReduceOp op, Val x, uint32_t width) {
  if (width == 1 || x.is_literal()) return x;
  return emit(Op::kGroupReduce, x.type(), {x}, width | static_cast<uint64_t>(op) << 32);
}

Val Builder::fill_fragment(Val v, uint32_t width) {
  return emit(Op::kFragFill, fragment_type(Kind::kFragSum, width), {materialize(v, Kind::kF32)});
}

Result<Kernel> Builder::finish() {
  BP_TRY(std::move(error_));
  Kernel kernel = drop_unused(std::move(kernel_));
  BP_TRY(verify(kernel));
  return kernel;
}

Val Var::get() const {
  return builder_->emit(Op::kGet, type_, {Val(builder_, id_, type_)});
}

void Var::set(Val v) const {
  builder_->emit(Op::kAssign, kNoType,
                 {Val(builder_, id_, type_), builder_->materialize(v, type_.kind)});
}

Val Buf::words(Val index, uint32_t width) const {
  return builder_->emit(Op::kLoad, {Kind::kU32, static_cast<uint8_t>(width)},
                        {builder_->materialize(index, Kind::kU32)}, index_);
}

Val Buf::f16(Val index) const {
  index = builder_->materialize(index, Kind::kU32);
  return unpack_f16x2(u32(index >> 1) >> ((index & 1) << 4))[0];
}

void Buf::store(Val index, Val v) const {
  if (v.is_literal())
    v = builder_->materialize(v, v.is_integer_literal() ? Kind::kU32 : Kind::kF32);
  builder_->emit(Op::kStore, kNoType, {builder_->materialize(index, Kind::kU32), as_u32(v)},
                 index_);
}

Val Buf::atomic_add(Val index, Val v) const {
  v = builder_->materialize(v, Kind::kU32);
  return builder_->emit(Op::kAtomicAdd, v.type(), {builder_->materialize(index, Kind::kU32), v},
                        index_);
}

Val Shared::load(Val index) const {
  return builder_->emit(Op::kLoadShared, element_, {builder_->materialize(index, Kind::kU32)},
                        index_);
}

Val Shared::load_fragment(Val index, Val stride, uint32_t width) const {
  return builder_->emit(
      Op::kFragLoad, fragment_type(Kind::kFragIn, width),
      {builder_->materialize(index, Kind::kU32), builder_->materialize(stride, Kind::kU32)},
      index_);
}

void Shared::store_fragment(Val index, Val stride, Val sum) const {
  builder_->emit(
      Op::kFragStore, kNoType,
      {builder_->materialize(index, Kind::kU32), builder_->materialize(stride, Kind::kU32), sum},
      index_);
}

void Shared::store(Val index, Val v) const {
  builder_->emit(
      Op::kStoreShared, kNoType,
      {builder_->materialize(index, Kind::kU32), builder_->materialize(v, element_.kind)}, index_);
}

}  // namespace bp::kernels
