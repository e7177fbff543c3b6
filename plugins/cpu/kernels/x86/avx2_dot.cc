// SPDX-License-Identifier: Apache-2.0
// Dot products on AVX2: quantized rows with activations rounded to 8-bit integers, as in
// avx512_quantized_dot.cc with steps of 256 elements; f32, f16 and bf16 rows with f32 ones.
#include "plugins/cpu/kernels/tuned/instructions.h"
#include "plugins/cpu/kernels/x86/avx2_formats.h"

namespace bp::cpu {
namespace {

constexpr uint64_t kStep = 256;
template <class F>
constexpr uint32_t kGroups = 256 / F::kGroup;
template <class F>
constexpr uint64_t kStepPacked = kStep + 2 * kGroups<F> * sizeof(float);

template <class F>
uint64_t packed_bytes(uint64_t columns) {
  return (columns + kStep - 1) / kStep * kStepPacked<F>;
}

inline int reduce_max(__m256i v) {
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
  return _mm_cvtsi128_si32(m);
}

// Rounds 32 values; returns the scale, which is not finite where a value is not.
inline float quantize32(const float* x, int8_t* out) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256 v[4];
  __m256i largest = _mm256_setzero_si256();
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_loadu_ps(x + 8 * i);
    largest = _mm256_max_epi32(largest, _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude));
  }
  const int bits = reduce_max(largest);
  float limit;
  memcpy(&limit, &bits, 4);
  const __m256 inverse = _mm256_set1_ps(bits == 0 ? 0.0f : 127.0f / limit);
  __m256i q[4];
  for (int i = 0; i < 4; ++i) q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
  // Packing works on halves of registers; this puts the words back in order. −128, which only
  // values that are not finite give, would overflow the products.
  const __m256i ordered =
      _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out),
                      _mm256_max_epi8(ordered, _mm256_set1_epi8(-127)));
  return limit / 127.0f;
}

inline float sum16(const int8_t* values) {
  int sum = 0;
  for (int i = 0; i < 16; ++i) sum += values[i];
  return static_cast<float>(sum);
}

template <class F>
void pack_step(const float* x, uint8_t* out) {
  alignas(32) int8_t quants[kStep];
  float* const scales = reinterpret_cast<float*>(out + kStep);
  float* const sums = scales + kGroups<F>;
  for (uint32_t g = 0; g < 8; ++g) {
    const float scale = quantize32(x + 32 * g, quants + 32 * g);
    const float first = sum16(quants + 32 * g);
    const float second = sum16(quants + 32 * g + 16);
    if constexpr (F::kGroup == 32) {
      scales[g] = scale;
      sums[g] = scale * (first + second);
    } else {
      scales[2 * g] = scales[2 * g + 1] = scale;
      sums[2 * g] = scale * first;
      sums[2 * g + 1] = scale * second;
    }
  }
  for (uint32_t u = 0; u < 8; ++u) {
    for (uint32_t j = 0; j < 2; ++j) memcpy(out + 32 * u + 16 * j, quants + 16 * F::unit(u, j), 16);
  }
}

template <class F>
void pack(const float* x, uint64_t columns, std::byte* out) {
  uint8_t* to = reinterpret_cast<uint8_t*>(out);
  uint64_t k = 0;
  for (; k + kStep <= columns; k += kStep, to += kStepPacked<F>) pack_step<F>(x + k, to);
  if (k == columns) return;
  float rest[kStep] = {};
  memcpy(rest, x + k, (columns - k) * sizeof(float));
  pack_step<F>(rest, to);
}

inline float reduce_add(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

// Sums of four byte products in each 32-bit lane.
template <class F>
inline __m256i byte_dot(__m256i w, __m256i x) {
  const __m256i pairs = F::kSigned
                            ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                            : _mm256_maddubs_epi16(w, x);
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

// Lanes of vector u take the scale of their group.
template <class F>
inline __m256 lane_scales(const float* scales, uint32_t u) {
  const uint32_t low = F::unit(u, 0) * 16 / F::kGroup;
  const uint32_t high = F::unit(u, 1) * 16 / F::kGroup;
  if (low == high) return _mm256_broadcast_ss(scales + low);
  return _mm256_set_m128(_mm_broadcast_ss(scales + high), _mm_broadcast_ss(scales + low));
}

template <class F, int T>
inline void add_step(const Row& row, const uint8_t* x, uint64_t x_stride, __m256* sums) {
  alignas(32) float scales[kGroups<F>];
  alignas(32) float offsets[kGroups<F>];
  alignas(32) float scaled[T][kGroups<F>];
  F::factors(row, scales, offsets);
  for (int t = 0; t < T; ++t) {
    const float* const side =
        reinterpret_cast<const float*>(x + static_cast<uint64_t>(t) * x_stride + kStep);
    for (uint32_t g = 0; g < kGroups<F>; g += 8) {
      _mm256_store_ps(scaled[t] + g,
                      _mm256_mul_ps(_mm256_load_ps(scales + g), _mm256_load_ps(side + g)));
      sums[t] = _mm256_fmadd_ps(_mm256_load_ps(offsets + g), _mm256_load_ps(side + kGroups<F> + g),
                                sums[t]);
    }
  }
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; ++i) {
    const Pair pair = F::load_pair(row, i);
    for (int t = 0; t < T; ++t) {
      const uint8_t* const quants = x + static_cast<uint64_t>(t) * x_stride + 64 * i;
      const __m256i first = byte_dot<F>(pair.first, load32(quants));
      const __m256i second = byte_dot<F>(pair.second, load32(quants + 32));
      if constexpr (F::kMerged) {
        sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_add_epi32(first, second)),
                                  lane_scales<F>(scaled[t], 2 * i), sums[t]);
      } else {
        sums[t] =
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(first), lane_scales<F>(scaled[t], 2 * i), sums[t]);
        sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(second), lane_scales<F>(scaled[t], 2 * i + 1),
                                  sums[t]);
      }
    }
  }
}

template <class F, int T>
void dot_row(const RowBlock& weight, uint64_t r, const uint8_t* x, uint64_t x_stride, float* out,
             uint64_t out_stride) {
  Row row{};
  for (uint32_t p = 0; p < F::kPlanes; ++p) {
    row.planes[p] = weight.planes[p] + r * weight.strides[p];
  }
  __m256 sums[T];
  for (int t = 0; t < T; ++t) sums[t] = _mm256_setzero_ps();
  for (uint64_t s = 0; s < weight.columns / kStep; ++s) {
    add_step<F, T>(row, x, x_stride, sums);
    for (uint32_t p = 0; p < F::kPlanes; ++p) row.planes[p] += F::kStepBytes[p];
    x += kStepPacked<F>;
  }
  const uint64_t rest = weight.columns % kStep;
  if (rest != 0) {
    alignas(32) uint8_t copies[4][256] = {};
    for (uint32_t p = 0; p < F::kPlanes; ++p) {
      memcpy(copies[p], row.planes[p], rest * F::kStepBytes[p] / kStep);
      row.planes[p] = copies[p];
    }
    add_step<F, T>(row, x, x_stride, sums);
  }
  for (int t = 0; t < T; ++t) out[static_cast<uint64_t>(t) * out_stride] = reduce_add(sums[t]);
}

template <class F>
void dot(const RowBlock& weight, uint64_t rows, const std::byte* packed, uint64_t packed_stride,
         uint64_t tokens, float* out, uint64_t out_stride) {
  const uint8_t* const x = reinterpret_cast<const uint8_t*>(packed);
  uint64_t t = 0;
  for (; t + 4 <= tokens; t += 4) {
    for (uint64_t r = 0; r < rows; ++r) {
      dot_row<F, 4>(weight, r, x + t * packed_stride, packed_stride, out + t * out_stride + r,
                    out_stride);
    }
  }
  for (; t < tokens; ++t) {
    for (uint64_t r = 0; r < rows; ++r) {
      dot_row<F, 1>(weight, r, x + t * packed_stride, packed_stride, out + t * out_stride + r,
                    out_stride);
    }
  }
}

// ---- f32, f16, bf16 -----------------------------------------------------------------------------

struct F32 {
  static constexpr uint64_t kBytes = 4;
  static __m256 load(const uint8_t* from) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(from));
  }
};
struct F16 {
  static constexpr uint64_t kBytes = 2;
  static __m256 load(const uint8_t* from) { return load_halves(from); }
};
struct Bf16 {
  static constexpr uint64_t kBytes = 2;
  static __m256 load(const uint8_t* from) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
};

uint64_t float_packed_bytes(uint64_t columns) {
  return (columns + 15) / 16 * 64;
}

void float_pack(const float* x, uint64_t columns, std::byte* out) {
  memcpy(out, x, columns * sizeof(float));
  memset(out + columns * sizeof(float), 0, float_packed_bytes(columns) - columns * sizeof(float));
}

template <class F, int R, int T>
void float_tile(const RowBlock& weight, uint64_t row, const float* x, uint64_t x_stride, float* out,
                uint64_t out_stride) {
  const uint8_t* rows[R];
  __m256 sums[R][T];
  for (int r = 0; r < R; ++r) {
    rows[r] = weight.planes[0] + (row + static_cast<uint64_t>(r)) * weight.strides[0];
    for (int t = 0; t < T; ++t) sums[r][t] = _mm256_setzero_ps();
  }
  const uint64_t whole = weight.columns / 8 * 8;
  for (uint64_t i = 0; i < whole; i += 8) {
    __m256 xs[T];
    for (int t = 0; t < T; ++t) xs[t] = _mm256_load_ps(x + static_cast<uint64_t>(t) * x_stride + i);
    for (int r = 0; r < R; ++r) {
      const __m256 w = F::load(rows[r] + F::kBytes * i);
      for (int t = 0; t < T; ++t) sums[r][t] = _mm256_fmadd_ps(w, xs[t], sums[r][t]);
    }
  }
  if (whole != weight.columns) {
    for (int r = 0; r < R; ++r) {
      uint8_t rest[32] = {};
      memcpy(rest, rows[r] + F::kBytes * whole, F::kBytes * (weight.columns - whole));
      const __m256 w = F::load(rest);
      for (int t = 0; t < T; ++t) {
        sums[r][t] = _mm256_fmadd_ps(
            w, _mm256_load_ps(x + static_cast<uint64_t>(t) * x_stride + whole), sums[r][t]);
      }
    }
  }
  for (int t = 0; t < T; ++t) {
    for (int r = 0; r < R; ++r) {
      out[static_cast<uint64_t>(t) * out_stride + static_cast<uint64_t>(r)] =
          reduce_add(sums[r][t]);
    }
  }
}

template <class F>
void float_dot(const RowBlock& weight, uint64_t rows, const std::byte* packed,
               uint64_t packed_stride, uint64_t tokens, float* out, uint64_t out_stride) {
  const float* const x = reinterpret_cast<const float*>(packed);
  const uint64_t stride = packed_stride / sizeof(float);
  uint64_t t = 0;
  while (t < tokens) {
    const bool wide = tokens - t >= 4;
    const float* const xt = x + t * stride;
    float* const to = out + t * out_stride;
    uint64_t r = 0;
    if (wide) {
      for (; r + 2 <= rows; r += 2) float_tile<F, 2, 4>(weight, r, xt, stride, to + r, out_stride);
      for (; r < rows; ++r) float_tile<F, 1, 4>(weight, r, xt, stride, to + r, out_stride);
    } else {
      for (; r + 4 <= rows; r += 4) float_tile<F, 4, 1>(weight, r, xt, stride, to + r, out_stride);
      for (; r < rows; ++r) float_tile<F, 1, 1>(weight, r, xt, stride, to + r, out_stride);
    }
    t += wide ? 4 : 1;
  }
}

template <class F>
constexpr DotSet dot_set() {
  return {packed_bytes<F>, pack<F>, dot<F>};
}

}  // namespace

extern const DotSet kAvx2Dots[15];
const DotSet kAvx2Dots[15] = {
    {float_packed_bytes, float_pack, float_dot<F32>},
    {float_packed_bytes, float_pack, float_dot<F16>},
    {float_packed_bytes, float_pack, float_dot<Bf16>},
    dot_set<Q8G32>(),
    dot_set<Q4G32>(),
    dot_set<Q4G32Z>(),
    dot_set<Q5G32>(),
    dot_set<Q5G32Z>(),
    dot_set<Q2K>(),
    dot_set<Q3K>(),
    dot_set<Q4K>(),
    dot_set<Q5K>(),
    dot_set<Q6K>(),
    dot_set<Iq4Nl>(),
    dot_set<Mxfp4>(),
};

}  // namespace bp::cpu
