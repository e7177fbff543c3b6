// SPDX-License-Identifier: Apache-2.0
// The ops around the paged KV cache: rope_kv_write and attention, with every page number checked
// before a kernel follows it.
#pragma once

#include "plugins/cpu/kernel.h"

namespace bp::cpu {

// Where a cache keeps position p of a sequence.
struct CacheShape {
  uint64_t pages = 0;  // P
  uint64_t kv_heads = 0;
  uint64_t page_size = 0;
  uint64_t head_dim = 0;

  // The row of a head's vector.
  uint64_t row(uint64_t page, uint64_t head, uint64_t slot) const noexcept {
    return (page * kv_heads + head) * page_size + slot;
  }
  uint64_t rows() const noexcept { return pages * kv_heads * page_size; }
};

// Normalises and rotates q and k, writes k and v to the caches. out: q [T, H·D].
class RopeKvWriteOp : public Kernel {
 public:
  bool describe(const Op& op, Reason& reason) override;
  void attach(const Weight* weights) override;

 protected:
  // One token's vectors in the inputs and its place in the caches.
  struct Token {
    const float* q;     // [H, D]
    const float* k;     // [G, D]
    const float* v;     // [G, D]
    const float* rope;  // [R], NULL without rotation
    float* q_out;       // [H, D]
    uint64_t page;
    uint64_t slot;
  };
  // Checks positions, sequences and pages of the whole launch.
  bp_status check(const Run& run, bp_error* error) const;
  Token token(const Run& run, uint64_t t) const noexcept;
  CacheShape cache_shape(const Run& run) const noexcept;

  uint64_t heads_ = 0, kv_heads_ = 0, head_dim_ = 0, rotary_dim_ = 0, page_size_ = 0;
  bool is_interleaved_ = false;
  double norm_eps_ = 0;
  Format cache_format_ = Format::kF32;
  const float* q_norm_ = nullptr;  // [D]
  const float* k_norm_ = nullptr;  // [D]

 private:
  bool is_merged_ = false, has_rope_ = false, has_q_norm_ = false, has_k_norm_ = false;
};

// y[T, H·D] = softmax(q · kᵀ) v over what each query sees.
class AttentionOp : public Kernel {
 public:
  bool describe(const Op& op, Reason& reason) override;

 protected:
  // Checks query_start, context_length and the pages of all visible keys.
  bp_status check(const Run& run, bp_error* error) const;
  // The sequence that token t belongs to; query_start must have been checked.
  static uint64_t sequence_of(const Run& run, uint64_t t) noexcept;
  CacheShape cache_shape(const Run& run) const noexcept;
  // First key that a query at `position` sees.
  uint64_t first_key(uint64_t position) const noexcept {
    return window_ != 0 && position >= window_ ? position - window_ + 1 : 0;
  }

  uint64_t heads_ = 0, kv_heads_ = 0, head_dim_ = 0, page_size_ = 0;
  uint64_t window_ = 0;  // 0: everything
  float scale_ = 1, softcap_ = 0;
  Format cache_format_ = Format::kF32;
  bp_dim tokens_{}, sequences_{};
};

}  // namespace bp::cpu
