// SPDX-License-Identifier: Apache-2.0
// Row operations and attention on AVX-512.
#include <immintrin.h>

#include "plugins/cpu/kernels/tuned/instructions.h"
#include "plugins/cpu/kernels/x86/avx512_math.h"

namespace bp::cpu {
namespace {

inline __mmask16 tail_mask(uint64_t left) {
  return left >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1u << left) - 1u);
}

// Runs body(i, mask) over [0, count) in steps of 16.
template <class Body>
inline void for_each16(uint64_t count, const Body& body) {
  uint64_t i = 0;
  for (; i + 16 <= count; i += 16) body(i, static_cast<__mmask16>(0xffff));
  if (i < count) body(i, tail_mask(count - i));
}

// y = (x - mean) × (1 / sqrt(mean((x - mean)²) + eps)) × gain + bias + residual.
inline void norm(const float* x, float mean, const float* gain, const float* bias,
                 const float* residual, double eps, uint64_t count, float* y) {
  // Squares in double: rows of large activations would lose the small ones otherwise.
  const __m512 middle = _mm512_set1_ps(mean);
  __m512d low = _mm512_setzero_pd();
  __m512d high = _mm512_setzero_pd();
  for_each16(count, [&](uint64_t i, __mmask16 mask) {
    const __m512 v = _mm512_maskz_sub_ps(mask, _mm512_maskz_loadu_ps(mask, x + i), middle);
    const __m512d a = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
    const __m512d b = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
    low = _mm512_fmadd_pd(a, a, low);
    high = _mm512_fmadd_pd(b, b, high);
  });
  const double squares = _mm512_reduce_add_pd(_mm512_add_pd(low, high));
  const double variance = squares / static_cast<double>(count) + eps;
  const __m512 factor = _mm512_set1_ps(
      static_cast<float>(1 / _mm_cvtsd_f64(_mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(variance)))));
  for_each16(count, [&](uint64_t i, __mmask16 mask) {
    const __m512 centred = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), middle);
    const __m512 v = _mm512_mul_ps(centred, factor);
    const __m512 g = _mm512_maskz_loadu_ps(mask, gain + i);
    __m512 r =
        residual == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, residual + i);
    if (bias != nullptr) r = _mm512_add_ps(r, _mm512_maskz_loadu_ps(mask, bias + i));
    _mm512_mask_storeu_ps(y + i, mask, _mm512_fmadd_ps(v, g, r));
  });
}

void rms_norm(const float* x, const float* gain, const float* residual, double eps, uint64_t count,
              float* y) {
  norm(x, 0, gain, nullptr, residual, eps, count, y);
}

void layer_norm(const float* x, const float* gain, const float* bias, const float* residual,
                double eps, uint64_t count, float* y) {
  __m512d sum = _mm512_setzero_pd();
  for_each16(count, [&](uint64_t i, __mmask16 mask) {
    const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
    sum = _mm512_add_pd(sum, _mm512_cvtps_pd(_mm512_castps512_ps256(v)));
    sum = _mm512_add_pd(sum, _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1)));
  });
  const double mean = _mm512_reduce_add_pd(sum) / static_cast<double>(count);
  norm(x, static_cast<float>(mean), gain, bias, residual, eps, count, y);
}

void gate(int activation, const float* gates, const float* ups, uint64_t count, float* y) {
  for_each16(count, [&](uint64_t i, __mmask16 mask) {
    const __m512 g = activate16(activation, _mm512_maskz_loadu_ps(mask, gates + i));
    _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(g, _mm512_maskz_loadu_ps(mask, ups + i)));
  });
}

inline __m512 cap16(float softcap, __m512 x) {
  const __m512 cap = _mm512_set1_ps(softcap);
  return _mm512_mul_ps(cap, tanh16(_mm512_div_ps(x, cap)));
}

void finish(int activation, float softcap, const float* x, const float* residual, uint64_t count,
            float* y) {
  for_each16(count, [&](uint64_t i, __mmask16 mask) {
    __m512 v = activate16(activation, _mm512_maskz_loadu_ps(mask, x + i));
    if (softcap > 0) v = cap16(softcap, v);
    if (residual != nullptr) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, residual + i));
    _mm512_mask_storeu_ps(y + i, mask, v);
  });
}

void rotate_halves(const float* x, const float* cosine, const float* sine, uint64_t pairs,
                   float* y) {
  for_each16(pairs, [&](uint64_t i, __mmask16 mask) {
    const __m512 a = _mm512_maskz_loadu_ps(mask, x + i);
    const __m512 b = _mm512_maskz_loadu_ps(mask, x + pairs + i);
    const __m512 c = _mm512_maskz_loadu_ps(mask, cosine + i);
    const __m512 s = _mm512_maskz_loadu_ps(mask, sine + i);
    _mm512_mask_storeu_ps(y + i, mask, _mm512_fmsub_ps(a, c, _mm512_mul_ps(b, s)));
    _mm512_mask_storeu_ps(y + pairs + i, mask, _mm512_fmadd_ps(b, c, _mm512_mul_ps(a, s)));
  });
}

// The cache formats: loads and stores of 16 elements from element i on.
struct F32Cache {
  static __m512 load(CacheRows from, uint64_t j, uint64_t dim, uint64_t i, __mmask16 mask) {
    return _mm512_maskz_loadu_ps(mask, static_cast<const float*>(from.values) + j * dim + i);
  }
  static void store(void* to, uint64_t i, __mmask16 mask, __m512 v) {
    _mm512_mask_storeu_ps(static_cast<float*>(to) + i, mask, v);
  }
};
struct F16Cache {
  static __m512 load(CacheRows from, uint64_t j, uint64_t dim, uint64_t i, __mmask16 mask) {
    return _mm512_cvtph_ps(
        _mm256_maskz_loadu_epi16(mask, static_cast<const uint16_t*>(from.values) + j * dim + i));
  }
  static void store(void* to, uint64_t i, __mmask16 mask, __m512 v) {
    _mm256_mask_storeu_epi16(static_cast<uint16_t*>(to) + i, mask,
                             _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
};
struct Bf16Cache {
  static __m512 load(CacheRows from, uint64_t j, uint64_t dim, uint64_t i, __mmask16 mask) {
    const __m256i half =
        _mm256_maskz_loadu_epi16(mask, static_cast<const uint16_t*>(from.values) + j * dim + i);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
  static void store(void* to, uint64_t i, __mmask16 mask, __m512 v) {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x00400000));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    const __m512i chosen = _mm512_mask_mov_epi32(rounded, nan, quiet);
    _mm256_mask_storeu_epi16(static_cast<uint16_t*>(to) + i, mask,
                             _mm512_cvtepi32_epi16(_mm512_srli_epi32(chosen, 16)));
  }
};

// Rows of q8 are whole blocks of 32, so that no vector has a tail.
struct Q8Cache {
  static __m512 load(CacheRows from, uint64_t j, uint64_t dim, uint64_t i, __mmask16) {
    const int8_t* const at = static_cast<const int8_t*>(from.values) + j * dim + i;
    const __m128i q = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const float step = _cvtsh_ss(from.scales[j * from.scale_stride + i / 32]);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)), _mm512_set1_ps(step));
  }
};
void store_q8(const float* x, uint64_t count, void* out, uint16_t* scales) {
  const __m512 most = _mm512_set1_ps(127);
  const __m512 least = _mm512_set1_ps(-127);
  for (uint64_t i = 0; i < count; i += 32) {
    const __m512 v[2] = {_mm512_loadu_ps(x + i), _mm512_loadu_ps(x + i + 16)};
    const __m512 a = _mm512_abs_ps(v[0]);
    const __m512 b = _mm512_abs_ps(v[1]);
    const __m512 finite = _mm512_set1_ps(__FLT_MAX__);
    const bool is_finite = (_mm512_cmp_ps_mask(a, finite, _CMP_LE_OQ) &
                            _mm512_cmp_ps_mask(b, finite, _CMP_LE_OQ)) == 0xffff;
    const float wanted = _mm512_reduce_max_ps(_mm512_max_ps(a, b)) / 127;
    const uint16_t scale =
        is_finite ? _cvtss_sh(wanted < 65504.0f ? wanted : 65504.0f, _MM_FROUND_TO_NEAREST_INT)
                  : uint16_t{0x7e00};
    const float step = _cvtsh_ss(scale);
    // By infinity everything becomes 0.
    const __m512 by = _mm512_set1_ps(step > 0 ? step : __builtin_inff());
    for (uint64_t part = 0; part < 2; ++part) {
      __m512 q = is_finite ? _mm512_div_ps(v[part], by) : _mm512_setzero_ps();
      q = _mm512_max_ps(_mm512_min_ps(q, most), least);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(static_cast<int8_t*>(out) + i + 16 * part),
                       _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(q)));
    }
    scales[i / 32] = scale;
  }
  if (count / 32 % 2 != 0) scales[count / 32] = 0;
}

template <class C>
void store(const float* x, uint64_t count, void* out, uint16_t*) {
  for_each16(count, [&](uint64_t i, __mmask16 mask) {
    C::store(out, i, mask, _mm512_maskz_loadu_ps(mask, x + i));
  });
}

// Q queries against 4 keys at a time.
template <class C, int Q>
inline void score_queries(const float* q, uint64_t dim, CacheRows k, uint64_t keys, float scale,
                          float* scores, uint64_t score_stride) {
  uint64_t j = 0;
  const auto block = [&]<int K>() {
    __m512 sums[Q][K];
    for (int a = 0; a < Q; ++a) {
      for (int b = 0; b < K; ++b) sums[a][b] = _mm512_setzero_ps();
    }
    for_each16(dim, [&](uint64_t i, __mmask16 mask) {
      __m512 ks[K];
      for (int b = 0; b < K; ++b) ks[b] = C::load(k, j + static_cast<uint64_t>(b), dim, i, mask);
      for (int a = 0; a < Q; ++a) {
        const __m512 qs = _mm512_maskz_loadu_ps(mask, q + static_cast<uint64_t>(a) * dim + i);
        for (int b = 0; b < K; ++b) sums[a][b] = _mm512_fmadd_ps(qs, ks[b], sums[a][b]);
      }
    });
    for (int a = 0; a < Q; ++a) {
      for (int b = 0; b < K; ++b) {
        scores[static_cast<uint64_t>(a) * score_stride + j + static_cast<uint64_t>(b)] =
            scale * _mm512_reduce_add_ps(sums[a][b]);
      }
    }
    j += K;
  };
  // NOLINTBEGIN(bugprone-infinite-loop): each call of a block advances
  while (j + 4 <= keys) block.template operator()<4>();
  while (j < keys) block.template operator()<1>();
  // NOLINTEND(bugprone-infinite-loop)
}

template <class C>
void scores(const float* q, uint64_t queries, uint64_t dim, CacheRows k, uint64_t keys, float scale,
            float* out, uint64_t score_stride) {
  uint64_t a = 0;
  for (; a + 4 <= queries; a += 4) {
    score_queries<C, 4>(q + a * dim, dim, k, keys, scale, out + a * score_stride, score_stride);
  }
  for (; a < queries; ++a) {
    score_queries<C, 1>(q + a * dim, dim, k, keys, scale, out + a * score_stride, score_stride);
  }
}

template <class C>
void transpose_keys(CacheRows k, uint64_t keys, uint64_t dim, float* out, uint64_t stride) {
  // 16 keys × 16 elements at a time, through scattered stores of whole columns.
  alignas(64) float block[16][16];
  for (uint64_t j0 = 0; j0 < keys; j0 += 16) {
    const uint64_t count = keys - j0 < 16 ? keys - j0 : 16;
    for (uint64_t i0 = 0; i0 < dim; i0 += 16) {
      const uint64_t width = dim - i0 < 16 ? dim - i0 : 16;
      for (uint64_t j = 0; j < 16; ++j) {
        _mm512_store_ps(block[j], j < count ? C::load(k, j0 + j, dim, i0, tail_mask(width))
                                            : _mm512_setzero_ps());
      }
      const __m512i rows = _mm512_mullo_epi32(
          _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
          _mm512_set1_epi32(16));
      for (uint64_t i = 0; i < width; ++i) {
        _mm512_storeu_ps(out + (i0 + i) * stride + j0, _mm512_i32gather_ps(rows, &block[0][i], 4));
      }
    }
  }
}

// Q queries × 32 keys of transposed keys.
template <int Q, int V>
inline void score_tile(const float* q, uint64_t dim, const float* k, uint64_t stride, float scale,
                       float* out, uint64_t score_stride) {
  __m512 sums[Q][V];
  for (int a = 0; a < Q; ++a) {
    for (int v = 0; v < V; ++v) sums[a][v] = _mm512_setzero_ps();
  }
  for (uint64_t i = 0; i < dim; ++i) {
    __m512 ks[V];
    for (int v = 0; v < V; ++v) ks[v] = _mm512_loadu_ps(k + i * stride + 16 * v);
    for (int a = 0; a < Q; ++a) {
      const __m512 qs = _mm512_set1_ps(q[static_cast<uint64_t>(a) * dim + i]);
      for (int v = 0; v < V; ++v) sums[a][v] = _mm512_fmadd_ps(qs, ks[v], sums[a][v]);
    }
  }
  for (int a = 0; a < Q; ++a) {
    for (int v = 0; v < V; ++v) {
      _mm512_storeu_ps(out + static_cast<uint64_t>(a) * score_stride + 16 * v,
                       _mm512_mul_ps(sums[a][v], _mm512_set1_ps(scale)));
    }
  }
}

void scores_transposed(const float* q, uint64_t queries, uint64_t dim, const float* k,
                       uint64_t stride, uint64_t keys, float scale, float* out,
                       uint64_t score_stride) {
  uint64_t a = 0;
  const auto row_block = [&]<int Q>() {
    uint64_t j = 0;
    float* const to = out + a * score_stride;
    for (; j + 32 <= keys; j += 32) {
      score_tile<Q, 2>(q + a * dim, dim, k + j, stride, scale, to + j, score_stride);
    }
    if (j < keys) score_tile<Q, 1>(q + a * dim, dim, k + j, stride, scale, to + j, score_stride);
    a += Q;
  };
  while (a + 8 <= queries) row_block.template operator()<8>();
  while (a < queries) row_block.template operator()<1>();
}

// Q queries × V vectors of the head.
template <class C, int Q, int V>
inline void accumulate_tile(const float* weights, uint64_t weight_stride, uint64_t dim,
                            CacheRows values, uint64_t keys, uint64_t i0, float* out) {
  __m512 sums[Q][V];
  __mmask16 masks[V];
  for (int v = 0; v < V; ++v) {
    const uint64_t at = i0 + 16 * static_cast<uint64_t>(v);
    masks[v] = tail_mask(dim - at);
    for (int a = 0; a < Q; ++a) {
      sums[a][v] = _mm512_maskz_loadu_ps(masks[v], out + static_cast<uint64_t>(a) * dim + at);
    }
  }
  for (uint64_t j = 0; j < keys; ++j) {
    __m512 vs[V];
    for (int v = 0; v < V; ++v) {
      vs[v] = C::load(values, j, dim, i0 + 16 * static_cast<uint64_t>(v), masks[v]);
    }
    for (int a = 0; a < Q; ++a) {
      const __m512 w = _mm512_set1_ps(weights[static_cast<uint64_t>(a) * weight_stride + j]);
      for (int v = 0; v < V; ++v) sums[a][v] = _mm512_fmadd_ps(w, vs[v], sums[a][v]);
    }
  }
  for (int v = 0; v < V; ++v) {
    for (int a = 0; a < Q; ++a) {
      _mm512_mask_storeu_ps(
          out + static_cast<uint64_t>(a) * dim + i0 + 16 * static_cast<uint64_t>(v), masks[v],
          sums[a][v]);
    }
  }
}

template <class C>
void accumulate(const float* weights, uint64_t weight_stride, uint64_t queries, uint64_t dim,
                CacheRows values, uint64_t keys, float* out) {
  uint64_t a = 0;
  const auto query_block = [&]<int Q>() {
    uint64_t i = 0;
    const float* const w = weights + a * weight_stride;
    for (; i + 48 < dim; i += 64) {
      accumulate_tile<C, Q, 4>(w, weight_stride, dim, values, keys, i, out + a * dim);
    }
    for (; i < dim; i += 16) {
      accumulate_tile<C, Q, 1>(w, weight_stride, dim, values, keys, i, out + a * dim);
    }
    a += Q;
  };
  // NOLINTBEGIN(bugprone-infinite-loop): each call of a block advances
  while (a + 4 <= queries) query_block.template operator()<4>();
  while (a < queries) query_block.template operator()<1>();
  // NOLINTEND(bugprone-infinite-loop)
}

void soft_cap(float softcap, float* x, uint64_t count) {
  for_each16(count, [&](uint64_t i, __mmask16 mask) {
    _mm512_mask_storeu_ps(x + i, mask, cap16(softcap, _mm512_maskz_loadu_ps(mask, x + i)));
  });
}

float softmax_step(float* x, uint64_t count, float* largest, float* total) {
  const __m512 lowest = _mm512_set1_ps(-__builtin_inff());
  __m512 most = lowest;
  for_each16(count, [&](uint64_t i, __mmask16 mask) {
    most = _mm512_max_ps(most, _mm512_mask_loadu_ps(lowest, mask, x + i));
  });
  const float old = *largest;
  const float found = _mm512_reduce_max_ps(most);
  const float now = found > old ? found : old;
  // A row that sees nothing yet: every term would be exp(-inf + inf).
  if (now == -__builtin_inff()) {
    for_each16(count, [&](uint64_t i, __mmask16 mask) {
      const __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
      const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
      _mm512_mask_storeu_ps(x + i, mask, _mm512_maskz_mov_ps(nan, v));
    });
    return 1;
  }
  const __m512 shift = _mm512_set1_ps(now);
  __m512 sum = _mm512_setzero_ps();
  for_each16(count, [&](uint64_t i, __mmask16 mask) {
    const __m512 e = exp16(_mm512_sub_ps(_mm512_mask_loadu_ps(lowest, mask, x + i), shift));
    _mm512_mask_storeu_ps(x + i, mask, e);
    sum = _mm512_add_ps(sum, e);
  });
  const float factor = _mm_cvtss_f32(_mm512_castps512_ps128(exp16(_mm512_set1_ps(old - now))));
  *largest = now;
  *total = *total * factor + _mm512_reduce_add_ps(sum);
  return factor;
}

void scale(float factor, uint64_t count, float* x) {
  const __m512 f = _mm512_set1_ps(factor);
  for_each16(count, [&](uint64_t i, __mmask16 mask) {
    _mm512_mask_storeu_ps(x + i, mask, _mm512_mul_ps(f, _mm512_maskz_loadu_ps(mask, x + i)));
  });
}

}  // namespace

extern const VectorSet kAvx512Vectors;
const VectorSet kAvx512Vectors = {
    rms_norm,
    layer_norm,
    gate,
    finish,
    rotate_halves,
    {store<F32Cache>, store<F16Cache>, store<Bf16Cache>, store_q8},
    {scores<F32Cache>, scores<F16Cache>, scores<Bf16Cache>, scores<Q8Cache>},
    {transpose_keys<F32Cache>, transpose_keys<F16Cache>, transpose_keys<Bf16Cache>,
     transpose_keys<Q8Cache>},
    scores_transposed,
    {accumulate<F32Cache>, accumulate<F16Cache>, accumulate<Bf16Cache>, accumulate<Q8Cache>},
    soft_cap,
    softmax_step,
    scale,
};

}  // namespace bp::cpu
