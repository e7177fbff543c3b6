// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/ops/attention.h"

#include <algorithm>
#include <cinttypes>

namespace bp::cpu {
namespace {

constexpr int64_t kMaxHeads = 1 << 16;
constexpr int64_t kMaxPageSize = 1 << 20;

bool check_cache(const Operand& cache, uint64_t kv_heads, uint64_t page_size, uint64_t head_dim,
                 const char* slot, Reason& reason) {
  if (cache.role != BP_ROLE_STATE) return reason.no("%s is no state", slot);
  if (cache.format != Format::kF32 && cache.format != Format::kF16 &&
      cache.format != Format::kBf16) {
    return reason.no("%s: caches are f32, f16 or bf16", slot);
  }
  if (cache.rank != 4) return reason.no("%s has rank %u, expected is 4", slot, cache.rank);
  return check_extent(cache, 1, kv_heads, slot, reason) &&
         check_extent(cache, 2, page_size, slot, reason) &&
         check_extent(cache, 3, head_dim, slot, reason);
}

// The geometry that both ops share.
bool read_heads(const Op& op, uint64_t* heads, uint64_t* kv_heads, uint64_t* head_dim,
                uint64_t* page_size, Reason& reason) {
  int64_t h = 0, g = 0, d = 0, p = 0;
  if (!op.int_attribute("heads", true, 1, kMaxHeads, &h, reason) ||
      !op.int_attribute("kv_heads", true, 1, kMaxHeads, &g, reason) ||
      !op.int_attribute("head_dim", true, 1, kMaxHeadDim, &d, reason) ||
      !op.int_attribute("page_size", true, 1, kMaxPageSize, &p, reason)) {
    return false;
  }
  if (h % g != 0) {
    return reason.no("%" PRId64 " heads are no multiple of %" PRId64 " kv heads", h, g);
  }
  *heads = static_cast<uint64_t>(h);
  *kv_heads = static_cast<uint64_t>(g);
  *head_dim = static_cast<uint64_t>(d);
  *page_size = static_cast<uint64_t>(p);
  return true;
}

}  // namespace

bool RopeKvWriteOp::describe(const Op& op, Reason& reason) {
  if (!check_counts(op, 11, 11, 1, reason) ||
      !check_attributes(
          op,
          {"heads", "kv_heads", "head_dim", "rotary_dim", "interleaved", "page_size", "norm_eps"},
          reason) ||
      !read_heads(op, &heads_, &kv_heads_, &head_dim_, &page_size_, reason)) {
    return false;
  }
  const Operand& q = op.input(0);
  const Operand& y = op.output(0);
  const uint64_t q_width = heads_ * head_dim_;
  const uint64_t kv_width = kv_heads_ * head_dim_;
  is_merged_ = !op.input(1).present() && !op.input(2).present();
  if (!check_value(q, Format::kF32, 2, "q", reason) ||
      !check_extent(q, 1, is_merged_ ? q_width + 2 * kv_width : q_width, "q", reason) ||
      !check_value(y, Format::kF32, 2, "y", reason) || !check_extent(y, 1, q_width, "y", reason) ||
      !check_same(q, 0, y, 0, "y", reason)) {
    return false;
  }
  for (uint32_t slot = 1; slot <= 2 && !is_merged_; ++slot) {
    const char* const name = slot == 1 ? "k" : "v";
    if (!check_value(op.input(slot), Format::kF32, 2, name, reason) ||
        !check_extent(op.input(slot), 1, kv_width, name, reason) ||
        !check_same(op.input(slot), 0, y, 0, name, reason)) {
      return false;
    }
  }
  int64_t rotary_dim = 0;
  int64_t interleaved = 0;
  if (!op.int_attribute("rotary_dim", true, 0, static_cast<int64_t>(head_dim_), &rotary_dim,
                        reason) ||
      !op.int_attribute("interleaved", false, 0, 1, &interleaved, reason) ||
      !op.float_attribute("norm_eps", false, &norm_eps_, reason)) {
    return false;
  }
  if (rotary_dim % 2 != 0) return reason.no("rotary_dim %" PRId64 " is odd", rotary_dim);
  rotary_dim_ = static_cast<uint64_t>(rotary_dim);
  is_interleaved_ = interleaved != 0;
  has_rope_ = op.input(3).present();
  if (has_rope_ && (!check_value(op.input(3), Format::kF32, 2, "rope", reason) ||
                    !check_extent(op.input(3), 1, rotary_dim_, "rope", reason) ||
                    !check_same(op.input(3), 0, y, 0, "rope", reason))) {
    return false;
  }
  has_q_norm_ = op.input(4).present();
  has_k_norm_ = op.input(5).present();
  if ((has_q_norm_ && !check_vector(op.input(4), head_dim_, "q_norm", reason)) ||
      (has_k_norm_ && !check_vector(op.input(5), head_dim_, "k_norm", reason)) ||
      !check_value(op.input(6), Format::kI32, 1, "positions", reason) ||
      !check_same(op.input(6), 0, y, 0, "positions", reason) ||
      !check_value(op.input(7), Format::kI32, 1, "sequence_of", reason) ||
      !check_same(op.input(7), 0, y, 0, "sequence_of", reason) ||
      !check_value(op.input(8), Format::kI32, 2, "page_table", reason) ||
      !check_cache(op.input(9), kv_heads_, page_size_, head_dim_, "k cache", reason) ||
      !check_cache(op.input(10), kv_heads_, page_size_, head_dim_, "v cache", reason) ||
      !check_same(op.input(9), 0, op.input(10), 0, "v cache", reason)) {
    return false;
  }
  cache_format_ = op.input(9).format;
  if (op.input(10).format != cache_format_) return reason.no("the caches differ in format");
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
  if (!check_counts(op, 6, 6, 1, reason) ||
      !check_attributes(
          op, {"heads", "kv_heads", "head_dim", "window", "page_size", "scale", "softcap"},
          reason) ||
      !read_heads(op, &heads_, &kv_heads_, &head_dim_, &page_size_, reason)) {
    return false;
  }
  const Operand& q = op.input(0);
  const Operand& y = op.output(0);
  const uint64_t width = heads_ * head_dim_;
  if (!check_value(q, Format::kF32, 2, "q", reason) || !check_extent(q, 1, width, "q", reason) ||
      !check_value(y, Format::kF32, 2, "y", reason) || !check_extent(y, 1, width, "y", reason) ||
      !check_same(q, 0, y, 0, "y", reason) ||
      !check_cache(op.input(1), kv_heads_, page_size_, head_dim_, "k cache", reason) ||
      !check_cache(op.input(2), kv_heads_, page_size_, head_dim_, "v cache", reason) ||
      !check_same(op.input(1), 0, op.input(2), 0, "v cache", reason) ||
      !check_value(op.input(3), Format::kI32, 1, "query_start", reason) ||
      !check_value(op.input(4), Format::kI32, 1, "context_length", reason) ||
      !check_value(op.input(5), Format::kI32, 2, "page_table", reason) ||
      !check_same(op.input(4), 0, op.input(5), 0, "page_table", reason)) {
    return false;
  }
  cache_format_ = op.input(1).format;
  if (op.input(2).format != cache_format_) return reason.no("the caches differ in format");
  int64_t window = 0;
  double scale = 1;
  double softcap = 0;
  if (!op.int_attribute("window", false, INT32_MIN, INT32_MAX, &window, reason) ||
      !op.float_attribute("scale", true, &scale, reason) ||
      !op.float_attribute("softcap", false, &softcap, reason)) {
    return false;
  }
  window_ = window > 0 ? static_cast<uint64_t>(window) : 0;
  scale_ = static_cast<float>(scale);
  softcap_ = softcap > 0 ? static_cast<float>(softcap) : 0;
  tokens_ = q.dims[0];
  sequences_ = op.input(4).dims[0];
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
