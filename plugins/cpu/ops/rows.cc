// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/ops/rows.h"

#include <cmath>
#include <limits>

#include "plugins/cpu/host.h"
#include "plugins/cpu/ops/linear.h"

namespace bp::cpu {

bool EmbedOp::describe(const Op& op, Reason& reason) {
  EmbedShape shape;
  if (!shape.read(op, reason)) return false;
  vocabulary_ = shape.vocabulary;
  columns_ = shape.columns;
  scale_ = shape.scale;
  return true;
}

bool RmsNormOp::describe(const Op& op, Reason& reason) {
  RmsNormShape shape;
  if (!shape.read(op, reason)) return false;
  columns_ = shape.columns;
  eps_ = shape.eps;
  return true;
}

bool LayerNormOp::describe(const Op& op, Reason& reason) {
  LayerNormShape shape;
  if (!shape.read(op, reason)) return false;
  columns_ = shape.columns;
  eps_ = shape.eps;
  has_bias_ = shape.has_bias;
  return true;
}

bool GatherRowsOp::describe(const Op& op, Reason& reason) {
  GatherRowsShape shape;
  if (!shape.read(op, reason)) return false;
  columns_ = shape.columns;
  return true;
}

bp_status GatherRowsOp::run(const Run& run, bp_error* error) const {
  const Span& x = run.in[0];
  const Span& rows = run.in[1];
  const uint64_t outputs = rows.dims[0];
  if (const bp_status s = check_ids("row", rows.i32(), outputs, x.dims[0], error)) return s;
  for (uint64_t o = 0; o < outputs; ++o) {
    const uint64_t row = static_cast<uint64_t>(rows.i32()[o]);
    std::memcpy(run.out[0].f32() + o * columns_, x.f32() + row * columns_,
                columns_ * sizeof(float));
  }
  return BP_OK;
}

bool MoeRouteOp::describe(const Op& op, Reason& reason) {
  MoeRouteShape shape;
  if (!shape.read(op, reason)) return false;
  experts_ = shape.experts;
  experts_used_ = shape.experts_used;
  normalize_ = shape.normalize;
  return true;
}

bp_status MoeRouteOp::run(const Run& run, bp_error*) const {
  const uint64_t tokens = run.in[0].dims[0];
  const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
    for (uint64_t t = begin; t < end; ++t) {
      const float* const logits = run.in[0].f32() + t * experts_;
      int32_t* const ids = reinterpret_cast<int32_t*>(run.out[0].data) + t * experts_used_;
      float* const shares = run.out[1].f32() + t * experts_used_;
      // NaN counts as the smallest, so that the order is total and the ids are distinct.
      const auto key = [&](uint64_t e) {
        return std::isnan(logits[e]) ? -std::numeric_limits<float>::infinity() : logits[e];
      };
      double largest = -std::numeric_limits<double>::infinity();
      for (uint64_t e = 0; e < experts_; ++e) largest = std::fmax(largest, logits[e]);
      double sum = 0;
      for (uint64_t e = 0; e < experts_; ++e) sum += std::exp(logits[e] - largest);
      // Each round takes the largest of what comes after the last one taken.
      double chosen_sum = 0;
      uint64_t last = experts_;
      for (uint64_t k = 0; k < experts_used_; ++k) {
        uint64_t best = experts_;
        for (uint64_t e = 0; e < experts_; ++e) {
          const bool taken =
              last != experts_ && (key(e) > key(last) || (key(e) == key(last) && e <= last));
          if (!taken && (best == experts_ || key(e) > key(best))) best = e;
        }
        last = best;
        ids[k] = static_cast<int32_t>(best);
        const double share = std::exp(logits[best] - largest) / sum;
        shares[k] = static_cast<float>(share);
        chosen_sum += share;
      }
      if (!normalize_) continue;
      for (uint64_t k = 0; k < experts_used_; ++k) {
        shares[k] = static_cast<float>(std::exp(logits[ids[k]] - largest) / sum / chosen_sum);
      }
    }
  };
  return parallel_for(tokens, 16, body);
}

}  // namespace bp::cpu
