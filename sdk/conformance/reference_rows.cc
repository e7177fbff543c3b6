// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numeric>

#include "sdk/conformance/reference.h"

namespace bp::conformance {

Expected embed_reference(std::span<const int32_t> ids, std::span<const float> table, double scale,
                         uint64_t columns) {
  Expected out;
  out.columns = columns;
  out.resize(ids.size() * columns);
  for (size_t t = 0; t < ids.size(); ++t) {
    const float* const row = table.data() + static_cast<uint64_t>(ids[t]) * columns;
    // A minimum may cancel most of a value, so neighbours say how large its parts were.
    double largest = 0;
    for (uint64_t c = 0; c < columns; ++c) largest = std::fmax(largest, std::abs(row[c]));
    for (uint64_t c = 0; c < columns; ++c) {
      const uint64_t i = t * columns + c;
      out.value[i] = row[c] * scale;
      out.magnitude[i] = std::abs(row[c] * scale) + 0.05 * largest * std::abs(scale);
      out.slack[i] = 1e-37;
    }
  }
  return out;
}

Expected rms_norm_reference(std::span<const float> x, std::span<const float> gain,
                            std::span<const float> residual, double eps, uint64_t columns) {
  Expected out;
  out.columns = columns;
  out.resize(x.size());
  for (size_t begin = 0; begin < x.size(); begin += columns) {
    double squares = 0;
    for (uint64_t c = 0; c < columns; ++c) squares += double{x[begin + c]} * x[begin + c];
    const double factor = 1 / std::sqrt(squares / static_cast<double>(columns) + eps);
    for (uint64_t c = 0; c < columns; ++c) {
      const double y = x[begin + c] * factor * gain[c];
      const double r = residual.empty() ? 0 : residual[begin + c];
      out.value[begin + c] = y + r;
      out.magnitude[begin + c] = std::abs(y);
      out.slack[begin + c] = 1e-6 * (std::abs(r) + std::abs(y)) + 1e-12;
    }
  }
  return out;
}

Expected layer_norm_reference(std::span<const float> x, std::span<const float> gain,
                              std::span<const float> bias, std::span<const float> residual,
                              double eps, uint64_t columns) {
  Expected out;
  out.columns = columns;
  out.resize(x.size());
  const auto n = static_cast<double>(columns);
  for (size_t begin = 0; begin < x.size(); begin += columns) {
    double mean = 0, squares = 0, largest = 0;
    for (uint64_t c = 0; c < columns; ++c) mean += x[begin + c] / n;
    for (uint64_t c = 0; c < columns; ++c) {
      squares += (x[begin + c] - mean) * (x[begin + c] - mean);
      largest = std::max(largest, std::abs(double{x[begin + c]}));
    }
    const double factor = 1 / std::sqrt(squares / n + eps);
    for (uint64_t c = 0; c < columns; ++c) {
      const double y = (x[begin + c] - mean) * factor * gain[c];
      const double b = bias.empty() ? 0 : bias[c];
      const double r = residual.empty() ? 0 : residual[begin + c];
      out.value[begin + c] = y + b + r;
      out.magnitude[begin + c] = std::abs(y);
      // A sum in f32 leaves the mean of large elements a few roundings of the largest one off.
      out.slack[begin + c] = 1e-6 * (std::abs(b) + std::abs(r) + std::abs(y)) +
                             4e-7 * largest * factor * std::abs(gain[c]) + 1e-12;
    }
  }
  return out;
}

Route route_reference(std::span<const float> logits, uint64_t experts, uint64_t used,
                      bool normalize) {
  Route out;
  const uint64_t tokens = logits.size() / experts;
  out.weights.columns = used;
  out.weights.resize(tokens * used);
  for (uint64_t t = 0; t < tokens; ++t) {
    const float* const row = logits.data() + t * experts;
    std::vector<int32_t> order(experts);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return row[a] > row[b]; });
    const double largest = row[order[0]];
    double all = 0;
    for (uint64_t e = 0; e < experts; ++e) all += std::exp(row[e] - largest);
    double chosen = 0;
    for (uint64_t k = 0; k < used; ++k) chosen += std::exp(row[order[k]] - largest) / all;
    for (uint64_t k = 0; k < used; ++k) {
      const double share = std::exp(row[order[k]] - largest) / all;
      out.ids.push_back(order[k]);
      out.weights.value[t * used + k] = normalize ? share / chosen : share;
      out.weights.magnitude[t * used + k] = normalize ? share / chosen : share;
      out.weights.slack[t * used + k] = 1e-9;
    }
  }
  return out;
}

}  // namespace bp::conformance
