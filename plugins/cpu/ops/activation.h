// SPDX-License-Identifier: Apache-2.0
// The activation functions of linear and its relatives.
#pragma once

#include <cmath>

#include "backplane/op_shapes.h"

namespace bp::cpu {

using ops::Activation;

// In double where T is: the reference kernels; in float: the rest of a row after tuned loops.
template <class T>
T activate(Activation activation, T x) noexcept {
  constexpr T kSqrtHalf = static_cast<T>(0.70710678118654752440);
  constexpr T kSqrtTwoOverPi = static_cast<T>(0.79788456080286535588);
  constexpr T kCubic = static_cast<T>(0.044715);
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kSilu:
      return x / (T{1} + std::exp(-x));
    case Activation::kGelu:
      return T{0.5} * x * (T{1} + std::erf(x * kSqrtHalf));
    case Activation::kGeluTanh:
      return T{0.5} * x * (T{1} + std::tanh(kSqrtTwoOverPi * (x + kCubic * x * x * x)));
  }
  return x;
}

// softcap × tanh(y / softcap) where softcap is positive, else y.
template <class T>
T soft_cap(T softcap, T y) noexcept {
  return softcap > 0 ? softcap * std::tanh(y / softcap) : y;
}

}  // namespace bp::cpu
