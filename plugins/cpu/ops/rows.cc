// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/ops/rows.h"

#include <cmath>
#include <limits>

#include "plugins/cpu/host.h"
#include "plugins/cpu/ops/linear.h"

namespace bp::cpu {

bool EmbedOp::describe(const Op& op, Reason& reason) {
  const Operand& ids = op.input(0);
  const Operand& table = op.input(1);
  const Operand& y = op.output(0);
  if (!check_counts(op, 2, 2, 1, reason) || !check_attributes(op, {"scale"}, reason) ||
      !check_value(ids, Format::kI32, 1, "token_ids", reason) ||
      !check_weight(table, 2, "table", reason) || !check_value(y, Format::kF32, 2, "y", reason) ||
      !check_same(ids, 0, y, 0, "y", reason)) {
    return false;
  }
  table.constant_dim(0, &vocabulary_);
  table.constant_dim(1, &columns_);
  double scale = 1;
  if (!check_extent(y, 1, columns_, "y", reason) ||
      !op.float_attribute("scale", false, &scale, reason)) {
    return false;
  }
  scale_ = static_cast<float>(scale);
  return true;
}

bool RmsNormOp::describe(const Op& op, Reason& reason) {
  const Operand& x = op.input(0);
  const Operand& residual = op.input(2);
  const Operand& y = op.output(0);
  if (!check_counts(op, 2, 3, 1, reason) || !check_attributes(op, {"eps"}, reason) ||
      !check_value(x, Format::kF32, 2, "x", reason) ||
      !check_value(y, Format::kF32, 2, "y", reason) || !check_same(x, 0, y, 0, "y", reason) ||
      !check_same(x, 1, y, 1, "y", reason)) {
    return false;
  }
  if (!x.constant_dim(1, &columns_)) return reason.no("x has no constant width");
  if (!check_vector(op.input(1), columns_, "gain", reason)) return false;
  if (residual.present() && (!check_value(residual, Format::kF32, 2, "residual", reason) ||
                             !check_same(residual, 0, y, 0, "residual", reason) ||
                             !check_same(residual, 1, y, 1, "residual", reason))) {
    return false;
  }
  return op.float_attribute("eps", true, &eps_, reason);
}

bool GatherRowsOp::describe(const Op& op, Reason& reason) {
  const Operand& x = op.input(0);
  const Operand& rows = op.input(1);
  const Operand& y = op.output(0);
  if (!check_counts(op, 2, 2, 1, reason) || !check_attributes(op, {}, reason) ||
      !check_value(x, Format::kF32, 2, "x", reason) ||
      !check_value(rows, Format::kI32, 1, "rows", reason) ||
      !check_value(y, Format::kF32, 2, "y", reason) || !check_same(rows, 0, y, 0, "y", reason) ||
      !check_same(x, 1, y, 1, "y", reason)) {
    return false;
  }
  return x.constant_dim(1, &columns_) || reason.no("x has no constant width");
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
  const Operand& logits = op.input(0);
  const Operand& ids = op.output(0);
  const Operand& shares = op.output(1);
  if (!check_counts(op, 1, 1, 2, reason) ||
      !check_attributes(op, {"experts_used", "normalize"}, reason) ||
      !check_value(logits, Format::kF32, 2, "logits", reason) ||
      !check_value(ids, Format::kI32, 2, "ids", reason) ||
      !check_value(shares, Format::kF32, 2, "weights", reason) ||
      !check_same(logits, 0, ids, 0, "ids", reason) ||
      !check_same(logits, 0, shares, 0, "weights", reason)) {
    return false;
  }
  if (!logits.constant_dim(1, &experts_) || experts_ > INT32_MAX) {
    return reason.no("logits have no constant width");
  }
  int64_t used = 0;
  int64_t normalize = 0;
  if (!op.int_attribute("experts_used", true, 1, kMaxExpertsUsed, &used, reason) ||
      !op.int_attribute("normalize", true, 0, 1, &normalize, reason)) {
    return false;
  }
  experts_used_ = static_cast<uint64_t>(used);
  normalize_ = normalize != 0;
  if (experts_used_ > experts_) return reason.no("more experts used than there are");
  return check_extent(ids, 1, experts_used_, "ids", reason) &&
         check_extent(shares, 1, experts_used_, "weights", reason);
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
