// SPDX-License-Identifier: Apache-2.0
// What each pure scalar operation computes, on 32-bit patterns. The builder folds constants with
// this and the interpreter executes with it, so both mean the same.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/ir/ir.h"

namespace bp::kernels {

inline float float_of(uint32_t bits) noexcept {
  return std::bit_cast<float>(bits);
}
inline uint32_t bits_of(float value) noexcept {
  return std::bit_cast<uint32_t>(value);
}
inline int32_t int_of(uint32_t bits) noexcept {
  return static_cast<int32_t>(bits);
}

// Value of a cast as devices agree on it; false where they do not (out of range, NaN).
inline bool evaluate_cast(Kind from, Kind to, uint32_t a, uint32_t* out) noexcept {
  if (to == Kind::kF32) {
    *out = from == Kind::kI32   ? bits_of(static_cast<float>(int_of(a)))
           : from == Kind::kF32 ? a
                                : bits_of(static_cast<float>(a));
    return true;
  }
  if (from == Kind::kF32) {
    const float v = std::trunc(float_of(a));
    const bool fits = to == Kind::kI32 ? v >= -2147483648.0f && v < 2147483648.0f
                                       : v >= 0.0f && v < 4294967296.0f;
    if (!fits) return false;
    *out = to == Kind::kI32 ? static_cast<uint32_t>(static_cast<int32_t>(v))
                            : static_cast<uint32_t>(v);
    return true;
  }
  *out = to == Kind::kBool ? static_cast<uint32_t>(a != 0) : a;
  return true;
}

inline bool evaluate_f32(Op op, float a, float b, float c, uint32_t* out) noexcept {
  switch (op) {
    case Op::kNeg:
      *out = bits_of(a) ^ 0x80000000u;
      return true;
    case Op::kAbs:
      *out = bits_of(a) & 0x7fffffffu;
      return true;
    case Op::kFloor:
      *out = bits_of(std::floor(a));
      return true;
    case Op::kRint:
      *out = bits_of(std::nearbyint(a));
      return true;
    case Op::kExp2:
      *out = bits_of(std::exp2(a));
      return true;
    case Op::kLog2:
      *out = bits_of(std::log2(a));
      return true;
    case Op::kSqrt:
      *out = bits_of(std::sqrt(a));
      return true;
    case Op::kRsqrt:
      *out = bits_of(1.0f / std::sqrt(a));
      return true;
    case Op::kRcp:
      *out = bits_of(1.0f / a);
      return true;
    case Op::kAdd:
      *out = bits_of(a + b);
      return true;
    case Op::kSub:
      *out = bits_of(a - b);
      return true;
    case Op::kMul:
      *out = bits_of(a * b);
      return true;
    case Op::kDiv:
      *out = bits_of(a / b);
      return true;
    case Op::kMin:
      *out = bits_of(b < a ? b : a);
      return true;
    case Op::kMax:
      *out = bits_of(a < b ? b : a);
      return true;
    case Op::kFma:
      *out = bits_of(std::fma(a, b, c));
      return true;
    case Op::kEq:
      *out = a == b;
      return true;
    case Op::kNe:
      *out = a != b;
      return true;
    case Op::kLt:
      *out = a < b;
      return true;
    case Op::kLe:
      *out = a <= b;
      return true;
    case Op::kGt:
      *out = a > b;
      return true;
    case Op::kGe:
      *out = a >= b;
      return true;
    default:
      return false;
  }
}

inline bool evaluate_integer(Op op, bool is_signed, uint32_t a, uint32_t b, uint32_t c,
                             uint32_t* out) noexcept {
  const int64_t sa = is_signed ? int64_t{int_of(a)} : int64_t{a};
  const int64_t sb = is_signed ? int64_t{int_of(b)} : int64_t{b};
  switch (op) {
    case Op::kNeg:
      *out = 0u - a;
      return true;
    case Op::kNot:
      *out = ~a;
      return true;
    case Op::kAbs:
      *out = sa < 0 ? 0u - a : a;
      return true;
    case Op::kAdd:
      *out = a + b;
      return true;
    case Op::kSub:
      *out = a - b;
      return true;
    case Op::kMul:
      *out = a * b;
      return true;
    case Op::kDiv:
      if (sb == 0) return false;
      *out = static_cast<uint32_t>(sa / sb);
      return true;
    case Op::kMod:
      if (sb == 0) return false;
      *out = static_cast<uint32_t>(sa % sb);
      return true;
    case Op::kMin:
      *out = sb < sa ? b : a;
      return true;
    case Op::kMax:
      *out = sa < sb ? b : a;
      return true;
    case Op::kAnd:
      *out = a & b;
      return true;
    case Op::kOr:
      *out = a | b;
      return true;
    case Op::kXor:
      *out = a ^ b;
      return true;
    case Op::kShl:
      if (b > 31) return false;
      *out = a << b;
      return true;
    case Op::kShr:
      if (b > 31) return false;
      *out = is_signed ? static_cast<uint32_t>(int_of(a) >> b) : a >> b;
      return true;
    case Op::kEq:
      *out = a == b;
      return true;
    case Op::kNe:
      *out = a != b;
      return true;
    case Op::kLt:
      *out = sa < sb;
      return true;
    case Op::kLe:
      *out = sa <= sb;
      return true;
    case Op::kGt:
      *out = sa > sb;
      return true;
    case Op::kGe:
      *out = sa >= sb;
      return true;
    case Op::kFma:
      *out = a * b + c;
      return true;
    default:
      return false;
  }
}

// Four signed bytes of a times those of b, plus c; wraps like the hardware.
inline uint32_t evaluate_dot4(uint32_t a, uint32_t b, uint32_t c) noexcept {
  int64_t sum = int_of(c);
  for (uint32_t shift = 0; shift < 32; shift += 8) {
    sum += int64_t{static_cast<int8_t>(a >> shift)} * static_cast<int8_t>(b >> shift);
  }
  return static_cast<uint32_t>(static_cast<uint64_t>(sum));
}

// `kind` is that of the operands. False: the operation has no value there (division by zero, a
// shift by more than 31, an operation that this kind lacks).
inline bool evaluate(Op op, Kind kind, uint32_t a, uint32_t b, uint32_t c, uint32_t* out) noexcept {
  if (kind == Kind::kF32) return evaluate_f32(op, float_of(a), float_of(b), float_of(c), out);
  if (kind == Kind::kBool && op == Op::kNot) {
    *out = a ^ 1u;
    return true;
  }
  return evaluate_integer(op, kind == Kind::kI32, a, b, c, out);
}

}  // namespace bp::kernels
