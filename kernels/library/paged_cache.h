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

// "f16", "f32" or "bf16".
bool is_cache_format(std::string_view cache);

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

// Words of a cache row (any number of lanes) as floats, in order.
std::vector<Val> cache_floats(std::string_view cache, const Val& words);

}  // namespace bp::kernels
