// SPDX-License-Identifier: Apache-2.0
// Builder: how kernels are written.
//
// C++ `for` and `if` run while the kernel is built (unrolling, specialisation); loop() and when()
// become control of the kernel. Kernels are functions, so fusing is passing a function:
//
//   Builder k("scale", 256);
//   Buf x = k.in("x"), y = k.out("y");
//   Val i = k.group_x() * 256 + k.tid();
//   k.when(i < k.param_u32("n"), [&] { y.store(i, x.f32(i) * 2.0f); });
//   Result<Kernel> kernel = k.finish();   // verified: types, scopes, uniformity, limits
//
// Constants fold and equal pure values are shared while they are emitted; finish() drops what
// nothing uses. The first mistake is kept and returned by finish(); until then building goes on
// with harmless values. Thread-compatible. Val, Var, Buf and Shared point into their Builder,
// which must outlive them and cannot be moved.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/builder/value.h"
#include "kernels/ir/ir.h"

namespace bp::kernels {

// A variable: the only thing that changes. Reading takes its value at that point.
class Var {
 public:
  Var() = default;
  Var(Builder* builder, ValueId id, Type type) : builder_(builder), id_(id), type_(type) {}
  Val get() const;
  void set(Val value) const;
  // NOLINTNEXTLINE(google-explicit-constructor): a variable stands for its value
  operator Val() const { return get(); }
  void operator+=(Val value) const { set(get() + value); }

 private:
  Builder* builder_ = nullptr;
  ValueId id_ = kNoValue;
  Type type_;
};

// A buffer argument: 32-bit words. `index` counts accesses of the width of the call.
class Buf {
 public:
  Buf() = default;
  Buf(Builder* builder, uint32_t index) : builder_(builder), index_(index) {}
  Val words(Val index, uint32_t width) const;  // u32, u32x2 or u32x4
  Val u32(Val index) const { return words(index, 1); }
  Val u32x2(Val index) const { return words(index, 2); }
  Val u32x4(Val index) const { return words(index, 4); }
  Val i32(Val index) const { return as_i32(words(index, 1)); }
  Val f32(Val index) const { return as_f32(words(index, 1)); }
  Val f32x2(Val index) const { return as_f32(words(index, 2)); }
  Val f32x4(Val index) const { return as_f32(words(index, 4)); }
  // Element `index` of an array of 16-bit halves; loads the word that holds it.
  Val f16(Val index) const;
  // Any kind but bool; 1, 2 or 4 lanes.
  void store(Val index, Val value) const;
  // Adds u32 or i32 to a word; the word's value before.
  Val atomic_add(Val index, Val value) const;
  bool valid() const { return builder_ != nullptr; }

 private:
  Builder* builder_ = nullptr;
  uint32_t index_ = 0;
};

// An array in shared memory with one element type.
class Shared {
 public:
  Shared() = default;
  Shared(Builder* builder, uint32_t index, Type element)
      : builder_(builder), index_(index), element_(element) {}
  Val load(Val index) const;
  void store(Val index, Val value) const;
  // Fragments of `width` consecutive threads (16, 32 or 64); see ir.h. Index and stride count
  // elements of the array and are the same for all these threads.
  Val load_fragment(Val index, Val stride, uint32_t width) const;
  void store_fragment(Val index, Val stride, Val sum) const;

 private:
  Builder* builder_ = nullptr;
  uint32_t index_ = 0;
  Type element_;
};

class Builder {
 public:
  Builder(std::string_view name, uint32_t threads);
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  Buf in(std::string_view name) { return buffer(name, Access::kRead); }
  Buf weights(std::string_view name) { return buffer(name, Access::kRead, true); }
  Buf out(std::string_view name) { return buffer(name, Access::kWrite); }
  Buf in_out(std::string_view name) { return buffer(name, Access::kReadWrite); }
  Val param_u32(std::string_view name) { return param(name, Kind::kU32); }
  Val param_f32(std::string_view name) { return param(name, Kind::kF32); }
  Shared shared(std::string_view name, Type element, uint32_t count);

  Val constant(Kind kind, uint32_t bits);
  Val tid() { return emit(Op::kTid, kU32); }
  Val group_x() { return emit(Op::kGroupX, kU32); }
  Val group_y() { return emit(Op::kGroupY, kU32); }
  uint32_t threads() const { return kernel_.threads; }
  void is_bound_by_loads() { kernel_.bound_by_loads = true; }  // see ir.h
  // Variable with an initial value of one lane.
  Var var(Val initial);

  // for (v = lo; v < hi; v += step) body(v). A trip count known to be 0 or 1 emits no loop.
  void loop(Val lo, Val hi, Val step, const std::function<void(Val)>& body, uint32_t unroll = 1);
  void when(Val condition, const std::function<void()>& body);
  void when(Val condition, const std::function<void()>& body, const std::function<void()>& other);

  // All threads of the group meet; shared memory (and with `global` buffers) written before is
  // visible after.
  void barrier(bool global = false);
  // The same with `global`, and an order between groups (kBarrierRelease and kBarrierAcquire).
  void release_barrier() { meet(kBarrierShared | kBarrierGlobal | kBarrierRelease); }
  void acquire_barrier() { meet(kBarrierShared | kBarrierGlobal | kBarrierAcquire); }
  // Combines x over each run of `width` consecutive threads (a power of two that divides the
  // group); all of them receive the result. Bit-identical on every device: always the same tree.
  Val reduce(ReduceOp op, Val x, uint32_t width);
  Val sum(Val x, uint32_t width) { return reduce(ReduceOp::kAdd, x, width); }
  Val max_of(Val x, uint32_t width) { return reduce(ReduceOp::kMax, x, width); }
  Val min_of(Val x, uint32_t width) { return reduce(ReduceOp::kMin, x, width); }

  // A fragment of sums, all of them `value`, and sum + a × bᵀ.
  Val fill_fragment(Val value, uint32_t width);
  Val multiply(Val a, Val b, Val sum) { return emit(Op::kMma, sum.type(), {a, b, sum}); }

  // Drops what is unused and verifies. The builder is spent afterwards.
  Result<Kernel> finish();

  // For passes that re-emit a kernel, and for value.h.
  Val emit(Op op, Type type, std::initializer_list<Val> args = {}, uint64_t imm = 0);
  Val materialize(Val value, Kind kind);  // a literal becomes a constant
  Val open_for(Val lo, Val hi, Val step, uint32_t unroll);
  void close_for();
  void open_if(Val condition);
  void open_else();
  void close_if();
  Buf buffer(std::string_view name, Access access, bool constant = false);
  Val param(std::string_view name, Kind kind);
  void fail(Status why);
  bool failed() const { return !error_.ok(); }
  void set_subgroup_size(uint32_t size) { kernel_.subgroup_size = size; }
  bool constant_bits(Val value, uint32_t* bits) const;

 private:
  struct KeyHash {
    size_t operator()(const Inst& inst) const noexcept;
  };
  struct KeyEqual {
    bool operator()(const Inst& a, const Inst& b) const noexcept;
  };
  void meet(uint64_t flags) { emit(Op::kBarrier, kNoType, {}, flags); }
  Val push(const Inst& inst);
  bool fold(Inst* inst, Val* out);
  bool fold_identity(const Inst& inst, Val* out);
  bool fold_constant(const Inst& inst, Val* out);
  bool constant_of(ValueId id, uint32_t* bits) const;
  Val value(ValueId id) { return Val(this, id, kernel_.insts[id].type); }
  void open_scope() { scopes_.emplace_back(); }
  void close_scope();

  Kernel kernel_;
  Status error_;
  std::unordered_map<Inst, ValueId, KeyHash, KeyEqual> known_;  // pure values in sight
  std::vector<std::vector<Inst>> scopes_;                       // keys to forget at each close
};

}  // namespace bp::kernels
