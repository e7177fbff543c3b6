// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "plugins/cpu/host.h"
#include "plugins/cpu/kernels/cache_view.h"
#include "plugins/cpu/kernels/reference/reference.h"
#include "plugins/cpu/ops/activation.h"

namespace bp::cpu::reference {
namespace {

class RopeKvWrite final : public RopeKvWriteOp {
 public:
  bp_status run(const Run& run, bp_error* error) const override {
    if (const bp_status status = check(run, error)) return status;
    const CacheShape shape = cache_shape(run);
    const CacheView k_cache(cache_format_, run.in[9].data, shape);
    const CacheView v_cache(cache_format_, run.in[10].data, shape);
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      float head[kMaxHeadDim];
      for (uint64_t t = begin; t < end; ++t) {
        const Token at = token(run, t);
        for (uint64_t h = 0; h < heads_; ++h) {
          turn(at.q + h * head_dim_, q_norm_, at.rope, at.q_out + h * head_dim_);
        }
        for (uint64_t g = 0; g < kv_heads_; ++g) {
          turn(at.k + g * head_dim_, k_norm_, at.rope, head);
          const uint64_t to = shape.row(at.page, g, at.slot);
          k_cache.store(to, head);
          v_cache.store(to, at.v + g * head_dim_);
        }
      }
    };
    return parallel_for(run.in[0].dims[0], 4, body);
  }

 private:
  // Normalises where there is a gain, then rotates where there is a table.
  void turn(const float* in, const float* gain, const float* rope, float* out) const {
    double factor = 1;
    if (gain != nullptr) {
      double squares = 0;
      for (uint64_t i = 0; i < head_dim_; ++i) squares += double{in[i]} * in[i];
      factor = 1 / std::sqrt(squares / static_cast<double>(head_dim_) + norm_eps_);
    }
    double head[kMaxHeadDim];
    for (uint64_t i = 0; i < head_dim_; ++i) {
      head[i] = gain == nullptr ? in[i] : in[i] * factor * gain[i];
    }
    const uint64_t pairs = rope == nullptr ? 0 : rotary_dim_ / 2;
    for (uint64_t i = 0; i < pairs; ++i) {
      const uint64_t a = is_interleaved_ ? 2 * i : i;
      const uint64_t b = is_interleaved_ ? 2 * i + 1 : i + pairs;
      const double cosine = rope[i];
      const double sine = rope[pairs + i];
      const double x = head[a];
      const double y = head[b];
      head[a] = x * cosine - y * sine;
      head[b] = y * cosine + x * sine;
    }
    for (uint64_t i = 0; i < head_dim_; ++i) out[i] = static_cast<float>(head[i]);
  }
};

class Attention final : public AttentionOp {
 public:
  bp_status run(const Run& run, bp_error* error) const override {
    if (const bp_status status = check(run, error)) return status;
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      for (uint64_t item = begin; item < end; ++item) {
        attend(run, item / heads_, item % heads_);
      }
    };
    return parallel_for(run.in[0].dims[0] * heads_, 1, body);
  }

 private:
  // One query of one head, in two passes over its keys: largest score, then the weighted sum.
  void attend(const Run& run, uint64_t t, uint64_t h) const {
    const CacheShape shape = cache_shape(run);
    const CacheView keys(cache_format_, run.in[1].data, shape);
    const CacheView values(cache_format_, run.in[2].data, shape);
    const uint64_t s = sequence_of(run, t);
    const uint64_t left = static_cast<uint64_t>(run.in[3].i32()[s + 1]) - t;
    const uint64_t position = static_cast<uint64_t>(run.in[4].i32()[s]) - left;
    const int32_t* const pages = run.in[5].i32() + s * run.in[5].dims[1];
    const float* const q = run.in[0].f32() + (t * heads_ + h) * head_dim_;  // [D]
    const uint64_t g = h / (heads_ / kv_heads_);
    const auto row_of = [&](uint64_t j) {
      return shape.row(static_cast<uint64_t>(pages[j / page_size_]), g, j % page_size_);
    };
    const auto score = [&](uint64_t j) {
      const uint64_t row = row_of(j);
      double sum = 0;
      for (uint64_t i = 0; i < head_dim_; ++i) sum += double{q[i]} * keys.load(row, i);
      return soft_cap<double>(softcap_, sum * scale_);
    };
    double largest = -std::numeric_limits<double>::infinity();
    for (uint64_t j = first_key(position); j <= position; ++j)
      largest = std::fmax(largest, score(j));
    double total = 0;
    double sums[kMaxHeadDim];
    std::fill_n(sums, head_dim_, 0.0);
    for (uint64_t j = first_key(position); j <= position; ++j) {
      const double weight = std::exp(score(j) - largest);
      const uint64_t row = row_of(j);
      total += weight;
      for (uint64_t i = 0; i < head_dim_; ++i) sums[i] += weight * values.load(row, i);
    }
    float* const y = run.out[0].f32() + (t * heads_ + h) * head_dim_;  // [D]
    for (uint64_t i = 0; i < head_dim_; ++i) y[i] = static_cast<float>(sums[i] / total);
  }
};

}  // namespace

std::unique_ptr<Kernel> create_rope_kv_write() {
  return std::make_unique<RopeKvWrite>();
}
std::unique_ptr<Kernel> create_attention() {
  return std::make_unique<Attention>();
}

}  // namespace bp::cpu::reference
