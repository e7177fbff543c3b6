// SPDX-License-Identifier: Apache-2.0
// A batch of sequences with paged caches, as the inputs of a plan describe it. The content of a
// sequence depends on its seed alone, not on its place in the batch or in the pool.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "sdk/conformance/op_run.h"
#include "sdk/conformance/reference.h"

namespace bp::conformance {

struct Sequence {
  uint64_t context = 1;  // positions once the pass has run
  uint64_t queries = 1;  // of them in this pass, the last ones
  uint64_t seed = 1;
};

// Largest batch that a record is made for.
struct BatchLimits {
  uint64_t tokens = 1, sequences = 1, pages = 1, blocks = 1, page_size = 16;
  SymbolRanges ranges() const { return ranges_up_to({tokens, sequences, 8, pages, blocks}); }
};

struct Batch {
  BatchLimits limits;
  std::vector<Sequence> sequences;
  std::vector<int32_t> positions, sequence_of, query_start, context_length, page_table;
  uint64_t tokens = 0;

  // Pages are drawn from the pool at random, each used once; unused entries are −1.
  static Batch create(const BatchLimits& limits, std::vector<Sequence> sequences, uint64_t seed);
  SymbolValues symbols() const {
    return {tokens, sequences.size(), 1, limits.pages, limits.blocks};
  }
  // The row of `position` of sequence s and cache head g.
  uint64_t cache_row(const HeadShape& shape, uint64_t s, uint64_t position, uint64_t g) const;
};

// [context, kv_heads, head_dim], the same for the same seed.
std::vector<float> keys_of(const Sequence& sequence, const HeadShape& shape);
std::vector<float> values_of_sequence(const Sequence& sequence, const HeadShape& shape);
// [queries, heads, head_dim]
std::vector<float> queries_of(const Sequence& sequence, const HeadShape& shape);

// How a cache lies in memory: rows of head_dim elements, [pages, kv_heads, page_size] of them.
struct CacheLayout {
  std::string_view format;
  uint64_t rows = 1, head_dim = 0;

  uint64_t bytes() const;
  // Does the format have such rows?
  bool is_possible() const;
  // A row rounded to the format, to nearest even, and back.
  void put(Bytes& cache, uint64_t row, std::span<const float> values) const;
  std::vector<float> get(std::span<const std::byte> cache, uint64_t row) const;
  // All bytes of a row, also those that nobody reads.
  void copy(Bytes& to, const Bytes& from, uint64_t row) const;
  // In "q8", what the elements of a block are multiples of.
  float step(std::span<const std::byte> cache, uint64_t row, uint64_t block) const;
};

inline constexpr std::string_view kKvFormats[] = {"f16", "f32", "bf16", "q8"};

}  // namespace bp::conformance
