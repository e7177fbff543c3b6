// SPDX-License-Identifier: Apache-2.0
// Dot products of quantized rows with activations rounded to 8-bit integers (AVX-512 VNNI).
//
// A packed activation row has, for each step of the weight's format: the integers in the order in
// which the format's vectors hold its quants, the scale of each of the 16 groups, and scale × sum
// of the integers of each group, which takes up the offsets of the weights. Activations have one
// scale for 32 elements.
#include "plugins/cpu/kernels/tuned/instructions.h"
#include "plugins/cpu/kernels/x86/avx512_formats.h"

namespace bp::cpu {
namespace {

template <class F>
constexpr uint64_t kStepElements = 16 * F::kGroup;
template <class F>
constexpr uint64_t kStepPacked = 16 * F::kGroup + 2 * 16 * sizeof(float);
// Vectors of 64 quants in a step.
template <class F>
constexpr uint32_t kVectors = F::kGroup / 4;

template <class F>
uint64_t packed_bytes(uint64_t columns) {
  return (columns + kStepElements<F> - 1) / kStepElements<F> * kStepPacked<F>;
}

// Rounds 32 values to integers of at most 127; returns the scale. NaN and infinity make the scale
// NaN or infinite, so that they reach the result instead of vanishing in the conversion.
inline float quantize32(const float* x, __mmask16 low, __mmask16 high, __m128i* first,
                        __m128i* second) {
  const __m512 a = _mm512_maskz_loadu_ps(low, x);
  const __m512 b = _mm512_maskz_loadu_ps(high, x + 16);
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512i largest = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(a), magnitude),
                                           _mm512_and_si512(_mm512_castps_si512(b), magnitude));
  const int bits = _mm512_reduce_max_epi32(largest);
  float limit;
  memcpy(&limit, &bits, 4);
  const __m512 inverse = _mm512_set1_ps(bits == 0 ? 0.0f : 127.0f / limit);
  *first = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(a, inverse)));
  *second = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(b, inverse)));
  return limit / 127.0f;
}

inline int sum16(__m128i bytes) {
  return _mm512_reduce_add_epi32(_mm512_cvtepi8_epi32(bytes));
}

// One step: `count` of its elements exist.
template <class F>
void pack_step(const float* x, uint64_t count, uint8_t* out) {
  __m128i units[kStepElements<F> / 16];
  float scales[16];
  float sums[16];
  for (uint32_t g = 0; g < kStepElements<F> / 32; ++g) {
    const uint64_t begin = 32 * g;
    const uint64_t left = count > begin ? count - begin : 0;
    const auto mask = [left](uint64_t from) {
      const uint64_t valid = left > from ? left - from : 0;
      return valid >= 16 ? static_cast<__mmask16>(0xffff)
                         : static_cast<__mmask16>((1u << valid) - 1u);
    };
    __m128i* const unit = units + 2 * g;
    const float scale = quantize32(x + begin, mask(0), mask(16), &unit[0], &unit[1]);
    const float first = static_cast<float>(sum16(unit[0]));
    const float second = static_cast<float>(sum16(unit[1]));
    if constexpr (F::kGroup == 32) {
      scales[g] = scale;
      sums[g] = scale * (first + second);
    } else {
      scales[2 * g] = scales[2 * g + 1] = scale;
      sums[2 * g] = scale * first;
      sums[2 * g + 1] = scale * second;
    }
  }
  for (uint32_t u = 0; u < kVectors<F>; ++u) {
    for (uint32_t j = 0; j < 4; ++j) {
      _mm_store_si128(reinterpret_cast<__m128i*>(out + 64 * u + 16 * j), units[F::unit(u, j)]);
    }
  }
  memcpy(out + kStepElements<F>, scales, sizeof scales);
  memcpy(out + kStepElements<F> + sizeof scales, sums, sizeof sums);
}

template <class F>
void pack(const float* x, uint64_t columns, std::byte* out) {
  uint8_t* to = reinterpret_cast<uint8_t*>(out);
  for (uint64_t begin = 0; begin < columns; begin += kStepElements<F>) {
    pack_step<F>(x + begin, columns - begin, to);
    to += kStepPacked<F>;
  }
}

// For each lane of a vector's sums, the group it belongs to.
template <class F>
struct LaneGroups {
  alignas(64) int32_t lanes[kVectors<F>][16];
  constexpr LaneGroups() : lanes() {
    for (uint32_t u = 0; u < kVectors<F>; ++u) {
      for (uint32_t lane = 0; lane < 16; ++lane) {
        lanes[u][lane] = static_cast<int32_t>(F::unit(u, lane / 4) * 16 / F::kGroup);
      }
    }
  }
};
template <class F>
constexpr LaneGroups<F> kLaneGroups{};

template <class F>
inline __m512i lane_groups(uint32_t u) {
  return _mm512_load_si512(kLaneGroups<F>.lanes[u]);
}

// sums[r][t] += one step of R rows and T tokens.
template <class F, int R, int T, bool Full>
inline void add_step(const Row* rows, const uint8_t* x, uint64_t x_stride, uint32_t groups,
                     __m512 (*sums)[T]) {
  for (int r = 0; r < R; ++r) {
    const Factors factors = F::template factors<Full>(rows[r], groups);
    __m512 scale[T];
    for (int t = 0; t < T; ++t) {
      const uint8_t* const side = x + static_cast<uint64_t>(t) * x_stride + kStepElements<F>;
      scale[t] = _mm512_mul_ps(factors.scale, _mm512_load_ps(side));
      sums[r][t] = _mm512_fmadd_ps(factors.offset, _mm512_load_ps(side + 64), sums[r][t]);
    }
#pragma GCC unroll 4
    for (uint32_t i = 0; i < kVectors<F> / 2; ++i) {
      const Pair pair = F::template load_pair<Full>(rows[r], i, groups);
      for (int t = 0; t < T; ++t) {
        const uint8_t* const quants = x + static_cast<uint64_t>(t) * x_stride + 128 * i;
        const __m512i zero = _mm512_setzero_si512();
        __m512i dot = _mm512_dpbusd_epi32(zero, pair.first, _mm512_load_si512(quants));
        if constexpr (F::kMerged) {
          dot = _mm512_dpbusd_epi32(dot, pair.second, _mm512_load_si512(quants + 64));
        } else {
          const __m512i other =
              _mm512_dpbusd_epi32(zero, pair.second, _mm512_load_si512(quants + 64));
          sums[r][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(other),
                                       _mm512_permutexvar_ps(lane_groups<F>(2 * i + 1), scale[t]),
                                       sums[r][t]);
        }
        sums[r][t] =
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot),
                            _mm512_permutexvar_ps(lane_groups<F>(2 * i), scale[t]), sums[r][t]);
      }
    }
  }
}

// Bytes that quants are fetched ahead of use, across rows: they lie one after the other.
constexpr uint64_t kFetchAhead = 2048;

template <class F, int R, int T>
void dot_tile(const RowBlock& weight, uint64_t row, const uint8_t* x, uint64_t x_stride, float* out,
              uint64_t out_stride) {
  Row rows[R];
  for (int r = 0; r < R; ++r) {
    for (uint32_t p = 0; p < F::kPlanes; ++p) {
      rows[r].planes[p] = weight.planes[p] + (row + static_cast<uint64_t>(r)) * weight.strides[p];
    }
  }
  __m512 sums[R][T];
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) sums[r][t] = _mm512_setzero_ps();
  }
  const uint64_t steps = weight.columns / kStepElements<F>;
  for (uint64_t s = 0; s < steps; ++s) {
    if constexpr (T <= 2) {
      for (int r = 0; r < R; ++r) {
        for (uint32_t b = 0; b < F::kStepBytes[0]; b += 64) {
          _mm_prefetch(reinterpret_cast<const char*>(rows[r].planes[0] + kFetchAhead + b),
                       _MM_HINT_T0);
        }
      }
    }
    add_step<F, R, T, true>(rows, x, x_stride, 16, sums);
    for (int r = 0; r < R; ++r) rows[r] = advance<F>(rows[r], 1);
    x += kStepPacked<F>;
  }
  const uint32_t groups = static_cast<uint32_t>(weight.columns % kStepElements<F> / F::kGroup);
  if (groups != 0) add_step<F, R, T, false>(rows, x, x_stride, groups, sums);
  for (int t = 0; t < T; ++t) {
    for (int r = 0; r < R; ++r) {
      out[static_cast<uint64_t>(t) * out_stride + static_cast<uint64_t>(r)] =
          _mm512_reduce_add_ps(sums[r][t]);
    }
  }
}

template <class F, int R, int T>
void dot_rows(const RowBlock& weight, uint64_t rows, const uint8_t* x, uint64_t x_stride,
              float* out, uint64_t out_stride) {
  uint64_t row = 0;
  for (; row + R <= rows; row += R) {
    dot_tile<F, R, T>(weight, row, x, x_stride, out + row, out_stride);
  }
  for (; row < rows; ++row) {
    dot_tile<F, 1, T>(weight, row, x, x_stride, out + row, out_stride);
  }
}

template <class F>
void dot(const RowBlock& weight, uint64_t rows, const std::byte* packed, uint64_t packed_stride,
         uint64_t tokens, float* out, uint64_t out_stride) {
  const uint8_t* const x = reinterpret_cast<const uint8_t*>(packed);
  uint64_t t = 0;
  while (t < tokens) {
    const uint8_t* const xt = x + t * packed_stride;
    float* const to = out + t * out_stride;
    if (tokens - t >= 4) {
      dot_rows<F, 4, 4>(weight, rows, xt, packed_stride, to, out_stride);
      t += 4;
    } else if (tokens - t >= 2) {
      dot_rows<F, 4, 2>(weight, rows, xt, packed_stride, to, out_stride);
      t += 2;
    } else {
      // Memory is what a single token waits for, and one row after the other is what it likes best.
      dot_rows<F, 1, 1>(weight, rows, xt, packed_stride, to, out_stride);
      t += 1;
    }
  }
}

template <class F>
constexpr DotSet dot_set() {
  return {packed_bytes<F>, pack<F>, dot<F>};
}

}  // namespace

// In the order of Format: f32, f16, bf16 come from the file beside this one.
extern const DotSet kAvx512QuantizedDots[12];
const DotSet kAvx512QuantizedDots[12] = {
    dot_set<Q8G32>(),  dot_set<Q4G32>(), dot_set<Q4G32Z>(), dot_set<Q5G32>(),
    dot_set<Q5G32Z>(), dot_set<Q2K>(),   dot_set<Q3K>(),    dot_set<Q4K>(),
    dot_set<Q5K>(),    dot_set<Q6K>(),   dot_set<Iq4Nl>(),  dot_set<Mxfp4>(),
};

}  // namespace bp::cpu
