// SPDX-License-Identifier: Apache-2.0
// Val: a value of a kernel under construction, with the arithmetic that kernels are written in.
//
// A Val is a handle of a few bytes into its Builder, or a literal that becomes a constant of the
// other operand's kind. Vectors (2 or 4 lanes) work element by element: `a * b` on f32x4 emits four
// scalar products. Mistakes (kinds that do not match, a value used outside its block) are kept by
// the Builder and come out of finish(); no operation here fails on its own. Indices are u32.
#pragma once

#include <concepts>
#include <initializer_list>
#include <vector>

#include "kernels/ir/ir.h"

namespace bp::kernels {

class Builder;

class Val {
 public:
  Val() = default;
  // Literals. NOLINTBEGIN(google-explicit-constructor): `x * 2` is what kernels look like
  template <std::integral T>
  Val(T literal) : literal_(static_cast<double>(literal)), is_integer_(true) {}
  template <std::floating_point T>
  Val(T literal) : literal_(static_cast<double>(literal)), type_(kF32) {}
  // NOLINTEND(google-explicit-constructor)
  Val(Builder* builder, ValueId id, Type type) : builder_(builder), id_(id), type_(type) {}

  bool is_literal() const { return builder_ == nullptr; }
  bool is_integer_literal() const { return is_literal() && is_integer_; }
  double literal() const { return literal_; }
  Builder* builder() const { return builder_; }
  ValueId id() const { return id_; }
  Type type() const { return type_; }
  uint32_t lanes() const { return type_.lanes; }
  // One lane of a vector; of a scalar, itself.
  Val operator[](uint32_t lane) const;

 private:
  Builder* builder_ = nullptr;
  double literal_ = 0;
  ValueId id_ = kNoValue;
  Type type_;
  bool is_integer_ = false;
};

// Element-wise; a scalar meets every lane of a vector.
Val apply(Op op, Val a);
Val apply(Op op, Val a, Val b);
Val apply(Op op, Val a, Val b, Val c);

inline Val operator+(Val a, Val b) {
  return apply(Op::kAdd, a, b);
}
inline Val operator-(Val a, Val b) {
  return apply(Op::kSub, a, b);
}
inline Val operator*(Val a, Val b) {
  return apply(Op::kMul, a, b);
}
inline Val operator/(Val a, Val b) {
  return apply(Op::kDiv, a, b);
}
inline Val operator%(Val a, Val b) {
  return apply(Op::kMod, a, b);
}
inline Val operator&(Val a, Val b) {
  return apply(Op::kAnd, a, b);
}
inline Val operator|(Val a, Val b) {
  return apply(Op::kOr, a, b);
}
inline Val operator^(Val a, Val b) {
  return apply(Op::kXor, a, b);
}
inline Val operator<<(Val a, Val b) {
  return apply(Op::kShl, a, b);
}
inline Val operator>>(Val a, Val b) {
  return apply(Op::kShr, a, b);
}
inline Val operator==(Val a, Val b) {
  return apply(Op::kEq, a, b);
}
inline Val operator!=(Val a, Val b) {
  return apply(Op::kNe, a, b);
}
inline Val operator<(Val a, Val b) {
  return apply(Op::kLt, a, b);
}
inline Val operator<=(Val a, Val b) {
  return apply(Op::kLe, a, b);
}
inline Val operator>(Val a, Val b) {
  return apply(Op::kGt, a, b);
}
inline Val operator>=(Val a, Val b) {
  return apply(Op::kGe, a, b);
}
inline Val operator-(Val a) {
  return apply(Op::kNeg, a);
}
inline Val operator~(Val a) {
  return apply(Op::kNot, a);
}
inline Val min(Val a, Val b) {
  return apply(Op::kMin, a, b);
}
inline Val max(Val a, Val b) {
  return apply(Op::kMax, a, b);
}
inline Val fma(Val a, Val b, Val c) {
  return apply(Op::kFma, a, b, c);
}
inline Val abs(Val a) {
  return apply(Op::kAbs, a);
}
inline Val floor(Val a) {
  return apply(Op::kFloor, a);
}
inline Val rint(Val a) {
  return apply(Op::kRint, a);
}
inline Val exp2(Val a) {
  return apply(Op::kExp2, a);
}
inline Val log2(Val a) {
  return apply(Op::kLog2, a);
}
inline Val sqrt(Val a) {
  return apply(Op::kSqrt, a);
}
inline Val rsqrt(Val a) {
  return apply(Op::kRsqrt, a);
}
inline Val rcp(Val a) {
  return apply(Op::kRcp, a);
}

Val select(Val condition, Val if_true, Val if_false);
Val cast(Val a, Kind kind);     // by value, element-wise
Val bitcast(Val a, Kind kind);  // by pattern, element-wise
inline Val to_f32(Val a) {
  return cast(a, Kind::kF32);
}
inline Val to_i32(Val a) {
  return cast(a, Kind::kI32);
}
inline Val to_u32(Val a) {
  return cast(a, Kind::kU32);
}
inline Val as_f32(Val a) {
  return bitcast(a, Kind::kF32);
}
inline Val as_i32(Val a) {
  return bitcast(a, Kind::kI32);
}
inline Val as_u32(Val a) {
  return bitcast(a, Kind::kU32);
}

// A vector of 2 or 4 scalars of one kind.
Val make_vec(std::initializer_list<Val> lanes);
Val make_vec(const std::vector<Val>& lanes);
// Lanes added up, pairwise.
Val sum_lanes(Val a);
// acc + Σ a[i]·b[i] over the lanes, by fused multiply-adds in lane order.
Val dot(Val a, Val b, Val acc);

// u32 with two halves -> f32x2, low half first; exact.
Val unpack_f16x2(Val word);
// f32, f32 -> u32 with two halves, to nearest even.
Val pack_f16x2(Val low, Val high);
// u32 with two bfloat16 -> f32x2, low half first; exact, by shifts.
Val unpack_bf16x2(Val word);
// f32, f32 -> u32 with two bfloat16, to nearest even; NaN stays NaN.
Val pack_bf16x2(Val low, Val high);
// acc (i32) + Σ of the four signed byte products of two u32.
Val dot4(Val a, Val b, Val acc);
// Byte `index` (0…3) of a u32 as a signed i32.
Val signed_byte(Val word, uint32_t index);
// The low bytes of four i32 in one u32, first in the lowest byte.
Val pack_i8x4(Val a, Val b, Val c, Val d);

}  // namespace bp::kernels
