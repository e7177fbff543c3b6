// SPDX-License-Identifier: Apache-2.0
// How AVX-512 reads each quantized format, in one frame that dot products and dequantization
// share.
//
// A step is 16 groups of kGroup elements that have a scale each. load_pair(row, i, …) gives the
// unsigned quants of a step as vectors 2i and 2i + 1 of 64 bytes, in whatever order the bits lie;
// unit(u, j) says which 16 consecutive elements of the step sit in quarter j of vector u.
// factors() gives scale and offset of the 16 groups: value = scale × quant + offset.
//
// `Full` is false for the last step of a row that has fewer than 16 groups; loads are then masked,
// so nothing beyond the row is read. Include only from files compiled for AVX-512.
#pragma once

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

namespace bp::cpu {
namespace {

struct Factors {
  __m512 scale;
  __m512 offset;
};
struct Pair {
  __m512i first;
  __m512i second;
};
struct Row {
  const uint8_t* planes[4];
};

inline __mmask64 low_mask64(uint32_t bits) {
  return bits >= 64 ? ~__mmask64{0} : (__mmask64{1} << bits) - 1;
}
inline __mmask16 group_mask(uint32_t groups) {
  return static_cast<__mmask16>((1u << groups) - 1u);
}

// 64 bytes at `from`, of which `valid` exist.
template <bool Full>
inline __m512i load_bytes(const uint8_t* from, int32_t valid) {
  if constexpr (Full) return _mm512_loadu_si512(from);
  return _mm512_maskz_loadu_epi8(low_mask64(valid < 0 ? 0u : static_cast<uint32_t>(valid)), from);
}

template <bool Full>
inline __m512 load_halves(const uint8_t* from, uint32_t groups) {
  if constexpr (Full) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(group_mask(groups), from));
}

inline Factors symmetric(__m512 scale, float zero_point) {
  return {scale, _mm512_mul_ps(scale, _mm512_set1_ps(-zero_point))};
}

inline Pair split_nibbles(__m512i bytes) {
  const __m512i mask = _mm512_set1_epi8(15);
  return {_mm512_and_si512(bytes, mask), _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask)};
}

// Groups of 32 whose 16 bytes hold elements j and j + 16 in their nibbles.
struct NibbleGroups {
  static constexpr uint32_t kGroup = 32;
  static constexpr bool kMerged = true;  // both vectors of a pair have the same groups
  static constexpr uint32_t kQuantBytes = 256;
  static constexpr uint32_t unit(uint32_t u, uint32_t j) { return 2 * (4 * (u / 2) + j) + u % 2; }

  template <bool Full>
  static Pair nibbles(const Row& row, uint32_t i, uint32_t groups) {
    return split_nibbles(load_bytes<Full>(
        row.planes[0] + 64 * i, static_cast<int32_t>(16 * groups) - static_cast<int32_t>(64 * i)));
  }
};

struct Q4G32 : NibbleGroups {
  static constexpr uint32_t kPlanes = 2;
  static constexpr uint32_t kStepBytes[4] = {256, 32, 0, 0};
  template <bool Full>
  static Factors factors(const Row& row, uint32_t groups) {
    return symmetric(load_halves<Full>(row.planes[1], groups), 8);
  }
  template <bool Full>
  static Pair load_pair(const Row& row, uint32_t i, uint32_t groups) {
    return nibbles<Full>(row, i, groups);
  }
};

struct Q4G32Z : NibbleGroups {
  static constexpr uint32_t kPlanes = 3;
  static constexpr uint32_t kStepBytes[4] = {256, 32, 32, 0};
  template <bool Full>
  static Factors factors(const Row& row, uint32_t groups) {
    return {load_halves<Full>(row.planes[1], groups), load_halves<Full>(row.planes[2], groups)};
  }
  template <bool Full>
  static Pair load_pair(const Row& row, uint32_t i, uint32_t groups) {
    return nibbles<Full>(row, i, groups);
  }
};

// Adds bit 4 of each quant from the plane of 32-bit words.
template <bool Full>
inline Pair with_fifth_bits(Pair pair, const uint8_t* words, uint32_t i, uint32_t groups) {
  uint64_t word[2] = {0, 0};
  if (Full || groups >= 4 * i + 4) {
    memcpy(word, words + 16 * i, 16);
  } else if (groups > 4 * i) {
    memcpy(word, words + 16 * i, 4 * (groups - 4 * i));
  }
  // Low halves of the four words belong to the low nibbles.
  const auto half = [](uint64_t two) { return (two & 0xffff) | (two >> 16 & 0xffff0000); };
  const __mmask64 low = half(word[0]) | half(word[1]) << 32;
  const __mmask64 high = half(word[0] >> 16) | half(word[1] >> 16) << 32;
  const __m512i bit = _mm512_set1_epi8(16);
  return {_mm512_mask_add_epi8(pair.first, low, pair.first, bit),
          _mm512_mask_add_epi8(pair.second, high, pair.second, bit)};
}

struct Q5G32 : NibbleGroups {
  static constexpr uint32_t kPlanes = 3;
  static constexpr uint32_t kStepBytes[4] = {256, 64, 32, 0};
  template <bool Full>
  static Factors factors(const Row& row, uint32_t groups) {
    return symmetric(load_halves<Full>(row.planes[2], groups), 16);
  }
  template <bool Full>
  static Pair load_pair(const Row& row, uint32_t i, uint32_t groups) {
    return with_fifth_bits<Full>(nibbles<Full>(row, i, groups), row.planes[1], i, groups);
  }
};

struct Q5G32Z : NibbleGroups {
  static constexpr uint32_t kPlanes = 4;
  static constexpr uint32_t kStepBytes[4] = {256, 64, 32, 32};
  template <bool Full>
  static Factors factors(const Row& row, uint32_t groups) {
    return {load_halves<Full>(row.planes[2], groups), load_halves<Full>(row.planes[3], groups)};
  }
  template <bool Full>
  static Pair load_pair(const Row& row, uint32_t i, uint32_t groups) {
    return with_fifth_bits<Full>(nibbles<Full>(row, i, groups), row.planes[1], i, groups);
  }
};

inline Pair look_up(Pair pair, __m128i levels) {
  const __m512i table = _mm512_broadcast_i32x4(levels);
  return {_mm512_shuffle_epi8(table, pair.first), _mm512_shuffle_epi8(table, pair.second)};
}

struct Iq4Nl : NibbleGroups {
  static constexpr uint32_t kPlanes = 2;
  static constexpr uint32_t kStepBytes[4] = {256, 32, 0, 0};
  template <bool Full>
  static Factors factors(const Row& row, uint32_t groups) {
    return symmetric(load_halves<Full>(row.planes[1], groups), 128);
  }
  template <bool Full>
  static Pair load_pair(const Row& row, uint32_t i, uint32_t groups) {
    // The levels of the format plus 128.
    const __m128i levels = _mm_setr_epi8(
        1, 24, 45, 63, 79, 93, 106, 118, static_cast<char>(129), static_cast<char>(141),
        static_cast<char>(153), static_cast<char>(166), static_cast<char>(181),
        static_cast<char>(197), static_cast<char>(217), static_cast<char>(241));
    return look_up(nibbles<Full>(row, i, groups), levels);
  }
};

struct Mxfp4 : NibbleGroups {
  static constexpr uint32_t kPlanes = 2;
  static constexpr uint32_t kStepBytes[4] = {256, 16, 0, 0};
  template <bool Full>
  static Factors factors(const Row& row, uint32_t groups) {
    const __m128i bytes = Full ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(row.planes[1]))
                               : _mm_maskz_loadu_epi8(group_mask(groups), row.planes[1]);
    const __m512i exponent = _mm512_cvtepu8_epi32(bytes);
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(exponent, _mm512_set1_epi32(1)), 23);
    const __m512i subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), exponent);
    const __mmask16 small = _mm512_cmplt_epu32_mask(exponent, _mm512_set1_epi32(2));
    const __m512 scale = _mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, small, subnormal));
    // Groups beyond the row must not contribute: their exponent byte 0 is no zero.
    return symmetric(Full ? scale : _mm512_maskz_mov_ps(group_mask(groups), scale), 12);
  }
  template <bool Full>
  static Pair load_pair(const Row& row, uint32_t i, uint32_t groups) {
    // The doubled levels of E2M1 plus 12.
    const __m128i levels = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    return look_up(nibbles<Full>(row, i, groups), levels);
  }
};

struct Q8G32 {
  static constexpr uint32_t kGroup = 32;
  static constexpr bool kMerged = false;
  static constexpr uint32_t kPlanes = 2;
  static constexpr uint32_t kStepBytes[4] = {512, 32, 0, 0};
  static constexpr uint32_t unit(uint32_t u, uint32_t j) { return 4 * u + j; }
  template <bool Full>
  static Factors factors(const Row& row, uint32_t groups) {
    return symmetric(load_halves<Full>(row.planes[1], groups), 128);
  }
  template <bool Full>
  static Pair load_pair(const Row& row, uint32_t i, uint32_t groups) {
    // Flipping the sign bit adds 128.
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
    const int32_t left = static_cast<int32_t>(32 * groups) - static_cast<int32_t>(128 * i);
    return {_mm512_xor_si512(load_bytes<Full>(row.planes[0] + 128 * i, left), flip),
            _mm512_xor_si512(load_bytes<Full>(row.planes[0] + 128 * i + 64, left - 64), flip)};
  }
};

// ---- super-blocks of 256 with sub-blocks of 32: a step is two super-blocks
// -----------------------

struct K32 {
  static constexpr uint32_t kGroup = 32;
  static constexpr bool kMerged = false;
  static constexpr uint32_t unit(uint32_t u, uint32_t j) {
    const uint32_t first_group = 4 * (u / 2) + u % 2;  // 64 bytes hold groups 0 2 and 1 3
    return 2 * (first_group + 2 * (j / 2)) + j % 2;
  }
  template <bool Full>
  static Pair nibbles(const Row& row, uint32_t i, uint32_t groups) {
    return split_nibbles(load_bytes<Full>(
        row.planes[0] + 64 * i, static_cast<int32_t>(16 * groups) - static_cast<int32_t>(64 * i)));
  }

  // 6-bit scales and minima of 8 sub-blocks, as bytes.
  static void unpack_scales(const uint8_t* packed, uint64_t* scales, uint64_t* minima) {
    uint32_t a, b, c;
    memcpy(&a, packed, 4);
    memcpy(&b, packed + 4, 4);
    memcpy(&c, packed + 8, 4);
    const uint32_t high_scales = (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030);
    const uint32_t high_minima = (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030);
    *scales = (a & 0x3f3f3f3f) | static_cast<uint64_t>(high_scales) << 32;
    *minima = (b & 0x3f3f3f3f) | static_cast<uint64_t>(high_minima) << 32;
  }

  template <bool Full>
  static Factors scales_and_minima(const uint8_t* packed, const uint8_t* super, uint32_t groups) {
    uint64_t scales[2] = {0, 0};
    uint64_t minima[2] = {0, 0};
    uint64_t halves = 0;  // d, dmin of both super-blocks
    unpack_scales(packed, &scales[0], &minima[0]);
    if (Full || groups > 8) {
      unpack_scales(packed + 12, &scales[1], &minima[1]);
      memcpy(&halves, super, 8);
    } else {
      memcpy(&halves, super, 4);
    }
    const __m512 d =
        _mm512_castps128_ps512(_mm_cvtph_ps(_mm_cvtsi64_si128(static_cast<long long>(halves))));
    const __m512i which_d = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2);
    const __m512 d_scale = _mm512_permutexvar_ps(which_d, d);
    const __m512 d_minimum =
        _mm512_permutexvar_ps(_mm512_add_epi32(which_d, _mm512_set1_epi32(1)), d);
    const auto widen = [](const uint64_t* bytes) {
      return _mm512_cvtepi32_ps(
          _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes))));
    };
    const __m512 zero = _mm512_setzero_ps();
    return {_mm512_mul_ps(d_scale, widen(scales)),
            _mm512_sub_ps(zero, _mm512_mul_ps(d_minimum, widen(minima)))};
  }
};

struct Q4K : K32 {
  static constexpr uint32_t kPlanes = 3;
  static constexpr uint32_t kStepBytes[4] = {256, 24, 8, 0};
  template <bool Full>
  static Factors factors(const Row& row, uint32_t groups) {
    return scales_and_minima<Full>(row.planes[1], row.planes[2], groups);
  }
  template <bool Full>
  static Pair load_pair(const Row& row, uint32_t i, uint32_t groups) {
    return nibbles<Full>(row, i, groups);
  }
};

struct Q5K : K32 {
  static constexpr uint32_t kPlanes = 4;
  static constexpr uint32_t kStepBytes[4] = {256, 64, 24, 8};
  template <bool Full>
  static Factors factors(const Row& row, uint32_t groups) {
    return scales_and_minima<Full>(row.planes[2], row.planes[3], groups);
  }
  template <bool Full>
  static Pair load_pair(const Row& row, uint32_t i, uint32_t groups) {
    const Pair pair = nibbles<Full>(row, i, groups);
    // Bit j of the 32 bytes of a super-block belongs to its sub-block j; pair i has sub-blocks
    // 4(i % 2) + 0 … 3, even ones in the first vector.
    const int32_t left = static_cast<int32_t>(4 * groups) - static_cast<int32_t>(32 * (i / 2));
    if (!Full && left <= 0) return pair;
    const __m512i high = _mm512_broadcast_i64x4(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row.planes[1] + 32 * (i / 2))));
    const char first_bit = static_cast<char>(1 << (4 * (i % 2)));
    const __m512i first_test = _mm512_inserti64x4(
        _mm512_set1_epi8(first_bit), _mm256_set1_epi8(static_cast<char>(first_bit << 2)), 1);
    const __m512i second_test = _mm512_add_epi8(first_test, first_test);
    const __m512i bit = _mm512_set1_epi8(16);
    return {
        _mm512_mask_add_epi8(pair.first, _mm512_test_epi8_mask(high, first_test), pair.first, bit),
        _mm512_mask_add_epi8(pair.second, _mm512_test_epi8_mask(high, second_test), pair.second,
                             bit)};
  }
};

// ---- super-blocks of 256 with sub-blocks of 16: a step is one super-block, always full
// ------------

struct Q6K {
  static constexpr uint32_t kGroup = 16;
  static constexpr bool kMerged = false;
  static constexpr uint32_t kPlanes = 4;
  static constexpr uint32_t kStepBytes[4] = {128, 64, 16, 2};
  static constexpr uint32_t unit(uint32_t u, uint32_t j) { return 4 * u + j; }
  template <bool Full>
  static Factors factors(const Row& row, uint32_t) {
    uint16_t half;
    memcpy(&half, row.planes[3], 2);
    const __m512 d = _mm512_set1_ps(_cvtsh_ss(half));
    const __m512 scales = _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row.planes[2]))));
    return symmetric(_mm512_mul_ps(d, scales), 32);
  }
  template <bool Full>
  static Pair load_pair(const Row& row, uint32_t i, uint32_t) {
    const Pair pair = split_nibbles(_mm512_loadu_si512(row.planes[0] + 64 * i));
    const __m256i high =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row.planes[1] + 32 * i));
    // Element e of the half has its two bits in byte e % 32 at bit 2 (e / 32).
    const __m512i mask = _mm512_set1_epi8(0x30);
    const __m512i first = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_slli_epi16(high, 4)),
                                             _mm256_slli_epi16(high, 2), 1);
    const __m512i second =
        _mm512_inserti64x4(_mm512_castsi256_si512(high), _mm256_srli_epi16(high, 2), 1);
    // (high & mask) | low nibbles
    return {_mm512_ternarylogic_epi32(first, mask, pair.first, 0xEA),
            _mm512_ternarylogic_epi32(second, mask, pair.second, 0xEA)};
  }
};

// Two bits at shift 2u of 64 bytes: elements 32u … of the first half, then of the second.
struct K16 {
  static constexpr uint32_t kGroup = 16;
  static constexpr bool kMerged = false;
  static constexpr uint32_t unit(uint32_t u, uint32_t j) { return 2 * u + j % 2 + 8 * (j / 2); }
  static Pair crumbs(const Row& row, uint32_t i) {
    const __m512i bytes = _mm512_loadu_si512(row.planes[0]);
    const __m512i mask = _mm512_set1_epi8(3);
    return {_mm512_and_si512(_mm512_srli_epi16(bytes, 4 * i), mask),
            _mm512_and_si512(_mm512_srli_epi16(bytes, 4 * i + 2), mask)};
  }
};

struct Q2K : K16 {
  static constexpr uint32_t kPlanes = 3;
  static constexpr uint32_t kStepBytes[4] = {64, 16, 4, 0};
  template <bool Full>
  static Factors factors(const Row& row, uint32_t) {
    uint16_t halves[2];
    memcpy(halves, row.planes[2], 4);
    const __m512i packed =
        _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row.planes[1])));
    const __m512 scales = _mm512_cvtepi32_ps(_mm512_and_si512(packed, _mm512_set1_epi32(15)));
    const __m512 minima = _mm512_cvtepi32_ps(_mm512_srli_epi32(packed, 4));
    return {_mm512_mul_ps(_mm512_set1_ps(_cvtsh_ss(halves[0])), scales),
            _mm512_mul_ps(_mm512_set1_ps(-_cvtsh_ss(halves[1])), minima)};
  }
  template <bool Full>
  static Pair load_pair(const Row& row, uint32_t i, uint32_t) {
    return crumbs(row, i);
  }
};

struct Q3K : K16 {
  static constexpr uint32_t kPlanes = 4;
  static constexpr uint32_t kStepBytes[4] = {64, 32, 12, 2};
  template <bool Full>
  static Factors factors(const Row& row, uint32_t) {
    uint64_t low;
    uint32_t high;
    uint16_t half;
    memcpy(&low, row.planes[2], 8);
    memcpy(&high, row.planes[2] + 8, 4);
    memcpy(&half, row.planes[3], 2);
    const auto pairs = [high](int shift) -> uint64_t {
      return static_cast<uint64_t>(high >> shift & 0x03030303) << 4;
    };
    const uint64_t first = (low & 0x0f0f0f0f0f0f0f0f) | pairs(0) | pairs(2) << 32;
    const uint64_t second = (low >> 4 & 0x0f0f0f0f0f0f0f0f) | pairs(4) | pairs(6) << 32;
    const __m128i bytes =
        _mm_set_epi64x(static_cast<long long>(second), static_cast<long long>(first));
    const __m512i scales = _mm512_sub_epi32(_mm512_cvtepu8_epi32(bytes), _mm512_set1_epi32(32));
    return symmetric(_mm512_mul_ps(_mm512_set1_ps(_cvtsh_ss(half)), _mm512_cvtepi32_ps(scales)), 4);
  }
  template <bool Full>
  static Pair load_pair(const Row& row, uint32_t i, uint32_t) {
    const Pair pair = crumbs(row, i);
    const __m512i high =
        _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row.planes[1])));
    const auto test = [i](uint32_t u) {
      return _mm512_inserti64x4(_mm512_set1_epi8(static_cast<char>(1 << (2 * i + u))),
                                _mm256_set1_epi8(static_cast<char>(16 << (2 * i + u))), 1);
    };
    const __m512i bit = _mm512_set1_epi8(4);
    return {
        _mm512_mask_add_epi8(pair.first, _mm512_test_epi8_mask(high, test(0)), pair.first, bit),
        _mm512_mask_add_epi8(pair.second, _mm512_test_epi8_mask(high, test(1)), pair.second, bit)};
  }
};

template <class F>
inline Row advance(const Row& row, uint64_t steps) {
  Row out = row;
  for (uint32_t p = 0; p < F::kPlanes; ++p) out.planes[p] += steps * F::kStepBytes[p];
  return out;
}

}  // namespace
}  // namespace bp::cpu
