// SPDX-License-Identifier: Apache-2.0
// exp, tanh, erf and the activations on 8 floats, with the bounds of avx512_math.h. Include only
// from files compiled for AVX2.
#pragma once

#include <immintrin.h>

namespace bp::cpu {
namespace {

// 2^n for whole n from -252 to 254, in two factors so that neither leaves the normal range.
inline __m256 times_power(__m256 p, __m256 n) {
  const __m256i whole = _mm256_cvtps_epi32(n);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const auto power = [](__m256i e) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
  };
  return _mm256_mul_ps(_mm256_mul_ps(p, power(half)), power(_mm256_sub_epi32(whole, half)));
}

// e^x = 2^n e^r with |r| <= ln 2 / 2, and the Taylor series of e^r to the 7th power.
inline __m256 exp8(__m256 x) {
  // Beyond these bounds the result is 0 or infinity; the operand order lets NaN through.
  x = _mm256_min_ps(_mm256_set1_ps(89.0f), x);
  x = _mm256_max_ps(_mm256_set1_ps(-104.0f), x);
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693145752f), x);  // upper bits of ln 2
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(1.42860677e-6f), r);       // the rest
  __m256 p = _mm256_set1_ps(1.0f / 5040);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 720));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f));
  return times_power(p, n);
}

inline __m256 sign_bit() {
  return _mm256_set1_ps(-0.0f);
}
inline __m256 abs8(__m256 x) {
  return _mm256_andnot_ps(sign_bit(), x);
}
inline __m256 with_sign(__m256 magnitude, __m256 of) {
  return _mm256_or_ps(magnitude, _mm256_and_ps(of, sign_bit()));
}

// 1 - 2 / (e^2|x| + 1), and near 0 the odd series, whose terms after x^11 vanish below 0.25.
inline __m256 tanh8(__m256 x) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 a = abs8(x);
  const __m256 e = exp8(_mm256_add_ps(a, a));
  const __m256 large =
      _mm256_sub_ps(one, _mm256_div_ps(_mm256_set1_ps(2.0f), _mm256_add_ps(e, one)));
  const __m256 z = _mm256_mul_ps(a, a);
  __m256 p = _mm256_set1_ps(-1382.0f / 155925);
  p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(62.0f / 2835));
  p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(-17.0f / 315));
  p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(2.0f / 15));
  p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(-1.0f / 3));
  p = _mm256_fmadd_ps(_mm256_mul_ps(p, z), a, a);
  const __m256 small = _mm256_cmp_ps(a, _mm256_set1_ps(0.25f), _CMP_LT_OQ);
  return with_sign(_mm256_blendv_ps(large, p, small), x);
}

// Abramowitz and Stegun 7.1.26.
inline __m256 erf8(__m256 x) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 a = abs8(x);
  const __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(a, _mm256_set1_ps(0.3275911f), one));
  __m256 p = _mm256_set1_ps(1.061405429f);
  p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-1.453152027f));
  p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(1.421413741f));
  p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-0.284496736f));
  p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(0.254829592f));
  const __m256 e = exp8(_mm256_sub_ps(_mm256_setzero_ps(), _mm256_mul_ps(a, a)));
  return with_sign(_mm256_fnmadd_ps(_mm256_mul_ps(p, t), e, one), x);
}

// By number of Activation: none, silu, gelu, gelu_tanh.
inline __m256 activate8(int activation, __m256 x) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 half = _mm256_mul_ps(x, _mm256_set1_ps(0.5f));
  switch (activation) {
    case 1:
      return _mm256_div_ps(x, _mm256_add_ps(one, exp8(_mm256_sub_ps(_mm256_setzero_ps(), x))));
    case 2:
      return _mm256_fmadd_ps(half, erf8(_mm256_mul_ps(x, _mm256_set1_ps(0.707106781f))), half);
    case 3: {
      const __m256 cube = _mm256_mul_ps(_mm256_mul_ps(x, x), x);
      const __m256 inner = _mm256_mul_ps(_mm256_set1_ps(0.797884561f),
                                         _mm256_fmadd_ps(cube, _mm256_set1_ps(0.044715f), x));
      return _mm256_fmadd_ps(half, tanh8(inner), half);
    }
    default:
      return x;
  }
}

}  // namespace
}  // namespace bp::cpu
