// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/ops/linear.h"

#include <cinttypes>

namespace bp::cpu {
namespace {

const float* f32_plane(const Weight& weight) {
  return reinterpret_cast<const float*>(weight.planes[0]);
}

}  // namespace

bool LinearOp::describe(const Op& op, Reason& reason) {
  LinearShape shape;
  if (!shape.read(op, reason)) return false;
  rows_ = shape.rows;
  columns_ = shape.columns;
  has_bias_ = shape.has_bias;
  activation_ = shape.activation;
  softcap_ = shape.softcap;
  format_ = shape.format;
  tokens_ = shape.tokens;
  return true;
}

void LinearOp::attach(const Weight* weights) {
  weight_ = weights[1];
  bias_ = has_bias_ ? f32_plane(weights[2]) : nullptr;
}

bool LinearGluOp::describe(const Op& op, Reason& reason) {
  LinearGluShape shape;
  if (!shape.read(op, reason)) return false;
  rows_ = shape.rows;
  columns_ = shape.columns;
  is_merged_ = shape.is_merged;
  has_bias_ = shape.has_bias;
  gate_format_ = shape.gate_format;
  up_format_ = shape.up_format;
  activation_ = shape.activation;
  tokens_ = shape.tokens;
  return true;
}

void LinearGluOp::attach(const Weight* weights) {
  gate_ = weights[1].part(0, rows_);
  up_ = is_merged_ ? weights[1].part(rows_, rows_) : weights[3];
  gate_bias_ = has_bias_ ? f32_plane(weights[2]) : nullptr;
  up_bias_ = has_bias_ ? gate_bias_ + rows_ : nullptr;
}

bool MoeLinearGluOp::describe(const Op& op, Reason& reason) {
  MoeLinearGluShape shape;
  if (!shape.read(op, reason)) return false;
  experts_ = shape.experts;
  experts_used_ = shape.experts_used;
  rows_ = shape.rows;
  columns_ = shape.columns;
  is_merged_ = shape.is_merged;
  gate_format_ = shape.gate_format;
  up_format_ = shape.up_format;
  activation_ = shape.activation;
  tokens_ = shape.tokens;
  return true;
}

void MoeLinearGluOp::attach(const Weight* weights) {
  gate_ = weights[1].part(0, rows_);
  up_ = is_merged_ ? weights[1].part(rows_, rows_) : weights[3];
}

bool MoeLinearOp::describe(const Op& op, Reason& reason) {
  MoeLinearShape shape;
  if (!shape.read(op, reason)) return false;
  experts_ = shape.experts;
  experts_used_ = shape.experts_used;
  rows_ = shape.rows;
  columns_ = shape.columns;
  format_ = shape.format;
  tokens_ = shape.tokens;
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
