// SPDX-License-Identifier: Apache-2.0
// What sampling needs of a row of logits without bringing all of it to the host: the index of the
// largest, and the k largest with their ids.
#pragma once

#include <cstdint>

#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"

namespace bp::kernels {

// Launch on grid (rows, 1). Buffers: x [rows, n] f32; y [rows] i32, the lowest index of the largest
// element. NaN never wins; a row of nothing else gives 0.
Result<Kernel> build_argmax(uint32_t columns, uint32_t threads);

inline constexpr uint32_t kMaxTopK = 64;

struct TopKSpec {
  uint32_t columns = 0;  // V
  uint32_t count = 0;    // k, no more than V
};

// A workgroup takes the k largest of threads × held elements; longer rows have several parts.
struct TopKSchedule {
  uint32_t threads = 256;
  uint32_t held = 8;  // elements a thread keeps in registers
};
TopKSchedule default_schedule(const TopKSpec& spec, const Caps& caps);

// Parts of a row: workgroups in x of the first stage.
uint32_t top_k_parts(const TopKSpec& spec, const TopKSchedule& schedule);

// First stage, on grid (parts, rows). Buffers: x [rows, V] f32; values [rows, parts, k] f32; ids
// [rows, parts, k] i32, of each part in descending order, the lowest id first among equals, NaN
// last. A part with fewer elements ends in −infinity with id −1. With one part this is the result.
Result<Kernel> build_top_k(const TopKSpec& spec, const TopKSchedule& schedule);

// Second stage, on grid (rows, 1), where there are several parts. Buffers: the first stage's values
// and ids; values [rows, k] f32; ids [rows, k] i32, ordered as above. Uses the schedule's threads;
// INVALID_ARGUMENT when they cannot hold all candidates.
Result<Kernel> build_top_k_join(const TopKSpec& spec, const TopKSchedule& schedule);

}  // namespace bp::kernels
