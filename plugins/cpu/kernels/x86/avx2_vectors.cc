// SPDX-License-Identifier: Apache-2.0
// Row operations and attention on AVX2, as avx512_vectors.cc with vectors of 8.
#include <immintrin.h>
#include <string.h>

#include "plugins/cpu/kernels/tuned/instructions.h"
#include "plugins/cpu/kernels/x86/avx2_math.h"

namespace bp::cpu {
namespace {

// The first n of 8 lanes, n = 0 … 8.
inline __m256i lanes(uint64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline uint64_t width(uint64_t left) {
  return left < 8 ? left : 8;
}

inline __m256 load_part(const float* from, uint64_t n) {
  return n >= 8 ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, lanes(n));
}
inline void store_part(float* to, uint64_t n, __m256 v) {
  if (n >= 8) {
    _mm256_storeu_ps(to, v);
  } else {
    _mm256_maskstore_ps(to, lanes(n), v);
  }
}

// Runs body(i, n) over [0, count) in steps of 8; n is 8 but for the last.
template <class Body>
inline void for_each8(uint64_t count, const Body& body) {
  uint64_t i = 0;
  for (; i + 8 <= count; i += 8) body(i, uint64_t{8});
  if (i < count) body(i, count - i);
}

inline float reduce_add(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
inline float reduce_max(__m256 v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

inline double reduce_add(__m256d v) {
  alignas(32) double parts[4];
  _mm256_store_pd(parts, v);
  return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

// y = (x - mean) × (1 / sqrt(mean((x - mean)²) + eps)) × gain + bias + residual.
inline void norm(const float* x, float mean, const float* gain, const float* bias,
                 const float* residual, double eps, uint64_t count, float* y) {
  const __m256 middle = _mm256_set1_ps(mean);
  // Squares in double: rows of large activations would lose the small ones otherwise.
  __m256d low = _mm256_setzero_pd();
  __m256d high = _mm256_setzero_pd();
  for_each8(count, [&](uint64_t i, uint64_t n) {
    const __m256 all = _mm256_sub_ps(load_part(x + i, n), middle);
    const __m256 v = _mm256_and_ps(all, _mm256_castsi256_ps(lanes(n)));
    const __m256d a = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
    const __m256d b = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
    low = _mm256_fmadd_pd(a, a, low);
    high = _mm256_fmadd_pd(b, b, high);
  });
  const double squares = reduce_add(_mm256_add_pd(low, high));
  const double variance = squares / static_cast<double>(count) + eps;
  const __m256 factor = _mm256_set1_ps(
      static_cast<float>(1 / _mm_cvtsd_f64(_mm_sqrt_sd(_mm_setzero_pd(), _mm_set_sd(variance)))));
  for_each8(count, [&](uint64_t i, uint64_t n) {
    const __m256 v = _mm256_mul_ps(_mm256_sub_ps(load_part(x + i, n), middle), factor);
    __m256 r = residual == nullptr ? _mm256_setzero_ps() : load_part(residual + i, n);
    if (bias != nullptr) r = _mm256_add_ps(r, load_part(bias + i, n));
    store_part(y + i, n, _mm256_fmadd_ps(v, load_part(gain + i, n), r));
  });
}

void rms_norm(const float* x, const float* gain, const float* residual, double eps, uint64_t count,
              float* y) {
  norm(x, 0, gain, nullptr, residual, eps, count, y);
}

void layer_norm(const float* x, const float* gain, const float* bias, const float* residual,
                double eps, uint64_t count, float* y) {
  __m256d sum = _mm256_setzero_pd();
  for_each8(count, [&](uint64_t i, uint64_t n) {
    const __m256 v = load_part(x + i, n);
    sum = _mm256_add_pd(sum, _mm256_cvtps_pd(_mm256_castps256_ps128(v)));
    sum = _mm256_add_pd(sum, _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1)));
  });
  const double mean = reduce_add(sum) / static_cast<double>(count);
  norm(x, static_cast<float>(mean), gain, bias, residual, eps, count, y);
}

void gate(int activation, const float* gates, const float* ups, uint64_t count, float* y) {
  for_each8(count, [&](uint64_t i, uint64_t n) {
    const __m256 g = activate8(activation, load_part(gates + i, n));
    store_part(y + i, n, _mm256_mul_ps(g, load_part(ups + i, n)));
  });
}

inline __m256 cap8(float softcap, __m256 x) {
  const __m256 cap = _mm256_set1_ps(softcap);
  return _mm256_mul_ps(cap, tanh8(_mm256_div_ps(x, cap)));
}

void finish(int activation, float softcap, const float* x, const float* residual, uint64_t count,
            float* y) {
  for_each8(count, [&](uint64_t i, uint64_t n) {
    __m256 v = activate8(activation, load_part(x + i, n));
    if (softcap > 0) v = cap8(softcap, v);
    if (residual != nullptr) v = _mm256_add_ps(v, load_part(residual + i, n));
    store_part(y + i, n, v);
  });
}

void rotate_halves(const float* x, const float* cosine, const float* sine, uint64_t pairs,
                   float* y) {
  for_each8(pairs, [&](uint64_t i, uint64_t n) {
    const __m256 a = load_part(x + i, n);
    const __m256 b = load_part(x + pairs + i, n);
    const __m256 c = load_part(cosine + i, n);
    const __m256 s = load_part(sine + i, n);
    store_part(y + i, n, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
    store_part(y + pairs + i, n, _mm256_fmadd_ps(b, c, _mm256_mul_ps(a, s)));
  });
}

// The cache formats: loads and stores of n <= 8 elements from element i on.
struct F32Cache {
  static __m256 load(CacheRows from, uint64_t j, uint64_t dim, uint64_t i, uint64_t n) {
    return load_part(static_cast<const float*>(from.values) + j * dim + i, n);
  }
  static void store(void* to, uint64_t i, uint64_t n, __m256 v) {
    store_part(static_cast<float*>(to) + i, n, v);
  }
};
inline __m128i load_halves(const void* from, uint64_t i, uint64_t n) {
  const uint16_t* const at = static_cast<const uint16_t*>(from) + i;
  if (n >= 8) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  alignas(16) uint16_t part[8] = {};
  memcpy(part, at, 2 * n);
  return _mm_load_si128(reinterpret_cast<const __m128i*>(part));
}
inline void store_halves(void* to, uint64_t i, uint64_t n, __m128i v) {
  uint16_t* const at = static_cast<uint16_t*>(to) + i;
  if (n >= 8) return _mm_storeu_si128(reinterpret_cast<__m128i*>(at), v);
  alignas(16) uint16_t part[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(part), v);
  memcpy(at, part, 2 * n);
}
struct F16Cache {
  static __m256 load(CacheRows from, uint64_t j, uint64_t dim, uint64_t i, uint64_t n) {
    return _mm256_cvtph_ps(load_halves(from.values, j * dim + i, n));
  }
  static void store(void* to, uint64_t i, uint64_t n, __m256 v) {
    store_halves(to, i, n, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
};
struct Bf16Cache {
  static __m256 load(CacheRows from, uint64_t j, uint64_t dim, uint64_t i, uint64_t n) {
    const __m256i wide = _mm256_cvtepu16_epi32(load_halves(from.values, j * dim + i, n));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
  }
  static void store(void* to, uint64_t i, uint64_t n, __m256 v) {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
    const __m256 nan = _mm256_cmp_ps(v, v, _CMP_UNORD_Q);
    const __m256i chosen = _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(nan));
    const __m256i high = _mm256_srli_epi32(chosen, 16);
    const __m128i packed =
        _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
    store_halves(to, i, n, packed);
  }
};

// Rows of q8 are whole blocks of 32, so that no vector has a tail.
struct Q8Cache {
  static __m256 load(CacheRows from, uint64_t j, uint64_t dim, uint64_t i, uint64_t) {
    const int8_t* const at = static_cast<const int8_t*>(from.values) + j * dim + i;
    const __m128i q = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
    const float step = _cvtsh_ss(from.scales[j * from.scale_stride + i / 32]);
    return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)), _mm256_set1_ps(step));
  }
};
void store_q8(const float* x, uint64_t count, void* out, uint16_t* scales) {
  const __m256 most = _mm256_set1_ps(127);
  const __m256 least = _mm256_set1_ps(-127);
  const __m256 finite = _mm256_set1_ps(__FLT_MAX__);
  for (uint64_t i = 0; i < count; i += 32) {
    __m256 largest = _mm256_setzero_ps();
    int inside = 0xff;
    for (uint64_t part = 0; part < 32; part += 8) {
      const __m256 a = abs8(_mm256_loadu_ps(x + i + part));
      inside &= _mm256_movemask_ps(_mm256_cmp_ps(a, finite, _CMP_LE_OQ));
      largest = _mm256_max_ps(largest, a);
    }
    const float wanted = reduce_max(largest) / 127;
    const uint16_t scale =
        inside == 0xff ? _cvtss_sh(wanted < 65504.0f ? wanted : 65504.0f, _MM_FROUND_TO_NEAREST_INT)
                       : uint16_t{0x7e00};
    const float step = _cvtsh_ss(scale);
    // By infinity everything becomes 0.
    const __m256 by = _mm256_set1_ps(step > 0 ? step : __builtin_inff());
    __m256i q[4];
    for (uint64_t part = 0; part < 4; ++part) {
      const __m256 quotient = inside == 0xff ? _mm256_div_ps(_mm256_loadu_ps(x + i + 8 * part), by)
                                             : _mm256_setzero_ps();
      q[part] = _mm256_cvtps_epi32(_mm256_max_ps(_mm256_min_ps(quotient, most), least));
    }
    // Packing works in halves of 128 bits; the words are put in order afterwards.
    const __m256i packed =
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(static_cast<int8_t*>(out) + i),
                        _mm256_permutevar8x32_epi32(packed, order));
    scales[i / 32] = scale;
  }
  if (count / 32 % 2 != 0) scales[count / 32] = 0;
}

template <class C>
void store(const float* x, uint64_t count, void* out, uint16_t*) {
  for_each8(count, [&](uint64_t i, uint64_t n) { C::store(out, i, n, load_part(x + i, n)); });
}

template <class C, int Q, int K>
inline void score_block(const float* q, uint64_t dim, CacheRows k, uint64_t j, float scale,
                        float* scores, uint64_t score_stride) {
  __m256 sums[Q][K];
  for (int a = 0; a < Q; ++a) {
    for (int b = 0; b < K; ++b) sums[a][b] = _mm256_setzero_ps();
  }
  for_each8(dim, [&](uint64_t i, uint64_t n) {
    __m256 ks[K];
    for (int b = 0; b < K; ++b) ks[b] = C::load(k, j + static_cast<uint64_t>(b), dim, i, n);
    for (int a = 0; a < Q; ++a) {
      const __m256 qs = load_part(q + static_cast<uint64_t>(a) * dim + i, n);
      for (int b = 0; b < K; ++b) sums[a][b] = _mm256_fmadd_ps(qs, ks[b], sums[a][b]);
    }
  });
  for (int a = 0; a < Q; ++a) {
    for (int b = 0; b < K; ++b) {
      scores[static_cast<uint64_t>(a) * score_stride + j + static_cast<uint64_t>(b)] =
          scale * reduce_add(sums[a][b]);
    }
  }
}

template <class C>
void scores(const float* q, uint64_t queries, uint64_t dim, CacheRows k, uint64_t keys, float scale,
            float* out, uint64_t score_stride) {
  uint64_t a = 0;
  for (; a + 2 <= queries; a += 2) {
    const float* const qa = q + a * dim;
    float* const to = out + a * score_stride;
    uint64_t j = 0;
    for (; j + 4 <= keys; j += 4) score_block<C, 2, 4>(qa, dim, k, j, scale, to, score_stride);
    for (; j < keys; ++j) score_block<C, 2, 1>(qa, dim, k, j, scale, to, score_stride);
  }
  if (a < queries) {
    const float* const qa = q + a * dim;
    float* const to = out + a * score_stride;
    uint64_t j = 0;
    for (; j + 4 <= keys; j += 4) score_block<C, 1, 4>(qa, dim, k, j, scale, to, score_stride);
    for (; j < keys; ++j) score_block<C, 1, 1>(qa, dim, k, j, scale, to, score_stride);
  }
}

// Columns are written 16 keys at a time, zeros beyond the last, as the callers' buffers allow.
template <class C>
void transpose_keys(CacheRows k, uint64_t keys, uint64_t dim, float* out, uint64_t stride) {
  for (uint64_t j0 = 0; j0 < keys; j0 += 16) {
    for (uint64_t i0 = 0; i0 < dim; i0 += 8) {
      const uint64_t n = width(dim - i0);
      alignas(32) float block[16][8];
      for (uint64_t j = 0; j < 16; ++j) {
        _mm256_store_ps(block[j],
                        j0 + j < keys ? C::load(k, j0 + j, dim, i0, n) : _mm256_setzero_ps());
      }
      for (uint64_t i = 0; i < n; ++i) {
        float* const to = out + (i0 + i) * stride + j0;
        for (uint64_t j = 0; j < 16; ++j) to[j] = block[j][i];
      }
    }
  }
}

template <int Q>
inline void score_tile(const float* q, uint64_t dim, const float* k, uint64_t stride, float scale,
                       float* out, uint64_t score_stride) {
  __m256 sums[Q][2];
  for (int a = 0; a < Q; ++a) sums[a][0] = sums[a][1] = _mm256_setzero_ps();
  for (uint64_t i = 0; i < dim; ++i) {
    const __m256 low = _mm256_loadu_ps(k + i * stride);
    const __m256 high = _mm256_loadu_ps(k + i * stride + 8);
    for (int a = 0; a < Q; ++a) {
      const __m256 qs = _mm256_broadcast_ss(q + static_cast<uint64_t>(a) * dim + i);
      sums[a][0] = _mm256_fmadd_ps(qs, low, sums[a][0]);
      sums[a][1] = _mm256_fmadd_ps(qs, high, sums[a][1]);
    }
  }
  const __m256 factor = _mm256_set1_ps(scale);
  for (int a = 0; a < Q; ++a) {
    float* const to = out + static_cast<uint64_t>(a) * score_stride;
    _mm256_storeu_ps(to, _mm256_mul_ps(sums[a][0], factor));
    _mm256_storeu_ps(to + 8, _mm256_mul_ps(sums[a][1], factor));
  }
}

void scores_transposed(const float* q, uint64_t queries, uint64_t dim, const float* k,
                       uint64_t stride, uint64_t keys, float scale, float* out,
                       uint64_t score_stride) {
  for (uint64_t j = 0; j < keys; j += 16) {
    uint64_t a = 0;
    for (; a + 4 <= queries; a += 4) {
      score_tile<4>(q + a * dim, dim, k + j, stride, scale, out + a * score_stride + j,
                    score_stride);
    }
    for (; a < queries; ++a) {
      score_tile<1>(q + a * dim, dim, k + j, stride, scale, out + a * score_stride + j,
                    score_stride);
    }
  }
}

template <class C, int Q, int V>
inline void accumulate_tile(const float* weights, uint64_t weight_stride, uint64_t dim,
                            CacheRows values, uint64_t keys, uint64_t i0, uint64_t n, float* out) {
  __m256 sums[Q][V];
  const auto at = [i0](int v) { return i0 + 8 * static_cast<uint64_t>(v); };
  for (int a = 0; a < Q; ++a) {
    for (int v = 0; v < V; ++v) {
      sums[a][v] = load_part(out + static_cast<uint64_t>(a) * dim + at(v), n);
    }
  }
  for (uint64_t j = 0; j < keys; ++j) {
    __m256 vs[V];
    for (int v = 0; v < V; ++v) vs[v] = C::load(values, j, dim, at(v), n);
    for (int a = 0; a < Q; ++a) {
      const __m256 w = _mm256_broadcast_ss(weights + static_cast<uint64_t>(a) * weight_stride + j);
      for (int v = 0; v < V; ++v) sums[a][v] = _mm256_fmadd_ps(w, vs[v], sums[a][v]);
    }
  }
  for (int a = 0; a < Q; ++a) {
    for (int v = 0; v < V; ++v) {
      store_part(out + static_cast<uint64_t>(a) * dim + at(v), n, sums[a][v]);
    }
  }
}

template <class C, int Q>
inline void accumulate_queries(const float* weights, uint64_t weight_stride, uint64_t dim,
                               CacheRows values, uint64_t keys, float* out) {
  uint64_t i = 0;
  for (; i + 32 <= dim; i += 32) {
    accumulate_tile<C, Q, 4>(weights, weight_stride, dim, values, keys, i, 8, out);
  }
  for (; i < dim; i += 8) {
    accumulate_tile<C, Q, 1>(weights, weight_stride, dim, values, keys, i, width(dim - i), out);
  }
}

template <class C>
void accumulate(const float* weights, uint64_t weight_stride, uint64_t queries, uint64_t dim,
                CacheRows values, uint64_t keys, float* out) {
  uint64_t a = 0;
  for (; a + 2 <= queries; a += 2) {
    accumulate_queries<C, 2>(weights + a * weight_stride, weight_stride, dim, values, keys,
                             out + a * dim);
  }
  if (a < queries) {
    accumulate_queries<C, 1>(weights + a * weight_stride, weight_stride, dim, values, keys,
                             out + a * dim);
  }
}

void soft_cap(float softcap, float* x, uint64_t count) {
  for_each8(count, [&](uint64_t i, uint64_t n) {
    store_part(x + i, n, cap8(softcap, load_part(x + i, n)));
  });
}

float softmax_step(float* x, uint64_t count, float* largest, float* total) {
  const __m256 lowest = _mm256_set1_ps(-__builtin_inff());
  __m256 most = lowest;
  const auto load = [&](uint64_t i, uint64_t n) {
    const __m256 v = load_part(x + i, n);
    return n >= 8 ? v : _mm256_blendv_ps(lowest, v, _mm256_castsi256_ps(lanes(n)));
  };
  for_each8(count, [&](uint64_t i, uint64_t n) { most = _mm256_max_ps(load(i, n), most); });
  const float old = *largest;
  const float found = reduce_max(most);
  const float now = found > old ? found : old;
  // A row that sees nothing yet: every term would be exp(-inf + inf).
  if (now == -__builtin_inff()) {
    for (uint64_t i = 0; i < count; ++i) x[i] = x[i] != x[i] ? x[i] : 0.0f;
    return 1;
  }
  const __m256 shift = _mm256_set1_ps(now);
  __m256 sum = _mm256_setzero_ps();
  for_each8(count, [&](uint64_t i, uint64_t n) {
    const __m256 e = exp8(_mm256_sub_ps(load(i, n), shift));
    store_part(x + i, n, e);
    sum = _mm256_add_ps(sum, e);
  });
  const float factor = _mm_cvtss_f32(_mm256_castps256_ps128(exp8(_mm256_set1_ps(old - now))));
  *largest = now;
  *total = *total * factor + reduce_add(sum);
  return factor;
}

void scale(float factor, uint64_t count, float* x) {
  const __m256 f = _mm256_set1_ps(factor);
  for_each8(count, [&](uint64_t i, uint64_t n) {
    store_part(x + i, n, _mm256_mul_ps(f, load_part(x + i, n)));
  });
}

}  // namespace

extern const VectorSet kAvx2Vectors;
const VectorSet kAvx2Vectors = {
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
