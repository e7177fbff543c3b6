// SPDX-License-Identifier: Apache-2.0
// The ops that work row by row: embed, rms_norm, layer_norm, gather_rows, moe_route.
#pragma once

#include "plugins/cpu/kernel.h"

namespace bp::cpu {

// y[T, n] = table[token_ids[T]] × scale
class EmbedOp : public Kernel {
 public:
  bool describe(const Op& op, Reason& reason) override;
  void attach(const Weight* weights) override { table_ = weights[1]; }

 protected:
  Weight table_;
  uint64_t vocabulary_ = 0;  // V
  uint64_t columns_ = 0;     // n
  float scale_ = 1;
};

// y[T, n] = x / sqrt(mean(x²) + eps) × gain + residual
class RmsNormOp : public Kernel {
 public:
  bool describe(const Op& op, Reason& reason) override;
  void attach(const Weight* weights) override {
    gain_ = reinterpret_cast<const float*>(weights[1].planes[0]);
  }

 protected:
  const float* gain_ = nullptr;  // [n]
  uint64_t columns_ = 0;         // n
  double eps_ = 0;
};

// y[T, n] = (x - mean(x)) / sqrt(variance(x) + eps) × gain + bias + residual
class LayerNormOp : public Kernel {
 public:
  bool describe(const Op& op, Reason& reason) override;
  void attach(const Weight* weights) override {
    gain_ = reinterpret_cast<const float*>(weights[1].planes[0]);
    if (has_bias_) bias_ = reinterpret_cast<const float*>(weights[2].planes[0]);
  }

 protected:
  const float* gain_ = nullptr;  // [n]
  const float* bias_ = nullptr;  // [n], NULL without one
  uint64_t columns_ = 0;         // n
  double eps_ = 0;

 private:
  bool has_bias_ = false;
};

// y[O, n] = x[rows[O]]. Copies bits, so one implementation serves every level.
class GatherRowsOp : public Kernel {
 public:
  bool describe(const Op& op, Reason& reason) override;
  bp_status run(const Run& run, bp_error* error) const override;

 private:
  uint64_t columns_ = 0;
};

// ids[T, k], weights[T, k] of the k largest of softmax(logits[T, E]). Cheap enough to be the same
// everywhere.
class MoeRouteOp : public Kernel {
 public:
  bool describe(const Op& op, Reason& reason) override;
  bp_status run(const Run& run, bp_error* error) const override;

 private:
  uint64_t experts_ = 0;
  uint64_t experts_used_ = 0;
  bool normalize_ = false;
};

}  // namespace bp::cpu
