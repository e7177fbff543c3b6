// SPDX-License-Identifier: Apache-2.0
// The AMX tile unit with bf16 products and f32 sums, for prompts.
//
// Weight rows are the first operand, so that a panel is dequantized row by row into tiles as they
// are; activations are the second one and are packed once per op. Four tiles of sums, two of
// weights and two of activations are all eight registers: each tile loaded is used twice.
#include <immintrin.h>

#include "plugins/cpu/kernels/tuned/instructions.h"
#include "plugins/cpu/kernels/x86/avx512_formats.h"

namespace bp::cpu {
namespace {

constexpr uint64_t kTileBytes = 1024;

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

// Into the second-level cache. Assembly, because GCC takes a function that only prefetches for one
// without effect and drops the call.
inline void fetch_line(const void* from) {
  __asm__ volatile("prefetcht1 %0" : : "m"(*static_cast<const char*>(from)));
}

void begin() {
  static constexpr TileConfig kConfig;
  _tile_loadconfig(&kConfig);
}

void end() {
  _tile_release();
}

void multiply(const void* panel, uint64_t columns, const PackedPart& packed, bool accumulate,
              float* sums) {
  constexpr int kSumStride = kMatrixTokens * sizeof(float);
  const uint64_t tiles = (columns + 31) / 32;
  const uint64_t fetched_tiles = packed.next_tiles < tiles ? packed.next_tiles : tiles;
  for (uint64_t g = 0; g < packed.groups; ++g) {
    float* const low = sums + g * kMatrixRows * kMatrixTokens;
    float* const high = low + 16 * kMatrixTokens;
    if (accumulate) {
      _tile_loadd(0, low, kSumStride);
      _tile_loadd(1, low + 16, kSumStride);
      _tile_loadd(2, high, kSumStride);
      _tile_loadd(3, high + 16, kSumStride);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
    const uint8_t* weights = static_cast<const uint8_t*>(panel);
    const std::byte* tokens = packed.first + g * packed.group_bytes;
    const std::byte* next = packed.next + g * packed.group_bytes;
    for (uint64_t k = 0; k < tiles; ++k) {
      _tile_loadd(4, weights, 64);
      _tile_loadd(6, tokens, 64);
      _tile_loadd(7, tokens + kTileBytes, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(5, weights + kTileBytes, 64);
      _tile_dpbf16ps(1, 4, 7);
      if (k < fetched_tiles) {
        for (uint64_t b = packed.fetch_begin; b < packed.fetch_end; b += 64) fetch_line(next + b);
      }
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
      weights += 2 * kTileBytes;
      tokens += 2 * kTileBytes;
      next += 2 * kTileBytes;
    }
    _tile_stored(0, low, kSumStride);
    _tile_stored(1, low + 16, kSumStride);
    _tile_stored(2, high, kSumStride);
    _tile_stored(3, high + 16, kSumStride);
  }
}

// Transposes 16 × 16 words.
inline void transpose16(__m512i* v) {
  __m512i a[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
  __m512i b[16];
  for (int i = 0; i < 16; i += 4) {
    b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
  // b[4i + j] holds columns j, 4 + j, 8 + j, 12 + j of rows 4i … 4i + 3, one in each quarter.
  for (int j = 0; j < 4; ++j) {
    const __m512i p = _mm512_shuffle_i32x4(b[j], b[4 + j], 0x88);
    const __m512i q = _mm512_shuffle_i32x4(b[j], b[4 + j], 0xdd);
    const __m512i r = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0x88);
    const __m512i s = _mm512_shuffle_i32x4(b[8 + j], b[12 + j], 0xdd);
    v[j] = _mm512_shuffle_i32x4(p, r, 0x88);
    v[8 + j] = _mm512_shuffle_i32x4(p, r, 0xdd);
    v[4 + j] = _mm512_shuffle_i32x4(q, s, 0x88);
    v[12 + j] = _mm512_shuffle_i32x4(q, s, 0xdd);
  }
}

inline __mmask16 valid_mask(uint64_t count, uint64_t from) {
  const uint64_t valid = count > from ? count - from : 0;
  return valid >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1u << valid) - 1u);
}

inline __m512i to_bf16(__m512 low, __m512 high) {
  // Operands of the instruction come high half first.
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

void pack(const float* x, uint64_t x_stride, uint64_t columns, uint64_t tokens, void* out) {
  uint8_t* to = static_cast<uint8_t*>(out);
  for (uint64_t k = 0; k < columns; k += 32) {
    const __mmask16 low = valid_mask(columns, k);
    const __mmask16 high = valid_mask(columns, k + 16);
    for (uint64_t half = 0; half < 2; ++half) {
      __m512i rows[16];  // 16 tokens of 16 column pairs, then the other way round
      for (uint64_t t = 0; t < 16; ++t) {
        const uint64_t token = 16 * half + t;
        if (token >= tokens) {
          rows[t] = _mm512_setzero_si512();
          continue;
        }
        const float* const from = x + token * x_stride + k;
        rows[t] = to_bf16(_mm512_maskz_loadu_ps(low, from), _mm512_maskz_loadu_ps(high, from + 16));
      }
      transpose16(rows);
      for (uint64_t p = 0; p < 16; ++p) _mm512_store_si512(to + 64 * p, rows[p]);
      to += kTileBytes;
    }
  }
}

void transpose(const float* sums, uint64_t tokens, float* out, uint64_t out_stride) {
  for (uint64_t t0 = 0; t0 < tokens; t0 += 16) {
    const uint64_t count = tokens - t0 < 16 ? tokens - t0 : 16;
    for (uint64_t r0 = 0; r0 < kMatrixRows; r0 += 16) {
      __m512i rows[16];
      for (uint64_t r = 0; r < 16; ++r) {
        rows[r] = _mm512_loadu_si512(sums + (r0 + r) * kMatrixTokens + t0);
      }
      transpose16(rows);
      for (uint64_t t = 0; t < count; ++t) {
        _mm512_storeu_si512(out + (t0 + t) * out_stride + r0, rows[t]);
      }
    }
  }
}

inline __m512 widen_quants(__m512i bytes, uint32_t quarter) {
  const __m128i unit = quarter == 0   ? _mm512_castsi512_si128(bytes)
                       : quarter == 1 ? _mm512_extracti32x4_epi32(bytes, 1)
                       : quarter == 2 ? _mm512_extracti32x4_epi32(bytes, 2)
                                      : _mm512_extracti32x4_epi32(bytes, 3);
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(unit));
}

// Values of quarter j of vector u of a step.
template <class F>
inline __m512 values(__m512i bytes, uint32_t u, uint32_t j, const float* scales,
                     const float* offsets) {
  const uint32_t group = F::unit(u, j) * 16 / F::kGroup;
  return _mm512_fmadd_ps(widen_quants(bytes, j), _mm512_set1_ps(scales[group]),
                         _mm512_set1_ps(offsets[group]));
}

// One step of one row: 16 groups, of which `groups` exist.
template <class F, bool Full>
inline void dequantize_step(const Row& row, uint32_t groups, uint8_t* line) {
  const Factors factors = F::template factors<Full>(row, groups);
  alignas(64) float scales[16];
  alignas(64) float offsets[16];
  _mm512_store_ps(scales, factors.scale);
  _mm512_store_ps(offsets, factors.offset);
  const uint32_t lines = groups * F::kGroup / 32;  // of 32 columns
#pragma GCC unroll 4
  for (uint32_t i = 0; i < F::kGroup / 8; ++i) {
    const Pair pair = F::template load_pair<Full>(row, i, groups);
    const auto store = [&](uint32_t unit, __m512 low, __m512 high) {
      if (Full || unit / 2 < lines) {
        _mm512_store_si512(line + unit / 2 * 2048, to_bf16(low, high));
      }
    };
#pragma GCC unroll 4
    for (uint32_t j = 0; j < 4; ++j) {
      if constexpr (F::kMerged) {
        // The halves of 32 columns lie in the two vectors.
        store(F::unit(2 * i, j), values<F>(pair.first, 2 * i, j, scales, offsets),
              values<F>(pair.second, 2 * i + 1, j, scales, offsets));
      } else {
        const __m512i bytes = j < 2 ? pair.first : pair.second;
        const uint32_t u = 2 * i + j / 2;
        const uint32_t q = j % 2 * 2;
        store(F::unit(u, q), values<F>(bytes, u, q, scales, offsets),
              values<F>(bytes, u, q + 1, scales, offsets));
      }
    }
  }
}

inline void clear_rows(uint64_t first, uint64_t tiles, uint8_t* panel) {
  for (uint64_t k = 0; k < tiles; ++k) {
    for (uint64_t r = first; r < kMatrixRows; ++r) {
      _mm512_store_si512(panel + k * 2048 + r * 64, _mm512_setzero_si512());
    }
  }
}

// Asks for one row of each part; kStepBytes of 16 × kGroup columns.
template <class F>
inline void fetch_row(const PanelPart* parts, uint64_t part_count, uint64_t r) {
  for (uint64_t i = 0; i < part_count; ++i) {
    const PanelPart& part = parts[i];
    if (r >= part.rows) continue;
    const uint64_t steps = part.begin / (16 * F::kGroup);
    const uint64_t bytes_per_16_groups = part.count / F::kGroup;
    for (uint32_t p = 0; p < F::kPlanes; ++p) {
      const uint8_t* const from =
          part.weight.planes[p] + r * part.weight.strides[p] + steps * F::kStepBytes[p];
      const uint64_t bytes = bytes_per_16_groups * F::kStepBytes[p] / 16;
      for (uint64_t b = 0; b < bytes; b += 64) {
        fetch_line(from + b);
      }
    }
  }
}

template <class F>
void dequantize(const PanelPart& part, const PanelPart* ahead, uint64_t ahead_count, void* panel) {
  constexpr uint64_t kStep = 16 * F::kGroup;
  uint8_t* const to = static_cast<uint8_t*>(panel);
  for (uint64_t r = 0; r < part.rows; ++r) {
    fetch_row<F>(ahead, ahead_count, r);
    Row row;
    for (uint32_t p = 0; p < F::kPlanes; ++p) {
      row.planes[p] = part.weight.planes[p] + r * part.weight.strides[p];
    }
    row = advance<F>(row, part.begin / kStep);
    uint8_t* line = to + r * 64;
    uint64_t k = 0;
    for (; k + kStep <= part.count; k += kStep) {
      dequantize_step<F, true>(row, 16, line);
      row = advance<F>(row, 1);
      line += kStep / 32 * 2048;
    }
    const uint32_t groups = static_cast<uint32_t>((part.count - k) / F::kGroup);
    if (groups != 0) dequantize_step<F, false>(row, groups, line);
  }
  clear_rows(part.rows, (part.count + 31) / 32, to);
}

// bf16 rows only change their place.
void place_bf16(const PanelPart& part, const PanelPart* ahead, uint64_t ahead_count, void* panel) {
  uint8_t* const to = static_cast<uint8_t*>(panel);
  const uint64_t tiles = (part.count + 31) / 32;
  for (uint64_t r = 0; r < part.rows; ++r) {
    for (uint64_t i = 0; i < ahead_count; ++i) {
      if (r >= ahead[i].rows) continue;
      const uint8_t* const next =
          ahead[i].weight.planes[0] + r * ahead[i].weight.strides[0] + 2 * ahead[i].begin;
      for (uint64_t b = 0; b < 2 * ahead[i].count; b += 64) {
        fetch_line(next + b);
      }
    }
    const uint8_t* const from = part.weight.planes[0] + r * part.weight.strides[0] + 2 * part.begin;
    for (uint64_t k = 0; k < tiles; ++k) {
      const uint64_t left = part.count - 32 * k;
      const __mmask32 mask = left >= 32 ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
      _mm512_store_si512(to + k * 2048 + r * 64, _mm512_maskz_loadu_epi16(mask, from + 64 * k));
    }
  }
  clear_rows(part.rows, tiles, to);
}

}  // namespace

extern const MatrixUnit kAmxMatrixUnit;
const MatrixUnit kAmxMatrixUnit = {
    pack,
    {nullptr, nullptr, place_bf16, dequantize<Q8G32>, dequantize<Q4G32>, dequantize<Q4G32Z>,
     dequantize<Q5G32>, dequantize<Q5G32Z>, dequantize<Q2K>, dequantize<Q3K>, dequantize<Q4K>,
     dequantize<Q5K>, dequantize<Q6K>, dequantize<Iq4Nl>, dequantize<Mxfp4>},
    multiply,
    transpose,
    begin,
    end,
};

}  // namespace bp::cpu
