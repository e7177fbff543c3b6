// SPDX-License-Identifier: Apache-2.0
// Matrix times a few vectors (op linear and linear_glu): what decoding spends its time in. Bound by
// reading the weights once, so each thread reads 16 bytes at a time, several rows at once, and uses
// every chunk for up to 8 tokens. More tokens work too, 8 at a time, each time reading the weights.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/builder/builder.h"
#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"
#include "kernels/library/activation.h"

namespace bp::kernels {

inline constexpr uint32_t kMaxGemvTokens = 8;

// Instead of one matrix, one for each expert ([count, rows, columns], or with `glu` merged [count,
// 2·rows, columns]) of which a token uses some; moe.h has the ops and their checks. There is then
// one token in spec.tokens, and workgroups in y stand for tokens × used, or with `sum` for tokens.
struct GemvExperts {
  uint32_t count = 0;  // E; 0: no experts
  uint32_t used = 1;   // k, of a token
  bool sum = false;    // y = Σ weight × product over a token's experts; x is [T, k, columns]
};

struct GemvSpec {
  std::string format = "q4_g32";  // of the weight
  bool int8 = false;              // int8 dot products with quantized x (see norm.h), else f32
  uint32_t rows = 0;              // of this launch: N, or with `glu` F, or a part of them
  uint32_t y_rows = 0;            // of y, residual and bias; 0: as rows
  uint32_t columns = 0;           // K
  uint32_t tokens = 1;            // that share one read of the weights
  bool glu = false;               // y = activation(gate) × up, two rows of weights a row of y
  bool separate_up = false;  // with `glu`: up is a tensor of its own, not rows F… of the same
  bool bias = false;         // added before the activation
  bool residual = false;     // added last
  bool residual_in_place = false;  // y is also the residual
  bool write_int8 = false;  // y as int8, see quantize.h; rows, y_rows and first_row in whole blocks
  Activation activation = Activation::kNone;
  float softcap = 0.0f;
  GemvExperts experts = {};
};

// rows_per_thread rows are read at once by lanes_per_row consecutive threads.
struct GemvSchedule {
  uint32_t threads = 128;
  uint32_t lanes_per_row = 32;
  uint32_t rows_per_thread = 2;
  uint32_t unroll = 2;
};
GemvSchedule default_schedule(const GemvSpec& spec, const Caps& caps);

// Whether the groups of a schedule end on whole blocks of int8: what write_int8 asks for.
bool schedules_int8(const GemvSpec& spec, const GemvSchedule& schedule);

// Workgroups in x. In y there are ceil(T / spec.tokens) of them.
uint32_t gemv_groups(const GemvSpec& spec, const GemvSchedule& schedule);

// What becomes of a result. Called once a token, inside control where `row` is a row of y; the
// value is the finished f32 of that row.
using GemvSink = std::function<void(Builder&, Val token, Val row, Val value)>;

// Buffers in order: the weight's planes; the planes of up (separate_up); x [T, K] f32, or x_int8
// and x_scales; bias (glu: [2F]); residual [T, N]; y [T, N] f32 (in place: read and written), or
// with write_int8 y_int8 and y_scales.
// Params: tokens u32 (T); first_row u32, the row of y that row 0 of the bound weight belongs to, so
// that a matrix larger than what a device can bind is launched part by part (with `glu` only where
// up is bound separately). With experts there are no params, and after x come ids [T, k] i32 and,
// with `sum`, weights [T, k]. INVALID_ARGUMENT for what the format or the schedule cannot do.
Result<Kernel> build_gemv(const GemvSpec& spec, const GemvSchedule& schedule);

// The same with another end: `sink` takes the place of residual and store, and may declare further
// buffers with the builder when it is first called.
Result<Kernel> build_gemv(const GemvSpec& spec, const GemvSchedule& schedule, const GemvSink& sink);

}  // namespace bp::kernels
