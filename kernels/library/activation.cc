// SPDX-License-Identifier: Apache-2.0
// Activations. Arguments of exp2 are bounded where infinity would turn into NaN.
#include "kernels/library/activation.h"

namespace bp::kernels {
namespace {

constexpr float kLog2E = 1.44269504f;

Val sigmoid(Val x) {
  // Beyond ±87 the result is 0 or 1 in f32 anyway; the bound keeps exp2 finite.
  const Val bounded = min(max(x, -87.0f), 87.0f);
  return rcp(exp2(bounded * -kLog2E) + 1.0f);
}

// Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: |error| below 1.5e-7.
Val erf(Val x) {
  const Val a = abs(x);
  const Val t = rcp(fma(a, 0.3275911f, 1.0f));
  Val p = fma(t, 1.061405429f, -1.453152027f);
  p = fma(p, t, 1.421413741f);
  p = fma(p, t, -0.284496736f);
  p = fma(p, t, 0.254829592f);
  const Val square = min(a * a, 87.0f);
  const Val y = 1.0f - p * t * exp2(square * -kLog2E);
  return select(x < 0.0f, -y, y);
}

}  // namespace

bool parse_activation(std::string_view text, Activation* out) {
  if (text == "none") return *out = Activation::kNone, true;
  if (text == "silu") return *out = Activation::kSilu, true;
  if (text == "gelu") return *out = Activation::kGelu, true;
  if (text == "gelu_tanh") return *out = Activation::kGeluTanh, true;
  return false;
}

// Near 0 the exponential form loses what it subtracts, so there the first terms of the Taylor
// series stand: the next is below 2^-24 of the result up to a quarter.
Val tanh(Val x) {
  const Val square = min(x * x, 1.0f);
  Val series = fma(square, 62.0f / 2835.0f, -17.0f / 315.0f);
  series = fma(series, square, 2.0f / 15.0f);
  series = fma(series, square, -1.0f / 3.0f);
  series = fma(series, square, 1.0f);
  return select(abs(x) < 0.25f, x * series, fma(sigmoid(x * 2.0f), 2.0f, -1.0f));
}

Val activate(Activation activation, Val x) {
  switch (activation) {
    case Activation::kSilu:
      return x * sigmoid(x);
    case Activation::kGelu:
      return x * 0.5f * (erf(x * 0.70710678f) + 1.0f);
    case Activation::kGeluTanh:
      // Bounding x first keeps the cube finite; tanh is ±1 long before.
      {
        const Val b = min(max(x, -100.0f), 100.0f);
        return x * 0.5f * (tanh((b + b * b * b * 0.044715f) * 0.79788456f) + 1.0f);
      }
    case Activation::kNone:
      break;
  }
  return x;
}

Val soft_cap(Val x, float cap) {
  return cap > 0.0f ? tanh(x * (1.0f / cap)) * cap : x;
}

}  // namespace bp::kernels
