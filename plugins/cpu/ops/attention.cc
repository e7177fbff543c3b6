// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/ops/attention.h"

#include <algorithm>
#include <cinttypes>

namespace bp::cpu {
bool RopeKvWriteOp::describe(const Op& op, Reason& reason) {
  RopeKvWriteShape shape;
  if (!shape.read(op, reason)) return false;
  heads_ = shape.heads;
  kv_heads_ = shape.kv_heads;
  head_dim_ = shape.head_dim;
  page_size_ = shape.page_size;
  rotary_dim_ = shape.rotary_dim;
  cache_format_ = shape.cache_format;
  is_merged_ = shape.is_merged;
  is_interleaved_ = shape.is_interleaved;
  has_rope_ = shape.has_rope;
  has_q_norm_ = shape.has_q_norm;
  has_k_norm_ = shape.has_k_norm;
  norm_eps_ = shape.norm_eps;
  return true;
}

void RopeKvWriteOp::attach(const Weight* weights) {
  if (has_q_norm_) q_norm_ = reinterpret_cast<const float*>(weights[4].planes[0]);
  if (has_k_norm_) k_norm_ = reinterpret_cast<const float*>(weights[5].planes[0]);
}

CacheShape RopeKvWriteOp::cache_shape(const Run& run) const noexcept {
  return {run.in[9].dims[0], kv_heads_, page_size_, head_dim_};
}

bp_status RopeKvWriteOp::check(const Run& run, bp_error* error) const {
  const uint64_t tokens = run.in[0].dims[0];
  const uint64_t sequences = run.in[8].dims[0];
  const uint64_t blocks = run.in[8].dims[1];
  const uint64_t pages = run.in[9].dims[0];
  for (uint64_t t = 0; t < tokens; ++t) {
    const int32_t position = run.in[6].i32()[t];
    const int32_t sequence = run.in[7].i32()[t];
    if (sequence < 0 || static_cast<uint64_t>(sequence) >= sequences) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "token %" PRIu64 " belongs to sequence %d of %" PRIu64, t, sequence,
                        sequences);
    }
    if (position < 0 || static_cast<uint64_t>(position) / page_size_ >= blocks) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "position %d of token %" PRIu64 " is beyond %" PRIu64 " pages of %" PRIu64,
                        position, t, blocks, page_size_);
    }
    const uint64_t block = static_cast<uint64_t>(position) / page_size_;
    const int32_t page = run.in[8].i32()[static_cast<uint64_t>(sequence) * blocks + block];
    if (page < 0 || static_cast<uint64_t>(page) >= pages) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "page %d of sequence %d is outside [0, %" PRIu64 ")", page, sequence,
                        pages);
    }
  }
  return BP_OK;
}

RopeKvWriteOp::Token RopeKvWriteOp::token(const Run& run, uint64_t t) const noexcept {
  const uint64_t q_width = heads_ * head_dim_;
  const uint64_t kv_width = kv_heads_ * head_dim_;
  Token out;
  if (is_merged_) {
    out.q = run.in[0].f32() + t * (q_width + 2 * kv_width);
    out.k = out.q + q_width;
    out.v = out.k + kv_width;
  } else {
    out.q = run.in[0].f32() + t * q_width;
    out.k = run.in[1].f32() + t * kv_width;
    out.v = run.in[2].f32() + t * kv_width;
  }
  out.rope = has_rope_ && rotary_dim_ != 0 ? run.in[3].f32() + t * rotary_dim_ : nullptr;
  out.q_out = run.out[0].f32() + t * q_width;
  const uint64_t position = static_cast<uint64_t>(run.in[6].i32()[t]);
  const uint64_t sequence = static_cast<uint64_t>(run.in[7].i32()[t]);
  const int32_t page = run.in[8].i32()[sequence * run.in[8].dims[1] + position / page_size_];
  out.page = static_cast<uint64_t>(page);
  out.slot = position % page_size_;
  return out;
}

bool AttentionOp::describe(const Op& op, Reason& reason) {
  AttentionShape shape;
  if (!shape.read(op, reason)) return false;
  heads_ = shape.heads;
  kv_heads_ = shape.kv_heads;
  head_dim_ = shape.head_dim;
  page_size_ = shape.page_size;
  cache_format_ = shape.cache_format;
  window_ = shape.window;
  scale_ = shape.scale;
  softcap_ = shape.softcap;
  tokens_ = shape.tokens;
  sequences_ = shape.sequences;
  return true;
}

CacheShape AttentionOp::cache_shape(const Run& run) const noexcept {
  return {run.in[1].dims[0], kv_heads_, page_size_, head_dim_};
}

bp_status AttentionOp::check(const Run& run, bp_error* error) const {
  const uint64_t tokens = run.in[0].dims[0];
  const uint64_t sequences = run.in[4].dims[0];
  const uint64_t blocks = run.in[5].dims[1];
  const uint64_t pages = run.in[1].dims[0];
  if (run.in[3].dims[0] != sequences + 1) {
    return glue::fail(error, BP_INVALID_ARGUMENT,
                      "query_start has %" PRIu64 " entries for %" PRIu64 " sequences",
                      run.in[3].dims[0], sequences);
  }
  const int32_t* const start = run.in[3].i32();
  if (start[0] != 0 || start[sequences] < 0 || static_cast<uint64_t>(start[sequences]) != tokens) {
    return glue::fail(error, BP_INVALID_ARGUMENT,
                      "query_start runs from %d to %d, there are %" PRIu64 " tokens", start[0],
                      start[sequences], tokens);
  }
  // All of query_start before any of its entries is used.
  for (uint64_t s = 0; s < sequences; ++s) {
    if (start[s + 1] < start[s]) {
      return glue::fail(error, BP_INVALID_ARGUMENT, "query_start falls at sequence %" PRIu64, s);
    }
  }
  for (uint64_t s = 0; s < sequences; ++s) {
    const int32_t queries = start[s + 1] - start[s];
    if (queries == 0) continue;
    const int32_t length = run.in[4].i32()[s];
    if (length < queries || static_cast<uint64_t>(length - 1) / page_size_ >= blocks) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "sequence %" PRIu64 ": context length %d with %d queries and %" PRIu64
                        " pages of %" PRIu64,
                        s, length, queries, blocks, page_size_);
    }
    const uint64_t last = static_cast<uint64_t>(length - 1) / page_size_;
    for (uint64_t b = first_key(static_cast<uint64_t>(length - queries)) / page_size_; b <= last;
         ++b) {
      const int32_t page = run.in[5].i32()[s * blocks + b];
      if (page < 0 || static_cast<uint64_t>(page) >= pages) {
        return glue::fail(error, BP_INVALID_ARGUMENT,
                          "page %d of sequence %" PRIu64 " is outside [0, %" PRIu64 ")", page, s,
                          pages);
      }
    }
  }
  return BP_OK;
}

uint64_t AttentionOp::sequence_of(const Run& run, uint64_t t) noexcept {
  const int32_t* const start = run.in[3].i32();
  const int32_t* const end = start + run.in[3].dims[0];
  return static_cast<uint64_t>(std::upper_bound(start, end, static_cast<int32_t>(t)) - start) - 1;
}

}  // namespace bp::cpu
