// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "sdk/conformance/reference.h"

namespace bp::conformance {
namespace {

constexpr double kAdditionSlack = 4e-6;
constexpr double kSubnormalSlack = 0x1p-24;  // of a weight, for each unit of activation
constexpr double kSteepest = 1.2;            // slope of silu and gelu

struct Product {
  double sum = 0, magnitude = 0;
};

Product dot(const float* x, const float* w, uint64_t columns) {
  double sum = 0;
  double squares = 0;
  for (uint64_t k = 0; k < columns; ++k) {
    const double term = double{x[k]} * w[k];
    sum += term;
    squares += term * term;
  }
  return {sum, std::sqrt(squares)};
}

double norm(const float* x, uint64_t columns) {
  double squares = 0;
  for (uint64_t k = 0; k < columns; ++k) squares += double{x[k]} * x[k];
  return std::sqrt(squares);
}

}  // namespace

double activate(const std::string& activation, double x) {
  if (activation == "silu") return x / (1 + std::exp(-x));
  if (activation == "gelu") return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  if (activation == "gelu_tanh") {
    const double inner = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
    return 0.5 * x * (1 + std::tanh(inner));
  }
  return x;
}

Expected linear_reference(std::span<const float> x, std::span<const float> weight,
                          std::span<const float> bias, std::span<const float> residual,
                          const LinearAttributes& attributes, uint64_t tokens, uint64_t rows,
                          uint64_t columns) {
  Expected out;
  out.columns = rows;
  out.resize(tokens * rows);
  for (uint64_t t = 0; t < tokens; ++t) {
    const float* const xt = x.data() + t * columns;
    const double subnormal = kSubnormalSlack * norm(xt, columns);
    for (uint64_t n = 0; n < rows; ++n) {
      const Product product = dot(xt, weight.data() + n * columns, columns);
      const double b = bias.empty() ? 0 : bias[n];
      const double r = residual.empty() ? 0 : residual[t * rows + n];
      double y = activate(attributes.activation, product.sum + b);
      if (attributes.softcap > 0) y = attributes.softcap * std::tanh(y / attributes.softcap);
      const uint64_t i = t * rows + n;
      out.value[i] = y + r;
      out.magnitude[i] = kSteepest * product.magnitude;
      out.slack[i] = kAdditionSlack * (std::abs(b) + std::abs(r) + std::abs(y)) + subnormal;
    }
  }
  return out;
}

Expected glu_reference(std::span<const float> x, std::span<const float> gate,
                       std::span<const float> up, std::span<const float> bias,
                       const std::string& activation, uint64_t tokens, uint64_t rows,
                       uint64_t columns) {
  Expected out;
  out.columns = rows;
  out.resize(tokens * rows);
  for (uint64_t t = 0; t < tokens; ++t) {
    const float* const xt = x.data() + t * columns;
    const double subnormal = kSubnormalSlack * norm(xt, columns);
    for (uint64_t n = 0; n < rows; ++n) {
      const Product g = dot(xt, gate.data() + n * columns, columns);
      const Product u = dot(xt, up.data() + n * columns, columns);
      const double gate_bias = bias.empty() ? 0 : bias[n];
      const double up_bias = bias.empty() ? 0 : bias[rows + n];
      const double a = activate(activation, g.sum + gate_bias);
      const double b = u.sum + up_bias;
      const uint64_t i = t * rows + n;
      out.value[i] = a * b;
      // Errors of both factors, and a little of their product.
      out.magnitude[i] = kSteepest * g.magnitude * std::abs(b) + std::abs(a) * u.magnitude +
                         0.05 * g.magnitude * u.magnitude;
      const double gate_slack = kSteepest * (subnormal + kAdditionSlack * std::abs(gate_bias)) +
                                kAdditionSlack * std::abs(a);
      const double up_slack = subnormal + kAdditionSlack * std::abs(up_bias);
      out.slack[i] = gate_slack * (std::abs(b) + u.magnitude) +
                     up_slack * (std::abs(a) + g.magnitude) + gate_slack * up_slack;
    }
  }
  return out;
}

}  // namespace bp::conformance
