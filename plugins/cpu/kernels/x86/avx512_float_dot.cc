// SPDX-License-Identifier: Apache-2.0
// Dot products of f32, f16 and bf16 rows with f32 activations: widening is exact, sums are f32.
#include <immintrin.h>
#include <string.h>

#include "plugins/cpu/kernels/tuned/instructions.h"

namespace bp::cpu {
namespace {

// Loads of 16 weights from element i of a row; masked ones read nothing beyond the mask.
struct F32 {
  static __m512 load(const uint8_t* row, uint64_t i) { return _mm512_loadu_ps(row + 4 * i); }
  static __m512 load(const uint8_t* row, uint64_t i, __mmask16 mask) {
    return _mm512_maskz_loadu_ps(mask, row + 4 * i);
  }
};
struct F16 {
  static __m512 load(const uint8_t* row, uint64_t i) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * i)));
  }
  static __m512 load(const uint8_t* row, uint64_t i, __mmask16 mask) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + 2 * i));
  }
};
struct Bf16 {
  static __m512 widen(__m256i half) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
  static __m512 load(const uint8_t* row, uint64_t i) {
    return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * i)));
  }
  static __m512 load(const uint8_t* row, uint64_t i, __mmask16 mask) {
    return widen(_mm256_maskz_loadu_epi16(mask, row + 2 * i));
  }
};

uint64_t packed_bytes(uint64_t columns) {
  return (columns + 15) / 16 * 64;
}

void pack(const float* x, uint64_t columns, std::byte* out) {
  memcpy(out, x, columns * sizeof(float));
  memset(out + columns * sizeof(float), 0, packed_bytes(columns) - columns * sizeof(float));
}

template <class F, int R, int T>
void dot_tile(const RowBlock& weight, uint64_t row, const float* x, uint64_t x_stride, float* out,
              uint64_t out_stride) {
  const uint8_t* rows[R];
  __m512 sums[R][T];
  for (int r = 0; r < R; ++r) {
    rows[r] = weight.planes[0] + (row + static_cast<uint64_t>(r)) * weight.strides[0];
    for (int t = 0; t < T; ++t) sums[r][t] = _mm512_setzero_ps();
  }
  const uint64_t whole = weight.columns / 16 * 16;
  for (uint64_t i = 0; i < whole; i += 16) {
    __m512 xs[T];
    for (int t = 0; t < T; ++t) xs[t] = _mm512_load_ps(x + static_cast<uint64_t>(t) * x_stride + i);
    for (int r = 0; r < R; ++r) {
      const __m512 w = F::load(rows[r], i);
      for (int t = 0; t < T; ++t) sums[r][t] = _mm512_fmadd_ps(w, xs[t], sums[r][t]);
    }
  }
  if (whole != weight.columns) {
    const __mmask16 mask = static_cast<__mmask16>((1u << (weight.columns - whole)) - 1u);
    for (int r = 0; r < R; ++r) {
      const __m512 w = F::load(rows[r], whole, mask);
      for (int t = 0; t < T; ++t) {
        const __m512 xt = _mm512_load_ps(x + static_cast<uint64_t>(t) * x_stride + whole);
        // Masked, so that NaN in the padding of neither side matters.
        sums[r][t] = _mm512_mask3_fmadd_ps(w, xt, sums[r][t], mask);
      }
    }
  }
  for (int t = 0; t < T; ++t) {
    for (int r = 0; r < R; ++r) {
      out[static_cast<uint64_t>(t) * out_stride + static_cast<uint64_t>(r)] =
          _mm512_reduce_add_ps(sums[r][t]);
    }
  }
}

template <class F, int R, int T>
void dot_rows(const RowBlock& weight, uint64_t rows, const float* x, uint64_t x_stride, float* out,
              uint64_t out_stride) {
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
  const float* const x = reinterpret_cast<const float*>(packed);
  const uint64_t stride = packed_stride / sizeof(float);
  uint64_t t = 0;
  while (t < tokens) {
    const float* const xt = x + t * stride;
    float* const to = out + t * out_stride;
    if (tokens - t >= 4) {
      dot_rows<F, 6, 4>(weight, rows, xt, stride, to, out_stride);
      t += 4;
    } else if (tokens - t >= 2) {
      dot_rows<F, 8, 2>(weight, rows, xt, stride, to, out_stride);
      t += 2;
    } else {
      dot_rows<F, 8, 1>(weight, rows, xt, stride, to, out_stride);
      t += 1;
    }
  }
}

}  // namespace

extern const DotSet kAvx512FloatDots[3];
const DotSet kAvx512FloatDots[3] = {
    {packed_bytes, pack, dot<F32>},
    {packed_bytes, pack, dot<F16>},
    {packed_bytes, pack, dot<Bf16>},
};

}  // namespace bp::cpu
