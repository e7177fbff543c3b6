// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/ops/rows.h"

#include <algorithm>

#include "plugins/cpu/host.h"
#include "plugins/cpu/kernels/cache_view.h"
#include "plugins/cpu/kernels/tuned/tuned.h"
#include "plugins/cpu/ops/attention.h"

namespace bp::cpu::tuned {
namespace {

class RmsNorm final : public RmsNormOp {
 public:
  explicit RmsNorm(const InstructionSet* set) : set_(set) {}
  const char* variant() const override { return set_->name; }

  bp_status run(const Run& run, bp_error*) const override {
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      for (uint64_t t = begin; t < end; ++t) {
        const uint64_t at = t * columns_;
        set_->vectors.rms_norm(run.in[0].f32() + at, gain_,
                               run.in[2].data == nullptr ? nullptr : run.in[2].f32() + at, eps_,
                               columns_, run.out[0].f32() + at);
      }
    };
    return parallel_for(run.in[0].dims[0], std::max<uint64_t>(1, 32768 / columns_), body);
  }

 private:
  const InstructionSet* set_;
};

class LayerNorm final : public LayerNormOp {
 public:
  explicit LayerNorm(const InstructionSet* set) : set_(set) {}
  const char* variant() const override { return set_->name; }

  bp_status run(const Run& run, bp_error*) const override {
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      for (uint64_t t = begin; t < end; ++t) {
        const uint64_t at = t * columns_;
        set_->vectors.layer_norm(run.in[0].f32() + at, gain_, bias_,
                                 run.in[3].data == nullptr ? nullptr : run.in[3].f32() + at, eps_,
                                 columns_, run.out[0].f32() + at);
      }
    };
    return parallel_for(run.in[0].dims[0], std::max<uint64_t>(1, 32768 / columns_), body);
  }

 private:
  const InstructionSet* set_;
};

class RopeKvWrite final : public RopeKvWriteOp {
 public:
  explicit RopeKvWrite(const InstructionSet* set) : set_(set) {}
  const char* variant() const override { return set_->name; }

  bp_status run(const Run& run, bp_error* error) const override {
    if (const bp_status status = check(run, error)) return status;
    const CacheShape shape = cache_shape(run);
    const CacheView k_cache(cache_format_, run.in[9].data, shape);
    const CacheView v_cache(cache_format_, run.in[10].data, shape);
    const auto store = set_->vectors.store[cache_number(cache_format_)];
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      alignas(64) float head[kMaxHeadDim];
      for (uint64_t t = begin; t < end; ++t) {
        const Token at = token(run, t);
        for (uint64_t h = 0; h < heads_; ++h) {
          turn(at.q + h * head_dim_, q_norm_, at.rope, at.q_out + h * head_dim_);
        }
        for (uint64_t g = 0; g < kv_heads_; ++g) {
          turn(at.k + g * head_dim_, k_norm_, at.rope, head);
          const uint64_t to = shape.row(at.page, g, at.slot);
          store(head, head_dim_, k_cache.values(to), k_cache.scales(to));
          store(at.v + g * head_dim_, head_dim_, v_cache.values(to), v_cache.scales(to));
        }
      }
    };
    const uint64_t token_work = (heads_ + 2 * kv_heads_) * head_dim_;
    return parallel_for(run.in[0].dims[0], std::max<uint64_t>(1, 32768 / token_work), body);
  }

 private:
  void turn(const float* in, const float* gain, const float* rope, float* out) const {
    alignas(64) float normed[kMaxHeadDim];
    if (gain != nullptr) {
      set_->vectors.rms_norm(in, gain, nullptr, norm_eps_, head_dim_, normed);
      in = normed;
    }
    const uint64_t pairs = rope == nullptr ? 0 : rotary_dim_ / 2;
    if (!is_interleaved_) {
      set_->vectors.rotate_halves(in, rope, rope + pairs, pairs, out);
    } else {
      for (uint64_t i = 0; i < pairs; ++i) {
        const float x = in[2 * i];
        const float y = in[2 * i + 1];
        out[2 * i] = x * rope[i] - y * rope[pairs + i];
        out[2 * i + 1] = y * rope[i] + x * rope[pairs + i];
      }
    }
    std::copy(in + 2 * pairs, in + head_dim_, out + 2 * pairs);
  }

  const InstructionSet* set_;
};

}  // namespace

std::unique_ptr<Kernel> create_rms_norm(const InstructionSet* set) {
  return std::make_unique<RmsNorm>(set);
}
std::unique_ptr<Kernel> create_layer_norm(const InstructionSet* set) {
  return std::make_unique<LayerNorm>(set);
}
std::unique_ptr<Kernel> create_rope_kv_write(const InstructionSet* set) {
  return std::make_unique<RopeKvWrite>(set);
}

}  // namespace bp::cpu::tuned
