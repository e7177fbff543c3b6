// SPDX-License-Identifier: Apache-2.0
// The oracle: runs a kernel on the CPU as the IR defines it, and finds what a GPU would hide.
//
// One workgroup at a time, instruction by instruction over all lanes; groups run in an order
// shuffled by `seed`. Every run checks
//   - bounds and alignment of each access, and Access of the bindings;
//   - reads of words that nothing wrote (shared memory always, buffers as their binding says);
//   - barriers and collectives reached by only a part of the group;
//   - fragments whose threads disagree on index or stride (their accesses count as those of one
//     thread that is none of the group's, since nobody says which thread moves which element);
//   - races: two accesses of a word, one of them a write and not both atomic, that no barrier (with
//     the global flag for buffers) separates, or that come from different groups unless the later
//     one has acquired what the earlier one released (kBarrierRelease in ir.h);
//   - NaN or infinity out of finite operands, integer division by zero, shifts beyond 31, casts out
//     of range, loops that cannot end.
// The first finding ends the run: FAILED_PRECONDITION with the finding's name first, then the
// instruction, thread, group and word. Thread-safe for distinct memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ir/ir.h"

namespace bp::kernels {

// Memory behind one buffer of the kernel. Borrowed for the run.
struct Binding {
  std::span<uint32_t> words;
  bool initialized = true;    // false: a read before a write is a finding
  uint32_t offset_words = 0;  // of `words` from a 16-byte boundary of the device
  // Optional, as long as `words`: set to 1 for each word that the run wrote.
  std::vector<uint8_t>* written = nullptr;
};

struct RunOptions {
  uint32_t grid_x = 1;
  uint32_t grid_y = 1;
  uint64_t seed = 1;
  bool trap_nonfinite = true;
  uint64_t max_steps = uint64_t{1} << 28;  // instructions times groups, before it gives up
};

// What a run did, summed over lanes (bytes, dot4) or groups (instructions, barriers).
struct Counters {
  uint64_t instructions = 0;
  uint64_t loaded_words = 0;
  uint64_t stored_words = 0;
  uint64_t barriers = 0;
  uint64_t shuffles = 0;
  uint64_t dot4 = 0;
  uint64_t mma = 0;  // products of two fragments
};

// Runs the whole grid. The kernel is verified first. INVALID_ARGUMENT for bindings or params that
// do not match it, EXHAUSTED beyond max_steps.
Result<Counters> interpret(const Kernel& kernel, std::span<const Binding> bindings,
                           std::span<const uint32_t> params, const RunOptions& options);

}  // namespace bp::kernels
