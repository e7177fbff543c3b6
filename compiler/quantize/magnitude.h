// SPDX-License-Identifier: Apache-2.0
// Finds values that a format cannot hold.
#pragma once

#include <bit>
#include <cstdint>

namespace bp {

// Patterns of |x| as integers order like the values, infinity and NaN last.
inline constexpr int32_t kInfinityBits = 0x7f800000;
// The least magnitudes that round to infinity in f16 (65520) and in bf16.
inline constexpr int32_t kF16OverflowBits = 0x477ff000;
inline constexpr int32_t kBf16OverflowBits = 0x7f7f8000;

inline int32_t magnitude_bits(float value) noexcept {
  return static_cast<int32_t>(std::bit_cast<uint32_t>(value) & 0x7fffffffu);
}

// The largest magnitude pattern among `count` values, 0 for none. Vectorises.
inline int32_t largest_magnitude_bits(const float* values, uint64_t count) noexcept {
  int32_t largest = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const int32_t bits = magnitude_bits(values[i]);
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

}  // namespace bp
