// SPDX-License-Identifier: Apache-2.0
// Batches of sequences on scattered pages, and caches in every format, for tests of the ops around
// the KV cache. Formats are written from docs/ops.md, with none of the plugin's code.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "backplane/float16.h"
#include "plugins/cpu/isa.h"
#include "plugins/cpu/testing/op_runner.h"

namespace bp::cpu::testing {

inline constexpr const char* kLevels[] = {"reference", "avx2", "avx512", "amx", "neon"};

inline std::vector<const char*> present_levels() {
  std::vector<const char*> out;
  for (const char* level : kLevels) {
    OpenPlugin plugin(level);
    if (std::string_view(isa_name(active_isa())) == level) out.push_back(level);
  }
  return out;
}

struct Sequence {
  int32_t queries;
  int32_t context;  // with the queries
};

struct Case {
  std::vector<Sequence> sequences;
  uint64_t heads = 4, kv_heads = 2, head_dim = 64, page_size = 16;
  int64_t window = 0;
  double softcap = 0;
  std::string format = "f32";
};

// Pages of all sequences, spread over the pool backwards.
struct Batch {
  explicit Batch(const Case& c) {
    int32_t most = 0;
    query_start.push_back(0);
    for (const Sequence& s : c.sequences) {
      most = std::max(most, s.context);
      query_start.push_back(query_start.back() + s.queries);
      context_length.push_back(s.context);
    }
    tokens = static_cast<uint64_t>(query_start.back());
    blocks = (static_cast<uint64_t>(most) + c.page_size - 1) / c.page_size + 1;
    pages = c.sequences.size() * blocks + 3;
    for (size_t s = 0; s < c.sequences.size(); ++s) {
      const uint64_t used =
          (static_cast<uint64_t>(c.sequences[s].context) + c.page_size - 1) / c.page_size;
      for (uint64_t b = 0; b < blocks; ++b) {
        const uint64_t page = pages - 1 - (b * c.sequences.size() + s);
        page_table.push_back(b < used ? static_cast<int32_t>(page) : -1);
      }
      for (int32_t i = 0; i < c.sequences[s].queries; ++i) {
        positions.push_back(c.sequences[s].context - c.sequences[s].queries + i);
        sequence_of.push_back(static_cast<int32_t>(s));
      }
    }
  }
  uint64_t tokens = 0, blocks = 0, pages = 0;
  std::vector<int32_t> query_start, context_length, page_table, positions, sequence_of;
};

// q8 as docs/ops.md has it: int8 of all rows, then f16 scales, of every row a whole word.
inline constexpr uint64_t kGroup = 32;

inline uint64_t scales_of(uint64_t head_dim) {
  return (head_dim + 2 * kGroup - 1) / (2 * kGroup) * 2;
}

inline std::vector<std::byte> encode_q8(const std::vector<float>& values, uint64_t head_dim) {
  const uint64_t rows = values.size() / head_dim, stride = scales_of(head_dim);
  std::vector<std::byte> out(values.size() + rows * stride * 2);
  for (uint64_t first = 0; first < values.size(); first += kGroup) {
    float largest = 0;
    for (uint64_t i = 0; i < kGroup; ++i) largest = std::fmax(largest, std::abs(values[first + i]));
    const uint16_t scale = f32_to_f16(largest / 127);
    const uint64_t at = first / head_dim * stride + first % head_dim / kGroup;
    std::memcpy(out.data() + values.size() + 2 * at, &scale, 2);
    for (uint64_t i = 0; i < kGroup && largest > 0; ++i) {
      const float q = std::nearbyint(values[first + i] / f16_to_f32(scale));
      out[first + i] = static_cast<std::byte>(static_cast<int8_t>(std::min(q, 127.0f)));
    }
  }
  return out;
}

inline std::vector<float> decode_q8(const std::vector<std::byte>& bytes, uint64_t head_dim) {
  const uint64_t stride = scales_of(head_dim), rows = bytes.size() / (head_dim + 2 * stride);
  std::vector<float> out(rows * head_dim);
  for (uint64_t i = 0; i < out.size(); ++i) {
    uint16_t scale = 0;
    const uint64_t at = i / head_dim * stride + i % head_dim / kGroup;
    std::memcpy(&scale, bytes.data() + out.size() + 2 * at, 2);
    out[i] = static_cast<float>(static_cast<int8_t>(bytes[i])) * f16_to_f32(scale);
  }
  return out;
}

inline std::vector<std::byte> encode(const std::vector<float>& values, const std::string& format,
                                     uint64_t head_dim) {
  if (format == "q8") return encode_q8(values, head_dim);
  const size_t bytes = format == "f32" ? 4 : 2;
  std::vector<std::byte> out(values.size() * bytes);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = format == "f16" ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    if (bytes == 4) {
      std::memcpy(out.data() + 4 * i, &values[i], 4);
    } else {
      std::memcpy(out.data() + 2 * i, &half, 2);
    }
  }
  return out;
}

inline std::vector<float> decode(const std::vector<std::byte>& bytes, const std::string& format,
                                 uint64_t head_dim) {
  if (format == "q8") return decode_q8(bytes, head_dim);
  const size_t element = format == "f32" ? 4 : 2;
  std::vector<float> out(bytes.size() / element);
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t half = 0;
    if (element == 4) {
      std::memcpy(&out[i], bytes.data() + 4 * i, 4);
      continue;
    }
    std::memcpy(&half, bytes.data() + 2 * i, 2);
    out[i] = format == "f16" ? f16_to_f32(half) : bf16_to_f32(half);
  }
  return out;
}

inline std::vector<uint64_t> cache_dims(const Case& c, const Batch& b) {
  return {b.pages, c.kv_heads, c.page_size, c.head_dim};
}

inline std::vector<float> cache_values(const Case& c, const Batch& b, uint32_t seed) {
  return random_floats(b.pages * c.kv_heads * c.page_size * c.head_dim, seed);
}

}  // namespace bp::cpu::testing
