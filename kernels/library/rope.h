// SPDX-License-Identifier: Apache-2.0
// Op rope_kv_write: norms of query and key heads, rotation, and the write of keys and values into
// the paged caches. One workgroup a token and head. Angles come from the host's tables, so that no
// device's sine is trusted.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/ir/ir.h"

namespace bp::kernels {

struct RopeSpec {
  std::string cache = "f16";  // or "f32", "bf16"
  bool separate = false;      // q, k, v are three tensors, not the merged one
  bool rope = true;
  bool q_norm = false, k_norm = false;
  uint32_t heads = 0, kv_heads = 0, head_dim = 0;  // D even
  uint32_t rotary_dim = 0;                         // R, even, at most D
  bool interleaved = false;
  float norm_eps = 1e-6f;
};

// Where each token's keys go: launch on grid (ceil(T / 64), 1). Buffers: positions [T]; sequence_of
// [T]; page_table [S, B]; slots [T] = page × page_size + place in the page, or ~0 where the page is
// outside the pool; errors: one word that counts those. Params: tokens, blocks (B), pages (P). Once
// a pass; its result serves every layer.
Result<Kernel> build_kv_slots(uint32_t page_size);

// Launch on grid (T, H + 2G). Buffers: qkv [T, (H + 2G) D], or q, k, v; rope [T, R] (with `rope`);
// q_norm [D]; k_norm [D] (each when given); slots [T]; q_out [T, H·D]; k cache; v cache
// [P, G, page_size, D]. Tokens without a slot write no cache.
Result<Kernel> build_rope_kv_write(const RopeSpec& spec, uint32_t page_size);

}  // namespace bp::kernels
