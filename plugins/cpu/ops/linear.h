// SPDX-License-Identifier: Apache-2.0
// The matrix ops: shapes, weights and epilogues of linear, linear_glu and their expert forms.
// What they compute stands in docs/ops.md; kernels derive from these classes.
#pragma once

#include "plugins/cpu/kernel.h"
#include "plugins/cpu/ops/activation.h"

namespace bp::cpu {

// y[T, N] = cap(act(x[T, K] · weight[N, K]ᵀ + bias)) + residual
class LinearOp : public Kernel {
 public:
  bool describe(const Op& op, Reason& reason) override;
  void attach(const Weight* weights) override;

 protected:
  Weight weight_;
  const float* bias_ = nullptr;  // [N]
  Activation activation_ = Activation::kNone;
  float softcap_ = 0;
  uint64_t columns_ = 0;  // K
  uint64_t rows_ = 0;     // N
  Format format_ = Format::kF32;
  bp_dim tokens_{};  // T

 private:
  bool has_bias_ = false;
};

// y[T, F] = act(x · gateᵀ + bias) × (x · upᵀ + bias). A merged weight is split when attached.
class LinearGluOp : public Kernel {
 public:
  bool describe(const Op& op, Reason& reason) override;
  void attach(const Weight* weights) override;

 protected:
  Weight gate_, up_;
  const float* gate_bias_ = nullptr;  // [F]
  const float* up_bias_ = nullptr;    // [F]
  Activation activation_ = Activation::kSilu;
  uint64_t columns_ = 0;  // K
  uint64_t rows_ = 0;     // F
  Format gate_format_ = Format::kF32, up_format_ = Format::kF32;
  bp_dim tokens_{};

 private:
  bool is_merged_ = false, has_bias_ = false;
};

// y[T, k, F], each with the gate and up matrices of expert ids[T, k].
class MoeLinearGluOp : public Kernel {
 public:
  bool describe(const Op& op, Reason& reason) override;
  void attach(const Weight* weights) override;

 protected:
  Weight gate_, up_;
  Activation activation_ = Activation::kSilu;
  uint64_t experts_ = 0;       // E
  uint64_t experts_used_ = 0;  // k
  uint64_t columns_ = 0;       // K
  uint64_t rows_ = 0;          // F
  Format gate_format_ = Format::kF32, up_format_ = Format::kF32;
  bp_dim tokens_{};

 private:
  bool is_merged_ = false;
};

// y[T, N] = Σₖ weights[T, k] × (x[T, k, F] · weight[ids[T, k]]ᵀ) + residual
class MoeLinearOp : public Kernel {
 public:
  bool describe(const Op& op, Reason& reason) override;
  void attach(const Weight* weights) override;

 protected:
  Weight weight_;
  uint64_t experts_ = 0;       // E
  uint64_t experts_used_ = 0;  // k
  uint64_t columns_ = 0;       // F
  uint64_t rows_ = 0;          // N
  Format format_ = Format::kF32;
  bp_dim tokens_{};
};

// Fails with INVALID_ARGUMENT when an id lies outside [0, limit).
bp_status check_ids(const char* what, const int32_t* ids, uint64_t count, uint64_t limit,
                    bp_error* error);

}  // namespace bp::cpu
