// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/ops/linear.h"

#include <algorithm>

#include "backplane/dequantize.h"
#include "plugins/cpu/host.h"
#include "plugins/cpu/kernels/reference/reference.h"

namespace bp::cpu::reference {
namespace {

// Columns that are dequantized at a time; a multiple of every block.
constexpr uint64_t kChunk = 256;
// Tokens that share one dequantized chunk.
constexpr uint64_t kTokens = 16;

// sums[t] = weight[row] · x[t] for `tokens` <= kTokens rows of x, `x_stride` floats apart.
void dot_row(const Weight& weight, uint64_t row, const float* x, uint64_t x_stride, uint64_t tokens,
             double* sums) {
  std::fill_n(sums, tokens, 0.0);
  float values[kChunk];
  const uint64_t first_block = row * weight.blocks_per_row();
  for (uint64_t begin = 0; begin < weight.columns; begin += kChunk) {
    const uint64_t count = std::min(kChunk, weight.columns - begin);
    dequantize_blocks(*weight.layout, weight.planes,
                      first_block + begin / weight.layout->block_elements,
                      count / weight.layout->block_elements, values);
    for (uint64_t t = 0; t < tokens; ++t) {
      const float* const xt = x + t * x_stride + begin;
      double sum = 0;
      for (uint64_t i = 0; i < count; ++i) sum += double{values[i]} * xt[i];
      sums[t] += sum;
    }
  }
}

class Linear final : public LinearOp {
 public:
  bp_status run(const Run& run, bp_error*) const override {
    const uint64_t tokens = run.in[0].dims[0];                                            // T
    const float* const x = run.in[0].f32();                                               // [T, K]
    const float* const residual = run.in[3].data == nullptr ? nullptr : run.in[3].f32();  // [T, N]
    float* const y = run.out[0].f32();                                                    // [T, N]
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      double sums[kTokens];
      for (uint64_t n = begin; n < end; ++n) {
        for (uint64_t t0 = 0; t0 < tokens; t0 += kTokens) {
          const uint64_t count = std::min(kTokens, tokens - t0);
          dot_row(weight_, n, x + t0 * columns_, columns_, count, sums);
          for (uint64_t i = 0; i < count; ++i) {
            double value = sums[i] + (bias_ == nullptr ? 0.0 : bias_[n]);
            value = soft_cap<double>(softcap_, activate(activation_, value));
            const uint64_t at = (t0 + i) * rows_ + n;
            y[at] = static_cast<float>(residual == nullptr ? value : value + residual[at]);
          }
        }
      }
    };
    return parallel_for(rows_, std::max<uint64_t>(1, 16384 / columns_), body);
  }
};

class LinearGlu final : public LinearGluOp {
 public:
  bp_status run(const Run& run, bp_error*) const override {
    const uint64_t tokens = run.in[0].dims[0];  // T
    const float* const x = run.in[0].f32();     // [T, K]
    float* const y = run.out[0].f32();          // [T, F]
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      double gates[kTokens];
      double ups[kTokens];
      for (uint64_t f = begin; f < end; ++f) {
        for (uint64_t t0 = 0; t0 < tokens; t0 += kTokens) {
          const uint64_t count = std::min(kTokens, tokens - t0);
          dot_row(gate_, f, x + t0 * columns_, columns_, count, gates);
          dot_row(up_, f, x + t0 * columns_, columns_, count, ups);
          for (uint64_t i = 0; i < count; ++i) {
            const double gate = gates[i] + (gate_bias_ == nullptr ? 0.0 : gate_bias_[f]);
            const double up = ups[i] + (up_bias_ == nullptr ? 0.0 : up_bias_[f]);
            y[(t0 + i) * rows_ + f] = static_cast<float>(activate(activation_, gate) * up);
          }
        }
      }
    };
    return parallel_for(rows_, std::max<uint64_t>(1, 16384 / columns_), body);
  }
};

class MoeLinearGlu final : public MoeLinearGluOp {
 public:
  bp_status run(const Run& run, bp_error* error) const override {
    const uint64_t pairs = run.in[0].dims[0] * experts_used_;  // T × k
    const float* const x = run.in[0].f32();                    // [T, K]
    const int32_t* const ids = run.in[2].i32();                // [T, k]
    float* const y = run.out[0].f32();                         // [T, k, F]
    if (const bp_status s = check_ids("expert id", ids, pairs, experts_, error)) return s;
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      for (uint64_t item = begin; item < end; ++item) {
        const uint64_t pair = item / rows_;
        const uint64_t f = item % rows_;
        const uint64_t expert = static_cast<uint64_t>(ids[pair]);
        const float* const xt = x + pair / experts_used_ * columns_;
        double gate = 0;
        double up = 0;
        dot_row(gate_, expert * gate_.matrix_rows + f, xt, columns_, 1, &gate);
        dot_row(up_, expert * up_.matrix_rows + f, xt, columns_, 1, &up);
        y[item] = static_cast<float>(activate(activation_, gate) * up);
      }
    };
    return parallel_for(pairs * rows_, std::max<uint64_t>(1, 16384 / columns_), body);
  }
};

class MoeLinear final : public MoeLinearOp {
 public:
  bp_status run(const Run& run, bp_error* error) const override {
    const uint64_t tokens = run.in[0].dims[0];    // T
    const float* const x = run.in[0].f32();       // [T, k, F]
    const int32_t* const ids = run.in[2].i32();   // [T, k]
    const float* const shares = run.in[3].f32();  // [T, k]
    const float* const residual = run.in[4].data == nullptr ? nullptr : run.in[4].f32();
    float* const y = run.out[0].f32();  // [T, N]
    const bp_status status = check_ids("expert id", ids, tokens * experts_used_, experts_, error);
    if (status != BP_OK) return status;
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      for (uint64_t item = begin; item < end; ++item) {
        const uint64_t t = item / rows_;
        const uint64_t n = item % rows_;
        double value = residual == nullptr ? 0.0 : residual[item];
        for (uint64_t k = 0; k < experts_used_; ++k) {
          const uint64_t pair = t * experts_used_ + k;
          double sum = 0;
          dot_row(weight_, static_cast<uint64_t>(ids[pair]) * weight_.matrix_rows + n,
                  x + pair * columns_, columns_, 1, &sum);
          value += shares[pair] * sum;
        }
        y[item] = static_cast<float>(value);
      }
    };
    return parallel_for(tokens * rows_, std::max<uint64_t>(1, 16384 / columns_), body);
  }
};

}  // namespace

std::unique_ptr<Kernel> create_linear() {
  return std::make_unique<Linear>();
}
std::unique_ptr<Kernel> create_linear_glu() {
  return std::make_unique<LinearGlu>();
}
std::unique_ptr<Kernel> create_moe_linear_glu() {
  return std::make_unique<MoeLinearGlu>();
}
std::unique_ptr<Kernel> create_moe_linear() {
  return std::make_unique<MoeLinear>();
}

}  // namespace bp::cpu::reference
