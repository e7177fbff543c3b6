// SPDX-License-Identifier: Apache-2.0
// What surrounds a plain matrix product of halves that a vendor's library computes (see
// bp.gemm/1): activations and a panel of weights become f16 before it, and after it the rest of
// op linear or linear_glu is applied to its f32 result.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/ir/ir.h"
#include "kernels/library/activation.h"

namespace bp::kernels {

inline constexpr uint32_t kHalvesThreads = 128;

// Can rows of `columns` weights in this format become halves? Rows are then whole words of 16
// bytes.
bool has_halves(const std::string& format, uint32_t columns);
// Elements that a thread of a panel turns into halves.
uint32_t panel_chunk(const std::string& format, uint32_t columns);

// Rows of a weight as f16, one after another. Launch on grid (⌈chunks / kHalvesThreads⌉, 1).
// Buffers: the weight's planes; panel. Params, u32: first_chunk of the planes, chunks to turn.
Result<Kernel> build_weight_halves(const std::string& format, uint32_t columns);

// x [T, K] f32 as f16. Launch on grid (T, ⌈K / 8 / kHalvesThreads⌉). Buffers: x; halves.
Result<Kernel> build_activation_halves(uint32_t columns);

// y = product + bias, activation, times up, soft cap, + what y was (residual).
struct ProductEndSpec {
  uint32_t rows = 0;      // of the product, whose rows are as long
  uint32_t y_stride = 0;  // row length of y
  bool glu = false;       // there are two products, of gate and of up
  bool bias = false;
  bool residual = false;
  Activation activation = Activation::kNone;
  float softcap = 0.0f;
};
// Launch on grid (T, ⌈rows / lanes / kHalvesThreads⌉) with the lanes below. Buffers: product;
// product of up (glu); bias, whole (glu: gate's, then up's, y_stride each); y. Param, u32:
// first_row of y, a multiple of the lanes, that row 0 of the product belongs to.
Result<Kernel> build_product_end(const ProductEndSpec& spec);
// Results that a thread computes.
uint32_t product_end_lanes(const ProductEndSpec& spec);

}  // namespace bp::kernels
