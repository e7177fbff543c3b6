// SPDX-License-Identifier: Apache-2.0
// How AVX2 reads each quantized format: the frame of avx512_formats.h with vectors of 32 bytes and
// steps of 256 elements.
//
// load_pair(row, i) gives quants as vectors 2i and 2i + 1; unit(u, j) says which 16 consecutive
// elements of the step sit in half j of vector u. factors() writes scale and offset of the groups:
// value = scale × quant + offset. Quants are unsigned and small enough that two products with
// signed bytes fit 16 bits, or signed (kSigned) with offset 0. Steps are always whole: the last one
// of a row is copied into zeros first. Include only from files compiled for AVX2.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace bp::cpu {
namespace {

struct Pair {
  __m256i first;
  __m256i second;
};
struct Row {
  const uint8_t* planes[4];
};

inline __m256i load32(const uint8_t* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}
inline __m256 load_halves(const uint8_t* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline float load_half(const uint8_t* from) {
  uint16_t bits;
  memcpy(&bits, from, 2);
  return _cvtsh_ss(bits);
}
inline Pair split_nibbles(__m256i bytes) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(bytes, mask), _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask)};
}
inline void store_symmetric(__m256 scale, float zero_point, float* scales, float* offsets) {
  _mm256_store_ps(scales, scale);
  _mm256_store_ps(offsets, _mm256_mul_ps(scale, _mm256_set1_ps(-zero_point)));
}
inline __m256 widen_bytes(uint64_t bytes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<long long>(bytes))));
}
// 0xff for each byte of `bits` that has the bit of `test`.
inline __m256i has_bits(__m256i bits, __m256i test) {
  return _mm256_cmpeq_epi8(_mm256_and_si256(bits, test), test);
}

struct NibbleGroups {
  static constexpr uint32_t kGroup = 32;
  static constexpr bool kMerged = true;
  static constexpr bool kSigned = false;
  static constexpr uint32_t unit(uint32_t u, uint32_t j) { return 2 * (2 * (u / 2) + j) + u % 2; }
  static Pair nibbles(const Row& row, uint32_t i) {
    return split_nibbles(load32(row.planes[0] + 32 * i));
  }
};

struct Q4G32 : NibbleGroups {
  static constexpr uint32_t kPlanes = 2;
  static constexpr uint32_t kStepBytes[4] = {128, 16, 0, 0};
  static void factors(const Row& row, float* scales, float* offsets) {
    store_symmetric(load_halves(row.planes[1]), 8, scales, offsets);
  }
  static Pair load_pair(const Row& row, uint32_t i) { return nibbles(row, i); }
};

struct Q4G32Z : NibbleGroups {
  static constexpr uint32_t kPlanes = 3;
  static constexpr uint32_t kStepBytes[4] = {128, 16, 16, 0};
  static void factors(const Row& row, float* scales, float* offsets) {
    _mm256_store_ps(scales, load_halves(row.planes[1]));
    _mm256_store_ps(offsets, load_halves(row.planes[2]));
  }
  static Pair load_pair(const Row& row, uint32_t i) { return nibbles(row, i); }
};

// Adds bit 4 of each quant from the plane of 32-bit words.
inline Pair with_fifth_bits(Pair pair, const uint8_t* words, uint32_t i) {
  // Two groups: their low 16 bits belong to the low nibbles. Each byte of a half is repeated for
  // the 8 elements it has bits of.
  const __m256i two = _mm256_set1_epi64x([words, i] {
    long long bits;
    memcpy(&bits, words + 8 * i, 8);
    return bits;
  }());
  const __m256i low = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 4, 4, 4, 4,
                                       4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5);
  const __m256i high = _mm256_add_epi8(low, _mm256_set1_epi8(2));
  const __m256i test = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
  const __m256i bit = _mm256_set1_epi8(16);
  return {_mm256_or_si256(pair.first,
                          _mm256_and_si256(has_bits(_mm256_shuffle_epi8(two, low), test), bit)),
          _mm256_or_si256(pair.second,
                          _mm256_and_si256(has_bits(_mm256_shuffle_epi8(two, high), test), bit))};
}

struct Q5G32 : NibbleGroups {
  static constexpr uint32_t kPlanes = 3;
  static constexpr uint32_t kStepBytes[4] = {128, 32, 16, 0};
  static void factors(const Row& row, float* scales, float* offsets) {
    store_symmetric(load_halves(row.planes[2]), 16, scales, offsets);
  }
  static Pair load_pair(const Row& row, uint32_t i) {
    return with_fifth_bits(nibbles(row, i), row.planes[1], i);
  }
};

struct Q5G32Z : NibbleGroups {
  static constexpr uint32_t kPlanes = 4;
  static constexpr uint32_t kStepBytes[4] = {128, 32, 16, 16};
  static void factors(const Row& row, float* scales, float* offsets) {
    _mm256_store_ps(scales, load_halves(row.planes[2]));
    _mm256_store_ps(offsets, load_halves(row.planes[3]));
  }
  static Pair load_pair(const Row& row, uint32_t i) {
    return with_fifth_bits(nibbles(row, i), row.planes[1], i);
  }
};

inline Pair look_up(Pair pair, __m128i levels) {
  const __m256i table = _mm256_broadcastsi128_si256(levels);
  return {_mm256_shuffle_epi8(table, pair.first), _mm256_shuffle_epi8(table, pair.second)};
}

struct Iq4Nl : NibbleGroups {
  static constexpr bool kSigned = true;
  static constexpr uint32_t kPlanes = 2;
  static constexpr uint32_t kStepBytes[4] = {128, 16, 0, 0};
  static void factors(const Row& row, float* scales, float* offsets) {
    store_symmetric(load_halves(row.planes[1]), 0, scales, offsets);
  }
  static Pair load_pair(const Row& row, uint32_t i) {
    return look_up(nibbles(row, i), _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13,
                                                  25, 38, 53, 69, 89, 113));
  }
};

struct Mxfp4 : NibbleGroups {
  static constexpr uint32_t kPlanes = 2;
  static constexpr uint32_t kStepBytes[4] = {128, 8, 0, 0};
  static void factors(const Row& row, float* scales, float* offsets) {
    long long bytes;
    memcpy(&bytes, row.planes[1], 8);
    const __m256i exponent = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bytes));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(exponent, _mm256_set1_epi32(1)), 23);
    const __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), exponent);
    const __m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), exponent);
    store_symmetric(_mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, small)), 12, scales,
                    offsets);
  }
  static Pair load_pair(const Row& row, uint32_t i) {
    return look_up(nibbles(row, i),
                   _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
  }
};

struct Natural {
  static constexpr bool kMerged = false;
  static constexpr uint32_t unit(uint32_t u, uint32_t j) { return 2 * u + j; }
};

struct Q8G32 : Natural {
  static constexpr uint32_t kGroup = 32;
  static constexpr bool kSigned = true;
  static constexpr uint32_t kPlanes = 2;
  static constexpr uint32_t kStepBytes[4] = {256, 16, 0, 0};
  static void factors(const Row& row, float* scales, float* offsets) {
    store_symmetric(load_halves(row.planes[1]), 0, scales, offsets);
  }
  static Pair load_pair(const Row& row, uint32_t i) {
    return {load32(row.planes[0] + 64 * i), load32(row.planes[0] + 64 * i + 32)};
  }
};

// Super-blocks with sub-blocks of 32 and 6-bit scales and minima.
struct K32 : Natural {
  static constexpr uint32_t kGroup = 32;
  static constexpr bool kSigned = false;
  static void scales_and_minima(const uint8_t* packed, const uint8_t* super, float* scales,
                                float* offsets) {
    uint32_t a, b, c;
    memcpy(&a, packed, 4);
    memcpy(&b, packed + 4, 4);
    memcpy(&c, packed + 8, 4);
    const uint64_t high_scales = (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030);
    const uint64_t high_minima = (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030);
    const __m256 d = _mm256_set1_ps(load_half(super));
    const __m256 d_minimum = _mm256_set1_ps(-load_half(super + 2));
    _mm256_store_ps(scales, _mm256_mul_ps(d, widen_bytes((a & 0x3f3f3f3f) | high_scales << 32)));
    _mm256_store_ps(offsets,
                    _mm256_mul_ps(d_minimum, widen_bytes((b & 0x3f3f3f3f) | high_minima << 32)));
  }
};

struct Q4K : K32 {
  static constexpr uint32_t kPlanes = 3;
  static constexpr uint32_t kStepBytes[4] = {128, 12, 4, 0};
  static void factors(const Row& row, float* scales, float* offsets) {
    scales_and_minima(row.planes[1], row.planes[2], scales, offsets);
  }
  static Pair load_pair(const Row& row, uint32_t i) {
    return split_nibbles(load32(row.planes[0] + 32 * i));
  }
};

struct Q5K : K32 {
  static constexpr uint32_t kPlanes = 4;
  static constexpr uint32_t kStepBytes[4] = {128, 32, 12, 4};
  static void factors(const Row& row, float* scales, float* offsets) {
    scales_and_minima(row.planes[2], row.planes[3], scales, offsets);
  }
  static Pair load_pair(const Row& row, uint32_t i) {
    const Pair pair = split_nibbles(load32(row.planes[0] + 32 * i));
    const __m256i high = load32(row.planes[1]);
    const __m256i first = _mm256_set1_epi8(static_cast<char>(1 << (2 * i)));
    const __m256i second = _mm256_set1_epi8(static_cast<char>(2 << (2 * i)));
    const __m256i bit = _mm256_set1_epi8(16);
    return {_mm256_or_si256(pair.first, _mm256_and_si256(has_bits(high, first), bit)),
            _mm256_or_si256(pair.second, _mm256_and_si256(has_bits(high, second), bit))};
  }
};

struct Q6K : Natural {
  static constexpr uint32_t kGroup = 16;
  static constexpr bool kSigned = false;
  static constexpr uint32_t kPlanes = 4;
  static constexpr uint32_t kStepBytes[4] = {128, 64, 16, 2};
  static void factors(const Row& row, float* scales, float* offsets) {
    const __m256 d = _mm256_set1_ps(load_half(row.planes[3]));
    for (uint32_t g = 0; g < 16; g += 8) {
      long long bytes;
      memcpy(&bytes, row.planes[2] + g, 8);
      const __m256 scale = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(bytes)));
      store_symmetric(_mm256_mul_ps(d, scale), 32, scales + g, offsets + g);
    }
  }
  static Pair load_pair(const Row& row, uint32_t i) {
    // Pairs 0, 1 are the first half: low nibbles of its 64 bytes, then high ones.
    const uint8_t* const quants = row.planes[0] + 64 * (i / 2);
    const __m256i high = load32(row.planes[1] + 32 * (i / 2));
    const Pair a = split_nibbles(load32(quants));
    const Pair b = split_nibbles(load32(quants + 32));
    const __m256i mask = _mm256_set1_epi8(0x30);
    if (i % 2 == 0) {
      return {_mm256_or_si256(a.first, _mm256_and_si256(_mm256_slli_epi16(high, 4), mask)),
              _mm256_or_si256(b.first, _mm256_and_si256(_mm256_slli_epi16(high, 2), mask))};
    }
    return {_mm256_or_si256(a.second, _mm256_and_si256(high, mask)),
            _mm256_or_si256(b.second, _mm256_and_si256(_mm256_srli_epi16(high, 2), mask))};
  }
};

// Two bits each: pair i has elements 64i …, shifts 0, 2 or 4, 6 of the 32 bytes of its half.
struct K16 : Natural {
  static constexpr uint32_t kGroup = 16;
  static constexpr bool kSigned = false;
  static Pair crumbs(const Row& row, uint32_t i) {
    const __m256i bytes = load32(row.planes[0] + 32 * (i / 2));
    const __m256i mask = _mm256_set1_epi8(3);
    const __m256i shifted = i % 2 == 0 ? bytes : _mm256_srli_epi16(bytes, 4);
    return {_mm256_and_si256(shifted, mask), _mm256_and_si256(_mm256_srli_epi16(shifted, 2), mask)};
  }
};

struct Q2K : K16 {
  static constexpr uint32_t kPlanes = 3;
  static constexpr uint32_t kStepBytes[4] = {64, 16, 4, 0};
  static void factors(const Row& row, float* scales, float* offsets) {
    const __m256 d = _mm256_set1_ps(load_half(row.planes[2]));
    const __m256 d_minimum = _mm256_set1_ps(-load_half(row.planes[2] + 2));
    for (uint32_t g = 0; g < 16; g += 8) {
      uint64_t bytes;
      memcpy(&bytes, row.planes[1] + g, 8);
      const uint64_t mask = 0x0f0f0f0f0f0f0f0f;
      _mm256_store_ps(scales + g, _mm256_mul_ps(d, widen_bytes(bytes & mask)));
      _mm256_store_ps(offsets + g, _mm256_mul_ps(d_minimum, widen_bytes(bytes >> 4 & mask)));
    }
  }
  static Pair load_pair(const Row& row, uint32_t i) { return crumbs(row, i); }
};

struct Q3K : K16 {
  static constexpr uint32_t kPlanes = 4;
  static constexpr uint32_t kStepBytes[4] = {64, 32, 12, 2};
  static void factors(const Row& row, float* scales, float* offsets) {
    uint64_t low;
    uint32_t high;
    memcpy(&low, row.planes[2], 8);
    memcpy(&high, row.planes[2] + 8, 4);
    const auto pairs = [high](int shift) -> uint64_t {
      return static_cast<uint64_t>(high >> shift & 0x03030303) << 4;
    };
    const uint64_t mask = 0x0f0f0f0f0f0f0f0f;
    const __m256 d = _mm256_set1_ps(load_half(row.planes[3]));
    const __m256 middle = _mm256_set1_ps(32);
    const uint64_t first = (low & mask) | pairs(0) | pairs(2) << 32;
    const uint64_t second = (low >> 4 & mask) | pairs(4) | pairs(6) << 32;
    store_symmetric(_mm256_mul_ps(d, _mm256_sub_ps(widen_bytes(first), middle)), 4, scales,
                    offsets);
    store_symmetric(_mm256_mul_ps(d, _mm256_sub_ps(widen_bytes(second), middle)), 4, scales + 8,
                    offsets + 8);
  }
  static Pair load_pair(const Row& row, uint32_t i) {
    const Pair pair = crumbs(row, i);
    const __m256i high = load32(row.planes[1]);
    const __m256i first = _mm256_set1_epi8(static_cast<char>(1 << (2 * i)));
    const __m256i second = _mm256_set1_epi8(static_cast<char>(2 << (2 * i)));
    const __m256i bit = _mm256_set1_epi8(4);
    return {_mm256_or_si256(pair.first, _mm256_and_si256(has_bits(high, first), bit)),
            _mm256_or_si256(pair.second, _mm256_and_si256(has_bits(high, second), bit))};
  }
};

}  // namespace
}  // namespace bp::cpu
