// SPDX-License-Identifier: Apache-2.0
// A weight as a model file has it: planes of exactly its size, aligned as in a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "backplane/formats.h"
#include "backplane/plugin.h"

namespace bp::conformance {

// Bytes aligned to 64, as the planes of a model file are.
class Plane {
 public:
  explicit Plane(uint64_t bytes);
  Plane(const Plane& other);
  Plane& operator=(const Plane&) = delete;
  std::byte* data() noexcept { return data_; }
  const std::byte* data() const noexcept { return data_; }
  uint64_t size() const noexcept { return bytes_; }

 private:
  std::unique_ptr<std::byte[]> storage_;
  std::byte* data_;
  uint64_t bytes_;
};

struct Weight {
  const WeightFormat* format = nullptr;
  std::vector<uint64_t> dims;
  std::vector<Plane> planes;

  // Random quants. Magnitudes go by row (the last dimension but one): most rows reach about 1;
  // of 16 rows one is all zero, one has scales that make values up to 2^13, one down to 2^-12, one
  // subnormal f16 scales; and every fifth block has the most extreme quants.
  static Weight random(std::string_view format, std::vector<uint64_t> dims, uint64_t seed);
  // Uniform in [-1, 1), f32: gains and biases.
  static Weight vector(uint64_t count, uint64_t seed);

  uint64_t elements() const;
  std::vector<float> dequantized() const;
};

// The record for prepare(). `id` is equal for the same tensor.
bp_weight weight_record(const Weight& weight, uint64_t id);

}  // namespace bp::conformance
