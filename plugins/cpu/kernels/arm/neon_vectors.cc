// SPDX-License-Identifier: Apache-2.0
// Row operations and attention on NEON, as avx512_vectors.cc with vectors of 4.
#include <arm_neon.h>
#include <string.h>

#include "plugins/cpu/kernels/arm/neon_math.h"
#include "plugins/cpu/kernels/tuned/instructions.h"

namespace bp::cpu {
namespace {

inline uint64_t width(uint64_t left) {
  return left < 4 ? left : 4;
}

// The first n of 4 lanes; the others are 0 and are not read.
inline float32x4_t load_part(const float* from, uint64_t n) {
  if (n >= 4) return vld1q_f32(from);
  alignas(16) float part[4] = {};
  memcpy(part, from, n * sizeof(float));
  return vld1q_f32(part);
}
inline void store_part(float* to, uint64_t n, float32x4_t v) {
  if (n >= 4) return vst1q_f32(to, v);
  alignas(16) float part[4];
  vst1q_f32(part, v);
  memcpy(to, part, n * sizeof(float));
}

// Runs body(i, n) over [0, count) in steps of 4; n is 4 but for the last.
template <class Body>
inline void for_each4(uint64_t count, const Body& body) {
  uint64_t i = 0;
  for (; i + 4 <= count; i += 4) body(i, uint64_t{4});
  if (i < count) body(i, count - i);
}

// y = (x - mean) × (1 / sqrt(mean((x - mean)²) + eps)) × gain + bias + residual.
inline void norm(const float* x, float mean, const float* gain, const float* bias,
                 const float* residual, double eps, uint64_t count, float* y) {
  const float32x4_t middle = vdupq_n_f32(mean);
  const uint32_t order[4] = {0, 1, 2, 3};
  // Squares in double: rows of large activations would lose the small ones otherwise.
  float64x2_t low = vdupq_n_f64(0);
  float64x2_t high = vdupq_n_f64(0);
  for_each4(count, [&](uint64_t i, uint64_t n) {
    const uint32x4_t inside = vcltq_u32(vld1q_u32(order), vdupq_n_u32(static_cast<uint32_t>(n)));
    const float32x4_t all = vsubq_f32(load_part(x + i, n), middle);
    const float32x4_t v = vbslq_f32(inside, all, vdupq_n_f32(0));
    const float64x2_t a = vcvt_f64_f32(vget_low_f32(v));
    const float64x2_t b = vcvt_high_f64_f32(v);
    low = vfmaq_f64(low, a, a);
    high = vfmaq_f64(high, b, b);
  });
  const double variance = vaddvq_f64(vaddq_f64(low, high)) / static_cast<double>(count) + eps;
  const float factor = static_cast<float>(1 / vget_lane_f64(vsqrt_f64(vdup_n_f64(variance)), 0));
  for_each4(count, [&](uint64_t i, uint64_t n) {
    const float32x4_t v = vmulq_n_f32(vsubq_f32(load_part(x + i, n), middle), factor);
    float32x4_t r = residual == nullptr ? vdupq_n_f32(0) : load_part(residual + i, n);
    if (bias != nullptr) r = vaddq_f32(r, load_part(bias + i, n));
    store_part(y + i, n, vfmaq_f32(r, v, load_part(gain + i, n)));
  });
}

void rms_norm(const float* x, const float* gain, const float* residual, double eps, uint64_t count,
              float* y) {
  norm(x, 0, gain, nullptr, residual, eps, count, y);
}

void layer_norm(const float* x, const float* gain, const float* bias, const float* residual,
                double eps, uint64_t count, float* y) {
  float64x2_t sum = vdupq_n_f64(0);
  for_each4(count, [&](uint64_t i, uint64_t n) {
    const float32x4_t v = load_part(x + i, n);
    sum = vaddq_f64(sum, vaddq_f64(vcvt_f64_f32(vget_low_f32(v)), vcvt_high_f64_f32(v)));
  });
  const double mean = vaddvq_f64(sum) / static_cast<double>(count);
  norm(x, static_cast<float>(mean), gain, bias, residual, eps, count, y);
}

void gate(int activation, const float* gates, const float* ups, uint64_t count, float* y) {
  for_each4(count, [&](uint64_t i, uint64_t n) {
    const float32x4_t g = activate4(activation, load_part(gates + i, n));
    store_part(y + i, n, vmulq_f32(g, load_part(ups + i, n)));
  });
}

inline float32x4_t cap4(float softcap, float32x4_t x) {
  return vmulq_n_f32(tanh4(vdivq_f32(x, vdupq_n_f32(softcap))), softcap);
}

void finish(int activation, float softcap, const float* x, const float* residual, uint64_t count,
            float* y) {
  for_each4(count, [&](uint64_t i, uint64_t n) {
    float32x4_t v = activate4(activation, load_part(x + i, n));
    if (softcap > 0) v = cap4(softcap, v);
    if (residual != nullptr) v = vaddq_f32(v, load_part(residual + i, n));
    store_part(y + i, n, v);
  });
}

void rotate_halves(const float* x, const float* cosine, const float* sine, uint64_t pairs,
                   float* y) {
  for_each4(pairs, [&](uint64_t i, uint64_t n) {
    const float32x4_t a = load_part(x + i, n);
    const float32x4_t b = load_part(x + pairs + i, n);
    const float32x4_t c = load_part(cosine + i, n);
    const float32x4_t s = load_part(sine + i, n);
    store_part(y + i, n, vfmsq_f32(vmulq_f32(a, c), b, s));
    store_part(y + pairs + i, n, vfmaq_f32(vmulq_f32(a, s), b, c));
  });
}

// The cache formats: loads and stores of n <= 4 elements from element i on.
struct F32Cache {
  static float32x4_t load(CacheRows from, uint64_t j, uint64_t dim, uint64_t i, uint64_t n) {
    return load_part(static_cast<const float*>(from.values) + j * dim + i, n);
  }
  static void store(void* to, uint64_t i, uint64_t n, float32x4_t v) {
    store_part(static_cast<float*>(to) + i, n, v);
  }
};
inline uint16x4_t load_halves(const void* from, uint64_t i, uint64_t n) {
  const uint16_t* const at = static_cast<const uint16_t*>(from) + i;
  if (n >= 4) return vld1_u16(at);
  uint16_t part[4] = {};
  memcpy(part, at, 2 * n);
  return vld1_u16(part);
}
inline void store_halves(void* to, uint64_t i, uint64_t n, uint16x4_t v) {
  uint16_t part[4];
  vst1_u16(part, v);
  memcpy(static_cast<uint16_t*>(to) + i, part, 2 * n);
}
struct F16Cache {
  static float32x4_t load(CacheRows from, uint64_t j, uint64_t dim, uint64_t i, uint64_t n) {
    return vcvt_f32_f16(vreinterpret_f16_u16(load_halves(from.values, j * dim + i, n)));
  }
  static void store(void* to, uint64_t i, uint64_t n, float32x4_t v) {
    store_halves(to, i, n, vreinterpret_u16_f16(vcvt_f16_f32(v)));
  }
};
struct Bf16Cache {
  static float32x4_t load(CacheRows from, uint64_t j, uint64_t dim, uint64_t i, uint64_t n) {
    return vreinterpretq_f32_u32(vshll_n_u16(load_halves(from.values, j * dim + i, n), 16));
  }
  static void store(void* to, uint64_t i, uint64_t n, float32x4_t v) {
    const uint32x4_t bits = vreinterpretq_u32_f32(v);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x00400000));
    const uint32x4_t chosen = vbslq_u32(vceqq_f32(v, v), rounded, quiet);
    store_halves(to, i, n, vshrn_n_u32(chosen, 16));
  }
};

// Rows of q8 are whole blocks of 32, so that no vector has a tail.
inline float half_value(uint16_t bits) {
  return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(bits))), 0);
}
inline uint16_t half_bits(float value) {
  return vget_lane_u16(vreinterpret_u16_f16(vcvt_f16_f32(vdupq_n_f32(value))), 0);
}
struct Q8Cache {
  static float32x4_t load(CacheRows from, uint64_t j, uint64_t dim, uint64_t i, uint64_t) {
    int32_t word;
    memcpy(&word, static_cast<const int8_t*>(from.values) + j * dim + i, 4);
    const int16x8_t wide = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(word)));
    const float32x4_t q = vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
    return vmulq_n_f32(q, half_value(from.scales[j * from.scale_stride + i / 32]));
  }
};
void store_q8(const float* x, uint64_t count, void* out, uint16_t* scales) {
  for (uint64_t i = 0; i < count; i += 32) {
    float largest = 0;
    bool is_finite = true;
    for (uint64_t part = 0; part < 32; part += 4) {
      const float32x4_t a = vabsq_f32(vld1q_f32(x + i + part));
      is_finite = is_finite && vminvq_u32(vcleq_f32(a, vdupq_n_f32(__FLT_MAX__))) != 0;
      const float found = vmaxvq_f32(a);
      largest = found > largest ? found : largest;
    }
    const float wanted = largest / 127;
    const uint16_t scale =
        is_finite ? half_bits(wanted < 65504.0f ? wanted : 65504.0f) : uint16_t{0x7e00};
    const float step = half_value(scale);
    // By infinity everything becomes 0.
    const float32x4_t by = vdupq_n_f32(step > 0 ? step : __builtin_inff());
    for (uint64_t part = 0; part < 32; part += 8) {
      int16x4_t half[2];
      for (uint64_t v = 0; v < 2; ++v) {
        float32x4_t q = is_finite ? vdivq_f32(vld1q_f32(x + i + part + 4 * v), by) : vdupq_n_f32(0);
        q = vmaxq_f32(vminq_f32(q, vdupq_n_f32(127)), vdupq_n_f32(-127));
        half[v] = vmovn_s32(vcvtnq_s32_f32(q));
      }
      vst1_s8(static_cast<int8_t*>(out) + i + part, vmovn_s16(vcombine_s16(half[0], half[1])));
    }
    scales[i / 32] = scale;
  }
  if (count / 32 % 2 != 0) scales[count / 32] = 0;
}

template <class C>
void store(const float* x, uint64_t count, void* out, uint16_t*) {
  for_each4(count, [&](uint64_t i, uint64_t n) { C::store(out, i, n, load_part(x + i, n)); });
}

template <class C, int Q, int K>
inline void score_block(const float* q, uint64_t dim, CacheRows k, uint64_t j, float scale,
                        float* scores, uint64_t score_stride) {
  float32x4_t sums[Q][K];
  for (int a = 0; a < Q; ++a) {
    for (int b = 0; b < K; ++b) sums[a][b] = vdupq_n_f32(0);
  }
  for_each4(dim, [&](uint64_t i, uint64_t n) {
    float32x4_t ks[K];
    for (int b = 0; b < K; ++b) ks[b] = C::load(k, j + static_cast<uint64_t>(b), dim, i, n);
    for (int a = 0; a < Q; ++a) {
      const float32x4_t qs = load_part(q + static_cast<uint64_t>(a) * dim + i, n);
      for (int b = 0; b < K; ++b) sums[a][b] = vfmaq_f32(sums[a][b], qs, ks[b]);
    }
  });
  for (int a = 0; a < Q; ++a) {
    for (int b = 0; b < K; ++b) {
      scores[static_cast<uint64_t>(a) * score_stride + j + static_cast<uint64_t>(b)] =
          scale * vaddvq_f32(sums[a][b]);
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
    for (uint64_t i0 = 0; i0 < dim; i0 += 4) {
      const uint64_t n = width(dim - i0);
      alignas(16) float block[16][4];
      for (uint64_t j = 0; j < 16; ++j) {
        vst1q_f32(block[j], j0 + j < keys ? C::load(k, j0 + j, dim, i0, n) : vdupq_n_f32(0));
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
  float32x4_t sums[Q][4];
  for (int a = 0; a < Q; ++a) {
    for (int v = 0; v < 4; ++v) sums[a][v] = vdupq_n_f32(0);
  }
  for (uint64_t i = 0; i < dim; ++i) {
    float32x4_t ks[4];
    for (int v = 0; v < 4; ++v) ks[v] = vld1q_f32(k + i * stride + 4 * v);
    for (int a = 0; a < Q; ++a) {
      const float qs = q[static_cast<uint64_t>(a) * dim + i];
      for (int v = 0; v < 4; ++v) sums[a][v] = vfmaq_n_f32(sums[a][v], ks[v], qs);
    }
  }
  for (int a = 0; a < Q; ++a) {
    float* const to = out + static_cast<uint64_t>(a) * score_stride;
    for (int v = 0; v < 4; ++v) vst1q_f32(to + 4 * v, vmulq_n_f32(sums[a][v], scale));
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
  float32x4_t sums[Q][V];
  const auto at = [i0](int v) { return i0 + 4 * static_cast<uint64_t>(v); };
  for (int a = 0; a < Q; ++a) {
    for (int v = 0; v < V; ++v) {
      sums[a][v] = load_part(out + static_cast<uint64_t>(a) * dim + at(v), n);
    }
  }
  for (uint64_t j = 0; j < keys; ++j) {
    float32x4_t vs[V];
    for (int v = 0; v < V; ++v) vs[v] = C::load(values, j, dim, at(v), n);
    for (int a = 0; a < Q; ++a) {
      const float w = weights[static_cast<uint64_t>(a) * weight_stride + j];
      for (int v = 0; v < V; ++v) sums[a][v] = vfmaq_n_f32(sums[a][v], vs[v], w);
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
  for (; i + 16 <= dim; i += 16) {
    accumulate_tile<C, Q, 4>(weights, weight_stride, dim, values, keys, i, 4, out);
  }
  for (; i < dim; i += 4) {
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
  for_each4(count, [&](uint64_t i, uint64_t n) {
    store_part(x + i, n, cap4(softcap, load_part(x + i, n)));
  });
}

float softmax_step(float* x, uint64_t count, float* largest, float* total) {
  const float old = *largest;
  float now = old;
  for (uint64_t i = 0; i < count; ++i) now = x[i] > now ? x[i] : now;
  // A row that sees nothing yet: every term would be exp(-inf + inf).
  if (now == -__builtin_inff()) {
    for (uint64_t i = 0; i < count; ++i) x[i] = x[i] != x[i] ? x[i] : 0.0f;
    return 1;
  }
  const float32x4_t shift = vdupq_n_f32(now);
  float sum = 0;
  for_each4(count, [&](uint64_t i, uint64_t n) {
    const float32x4_t e = exp4(vsubq_f32(load_part(x + i, n), shift));
    store_part(x + i, n, e);
    if (n == 4) {
      sum += vaddvq_f32(e);
    } else {
      for (uint64_t j = 0; j < n; ++j) sum += x[i + j];
    }
  });
  const float factor = vgetq_lane_f32(exp4(vdupq_n_f32(old - now)), 0);
  *largest = now;
  *total = *total * factor + sum;
  return factor;
}

void scale(float factor, uint64_t count, float* x) {
  for_each4(count, [&](uint64_t i, uint64_t n) {
    store_part(x + i, n, vmulq_n_f32(load_part(x + i, n), factor));
  });
}

}  // namespace

extern const VectorSet kNeonVectors;
const VectorSet kNeonVectors = {
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
