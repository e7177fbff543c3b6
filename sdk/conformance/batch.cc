// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/batch.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "backplane/float16.h"
#include "backplane/formats.h"
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

uint64_t Batch::cache_row(const HeadShape& shape, uint64_t s, uint64_t position, uint64_t g) const {
  const int32_t page = page_table[s * limits.blocks + position / limits.page_size];
  return (static_cast<uint64_t>(page) * shape.kv_heads + g) * limits.page_size +
         position % limits.page_size;
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

namespace {

// Where the scale of a block of q8 lies: behind the values of all rows, of each row whole words.
uint64_t scale_at(const CacheLayout& layout, uint64_t row, uint64_t block) {
  return layout.rows * layout.head_dim + 2 * (row * cache_scales(layout.head_dim) + block);
}

uint64_t value_bytes(std::string_view format) {
  return format == "q8" ? 1 : element_bytes(format);
}

}  // namespace

bool CacheLayout::is_possible() const {
  uint64_t row = 0;
  return row_bytes(format, head_dim, &row);
}

uint64_t CacheLayout::bytes() const {
  uint64_t row = 0;
  return row_bytes(format, head_dim, &row) ? rows * row : 0;
}

float CacheLayout::step(std::span<const std::byte> cache, uint64_t row, uint64_t block) const {
  uint16_t bits = 0;
  std::memcpy(&bits, cache.data() + scale_at(*this, row, block), 2);
  return f16_to_f32(bits);
}

void CacheLayout::put(Bytes& cache, uint64_t row, std::span<const float> values) const {
  std::byte* const to = cache.data() + row * head_dim * value_bytes(format);
  for (uint64_t i = 0; i < head_dim && format != "q8"; ++i) {
    const uint16_t half = format == "f16" ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    if (format == "f32") {
      std::memcpy(to + 4 * i, &values[i], 4);
    } else {
      std::memcpy(to + 2 * i, &half, 2);
    }
  }
  for (uint64_t first = 0; first < head_dim && format == "q8"; first += kCacheBlock) {
    float largest = 0;
    for (uint64_t i = 0; i < kCacheBlock; ++i) {
      largest = std::fmax(largest, std::abs(values[first + i]));
    }
    const uint16_t scale = f32_to_f16(largest / 127);
    std::memcpy(cache.data() + scale_at(*this, row, first / kCacheBlock), &scale, 2);
    for (uint64_t i = first; i < first + kCacheBlock; ++i) {
      const float q = scale == 0 ? 0 : std::nearbyint(values[i] / f16_to_f32(scale));
      to[i] = static_cast<std::byte>(static_cast<int8_t>(std::clamp(q, -127.0f, 127.0f)));
    }
  }
}

std::vector<float> CacheLayout::get(std::span<const std::byte> cache, uint64_t row) const {
  const std::byte* const from = cache.data() + row * head_dim * value_bytes(format);
  std::vector<float> out(head_dim);
  for (uint64_t i = 0; i < head_dim; ++i) {
    uint16_t half = 0;
    if (format == "q8") {
      out[i] = static_cast<float>(static_cast<int8_t>(from[i])) * step(cache, row, i / kCacheBlock);
    } else if (format == "f32") {
      std::memcpy(&out[i], from + 4 * i, 4);
    } else {
      std::memcpy(&half, from + 2 * i, 2);
      out[i] = format == "f16" ? f16_to_f32(half) : bf16_to_f32(half);
    }
  }
  return out;
}

void CacheLayout::copy(Bytes& to, const Bytes& from, uint64_t row) const {
  const auto part = [&](uint64_t at, uint64_t count) {
    std::memcpy(to.data() + at, from.data() + at, count);
  };
  part(row * head_dim * value_bytes(format), head_dim * value_bytes(format));
  if (format == "q8") part(scale_at(*this, row, 0), 2 * cache_scales(head_dim));
}

}  // namespace bp::conformance
