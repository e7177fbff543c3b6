// SPDX-License-Identifier: Apache-2.0
// Runs the threads of one workgroup as fibers on the calling thread. A thread runs until it comes
// to a barrier or a shuffle, then the next one does: in the order of the group for barriers, of the
// subgroup for shuffles. Uniform control, which kernels promise, makes that order complete; where a
// kernel breaks the promise the run ends with an error instead of a deadlock.
#pragma once

#include <cstdint>

namespace mock {

// What a compiled kernel calls, and what it lets the launcher set. The same layout is spelled in
// prelude.h.
struct Hooks {
  unsigned (*shuffle_xor)(unsigned value, unsigned mask);
  void (*barrier)();
  // All lanes of a subgroup give `count` floats, at most kGathered, and see those of each other:
  // lane i's begin at i * kGathered. Valid until the lane's second gather after this one.
  const float* (*gather)(const float* values, unsigned count);
};
inline constexpr unsigned kGathered = 32;
struct Bound {
  unsigned* thread;  // x, y, z of threadIdx, blockIdx, blockDim, gridDim
  unsigned* block;
  unsigned* block_dim;
  unsigned* grid_dim;
  unsigned char* shared_begin;
  unsigned char* shared_end;
  unsigned synchronizes;  // 0: the kernel has neither barriers nor shuffles
};

struct GroupRun {
  void (*entry)(void** arguments) = nullptr;
  void** arguments = nullptr;
  Bound* bound = nullptr;
  uint32_t threads = 0;
  uint32_t subgroup = 32;
};

inline constexpr uint32_t kMaxGroupThreads = 1024;

// The hooks for every kernel.
extern const Hooks kHooks;

// Runs one group; block and dimensions are already set. NULL, or why the kernel is wrong.
const char* run_group(const GroupRun& run);

}  // namespace mock
