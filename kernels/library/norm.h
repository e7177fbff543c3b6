// SPDX-License-Identifier: Apache-2.0
// RMS and layer normalisation (ops rms_norm and layer_norm), with optional residual and optional
// int8 output, and the quantizer of activations alone. One workgroup a row; any row length.
//
// Sources: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019; Ba, Kiros and Hinton,
// "Layer Normalization", 2016.
#pragma once

#include <cstdint>

#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"
#include "kernels/library/quantize.h"

namespace bp::kernels {

struct NormSpec {
  uint32_t width = 0;              // n, elements of a row
  bool normalize = true;           // false: the values pass unchanged, for quantizing alone
  bool center = false;             // the mean is subtracted first: layer_norm
  bool bias = false;               // y = norm(x) × gain + bias
  bool residual = false;           // the same, plus residual
  bool residual_in_place = false;  // y is also the residual; f32 output alone
  bool write_f32 = true;           // y as f32
  bool write_int8 = false;         // y quantized; n must be a multiple of 32
};

struct NormSchedule {
  uint32_t threads = 256;
};
NormSchedule default_schedule(const NormSpec& spec, const Caps& caps);

// Launch on grid (rows, 1). Buffers in order: x [rows, n] f32; gain [n] f32 (when normalizing);
// bias [n] f32 (when asked); residual [rows, n] f32 (when asked and not in place); y [rows, n] f32;
// y_int8 [rows, n / 4] words; y_scales [rows, n / 32] pairs (each when written). Param: eps f32
// (when normalizing).
Result<Kernel> build_norm(const NormSpec& spec, const NormSchedule& schedule);

}  // namespace bp::kernels
