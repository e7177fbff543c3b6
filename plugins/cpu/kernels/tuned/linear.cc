// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/ops/linear.h"

#include <algorithm>

#include "plugins/cpu/kernels/tuned/product.h"
#include "plugins/cpu/kernels/tuned/tuned.h"

namespace bp::cpu::tuned {
namespace {

void add_bias(const float* bias, uint64_t n, uint64_t count, float* sums) noexcept {
  if (bias == nullptr) return;
  for (uint64_t i = 0; i < count; ++i) sums[i] += bias[n + i];
}

// What ops on tokens × k pairs need beyond the product: pairs in the order of their experts.
class ExpertOrder {
 public:
  ExpertOrder(uint64_t experts, uint64_t experts_used)
      : experts_(experts), tokens_(std::max<uint64_t>(1, kProductRows / experts_used)) {}

  // Tokens of one piece of work.
  uint64_t piece() const noexcept { return tokens_; }

  uint64_t workspace_bytes() const noexcept {
    return kProductRows * (sizeof(ProductSegment) + sizeof(uint32_t)) +
           (experts_ + 1) * sizeof(uint32_t) + 128;
  }

  // Sorts pairs [0, count) by expert, stably; returns the number of segments.
  uint64_t sort(const int32_t* ids, uint64_t count, std::byte* workspace) {
    segments_ = reinterpret_cast<ProductSegment*>(workspace);
    order_ = reinterpret_cast<uint32_t*>(workspace + kProductRows * sizeof(ProductSegment));
    uint32_t* const starts = order_ + kProductRows;
    std::fill_n(starts, experts_ + 1, 0u);
    for (uint64_t i = 0; i < count; ++i) ++starts[ids[i] + 1];
    for (uint64_t e = 0; e < experts_; ++e) starts[e + 1] += starts[e];
    for (uint64_t i = 0; i < count; ++i) order_[starts[ids[i]]++] = static_cast<uint32_t>(i);
    uint64_t segments = 0;
    for (uint64_t begin = 0; begin < count;) {
      uint64_t end = begin + 1;
      while (end < count && ids[order_[end]] == ids[order_[begin]]) ++end;
      segments_[segments] = ProductSegment{};
      segments_[segments].begin = begin;
      segments_[segments].end = end;
      ++segments;
      begin = end;
    }
    return segments;
  }

  ProductSegment* segments() const noexcept { return segments_; }
  const uint32_t* order() const noexcept { return order_; }

 private:
  uint64_t experts_;
  uint64_t tokens_;
  ProductSegment* segments_ = nullptr;
  uint32_t* order_ = nullptr;
};

class Linear final : public LinearOp {
 public:
  explicit Linear(const InstructionSet* set) : set_(set) {}

  bool describe(const Op& op, Reason& reason) override {
    if (!LinearOp::describe(op, reason)) return false;
    product_.describe(set_, format_, format_, false, rows_, columns_);
    return product_.is_supported() || reason.no("no inner loop for this format");
  }
  bool workspace_bytes(const Ranges& ranges, uint64_t* out) const override {
    uint64_t tokens = 0;
    if (!ranges.maximum(tokens_, &tokens)) return false;
    *out = product_.workspace_bytes(tokens);
    return true;
  }
  const char* variant() const override { return set_->name; }
  bool is_deterministic() const override { return !product_.uses_matrix(UINT64_MAX); }

  bp_status run(const Run& run, bp_error*) const override {
    const uint64_t tokens = run.in[0].dims[0];
    for (uint64_t t = 0; t < tokens; t += kProductRows) {
      Sink sink;
      sink.op = this;
      sink.residual = run.in[3].data == nullptr ? nullptr : run.in[3].f32() + t * rows_;
      sink.y = run.out[0].f32() + t * rows_;
      ProductInput input;
      input.base = run.in[0].f32() + t * columns_;
      input.stride = columns_;
      ProductSegment segment;
      segment.first = weight_;
      segment.end = std::min(kProductRows, tokens - t);
      const bp_status status = product_.run(input, &segment, 1, run.workspace, sink);
      if (status != BP_OK) return status;
    }
    return BP_OK;
  }

 private:
  struct Sink final : ProductSink {
    void store(uint64_t i, uint64_t n, uint64_t count, float* sums,
               float*) const noexcept override {
      add_bias(op->bias_, n, count, sums);
      const uint64_t at = i * op->rows_ + n;
      op->set_->vectors.finish(static_cast<int>(op->activation_), op->softcap_, sums,
                               residual == nullptr ? nullptr : residual + at, count, y + at);
    }
    const Linear* op = nullptr;
    const float* residual = nullptr;
    float* y = nullptr;
  };

  const InstructionSet* set_;
  Product product_;
};

class LinearGlu final : public LinearGluOp {
 public:
  explicit LinearGlu(const InstructionSet* set) : set_(set) {}

  bool describe(const Op& op, Reason& reason) override {
    if (!LinearGluOp::describe(op, reason)) return false;
    product_.describe(set_, gate_format_, up_format_, true, rows_, columns_);
    return product_.is_supported() || reason.no("no inner loop for this format");
  }
  bool workspace_bytes(const Ranges& ranges, uint64_t* out) const override {
    uint64_t tokens = 0;
    if (!ranges.maximum(tokens_, &tokens)) return false;
    *out = product_.workspace_bytes(tokens);
    return true;
  }
  const char* variant() const override { return set_->name; }
  bool is_deterministic() const override { return !product_.uses_matrix(UINT64_MAX); }

  bp_status run(const Run& run, bp_error*) const override {
    const uint64_t tokens = run.in[0].dims[0];
    for (uint64_t t = 0; t < tokens; t += kProductRows) {
      Sink sink;
      sink.op = this;
      sink.y = run.out[0].f32() + t * rows_;
      ProductInput input;
      input.base = run.in[0].f32() + t * columns_;
      input.stride = columns_;
      ProductSegment segment;
      segment.first = gate_;
      segment.second = up_;
      segment.end = std::min(kProductRows, tokens - t);
      const bp_status status = product_.run(input, &segment, 1, run.workspace, sink);
      if (status != BP_OK) return status;
    }
    return BP_OK;
  }

 private:
  struct Sink final : ProductSink {
    void store(uint64_t i, uint64_t n, uint64_t count, float* gates,
               float* ups) const noexcept override {
      add_bias(op->gate_bias_, n, count, gates);
      add_bias(op->up_bias_, n, count, ups);
      op->set_->vectors.gate(static_cast<int>(op->activation_), gates, ups, count,
                             y + i * op->rows_ + n);
    }
    const LinearGlu* op = nullptr;
    float* y = nullptr;
  };

  const InstructionSet* set_;
  Product product_;
};

class MoeLinearGlu final : public MoeLinearGluOp {
 public:
  explicit MoeLinearGlu(const InstructionSet* set) : set_(set) {}

  bool describe(const Op& op, Reason& reason) override {
    if (!MoeLinearGluOp::describe(op, reason)) return false;
    product_.describe(set_, gate_format_, up_format_, true, rows_, columns_);
    return product_.is_supported() || reason.no("no inner loop for this format");
  }
  bool workspace_bytes(const Ranges& ranges, uint64_t* out) const override {
    uint64_t tokens = 0;
    if (!ranges.maximum(tokens_, &tokens)) return false;
    const ExpertOrder order(experts_, experts_used_);
    *out = product_.workspace_bytes(std::min(tokens, order.piece()) * experts_used_) +
           order.workspace_bytes();
    return true;
  }
  const char* variant() const override { return set_->name; }
  bool is_deterministic() const override { return !product_.uses_matrix(UINT64_MAX); }

  bp_status run(const Run& run, bp_error* error) const override {
    const uint64_t tokens = run.in[0].dims[0];
    const int32_t* const ids = run.in[2].i32();  // [T, k]
    const bp_status checked = check_ids("expert id", ids, tokens * experts_used_, experts_, error);
    if (checked != BP_OK) return checked;
    ExpertOrder order(experts_, experts_used_);
    for (uint64_t t = 0; t < tokens; t += order.piece()) {
      const uint64_t pairs = std::min(order.piece(), tokens - t) * experts_used_;
      const int32_t* const piece_ids = ids + t * experts_used_;
      const uint64_t segments = order.sort(piece_ids, pairs, run.workspace);
      for (uint64_t s = 0; s < segments; ++s) {
        ProductSegment& segment = order.segments()[s];
        const uint64_t expert = static_cast<uint64_t>(piece_ids[order.order()[segment.begin]]);
        segment.first = gate_.matrix(expert);
        segment.second = up_.matrix(expert);
      }
      Sink sink;
      sink.op = this;
      sink.order = order.order();
      sink.y = run.out[0].f32() + t * experts_used_ * rows_;
      const ProductInput input{run.in[0].f32() + t * columns_, columns_, order.order(),
                               experts_used_};
      const bp_status status =
          product_.run(input, order.segments(), segments, product_workspace(run, order), sink);
      if (status != BP_OK) return status;
    }
    return BP_OK;
  }

 private:
  struct Sink final : ProductSink {
    void store(uint64_t i, uint64_t n, uint64_t count, float* gates,
               float* ups) const noexcept override {
      op->set_->vectors.gate(static_cast<int>(op->activation_), gates, ups, count,
                             y + order[i] * op->rows_ + n);
    }
    const MoeLinearGlu* op = nullptr;
    const uint32_t* order = nullptr;
    float* y = nullptr;
  };
  static std::byte* product_workspace(const Run& run, const ExpertOrder& order) {
    return run.workspace + order.workspace_bytes() / 64 * 64;
  }

  const InstructionSet* set_;
  Product product_;
};

class MoeLinear final : public MoeLinearOp {
 public:
  explicit MoeLinear(const InstructionSet* set) : set_(set) {}

  bool describe(const Op& op, Reason& reason) override {
    if (!MoeLinearOp::describe(op, reason)) return false;
    product_.describe(set_, format_, format_, false, rows_, columns_);
    return product_.is_supported() || reason.no("no inner loop for this format");
  }
  bool workspace_bytes(const Ranges& ranges, uint64_t* out) const override {
    uint64_t tokens = 0;
    if (!ranges.maximum(tokens_, &tokens)) return false;
    const ExpertOrder order(experts_, experts_used_);
    *out = product_.workspace_bytes(std::min(tokens, order.piece()) * experts_used_) +
           order.workspace_bytes();
    return true;
  }
  const char* variant() const override { return set_->name; }
  bool is_deterministic() const override { return !product_.uses_matrix(UINT64_MAX); }

  bp_status run(const Run& run, bp_error* error) const override {
    const uint64_t tokens = run.in[0].dims[0];
    const int32_t* const ids = run.in[2].i32();  // [T, k]
    const bp_status checked = check_ids("expert id", ids, tokens * experts_used_, experts_, error);
    if (checked != BP_OK) return checked;
    float* const y = run.out[0].f32();  // [T, N]
    const float* const residual = run.in[4].data == nullptr ? nullptr : run.in[4].f32();
    if (residual == nullptr) {
      std::fill_n(y, tokens * rows_, 0.0f);
    } else if (residual != y) {
      std::copy_n(residual, tokens * rows_, y);
    }
    ExpertOrder order(experts_, experts_used_);
    for (uint64_t t = 0; t < tokens; t += order.piece()) {
      const uint64_t pairs = std::min(order.piece(), tokens - t) * experts_used_;
      const int32_t* const piece_ids = ids + t * experts_used_;
      const uint64_t segments = order.sort(piece_ids, pairs, run.workspace);
      for (uint64_t s = 0; s < segments; ++s) {
        ProductSegment& segment = order.segments()[s];
        const uint64_t expert = static_cast<uint64_t>(piece_ids[order.order()[segment.begin]]);
        segment.first = weight_.matrix(expert);
      }
      Sink sink;
      sink.op = this;
      sink.order = order.order();
      sink.shares = run.in[3].f32() + t * experts_used_;
      sink.y = y + t * rows_;
      const ProductInput input{run.in[0].f32() + t * experts_used_ * columns_, columns_,
                               order.order(), 1};
      const bp_status status =
          product_.run(input, order.segments(), segments,
                       run.workspace + order.workspace_bytes() / 64 * 64, sink);
      if (status != BP_OK) return status;
    }
    return BP_OK;
  }

 private:
  // Adds to y: a thread has its columns alone, and its experts follow each other.
  struct Sink final : ProductSink {
    void store(uint64_t i, uint64_t n, uint64_t count, float* sums,
               float*) const noexcept override {
      const uint64_t pair = order[i];
      float* const to = y + pair / op->experts_used_ * op->rows_ + n;
      for (uint64_t j = 0; j < count; ++j) to[j] += shares[pair] * sums[j];
    }
    const MoeLinear* op = nullptr;
    const uint32_t* order = nullptr;
    const float* shares = nullptr;
    float* y = nullptr;
  };

  const InstructionSet* set_;
  Product product_;
};

}  // namespace

std::unique_ptr<Kernel> create_linear(const InstructionSet* set) {
  return std::make_unique<Linear>(set);
}
std::unique_ptr<Kernel> create_linear_glu(const InstructionSet* set) {
  return std::make_unique<LinearGlu>(set);
}
std::unique_ptr<Kernel> create_moe_linear_glu(const InstructionSet* set) {
  return std::make_unique<MoeLinearGlu>(set);
}
std::unique_ptr<Kernel> create_moe_linear(const InstructionSet* set) {
  return std::make_unique<MoeLinear>(set);
}

}  // namespace bp::cpu::tuned
