// SPDX-License-Identifier: Apache-2.0
#include "compiler/architectures/rotary.h"

#include <cmath>
#include <numbers>

namespace bp::compiler {
namespace {

double frequency(uint64_t i, uint64_t rotary_dim, double base) {
  return std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
}

template <typename Stretch>
Rope make(uint64_t rotary_dim, double base, Stretch stretch) {
  Rope rope;
  rope.rotary_dim = static_cast<uint32_t>(rotary_dim);
  for (uint64_t i = 0; i < rotary_dim / 2; ++i) {
    rope.frequencies.push_back(static_cast<float>(stretch(i, frequency(i, rotary_dim, base))));
  }
  return rope;
}

}  // namespace

Rope plain_rope(uint64_t rotary_dim, double base) {
  return make(rotary_dim, base, [](uint64_t, double f) { return f; });
}

Rope linear_rope(uint64_t rotary_dim, double base, double factor) {
  return make(rotary_dim, base, [factor](uint64_t, double f) { return f / factor; });
}

Rope llama3_rope(uint64_t rotary_dim, double base, const Llama3Scaling& s) {
  return make(rotary_dim, base, [&s](uint64_t, double f) {
    const double wavelength = 2 * std::numbers::pi / f;
    if (wavelength < s.original_context / s.high_factor) return f;
    if (wavelength > s.original_context / s.low_factor) return f / s.factor;
    const double smooth =
        (s.original_context / wavelength - s.low_factor) / (s.high_factor - s.low_factor);
    return (1 - smooth) * f / s.factor + smooth * f;
  });
}

Rope long_rope(uint64_t rotary_dim, double base, const LongScaling& s) {
  Rope rope = make(rotary_dim, base, [&s](uint64_t i, double f) {
    return f / static_cast<double>(s.short_factors[i]);
  });
  rope.long_frequencies = make(rotary_dim, base, [&s](uint64_t i, double f) {
                            return f / static_cast<double>(s.long_factors[i]);
                          }).frequencies;
  rope.attention_factor = static_cast<float>(s.attention_factor);
  rope.long_attention_factor = static_cast<float>(s.attention_factor);
  rope.long_from = s.long_from;
  return rope;
}

void divide_frequencies(Rope& rope, std::span<const float> factors) {
  for (size_t i = 0; i < rope.frequencies.size() && i < factors.size(); ++i) {
    rope.frequencies[i] /= factors[i];
  }
}

}  // namespace bp::compiler
