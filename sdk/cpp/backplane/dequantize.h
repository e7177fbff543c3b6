// SPDX-License-Identifier: Apache-2.0
// What the bytes of every weight format mean: the executable definition of docs/ops.md.
//
// Plain scalar code, for reference kernels, the compiler, conformance tests and readers; tuned
// kernels must agree with it. Header-only, no dependency beyond the standard library, no
// allocation; any thread.
//
// Every product below is exact in f32: an f16 scale has 11 significant bits, a sub-scale at most
// 7, a quant at most 6, together no more than 24. So fusing a multiplication with an addition, as
// compilers may, changes no result, and the values are the same bits everywhere. The layouts of
// the K formats are those of GGUF (ggml, ggml-common.h), their fields moved to separate planes.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backplane/float16.h"
#include "backplane/formats.h"

namespace bp {
namespace dequantize_internal {

inline uint32_t byte_at(const std::byte* p, uint64_t i) {
  return static_cast<uint32_t>(p[i]);
}

inline int32_t signed_byte_at(const std::byte* p, uint64_t i) {
  return static_cast<int8_t>(static_cast<uint8_t>(p[i]));
}

inline uint16_t u16_at(const std::byte* p, uint64_t i) {
  return static_cast<uint16_t>(byte_at(p, 2 * i) | byte_at(p, 2 * i + 1) << 8);
}

inline uint32_t u32_at(const std::byte* p, uint64_t i) {
  return static_cast<uint32_t>(u16_at(p, 2 * i)) | static_cast<uint32_t>(u16_at(p, 2 * i + 1))
                                                       << 16;
}

inline float half_at(const std::byte* p, uint64_t i) {
  return f16_to_f32(u16_at(p, i));
}

// The 4-bit number of element i of a group of 32: low nibbles first, then high ones.
inline uint32_t nibble(const std::byte* quants, uint32_t i) {
  return byte_at(quants, i % 16) >> (i / 16 * 4) & 15u;
}

inline constexpr int8_t kIq4NlLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                            1,    13,   25,  38,  53,  69,  89,  113};
// E2M1, doubled so that all are integers.
inline constexpr int8_t kE2m1Doubled[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                            0, -1, -2, -3, -4, -6, -8, -12};

// 2^(exponent - 128): half of the E8M0 scale, for the doubled levels above. 255, which the OCP
// specification calls NaN, counts as 2^128 here, as in GGUF.
inline float half_e8m0(uint32_t exponent) {
  const uint32_t bits = exponent < 2 ? 0x00200000u << exponent : (exponent - 1) << 23;
  return std::bit_cast<float>(bits);
}

// The 6-bit scale and minimum of sub-block j (0 … 7) of q4_k and q5_k, packed in 12 bytes.
struct ScaleMin {
  uint32_t scale, minimum;
};
inline ScaleMin scale_min(const std::byte* packed, uint32_t j) {
  if (j < 4) return {byte_at(packed, j) & 63u, byte_at(packed, j + 4) & 63u};
  const uint32_t low = byte_at(packed, j + 4);
  return {(low & 15u) | (byte_at(packed, j - 4) >> 6) << 4, low >> 4 | (byte_at(packed, j) >> 6)
                                                                           << 4};
}

// One block each. q quants, h high bits, s scales, m minima, u super-scales of that block.

inline void q8_g32(const std::byte* q, float d, float* out) {
  for (uint32_t i = 0; i < 32; ++i) out[i] = d * static_cast<float>(signed_byte_at(q, i));
}

inline void q4_g32(const std::byte* q, float d, float* out) {
  for (uint32_t i = 0; i < 32; ++i)
    out[i] = d * static_cast<float>(static_cast<int32_t>(nibble(q, i)) - 8);
}

inline void q4_g32z(const std::byte* q, float d, float m, float* out) {
  for (uint32_t i = 0; i < 32; ++i) out[i] = d * static_cast<float>(nibble(q, i)) + m;
}

inline void q5_g32(const std::byte* q, uint32_t high, float d, float* out) {
  for (uint32_t i = 0; i < 32; ++i) {
    const uint32_t value = nibble(q, i) | (high >> i & 1u) << 4;
    out[i] = d * static_cast<float>(static_cast<int32_t>(value) - 16);
  }
}

inline void q5_g32z(const std::byte* q, uint32_t high, float d, float m, float* out) {
  for (uint32_t i = 0; i < 32; ++i) {
    out[i] = d * static_cast<float>(nibble(q, i) | (high >> i & 1u) << 4) + m;
  }
}

inline void iq4_nl(const std::byte* q, float d, float* out) {
  for (uint32_t i = 0; i < 32; ++i) out[i] = d * static_cast<float>(kIq4NlLevels[nibble(q, i)]);
}

inline void mxfp4(const std::byte* q, uint32_t exponent, float* out) {
  const float d = half_e8m0(exponent);
  for (uint32_t i = 0; i < 32; ++i) out[i] = d * static_cast<float>(kE2m1Doubled[nibble(q, i)]);
}

// Sub-blocks of 16. Element i of a half (128) has its 2 bits in byte i % 32, at bit 2 · (i / 32).
inline void q2_k(const std::byte* q, const std::byte* s, const std::byte* u, float* out) {
  const float d = half_at(u, 0);
  const float dmin = half_at(u, 1);
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t packed = byte_at(s, i / 16);
    const uint32_t value = byte_at(q, i / 128 * 32 + i % 32) >> (i % 128 / 32 * 2) & 3u;
    const float scale = d * static_cast<float>(packed & 15u);
    const float minimum = dmin * static_cast<float>(packed >> 4);
    out[i] = scale * static_cast<float>(value) - minimum;
  }
}

// As q2_k, with a third bit: bit i / 32 of h[i % 32], which adds 4 to an offset of −4. Scales: 16
// of 6 bits less 32; low nibbles in bytes 0 … 7, upper pairs of bits in bytes 8 … 11.
inline void q3_k(const std::byte* q, const std::byte* h, const std::byte* s, const std::byte* u,
                 float* out) {
  const float d = half_at(u, 0);
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t j = i / 16;
    const uint32_t low = byte_at(s, j % 8) >> (j / 8 * 4) & 15u;
    const uint32_t high = byte_at(s, 8 + j % 4) >> (j / 4 * 2) & 3u;
    const float scale = d * static_cast<float>(static_cast<int32_t>(low | high << 4) - 32);
    const uint32_t bits = byte_at(q, i / 128 * 32 + i % 32) >> (i % 128 / 32 * 2) & 3u;
    const uint32_t third = byte_at(h, i % 32) >> (i / 32) & 1u;
    out[i] = scale * static_cast<float>(static_cast<int32_t>(bits | third << 2) - 4);
  }
}

// Sub-blocks of 32. Sub-blocks 2k and 2k + 1 share 32 bytes: low and high nibbles.
inline void q4_k(const std::byte* q, const std::byte* s, const std::byte* u, float* out) {
  const float d = half_at(u, 0);
  const float dmin = half_at(u, 1);
  for (uint32_t j = 0; j < 8; ++j) {
    const ScaleMin packed = scale_min(s, j);
    const float scale = d * static_cast<float>(packed.scale);
    const float minimum = dmin * static_cast<float>(packed.minimum);
    for (uint32_t i = 0; i < 32; ++i) {
      const uint32_t value = byte_at(q, j / 2 * 32 + i) >> (j % 2 * 4) & 15u;
      out[j * 32 + i] = scale * static_cast<float>(value) - minimum;
    }
  }
}

// As q4_k, with a fifth bit: bit j of h[i].
inline void q5_k(const std::byte* q, const std::byte* h, const std::byte* s, const std::byte* u,
                 float* out) {
  const float d = half_at(u, 0);
  const float dmin = half_at(u, 1);
  for (uint32_t j = 0; j < 8; ++j) {
    const ScaleMin packed = scale_min(s, j);
    const float scale = d * static_cast<float>(packed.scale);
    const float minimum = dmin * static_cast<float>(packed.minimum);
    for (uint32_t i = 0; i < 32; ++i) {
      const uint32_t low = byte_at(q, j / 2 * 32 + i) >> (j % 2 * 4) & 15u;
      const uint32_t value = low | (byte_at(h, i) >> j & 1u) << 4;
      out[j * 32 + i] = scale * static_cast<float>(value) - minimum;
    }
  }
}

// Halves of 128: element i has its low nibble in byte i % 64 (high nibbles from element 64 on) and
// its upper 2 bits in byte i % 32 at bit 2 · (i / 32). Sub-blocks of 16, signed 8-bit scales.
inline void q6_k(const std::byte* q, const std::byte* h, const std::byte* s, const std::byte* u,
                 float* out) {
  const float d = half_at(u, 0);
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t half = i / 128;
    const uint32_t e = i % 128;
    const uint32_t low = byte_at(q, half * 64 + e % 64) >> (e / 64 * 4) & 15u;
    const uint32_t high = byte_at(h, half * 32 + e % 32) >> (e / 32 * 2) & 3u;
    const float scale = d * static_cast<float>(signed_byte_at(s, i / 16));
    out[i] = scale * static_cast<float>(static_cast<int32_t>(low | high << 4) - 32);
  }
}

// A kernel of a blocked format takes the plane pointers of one block.
using Planes = const std::byte* const[4];

}  // namespace dequantize_internal

// Writes blocks [first_block, first_block + blocks) of a weight as f32 to `out`, which has room for
// blocks × block_elements values. planes[i] points to the first byte of plane i of the whole
// tensor (or of whatever block 0 is meant to be) and may have any alignment; pointers beyond
// plane_count are not read. Formats outside kWeightFormats leave `out` untouched.
inline void dequantize_blocks(const WeightFormat& format, const std::byte* const planes[4],
                              uint64_t first_block, uint64_t blocks, float* out) {
  namespace di = dequantize_internal;
  const std::string_view name = format.name;
  // Plane p of block b, for every block in turn.
  const auto for_each_block = [&](auto&& one_block) {
    for (uint64_t i = 0; i < blocks; ++i) {
      const std::byte* at[4] = {nullptr, nullptr, nullptr, nullptr};
      for (uint32_t p = 0; p < format.plane_count; ++p) {
        at[p] = planes[p] + (first_block + i) * format.planes[p].bytes_per_block;
      }
      one_block(at, out + i * format.block_elements);
    }
  };
  if (name == "f32") {
    std::memcpy(out, planes[0] + first_block * 4, blocks * 4);
  } else if (name == "f16") {
    for (uint64_t i = 0; i < blocks; ++i) out[i] = di::half_at(planes[0], first_block + i);
  } else if (name == "bf16") {
    for (uint64_t i = 0; i < blocks; ++i)
      out[i] = bf16_to_f32(di::u16_at(planes[0], first_block + i));
  } else if (name == "q8_g32") {
    for_each_block([](di::Planes p, float* y) { di::q8_g32(p[0], di::half_at(p[1], 0), y); });
  } else if (name == "q4_g32") {
    for_each_block([](di::Planes p, float* y) { di::q4_g32(p[0], di::half_at(p[1], 0), y); });
  } else if (name == "q4_g32z") {
    for_each_block([](di::Planes p, float* y) {
      di::q4_g32z(p[0], di::half_at(p[1], 0), di::half_at(p[2], 0), y);
    });
  } else if (name == "q5_g32") {
    for_each_block([](di::Planes p, float* y) {
      di::q5_g32(p[0], di::u32_at(p[1], 0), di::half_at(p[2], 0), y);
    });
  } else if (name == "q5_g32z") {
    for_each_block([](di::Planes p, float* y) {
      di::q5_g32z(p[0], di::u32_at(p[1], 0), di::half_at(p[2], 0), di::half_at(p[3], 0), y);
    });
  } else if (name == "q2_k") {
    for_each_block([](di::Planes p, float* y) { di::q2_k(p[0], p[1], p[2], y); });
  } else if (name == "q3_k") {
    for_each_block([](di::Planes p, float* y) { di::q3_k(p[0], p[1], p[2], p[3], y); });
  } else if (name == "q4_k") {
    for_each_block([](di::Planes p, float* y) { di::q4_k(p[0], p[1], p[2], y); });
  } else if (name == "q5_k") {
    for_each_block([](di::Planes p, float* y) { di::q5_k(p[0], p[1], p[2], p[3], y); });
  } else if (name == "q6_k") {
    for_each_block([](di::Planes p, float* y) { di::q6_k(p[0], p[1], p[2], p[3], y); });
  } else if (name == "iq4_nl") {
    for_each_block([](di::Planes p, float* y) { di::iq4_nl(p[0], di::half_at(p[1], 0), y); });
  } else if (name == "mxfp4") {
    for_each_block([](di::Planes p, float* y) { di::mxfp4(p[0], di::byte_at(p[1], 0), y); });
  }
}

}  // namespace bp
