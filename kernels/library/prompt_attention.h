// SPDX-License-Identifier: Apache-2.0
// Op attention over paged caches, for passes with many query tokens: tiles of queries walk tiles of
// keys through shared memory with an online softmax (Dao, "FlashAttention-2", 2023).
//
// A group takes some consecutive query tokens of one sequence and several of the query heads that
// share a cache head; each pair of them is a row. Rows of several sequences never meet: tile number
// i belongs to the last sequence s with query_start[s] / tokens + s <= i, which every group finds
// by itself, and the few tiles that a sequence does not need do nothing. No atomics: the result
// does not depend on the order of groups.
#pragma once

#include <cstdint>

#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"
#include "kernels/library/attention.h"

namespace bp::kernels {

struct PromptAttentionSchedule {
  uint32_t tokens = 4;           // query tokens of a tile
  uint32_t heads_per_group = 4;  // query heads of a tile; divides H / G
  uint32_t lanes = 16;           // threads that share a row's keys and its elements: a power of two
  uint32_t rows_per_thread = 4;  // 1, 2 or 4; divides tokens × heads_per_group
  uint32_t keys_per_thread = 2;  // a tile has lanes times as many keys
  uint32_t chunk = 64;           // elements of keys and values in shared memory at once; divides D
  uint32_t rows() const { return tokens * heads_per_group; }
  uint32_t keys() const { return lanes * keys_per_thread; }
  uint32_t threads() const { return rows() / rows_per_thread * lanes; }
};
// For passes of about `tokens` tokens; correct for any number.
PromptAttentionSchedule default_prompt_schedule(const AttentionSpec& spec, const Caps& caps,
                                                uint32_t tokens = 512);

// Workgroups in x: tiles of T tokens in S sequences. In y: heads / heads_per_group.
uint32_t prompt_attention_tiles(const PromptAttentionSchedule& schedule, uint32_t tokens,
                                uint32_t sequences);

// Buffers: q [T, H, D] f32; k cache; v cache [P, G, page_size, D]; query_start [S + 1];
// context_length [S]; page_table [S, B]; y [T, H, D] f32. Params, all u32: sequences (S), blocks
// (B), pages (P). D is a multiple of 4 and at most 256; build_attention takes the rest. Page
// numbers outside the pool read page P − 1.
Result<Kernel> build_prompt_attention(const AttentionSpec& spec,
                                      const PromptAttentionSchedule& schedule);

}  // namespace bp::kernels
