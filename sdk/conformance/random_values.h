// SPDX-License-Identifier: Apache-2.0
// Numbers that are the same for the same seed, on every machine.
#pragma once

#include <cstdint>
#include <vector>

namespace bp::conformance {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 0x1234567u) {}
  uint64_t next() {  // splitmix64
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t limit) { return next() % limit; }
  // Uniform in [-1, 1), with 24 bits, so that it is exact in f32.
  float unit() { return static_cast<float>(next() >> 40) * 0x1p-23f - 1.0f; }

 private:
  uint64_t state_;
};

inline std::vector<float> random_floats(uint64_t count, uint64_t seed, float scale = 1) {
  Random random(seed);
  std::vector<float> out(count);
  for (float& value : out) value = random.unit() * scale;
  return out;
}

// Activations as models have them, with what kernels trip over: some rows are all zero, and every
// row begins with a stretch of zeros in one of its blocks.
inline std::vector<float> random_activations(uint64_t rows, uint64_t columns, uint64_t seed) {
  std::vector<float> out = random_floats(rows * columns, seed);
  for (uint64_t r = 0; r < rows; ++r) {
    const bool whole = r % 16 == 4;
    const uint64_t zeros = whole ? columns : r % 4 == 1 && columns > 64 ? 32 : 0;
    for (uint64_t c = 0; c < zeros; ++c) out[r * columns + c] = 0;
  }
  return out;
}

}  // namespace bp::conformance
