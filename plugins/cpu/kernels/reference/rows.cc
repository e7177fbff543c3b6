// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/ops/rows.h"

#include <cmath>

#include "backplane/dequantize.h"
#include "plugins/cpu/host.h"
#include "plugins/cpu/kernels/reference/reference.h"
#include "plugins/cpu/ops/linear.h"

namespace bp::cpu::reference {
namespace {

class Embed final : public EmbedOp {
 public:
  bp_status run(const Run& run, bp_error* error) const override {
    const uint64_t tokens = run.in[0].dims[0];
    const int32_t* const ids = run.in[0].i32();
    if (const bp_status s = check_ids("token id", ids, tokens, vocabulary_, error)) return s;
    const uint64_t blocks = table_.blocks_per_row();
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      for (uint64_t t = begin; t < end; ++t) {
        float* const y = run.out[0].f32() + t * columns_;
        dequantize_blocks(*table_.layout, table_.planes, static_cast<uint64_t>(ids[t]) * blocks,
                          blocks, y);
        if (scale_ == 1) continue;
        for (uint64_t i = 0; i < columns_; ++i) y[i] *= scale_;
      }
    };
    return parallel_for(tokens, 8, body);
  }
};

class RmsNorm final : public RmsNormOp {
 public:
  bp_status run(const Run& run, bp_error*) const override {
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      for (uint64_t t = begin; t < end; ++t) {
        const float* const x = run.in[0].f32() + t * columns_;
        const float* const residual =
            run.in[2].data == nullptr ? nullptr : run.in[2].f32() + t * columns_;
        float* const y = run.out[0].f32() + t * columns_;
        double squares = 0;
        for (uint64_t i = 0; i < columns_; ++i) squares += double{x[i]} * x[i];
        const double factor = 1 / std::sqrt(squares / static_cast<double>(columns_) + eps_);
        for (uint64_t i = 0; i < columns_; ++i) {
          const double value = x[i] * factor * gain_[i];
          y[i] = static_cast<float>(residual == nullptr ? value : value + residual[i]);
        }
      }
    };
    return parallel_for(run.in[0].dims[0], 4, body);
  }
};

class LayerNorm final : public LayerNormOp {
 public:
  bp_status run(const Run& run, bp_error*) const override {
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      for (uint64_t t = begin; t < end; ++t) {
        const float* const x = run.in[0].f32() + t * columns_;
        const float* const residual =
            run.in[3].data == nullptr ? nullptr : run.in[3].f32() + t * columns_;
        float* const y = run.out[0].f32() + t * columns_;
        const auto n = static_cast<double>(columns_);
        double mean = 0, squares = 0;
        for (uint64_t i = 0; i < columns_; ++i) mean += x[i] / n;
        for (uint64_t i = 0; i < columns_; ++i) squares += (x[i] - mean) * (x[i] - mean);
        const double factor = 1 / std::sqrt(squares / n + eps_);
        for (uint64_t i = 0; i < columns_; ++i) {
          double value = (x[i] - mean) * factor * gain_[i];
          if (bias_ != nullptr) value += bias_[i];
          y[i] = static_cast<float>(residual == nullptr ? value : value + residual[i]);
        }
      }
    };
    return parallel_for(run.in[0].dims[0], 4, body);
  }
};

}  // namespace

std::unique_ptr<Kernel> create_embed() {
  return std::make_unique<Embed>();
}
std::unique_ptr<Kernel> create_rms_norm() {
  return std::make_unique<RmsNorm>();
}
std::unique_ptr<Kernel> create_layer_norm() {
  return std::make_unique<LayerNorm>();
}

}  // namespace bp::cpu::reference
