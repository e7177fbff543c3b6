// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/batch.h"

#include <cstring>
#include <numeric>

#include "backplane/float16.h"
#include "sdk/conformance/random_values.h"

namespace bp::conformance {

Batch Batch::create(const BatchLimits& limits, std::vector<Sequence> sequences, uint64_t seed) {
  Batch out;
  out.limits = limits;
  out.sequences = std::move(sequences);
  Random random(seed);
  std::vector<int32_t> pool(limits.pages);
  std::iota(pool.begin(), pool.end(), 0);
  for (size_t i = pool.size(); i > 1; --i) std::swap(pool[i - 1], pool[random.below(i)]);
  out.query_start.push_back(0);
  for (size_t s = 0; s < out.sequences.size(); ++s) {
    const Sequence& sequence = out.sequences[s];
    for (uint64_t q = 0; q < sequence.queries; ++q) {
      out.positions.push_back(static_cast<int32_t>(sequence.context - sequence.queries + q));
      out.sequence_of.push_back(static_cast<int32_t>(s));
    }
    out.tokens += sequence.queries;
    out.query_start.push_back(static_cast<int32_t>(out.tokens));
    out.context_length.push_back(static_cast<int32_t>(sequence.context));
    const uint64_t used = (sequence.context + limits.page_size - 1) / limits.page_size;
    for (uint64_t b = 0; b < limits.blocks; ++b) {
      if (b >= used || pool.empty()) {
        out.page_table.push_back(-1);
        continue;
      }
      out.page_table.push_back(pool.back());
      pool.pop_back();
    }
  }
  return out;
}

uint64_t Batch::cache_index(const HeadShape& shape, uint64_t s, uint64_t position,
                            uint64_t g) const {
  const int32_t page = page_table[s * limits.blocks + position / limits.page_size];
  const uint64_t row = (static_cast<uint64_t>(page) * shape.kv_heads + g) * limits.page_size +
                       position % limits.page_size;
  return row * shape.head_dim;
}

std::vector<float> keys_of(const Sequence& sequence, const HeadShape& shape) {
  return random_floats(sequence.context * shape.kv_heads * shape.head_dim, sequence.seed * 4 + 1);
}
std::vector<float> values_of_sequence(const Sequence& sequence, const HeadShape& shape) {
  return random_floats(sequence.context * shape.kv_heads * shape.head_dim, sequence.seed * 4 + 2);
}
std::vector<float> queries_of(const Sequence& sequence, const HeadShape& shape) {
  // Large enough for a softmax that prefers some keys clearly.
  return random_floats(sequence.queries * shape.heads * shape.head_dim, sequence.seed * 4 + 3, 5);
}

void put_element(Bytes& cache, std::string_view format, uint64_t index, float value) {
  if (format == "f32") {
    std::memcpy(cache.data() + 4 * index, &value, 4);
    return;
  }
  const uint16_t bits = format == "f16" ? f32_to_f16(value) : f32_to_bf16(value);
  std::memcpy(cache.data() + 2 * index, &bits, 2);
}

float element_at(std::span<const std::byte> cache, std::string_view format, uint64_t index) {
  if (format == "f32") {
    float value = 0;
    std::memcpy(&value, cache.data() + 4 * index, 4);
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, cache.data() + 2 * index, 2);
  return format == "f16" ? f16_to_f32(bits) : bf16_to_f32(bits);
}

}  // namespace bp::conformance
