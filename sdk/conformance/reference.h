// SPDX-License-Identifier: Apache-2.0
// The ops of docs/ops.md in double precision, written from that page alone.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sdk/conformance/expected.h"

namespace bp::conformance {

// ---- matrices -------------------------------------------------------------------------------

struct LinearAttributes {
  std::string activation = "none";
  double softcap = 0;
};
double activate(const std::string& activation, double x);

// x [tokens, columns], weight [rows, columns]; bias and residual may be empty.
Expected linear_reference(std::span<const float> x, std::span<const float> weight,
                          std::span<const float> bias, std::span<const float> residual,
                          const LinearAttributes& attributes, uint64_t tokens, uint64_t rows,
                          uint64_t columns);
// gate and up [rows, columns]; bias empty or [2 × rows].
Expected glu_reference(std::span<const float> x, std::span<const float> gate,
                       std::span<const float> up, std::span<const float> bias,
                       const std::string& activation, uint64_t tokens, uint64_t rows,
                       uint64_t columns);

// ---- rows -----------------------------------------------------------------------------------

Expected embed_reference(std::span<const int32_t> ids, std::span<const float> table, double scale,
                         uint64_t columns);
Expected rms_norm_reference(std::span<const float> x, std::span<const float> gain,
                            std::span<const float> residual, double eps, uint64_t columns);
// bias and residual may be empty.
Expected layer_norm_reference(std::span<const float> x, std::span<const float> gain,
                              std::span<const float> bias, std::span<const float> residual,
                              double eps, uint64_t columns);
struct Route {
  std::vector<int32_t> ids;
  Expected weights;
};
Route route_reference(std::span<const float> logits, uint64_t experts, uint64_t used,
                      bool normalize);

// ---- attention ------------------------------------------------------------------------------

struct HeadShape {
  uint64_t heads = 1, kv_heads = 1, head_dim = 64;
};
struct RopeAttributes {
  uint64_t rotary_dim = 0;
  bool interleaved = false;
  double norm_eps = 1e-6;
};
// One head: norm where `gain` is not empty, rotation where `rope` ([rotary_dim]) is not.
void rope_reference(std::span<const float> head, std::span<const float> gain,
                    std::span<const float> rope, const RopeAttributes& attributes, Expected* out,
                    uint64_t at);

struct AttentionAttributes {
  int64_t window = 0;
  double scale = 1, softcap = 0;
};
// One query head at `position` over keys and values of its cache head, [length, head_dim] each.
void attention_reference(std::span<const float> q, std::span<const float> keys,
                         std::span<const float> values, uint64_t position,
                         const AttentionAttributes& attributes, Expected* out, uint64_t at);

}  // namespace bp::conformance
