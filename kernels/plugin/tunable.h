// SPDX-License-Identifier: Apache-2.0
// A kernel whose schedule may be chosen by measuring, and how to run it on scratch memory: made by
// the planners' own descriptions (tunables.h), so that what is measured is what will run.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "backplane/formats.h"
#include "kernels/ir/ir.h"
#include "kernels/library/schedule.h"

namespace bp::kernels {

// A buffer of a trial and what it holds before a run.
struct TrialBuffer {
  enum Content : uint8_t {
    kWeights,       // plane `plane` of a weight in `format`: any bits that are weights
    kFloats,        // f32 in [-1, 1)
    kHalves,        // f16 in (-1, 1)
    kBf16,          // likewise
    kQ8Cache,       // int8, and from word `scales_at` on f16 scales
    kQuants,        // int8 activations; the buffer after it holds their kScales
    kScales,        // scale and sum for every 32 of the quants
    kWords,         // `words`
    kOutput,        // NaNs, to become f32; compared
    kOutputQuants,  // likewise, to become int8
    kOutputScales,  // likewise, to become their scales and sums
    kUpdated,       // f32 that the kernel reads and writes; compared
    kTemporary,     // NaNs; between launches
  };
  Content content = kFloats;
  uint64_t bytes = 0;
  // Read once a run and too large to stay in a cache when the model runs: trials take turns on
  // several copies.
  bool is_streamed = false;
  const WeightFormat* format = nullptr;
  uint32_t plane = 0;
  uint64_t scales_at = 0;
  std::vector<uint32_t> words;
};

struct TrialLaunch {
  Kernel kernel;                  // not legalized
  std::vector<uint32_t> buffers;  // of the tunable, one for each of the kernel
  std::vector<uint32_t> params;
  uint64_t grid_x = 1, grid_y = 1;
};

struct Tunable {
  std::string family;  // "gemv"
  // Everything that the kernels depend on but the schedule, and for how many tokens.
  std::string key;
  std::string title;    // for people
  uint64_t tokens = 1;  // of the passes that run it
  ScheduleValues standard;
  std::vector<TrialBuffer> buffers;  // the same for all schedules
  // Largest difference from the standard's results, of the largest of them.
  float tolerance = 1e-3f;
  // At most so many schedules, the likeliest first; the standard may be among them.
  std::function<std::vector<ScheduleValues>(uint32_t most)> space;
  // The launches of a run, in order. Fails for what the builder refuses.
  std::function<Result<std::vector<TrialLaunch>>(const ScheduleValues&)> launches;
};

}  // namespace bp::kernels
