// SPDX-License-Identifier: Apache-2.0
// Matrix times many vectors (op linear and linear_glu for any number of tokens): what reading a
// prompt spends its time in. Bound by arithmetic, so each group turns a tile of weights into floats
// in shared memory once and uses it for a whole tile of tokens.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/builder/builder.h"
#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"
#include "kernels/library/activation.h"

namespace bp::kernels {

struct GemmSpec {
  std::string format = "q4_g32";  // of the weight
  uint32_t rows = 0;              // of y in this launch: N, or with `glu` F, or a part of them
  uint32_t columns = 0;           // K
  uint32_t y_stride = 0;          // row length of y and residual; 0: rows
  bool glu = false;               // y = activation(gate) × up
  bool separate_up = false;  // with `glu`: up is a tensor of its own, not rows F… of the same
  bool bias = false;         // added before the activation
  bool residual = false;     // added last
  bool residual_in_place = false;  // y is also the residual
  Activation activation = Activation::kNone;
  float softcap = 0.0f;
};

// A group computes tile_tokens × tile_rows results and walks the columns tile_columns at a time; a
// thread computes thread_tokens × thread_rows of them (with `glu`, of each half).
struct GemmSchedule {
  uint32_t tile_tokens = 32;
  uint32_t tile_rows = 32;
  uint32_t tile_columns = 32;  // multiple of the format's chunk
  uint32_t thread_tokens = 4;
  uint32_t thread_rows = 4;
  uint32_t stages = 1;  // 2: the next tiles are loaded during the arithmetic, in twice the memory
  uint32_t pad = 1;     // vectors after each row of a tile, against bank conflicts
  // Not 0: by matrix units, whose fragments of 16 × 16 so many threads hold together (see ir.h).
  // thread_tokens × thread_rows then counts fragments, and x and weights are rounded to f16.
  uint32_t matrix = 0;
  uint32_t threads() const {
    if (matrix != 0) {
      return tile_tokens / kFragmentSize / thread_tokens *
             (tile_rows / kFragmentSize / thread_rows) * matrix;
    }
    return (tile_tokens / thread_tokens) * (tile_rows / thread_rows);
  }
};
// For passes of about `tokens` tokens; correct for any number.
GemmSchedule default_schedule(const GemmSpec& spec, const Caps& caps, uint32_t tokens = 512);

// The same by matrix units; false where device, format or shape have none. Not the default: it
// rounds to f16, and layouts of fragments are worth a test on each new device.
bool matrix_schedule(const GemmSpec& spec, const Caps& caps, uint32_t tokens, GemmSchedule* out);

struct GemmGrid {
  uint32_t x = 0, y = 0;
};
// Workgroups: x tiles of tokens, y tiles of rows, so that groups side by side share weights.
GemmGrid gemm_groups(const GemmSpec& spec, const GemmSchedule& schedule, uint32_t tokens);

// Buffers in order: the weight's planes; the planes of up (separate_up); x [T, K] f32; bias, whole
// (glu: gate's, then up's, y_stride each); residual [T, y_stride]; y [T, y_stride] f32 (in place:
// read and written). Params, both u32: tokens (T), first_row. Row 0 of the bound weight is row
// first_row of y and bias: matrices beyond a device's buffer range are launched in parts, each with
// its slice of the weight. A merged gate and up has no such parts; bind its halves as two tensors
// (separate_up). T × max(K, y_stride) must be below 2^32.
// INVALID_ARGUMENT for what the format or the schedule cannot do.
Result<Kernel> build_gemm(const GemmSpec& spec, const GemmSchedule& schedule);

}  // namespace bp::kernels
