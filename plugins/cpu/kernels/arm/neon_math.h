// SPDX-License-Identifier: Apache-2.0
// exp, tanh, erf and the activations on 4 floats, with the bounds of avx512_math.h.
#pragma once

#include <arm_neon.h>

namespace bp::cpu {
namespace {

// e^x = 2^n e^r with |r| <= ln 2 / 2, and the Taylor series of e^r to the 7th power. 2^n in two
// factors, so that neither leaves the normal range. Minimum and maximum let NaN through.
inline float32x4_t exp4(float32x4_t x) {
  x = vmaxq_f32(vminq_f32(x, vdupq_n_f32(89.0f)), vdupq_n_f32(-104.0f));
  const float32x4_t n = vrndnq_f32(vmulq_n_f32(x, 1.44269504f));
  float32x4_t r = vfmsq_n_f32(x, n, 0.693145752f);
  r = vfmsq_n_f32(r, n, 1.42860677e-6f);
  const float terms[7] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  float32x4_t p = vdupq_n_f32(1.0f / 5040);
  for (const float term : terms) p = vfmaq_f32(vdupq_n_f32(term), p, r);
  const int32x4_t whole = vcvtq_s32_f32(n);
  const int32x4_t half = vshrq_n_s32(whole, 1);
  const auto power = [](int32x4_t e) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(e, vdupq_n_s32(127)), 23));
  };
  return vmulq_f32(vmulq_f32(p, power(half)), power(vsubq_s32(whole, half)));
}

inline float32x4_t with_sign(float32x4_t magnitude, float32x4_t of) {
  return vbslq_f32(vdupq_n_u32(0x80000000u), of, magnitude);
}

// 1 - 2 / (e^2|x| + 1), and near 0 the odd series, whose terms after x^11 vanish below 0.25.
inline float32x4_t tanh4(float32x4_t x) {
  const float32x4_t one = vdupq_n_f32(1.0f);
  const float32x4_t a = vabsq_f32(x);
  const float32x4_t e = exp4(vaddq_f32(a, a));
  const float32x4_t large = vsubq_f32(one, vdivq_f32(vdupq_n_f32(2.0f), vaddq_f32(e, one)));
  const float32x4_t z = vmulq_f32(a, a);
  const float terms[4] = {62.0f / 2835, -17.0f / 315, 2.0f / 15, -1.0f / 3};
  float32x4_t p = vdupq_n_f32(-1382.0f / 155925);
  for (const float term : terms) p = vfmaq_f32(vdupq_n_f32(term), p, z);
  const float32x4_t small = vfmaq_f32(a, vmulq_f32(p, z), a);
  return with_sign(vbslq_f32(vcltq_f32(a, vdupq_n_f32(0.25f)), small, large), x);
}

// Abramowitz and Stegun 7.1.26.
inline float32x4_t erf4(float32x4_t x) {
  const float32x4_t one = vdupq_n_f32(1.0f);
  const float32x4_t a = vabsq_f32(x);
  const float32x4_t t = vdivq_f32(one, vfmaq_n_f32(one, a, 0.3275911f));
  const float terms[4] = {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f};
  float32x4_t p = vdupq_n_f32(1.061405429f);
  for (const float term : terms) p = vfmaq_f32(vdupq_n_f32(term), p, t);
  const float32x4_t e = exp4(vnegq_f32(vmulq_f32(a, a)));
  return with_sign(vfmsq_f32(one, vmulq_f32(p, t), e), x);
}

// By number of Activation: none, silu, gelu, gelu_tanh.
inline float32x4_t activate4(int activation, float32x4_t x) {
  const float32x4_t one = vdupq_n_f32(1.0f);
  const float32x4_t half = vmulq_n_f32(x, 0.5f);
  switch (activation) {
    case 1:
      return vdivq_f32(x, vaddq_f32(one, exp4(vnegq_f32(x))));
    case 2:
      return vfmaq_f32(half, half, erf4(vmulq_n_f32(x, 0.707106781f)));
    case 3: {
      const float32x4_t cube = vmulq_f32(vmulq_f32(x, x), x);
      const float32x4_t inner = vmulq_n_f32(vfmaq_n_f32(x, cube, 0.044715f), 0.797884561f);
      return vfmaq_f32(half, half, tanh4(inner));
    }
    default:
      return x;
  }
}

}  // namespace
}  // namespace bp::cpu
