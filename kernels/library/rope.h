// SPDX-License-Identifier: Apache-2.0
// Op rope_kv_write: norms of query and key heads, rotation, and the write of keys and values into
// the paged caches. One workgroup a token and head. Angles come from the host's tables, so that no
// device's sine is trusted.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/ir/ir.h"

namespace bp::kernels {

// What one launch does. One launch does all where the device binds enough buffers (9 to 12), and
// three launches do it where it does not: each part needs 8 at most.
enum class RopePart : uint8_t { kAll, kQuery, kKey, kValue };

struct RopeSpec {
  std::string cache = "f16";  // or "f32", "bf16"; "q8" for D a multiple of 32
  bool separate = false;      // q, k, v are three tensors, not the merged one
  bool rope = true;
  bool q_norm = false, k_norm = false;
  uint32_t heads = 0, kv_heads = 0, head_dim = 0;  // D even
  uint32_t rotary_dim = 0;                         // R, even, at most D
  bool interleaved = false;
  float norm_eps = 1e-6f;
  RopePart part = RopePart::kAll;
};

// Launch on grid (T, H + 2G); of one part: (T, H), (T, G), (T, G). Buffers in order, those in
// brackets by part: qkv [T, (H + 2G) D], or with `separate` q [all, query], k [all, key], v [all,
// value]; rope [T, R] (with `rope`) [all, query, key]; q_norm [D] (when given) [all, query];
// k_norm [D] (when given) [all, key]; positions [T], sequence_of [T], page_table [S, B] [all, key,
// value]; q_out [T, H·D] [all, query]; k cache [all, key]; v cache [all, value], both [P, G,
// page_size, D]. Tokens whose page is outside [0, P) or whose block is outside [0, B) write no
// cache; the host checks all of them before a pass. Params, both u32: blocks (B), pages (P); of the
// query part none.
Result<Kernel> build_rope_kv_write(const RopeSpec& spec, uint32_t page_size);

}  // namespace bp::kernels
