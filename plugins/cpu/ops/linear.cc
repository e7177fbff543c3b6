// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/ops/linear.h"

#include <cinttypes>

namespace bp::cpu {
namespace {

bool read_activation(const Op& op, bool needed, Activation* out, Reason& reason) {
  std::string_view name = "none";
  if (!op.string_attribute("activation", needed, &name, reason)) return false;
  if (!parse_activation(name, out)) return reason.no("unknown activation");
  if (needed && *out == Activation::kNone) return reason.no("a gate needs an activation");
  return true;
}

const float* f32_plane(const Weight& weight) {
  return reinterpret_cast<const float*>(weight.planes[0]);
}

// Shape of the gate and up weights, [(E,)? F, K] each or merged [(E,)? 2F, K].
bool read_glu_weights(const Operand& gate, const Operand& up, uint32_t rank, uint64_t rows,
                      uint64_t columns, Reason& reason) {
  if (!check_weight(gate, rank, "weight", reason) ||
      !check_extent(gate, rank - 1, columns, "weight", reason)) {
    return false;
  }
  if (!up.present()) {
    if (rows > UINT64_MAX / 2) return reason.no("impossible output shape");
    return check_extent(gate, rank - 2, 2 * rows, "weight", reason);
  }
  return check_extent(gate, rank - 2, rows, "weight", reason) &&
         check_weight(up, rank, "up", reason) &&
         check_extent(up, rank - 1, columns, "up", reason) &&
         check_extent(up, rank - 2, rows, "up", reason) &&
         (rank < 3 || check_extent(up, 0, gate.dims[0].offset, "up", reason));
}

}  // namespace

bool LinearOp::describe(const Op& op, Reason& reason) {
  const Operand& x = op.input(0);
  const Operand& weight = op.input(1);
  const Operand& y = op.output(0);
  if (!check_counts(op, 2, 4, 1, reason) ||
      !check_attributes(op, {"activation", "softcap"}, reason) ||
      !check_value(x, Format::kF32, 2, "x", reason) || !check_weight(weight, 2, "weight", reason) ||
      !check_value(y, Format::kF32, 2, "y", reason) || !check_same(x, 0, y, 0, "y", reason)) {
    return false;
  }
  weight.constant_dim(0, &rows_);
  weight.constant_dim(1, &columns_);
  if (!check_extent(x, 1, columns_, "x", reason) || !check_extent(y, 1, rows_, "y", reason)) {
    return false;
  }
  has_bias_ = op.input(2).present();
  if (has_bias_ && !check_vector(op.input(2), rows_, "bias", reason)) return false;
  const Operand& residual = op.input(3);
  if (residual.present() && (!check_value(residual, Format::kF32, 2, "residual", reason) ||
                             !check_same(residual, 0, y, 0, "residual", reason) ||
                             !check_extent(residual, 1, rows_, "residual", reason))) {
    return false;
  }
  double softcap = 0;
  if (!read_activation(op, false, &activation_, reason) ||
      !op.float_attribute("softcap", false, &softcap, reason)) {
    return false;
  }
  softcap_ = static_cast<float>(softcap);
  format_ = weight.format;
  tokens_ = x.dims[0];
  return true;
}

void LinearOp::attach(const Weight* weights) {
  weight_ = weights[1];
  bias_ = has_bias_ ? f32_plane(weights[2]) : nullptr;
}

bool LinearGluOp::describe(const Op& op, Reason& reason) {
  const Operand& x = op.input(0);
  const Operand& y = op.output(0);
  if (!check_counts(op, 2, 4, 1, reason) || !check_attributes(op, {"activation"}, reason) ||
      !check_value(x, Format::kF32, 2, "x", reason) ||
      !check_value(y, Format::kF32, 2, "y", reason) || !check_same(x, 0, y, 0, "y", reason)) {
    return false;
  }
  if (!x.constant_dim(1, &columns_)) return reason.no("x has no constant width");
  if (!y.constant_dim(1, &rows_)) return reason.no("y has no constant width");
  is_merged_ = !op.input(3).present();
  if (!read_glu_weights(op.input(1), op.input(3), 2, rows_, columns_, reason)) return false;
  has_bias_ = op.input(2).present();
  if (has_bias_ && !check_vector(op.input(2), 2 * rows_, "bias", reason)) return false;
  gate_format_ = op.input(1).format;
  up_format_ = is_merged_ ? gate_format_ : op.input(3).format;
  tokens_ = x.dims[0];
  return read_activation(op, true, &activation_, reason);
}

void LinearGluOp::attach(const Weight* weights) {
  gate_ = weights[1].part(0, rows_);
  up_ = is_merged_ ? weights[1].part(rows_, rows_) : weights[3];
  gate_bias_ = has_bias_ ? f32_plane(weights[2]) : nullptr;
  up_bias_ = has_bias_ ? gate_bias_ + rows_ : nullptr;
}

bool MoeLinearGluOp::describe(const Op& op, Reason& reason) {
  const Operand& x = op.input(0);
  const Operand& weight = op.input(1);
  const Operand& ids = op.input(2);
  const Operand& y = op.output(0);
  if (!check_counts(op, 3, 4, 1, reason) || !check_attributes(op, {"activation"}, reason) ||
      !check_value(x, Format::kF32, 2, "x", reason) ||
      !check_value(ids, Format::kI32, 2, "ids", reason) ||
      !check_value(y, Format::kF32, 3, "y", reason) || !check_same(x, 0, y, 0, "y", reason) ||
      !check_same(ids, 0, y, 0, "ids", reason) || !check_same(ids, 1, y, 1, "ids", reason) ||
      !check_weight(weight, 3, "weight", reason)) {
    return false;
  }
  weight.constant_dim(0, &experts_);
  if (!x.constant_dim(1, &columns_)) return reason.no("x has no constant width");
  if (!y.constant_dim(2, &rows_)) return reason.no("y has no constant width");
  if (!ids.constant_dim(1, &experts_used_) || experts_used_ == 0 ||
      experts_used_ > static_cast<uint64_t>(kMaxExpertsUsed)) {
    return reason.no("1 to %" PRId64 " experts a token are supported", kMaxExpertsUsed);
  }
  is_merged_ = !op.input(3).present();
  if (!read_glu_weights(weight, op.input(3), 3, rows_, columns_, reason)) return false;
  gate_format_ = weight.format;
  up_format_ = is_merged_ ? gate_format_ : op.input(3).format;
  tokens_ = x.dims[0];
  return read_activation(op, true, &activation_, reason);
}

void MoeLinearGluOp::attach(const Weight* weights) {
  gate_ = weights[1].part(0, rows_);
  up_ = is_merged_ ? weights[1].part(rows_, rows_) : weights[3];
}

bool MoeLinearOp::describe(const Op& op, Reason& reason) {
  const Operand& x = op.input(0);
  const Operand& weight = op.input(1);
  const Operand& ids = op.input(2);
  const Operand& shares = op.input(3);
  const Operand& residual = op.input(4);
  const Operand& y = op.output(0);
  if (!check_counts(op, 4, 5, 1, reason) || !check_attributes(op, {}, reason) ||
      !check_value(x, Format::kF32, 3, "x", reason) || !check_weight(weight, 3, "weight", reason) ||
      !check_value(ids, Format::kI32, 2, "ids", reason) ||
      !check_value(shares, Format::kF32, 2, "weights", reason) ||
      !check_value(y, Format::kF32, 2, "y", reason) || !check_same(x, 0, y, 0, "y", reason) ||
      !check_same(ids, 0, y, 0, "ids", reason) || !check_same(x, 1, ids, 1, "ids", reason) ||
      !check_same(shares, 0, y, 0, "weights", reason) ||
      !check_same(shares, 1, ids, 1, "weights", reason)) {
    return false;
  }
  weight.constant_dim(0, &experts_);
  weight.constant_dim(1, &rows_);
  weight.constant_dim(2, &columns_);
  if (!check_extent(x, 2, columns_, "x", reason) || !check_extent(y, 1, rows_, "y", reason)) {
    return false;
  }
  if (!ids.constant_dim(1, &experts_used_) || experts_used_ == 0 ||
      experts_used_ > static_cast<uint64_t>(kMaxExpertsUsed)) {
    return reason.no("1 to %" PRId64 " experts a token are supported", kMaxExpertsUsed);
  }
  if (residual.present() && (!check_value(residual, Format::kF32, 2, "residual", reason) ||
                             !check_same(residual, 0, y, 0, "residual", reason) ||
                             !check_extent(residual, 1, rows_, "residual", reason))) {
    return false;
  }
  format_ = weight.format;
  tokens_ = x.dims[0];
  return true;
}

void MoeLinearOp::attach(const Weight* weights) {
  weight_ = weights[1];
}

bp_status check_ids(const char* what, const int32_t* ids, uint64_t count, uint64_t limit,
                    bp_error* error) {
  for (uint64_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || static_cast<uint64_t>(ids[i]) >= limit) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "%s %d at index %" PRIu64 " is outside [0, %" PRIu64 ")", what, ids[i], i,
                        limit);
    }
  }
  return BP_OK;
}

}  // namespace bp::cpu
