// SPDX-License-Identifier: Apache-2.0
// How NEON reads each quantized format: 32 consecutive elements at a time as signed bytes in their
// natural order, with scale and offset of each half: value = scale × quant + offset. Include only
// from files compiled for ARMv8.2 with dot products.
#pragma once

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

namespace bp::cpu {
namespace {

struct Block {
  int8x16_t quants[2];
  float scale[2];
  float offset[2];
};
struct Row {
  const uint8_t* planes[4];
};

inline float load_half(const uint8_t* from) {
  float16_t half;
  memcpy(&half, from, 2);
  return half;
}
inline int8x16_t signed_bytes(uint8x16_t bytes, int8_t zero_point) {
  return vsubq_s8(vreinterpretq_s8_u8(bytes), vdupq_n_s8(zero_point));
}
inline uint8x16_t low_nibbles(uint8x16_t bytes) {
  return vandq_u8(bytes, vdupq_n_u8(15));
}
inline uint8x16_t high_nibbles(uint8x16_t bytes) {
  return vshrq_n_u8(bytes, 4);
}

inline Block uniform(uint8x16_t first, uint8x16_t second, int8_t zero_point, float scale,
                     float offset) {
  return {{signed_bytes(first, zero_point), signed_bytes(second, zero_point)},
          {scale, scale},
          {offset, offset}};
}

template <int8_t kZeroPoint, bool kHasMinimum>
struct Nibbles {
  static Block block(const Row& row, uint64_t b) {
    const uint8x16_t bytes = vld1q_u8(row.planes[0] + 16 * b);
    return uniform(low_nibbles(bytes), high_nibbles(bytes), kZeroPoint,
                   load_half(row.planes[1] + 2 * b),
                   kHasMinimum ? load_half(row.planes[2] + 2 * b) : 0.0f);
  }
};
using Q4G32 = Nibbles<8, false>;
using Q4G32Z = Nibbles<0, true>;

// 16 where the bit of the element is set, from 16 bits.
inline uint8x16_t fifth_bits(const uint8_t* bits) {
  const uint8x16_t spread = vcombine_u8(vdup_n_u8(bits[0]), vdup_n_u8(bits[1]));
  const uint8_t tests[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  return vandq_u8(vtstq_u8(spread, vld1q_u8(tests)), vdupq_n_u8(16));
}

template <int8_t kZeroPoint, bool kHasMinimum>
struct FiveBits {
  static Block block(const Row& row, uint64_t b) {
    const uint8x16_t bytes = vld1q_u8(row.planes[0] + 16 * b);
    const uint8_t* const high = row.planes[1] + 4 * b;
    return uniform(vorrq_u8(low_nibbles(bytes), fifth_bits(high)),
                   vorrq_u8(high_nibbles(bytes), fifth_bits(high + 2)), kZeroPoint,
                   load_half(row.planes[2] + 2 * b),
                   kHasMinimum ? load_half(row.planes[3] + 2 * b) : 0.0f);
  }
};
using Q5G32 = FiveBits<16, false>;
using Q5G32Z = FiveBits<0, true>;

struct Iq4Nl {
  static Block block(const Row& row, uint64_t b) {
    const int8_t levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                               1,    13,   25,  38,  53,  69,  89,  113};
    const int8x16_t table = vld1q_s8(levels);
    const uint8x16_t bytes = vld1q_u8(row.planes[0] + 16 * b);
    const float scale = load_half(row.planes[1] + 2 * b);
    return {{vqtbl1q_s8(table, low_nibbles(bytes)), vqtbl1q_s8(table, high_nibbles(bytes))},
            {scale, scale},
            {0, 0}};
  }
};

struct Mxfp4 {
  static Block block(const Row& row, uint64_t b) {
    const int8_t levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    const int8x16_t table = vld1q_s8(levels);
    const uint8x16_t bytes = vld1q_u8(row.planes[0] + 16 * b);
    const uint32_t exponent = row.planes[1][b];
    const uint32_t bits = exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23;
    float scale;
    memcpy(&scale, &bits, 4);
    return {{vqtbl1q_s8(table, low_nibbles(bytes)), vqtbl1q_s8(table, high_nibbles(bytes))},
            {scale, scale},
            {0, 0}};
  }
};

struct Q8G32 {
  static Block block(const Row& row, uint64_t b) {
    const float scale = load_half(row.planes[1] + 2 * b);
    const int8_t* const quants = reinterpret_cast<const int8_t*>(row.planes[0] + 32 * b);
    return {{vld1q_s8(quants), vld1q_s8(quants + 16)}, {scale, scale}, {0, 0}};
  }
};

// Six-bit scale and minimum of sub-block j of q4_k and q5_k.
inline void scale_and_minimum(const uint8_t* packed, const uint8_t* super, uint64_t j, float* scale,
                              float* offset) {
  uint32_t s, m;
  if (j < 4) {
    s = packed[j] & 63u;
    m = packed[j + 4] & 63u;
  } else {
    s = (packed[j + 4] & 15u) | static_cast<uint32_t>(packed[j - 4] >> 6) << 4;
    m = static_cast<uint32_t>(packed[j + 4] >> 4) | static_cast<uint32_t>(packed[j] >> 6) << 4;
  }
  *scale = load_half(super) * static_cast<float>(s);
  *offset = -load_half(super + 2) * static_cast<float>(m);
}

struct Q4K {
  static Block block(const Row& row, uint64_t b) {
    const uint64_t super = b / 8;
    const uint64_t j = b % 8;
    const uint8_t* const quants = row.planes[0] + 128 * super + 32 * (j / 2);
    float scale, offset;
    scale_and_minimum(row.planes[1] + 12 * super, row.planes[2] + 4 * super, j, &scale, &offset);
    const uint8x16_t first = vld1q_u8(quants);
    const uint8x16_t second = vld1q_u8(quants + 16);
    return j % 2 == 0 ? uniform(low_nibbles(first), low_nibbles(second), 0, scale, offset)
                      : uniform(high_nibbles(first), high_nibbles(second), 0, scale, offset);
  }
};

struct Q5K {
  static Block block(const Row& row, uint64_t b) {
    const uint64_t super = b / 8;
    const uint64_t j = b % 8;
    const uint8_t* const quants = row.planes[0] + 128 * super + 32 * (j / 2);
    const uint8_t* const high = row.planes[1] + 32 * super;
    float scale, offset;
    scale_and_minimum(row.planes[2] + 12 * super, row.planes[3] + 4 * super, j, &scale, &offset);
    const uint8x16_t test = vdupq_n_u8(static_cast<uint8_t>(1u << j));
    const auto with_bit = [&](uint8x16_t low, const uint8_t* bits) {
      return vorrq_u8(low, vandq_u8(vtstq_u8(vld1q_u8(bits), test), vdupq_n_u8(16)));
    };
    const uint8x16_t first = vld1q_u8(quants);
    const uint8x16_t second = vld1q_u8(quants + 16);
    return uniform(with_bit(j % 2 == 0 ? low_nibbles(first) : high_nibbles(first), high),
                   with_bit(j % 2 == 0 ? low_nibbles(second) : high_nibbles(second), high + 16), 0,
                   scale, offset);
  }
};

struct Q6K {
  static Block block(const Row& row, uint64_t b) {
    const uint64_t super = b / 8;
    const uint64_t j = b % 8;
    const uint8_t* const quants = row.planes[0] + 128 * super + 64 * (j / 4) + 32 * (j % 2);
    const uint8_t* const high = row.planes[1] + 64 * super + 32 * (j / 4);
    const int8x16_t shift = vdupq_n_s8(static_cast<int8_t>(-2 * static_cast<int>(j % 4)));
    const auto combine = [&](const uint8_t* low, const uint8_t* bits) {
      const uint8x16_t bytes = vld1q_u8(low);
      const uint8x16_t nibbles = j % 4 < 2 ? low_nibbles(bytes) : high_nibbles(bytes);
      const uint8x16_t two = vandq_u8(vshlq_u8(vld1q_u8(bits), shift), vdupq_n_u8(3));
      return vorrq_u8(nibbles, vshlq_n_u8(two, 4));
    };
    const float d = load_half(row.planes[3] + 2 * super);
    const int8_t* const scales = reinterpret_cast<const int8_t*>(row.planes[2] + 16 * super);
    return {{signed_bytes(combine(quants, high), 32),
             signed_bytes(combine(quants + 16, high + 16), 32)},
            {d * static_cast<float>(scales[2 * j]), d * static_cast<float>(scales[2 * j + 1])},
            {0, 0}};
  }
};

// Two bits of sub-block pair j: byte i % 32 of its half, at bit 2 (j % 4).
inline uint8x16_t crumbs(const uint8_t* from, uint64_t j) {
  const int8x16_t shift = vdupq_n_s8(static_cast<int8_t>(-2 * static_cast<int>(j % 4)));
  return vandq_u8(vshlq_u8(vld1q_u8(from), shift), vdupq_n_u8(3));
}

struct Q2K {
  static Block block(const Row& row, uint64_t b) {
    const uint64_t super = b / 8;
    const uint64_t j = b % 8;
    const uint8_t* const quants = row.planes[0] + 64 * super + 32 * (j / 4);
    const uint8_t* const packed = row.planes[1] + 16 * super + 2 * j;
    const float d = load_half(row.planes[2] + 4 * super);
    const float d_minimum = -load_half(row.planes[2] + 4 * super + 2);
    return {{vreinterpretq_s8_u8(crumbs(quants, j)), vreinterpretq_s8_u8(crumbs(quants + 16, j))},
            {d * static_cast<float>(packed[0] & 15), d * static_cast<float>(packed[1] & 15)},
            {d_minimum * static_cast<float>(packed[0] >> 4),
             d_minimum * static_cast<float>(packed[1] >> 4)}};
  }
};

struct Q3K {
  static Block block(const Row& row, uint64_t b) {
    const uint64_t super = b / 8;
    const uint64_t j = b % 8;
    const uint8_t* const quants = row.planes[0] + 64 * super + 32 * (j / 4);
    const uint8_t* const high = row.planes[1] + 32 * super;
    const uint8_t* const packed = row.planes[2] + 12 * super;
    const float d = load_half(row.planes[3] + 2 * super);
    const uint8x16_t test = vdupq_n_u8(static_cast<uint8_t>(1u << j));
    const auto combine = [&](const uint8_t* low, const uint8_t* bits) {
      const uint8x16_t third = vandq_u8(vtstq_u8(vld1q_u8(bits), test), vdupq_n_u8(4));
      return signed_bytes(vorrq_u8(crumbs(low, j), third), 4);
    };
    const auto scale = [&](uint64_t s) {
      const int low = packed[s % 8] >> (s / 8 * 4) & 15;
      const int upper = packed[8 + s % 4] >> (s / 4 * 2) & 3;
      return d * static_cast<float>((low | upper << 4) - 32);
    };
    return {{combine(quants, high), combine(quants + 16, high + 16)},
            {scale(2 * j), scale(2 * j + 1)},
            {0, 0}};
  }
};

}  // namespace
}  // namespace bp::cpu
