// SPDX-License-Identifier: Apache-2.0
// Op attention over paged caches, for passes with few query tokens: flash decoding with the keys
// split over workgroups (Dao et al., "FlashAttention", 2022; Dao, Haziza, Massa, Sizov,
// "Flash-Decoding for long-context inference", 2023).
//
// A workgroup takes one query token, one cache head with several of the query heads that share it,
// and one part of the keys. Runs of threads take a few keys each at a time, all on their way before
// the first is used, and keep a softmax of their own in base 2; the group joins them at its end.
// The parts are joined by a second kernel, or by whichever group of a token and its heads ends
// last, always in the order of the parts: the result does not depend on the order of groups.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"

namespace bp::kernels {

struct AttentionSpec {
  std::string cache = "f16";  // or "f32", "bf16", "q8"
  uint32_t heads = 0;         // H
  uint32_t kv_heads = 0;      // G, divides H
  uint32_t head_dim = 0;      // D; even for 16-bit caches, a multiple of 32 for q8
  uint32_t page_size = 16;
  uint32_t window = 0;  // 0: none
  float scale = 1.0f;
  float softcap = 0.0f;  // 0: none
  // Undivided or joined keys only: y_int8 and y_scales instead of y, as quantize.h has them for
  // rows of H·D.
  bool write_int8 = false;
};

inline constexpr uint32_t kMaxSplits = 256;
inline constexpr uint32_t kMaxKeysAtOnce = 8;

struct AttentionSchedule {
  uint32_t threads = 128;
  uint32_t heads_per_group = 4;  // query heads together; divides H / G
  uint32_t splits = 1;           // parts of the keys
  uint32_t joins = 0;            // 1: the group that ends last joins them; needs device_barrier
  uint32_t keys = 1;             // that a run reads at once
};
// Keys at once that suit so many heads, which take registers too.
inline uint32_t keys_for(uint32_t heads_per_group) {
  return heads_per_group == 1 ? 4 : 2;
}
// Whether that schedule can write int8.
bool can_write_int8(const AttentionSpec& spec, const AttentionSchedule& schedule);
// Most buffers that an attention which joins its parts has, with int8 for the result.
inline constexpr uint32_t kJoiningBuffers = 11;
AttentionSchedule default_schedule(const AttentionSpec& spec, const Caps& caps, uint32_t tokens,
                                   uint32_t context);

// Grid: x = T × H / heads_per_group, y = splits. Buffers: q [T, H, D] f32; k cache; v cache
// [P, G, page_size, D]; query_start [S + 1]; context_length [S]; page_table [S, B]; then y [T, H,
// D] f32 when splits is 1, else partial [T, H, splits, D] f32 and partial_sums [T, H, splits] pairs
// (maximum, sum), and where the schedule joins y behind them and counts [T × H / heads_per_group]
// u32, all zero before and after. Params, all u32: sequences (S), blocks (B), pages (P). Each group
// finds the sequence of its token itself. Page numbers outside the pool read page P − 1.
Result<Kernel> build_attention(const AttentionSpec& spec, const AttentionSchedule& schedule);

// Grid: x = T × H. Buffers: partial; partial_sums; y [T, H, D]; or with `int8`, for D a multiple of
// 32, y_int8 and y_scales as quantize.h has them for rows of H·D.
Result<Kernel> build_attention_combine(const AttentionSpec& spec, uint32_t splits, bool int8);

}  // namespace bp::kernels
