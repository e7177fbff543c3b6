// SPDX-License-Identifier: Apache-2.0
// exp, tanh, erf and the activations on 16 floats. Errors: exp below 2 ulp; tanh and erf below
// 3e-7 absolute. NaN stays NaN. Include only from files compiled for AVX-512.
#pragma once

#include <immintrin.h>

namespace bp::cpu {
namespace {

// e^x = 2^n e^r with |r| <= ln 2 / 2; the polynomial is the Taylor series to the 7th power, whose
// rest is below 2^-26 there.
inline __m512 exp16(__m512 x) {
  // Beyond these bounds the result is 0 or infinity; the operand order lets NaN through.
  x = _mm512_min_ps(_mm512_set1_ps(89.0f), x);
  x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x);
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693145752f), x);  // upper bits of ln 2
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(1.42860677e-6f), r);       // the rest
  __m512 p = _mm512_set1_ps(1.0f / 5040);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 720));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

inline __m512 abs16(__m512 x) {
  return _mm512_abs_ps(x);
}

inline __m512 with_sign(__m512 magnitude, __m512 of) {
  const __m512i sign = _mm512_set1_epi32(static_cast<int>(0x80000000u));
  // (of & sign) | magnitude
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(of), sign,
                                                       _mm512_castps_si512(magnitude), 0xEA));
}

// 1 - 2 / (e^2|x| + 1), and near 0 the odd series, whose terms after x^11 vanish below 0.25.
inline __m512 tanh16(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 a = abs16(x);
  const __m512 e = exp16(_mm512_add_ps(a, a));
  const __m512 large =
      _mm512_sub_ps(one, _mm512_div_ps(_mm512_set1_ps(2.0f), _mm512_add_ps(e, one)));
  const __m512 z = _mm512_mul_ps(a, a);
  __m512 p = _mm512_set1_ps(-1382.0f / 155925);
  p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(62.0f / 2835));
  p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(-17.0f / 315));
  p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(2.0f / 15));
  p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(-1.0f / 3));
  p = _mm512_fmadd_ps(_mm512_mul_ps(p, z), a, a);
  const __mmask16 small = _mm512_cmp_ps_mask(a, _mm512_set1_ps(0.25f), _CMP_LT_OQ);
  return with_sign(_mm512_mask_mov_ps(large, small, p), x);
}

// Abramowitz and Stegun 7.1.26.
inline __m512 erf16(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 a = abs16(x);
  const __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(a, _mm512_set1_ps(0.3275911f), one));
  __m512 p = _mm512_set1_ps(1.061405429f);
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592f));
  const __m512 e = exp16(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(a, a)));
  return with_sign(_mm512_fnmadd_ps(_mm512_mul_ps(p, t), e, one), x);
}

// By number of Activation: none, silu, gelu, gelu_tanh.
inline __m512 activate16(int activation, __m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 half = _mm512_mul_ps(x, _mm512_set1_ps(0.5f));
  switch (activation) {
    case 1:
      return _mm512_div_ps(x, _mm512_add_ps(one, exp16(_mm512_sub_ps(_mm512_setzero_ps(), x))));
    case 2:
      return _mm512_fmadd_ps(half, erf16(_mm512_mul_ps(x, _mm512_set1_ps(0.707106781f))), half);
    case 3: {
      const __m512 cube = _mm512_mul_ps(_mm512_mul_ps(x, x), x);
      const __m512 inner = _mm512_mul_ps(_mm512_set1_ps(0.797884561f),
                                         _mm512_fmadd_ps(cube, _mm512_set1_ps(0.044715f), x));
      return _mm512_fmadd_ps(half, tanh16(inner), half);
    }
    default:
      return x;
  }
}

}  // namespace
}  // namespace bp::cpu
