// SPDX-License-Identifier: Apache-2.0
// What kernels over paged caches share: which sequence a query token belongs to, where a position
// of a sequence lies in the pool, and cache words as floats. See docs/ops.md, "Inputs of a plan".
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/builder/builder.h"

namespace bp::kernels {

// "f16", "f32", "bf16" or "q8" (docs/ops.md), which takes heads of whole blocks alone.
bool is_cache_format(std::string_view cache, uint32_t head_dim);

// Words of a row's values.
uint32_t cache_row_words(std::string_view cache, uint32_t head_dim);
// Words of a row's scales; 0 but for q8.
uint32_t cache_scale_words(std::string_view cache, uint32_t head_dim);
// The word at which the scales of a q8 cache begin: behind the values of all [P, G, page_size].
Val first_scale_word(const Val& page_count, uint32_t kv_heads, uint32_t page_size,
                     uint32_t head_dim);

// The last of `sequences` (a param; 0 counts as 1) whose `start` is at most `value`, by binary
// search with as many steps for every thread and value. `start` must not fall, and that of the
// first sequence must be at most `value`. Of sequences that start together, all but the last are
// empty, so this is the one that holds `value`.
Val find_sequence(Builder& k, const Val& sequences, const Val& value,
                  const std::function<Val(Val sequence)>& start);

// The page table, with its width and the number of pages as params.
struct PageTable {
  Buf pages;       // [S, B]
  Val blocks;      // B
  Val page_count;  // P
  uint32_t page_size = 0;
};
// The row of [P, G, page_size] that holds `position` of a sequence, for attention: page numbers
// outside the pool read page P − 1.
Val cache_row(const PageTable& table, const Val& sequence, const Val& position, const Val& kv_head,
              uint32_t kv_heads);

// A cache to read from, whichever of the two.
struct CacheSource {
  std::string_view format;
  uint32_t head_dim = 0;
  Val first_scale;  // of q8
};
// What a thread has loaded of a cache row; floats are made of it later, so that several loads can
// be under way.
struct CacheWords {
  Val words;
  Val scale;  // of q8
};
// Vector `index` of `width` words (1, 2 or 4) of a row. One block of q8 holds all of it.
CacheWords load_cache(const CacheSource& source, Buf cache, const Val& row, const Val& index,
                      uint32_t width);
// The elements, in order.
std::vector<Val> cache_floats(const CacheSource& source, const CacheWords& loaded);

}  // namespace bp::kernels
