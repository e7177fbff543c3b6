// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>

#include "sdk/conformance/reference.h"

namespace bp::conformance {

void rope_reference(std::span<const float> head, std::span<const float> gain,
                    std::span<const float> rope, const RopeAttributes& attributes, Expected* out,
                    uint64_t at) {
  std::vector<double> x(head.begin(), head.end());
  if (!gain.empty()) {
    double squares = 0;
    for (const double v : x) squares += v * v;
    const double factor =
        1 / std::sqrt(squares / static_cast<double>(x.size()) + attributes.norm_eps);
    for (size_t i = 0; i < x.size(); ++i) x[i] *= factor * gain[i];
  }
  for (size_t i = 0; i < x.size(); ++i) {
    out->value[at + i] = x[i];
    out->magnitude[at + i] = gain.empty() ? 0 : std::abs(x[i]);
    out->slack[at + i] = gain.empty() ? 0 : 1e-9;
  }
  if (rope.empty()) return;
  const uint64_t half = attributes.rotary_dim / 2;
  for (uint64_t i = 0; i < half; ++i) {
    const uint64_t a = attributes.interleaved ? 2 * i : i;
    const uint64_t b = attributes.interleaved ? 2 * i + 1 : i + half;
    const double cosine = rope[i];
    const double sine = rope[half + i];
    out->value[at + a] = x[a] * cosine - x[b] * sine;
    out->value[at + b] = x[a] * sine + x[b] * cosine;
    const double magnitude = std::abs(x[a]) + std::abs(x[b]);
    out->magnitude[at + a] = out->magnitude[at + b] = magnitude;
    out->slack[at + a] = out->slack[at + b] = 1e-9;
  }
}

void attention_reference(std::span<const float> q, std::span<const float> keys,
                         std::span<const float> values, uint64_t position,
                         const AttentionAttributes& attributes, Expected* out, uint64_t at) {
  const uint64_t dim = q.size();
  const uint64_t window = attributes.window > 0 ? static_cast<uint64_t>(attributes.window) : 0;
  const uint64_t first = window != 0 && position >= window ? position - window + 1 : 0;
  std::vector<double> scores;
  double largest = -std::numeric_limits<double>::infinity();
  for (uint64_t j = first; j <= position; ++j) {
    double score = 0;
    for (uint64_t d = 0; d < dim; ++d) score += double{q[d]} * keys[j * dim + d];
    score *= attributes.scale;
    if (attributes.softcap > 0) {
      score = attributes.softcap * std::tanh(score / attributes.softcap);
    }
    scores.push_back(score);
    largest = std::max(largest, score);
  }
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - largest);
  for (uint64_t d = 0; d < dim; ++d) {
    double y = 0;
    double magnitude = 0;
    for (uint64_t j = first; j <= position; ++j) {
      const double term = scores[j - first] / sum * values[j * dim + d];
      y += term;
      magnitude += std::abs(term);
    }
    out->value[at + d] = y;
    out->magnitude[at + d] = magnitude;
    out->slack[at + d] = 1e-6 * magnitude + 1e-9;
  }
}

}  // namespace bp::conformance
