// SPDX-License-Identifier: Apache-2.0
// Frequencies of rotary position embeddings (Su et al. 2021) and the ways to stretch them.
// Computed in double and rounded once to f32.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "compiler/graph/graph.h"

namespace bp::compiler {

// base^(−2i / rotary_dim) for i in [0, rotary_dim / 2).
Rope plain_rope(uint64_t rotary_dim, double base);

// Position interpolation (Chen et al. 2023): every frequency divided by `factor`.
Rope linear_rope(uint64_t rotary_dim, double base, double factor);

// Llama 3.1: wavelengths below original / high_factor stay, those above original / low_factor are
// stretched by `factor`, those between by a mixture.
struct Llama3Scaling {
  double factor = 8;
  double low_factor = 1;
  double high_factor = 4;
  double original_context = 8192;
};
Rope llama3_rope(uint64_t rotary_dim, double base, const Llama3Scaling& scaling);

// LongRoPE (Ding et al. 2024): each frequency divided by a factor of its own, another one for
// contexts above `long_from`. Both lists have rotary_dim / 2 entries.
struct LongScaling {
  std::vector<float> short_factors, long_factors;
  double attention_factor = 1;
  uint64_t long_from = 0;
};
Rope long_rope(uint64_t rotary_dim, double base, const LongScaling& scaling);

// Divides each frequency by the factor beside it (GGUF's rope_freqs.weight).
void divide_frequencies(Rope& rope, std::span<const float> factors);

}  // namespace bp::compiler
