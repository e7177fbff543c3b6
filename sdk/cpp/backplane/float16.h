// SPDX-License-Identifier: Apache-2.0
// IEEE binary16 (f16) and bfloat16 (bf16) to and from binary32, on bit patterns.
//
// Widening is exact. Narrowing rounds to nearest, ties to even, independent of the rounding mode
// and of flush-to-zero settings of the calling thread: only integer arithmetic is used. Too large
// values become infinity, NaN stays NaN (quiet). Scalar and header-only; any thread.
#pragma once

#include <bit>
#include <cstdint>

namespace bp {

// The value of an f16 pattern. Exact, subnormals included; payload bits of NaN are kept.
inline float f16_to_f32(uint16_t half) noexcept {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7fffu;
  uint32_t bits;
  if (magnitude >= 0x7c00u) {
    bits = 0x7f800000u | (magnitude & 0x3ffu) << 13;  // infinity or NaN
  } else if (magnitude >= 0x0400u) {
    bits = (magnitude << 13) + ((127u - 15u) << 23);
  } else {
    // Subnormal: an integer count of 2^-24, and both factors are normal in f32.
    bits = std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f);
  }
  return std::bit_cast<float>(sign | bits);
}

// The f16 pattern nearest to `value`.
inline uint16_t f32_to_f16(float value) noexcept {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  uint32_t half;
  if (magnitude >= 0x47800000u) {  // at least 2^16: infinity, or NaN
    half = magnitude > 0x7f800000u ? 0x7e00u | (magnitude >> 13 & 0x3ffu) : 0x7c00u;
  } else if (magnitude >=
             0x38800000u) {  // at least 2^-14: normal; a carry into the exponent is right
    half = (magnitude - ((127u - 15u) << 23) + 0x0fffu + (magnitude >> 13 & 1u)) >> 13;
  } else if (magnitude > 0x33000000u) {  // more than 2^-25, half the smallest subnormal
    const uint32_t shift = 126u - (magnitude >> 23);  // 14 … 24
    const uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    half = (mantissa + (1u << (shift - 1)) - 1u + (mantissa >> shift & 1u)) >> shift;
  } else {
    half = 0;
  }
  return static_cast<uint16_t>(sign | half);
}

// The value of a bf16 pattern. Exact.
inline float bf16_to_f32(uint16_t brain) noexcept {
  return std::bit_cast<float>(static_cast<uint32_t>(brain) << 16);
}

// The bf16 pattern nearest to `value`.
inline uint16_t f32_to_bf16(float value) noexcept {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return static_cast<uint16_t>(bits >> 16 |
                                 0x0040u);  // quiet, so that no payload rounds to infinity
  }
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace bp
