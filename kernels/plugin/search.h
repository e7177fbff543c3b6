// SPDX-License-Identifier: Apache-2.0
// The search for the fastest schedule of one kernel: candidates are checked, then measured, the
// slower half dropped, the rest measured longer, until one is left (successive halving; Jamieson
// and Talwalkar, 2016). Knows nothing of devices.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/library/schedule.h"

namespace bp::kernels {

inline constexpr uint32_t kDefaultCandidates = 12;

// Runs schedules of one kernel.
class Bench {
 public:
  virtual ~Bench() = default;
  // Runs the schedule once on fresh outputs. The standard is the first to be checked, and what it
  // gave is what all others must give. Fails for what does not build, compile, run or agree.
  // DEVICE_LOST ends the search.
  virtual Status check(const ScheduleValues& values) = 0;
  // Nanoseconds of one run: the best of `batches` measurements. After check().
  virtual Result<double> measure(const ScheduleValues& values, uint32_t batches) = 0;
};

struct SearchResult {
  ScheduleValues best;  // the standard where nothing is clearly faster
  double standard_ns = 0, best_ns = 0;
  uint32_t tried = 0;       // candidates that were checked, without the standard
  uint32_t rejected = 0;    // of them, those that failed or were wrong
  bool is_complete = true;  // false: stopped
};

struct SearchHooks {
  std::function<bool()> stopped;  // asked between two candidates
  std::function<void()> advanced;
  std::function<void(const ScheduleValues&, const Status&)> rejected;
};

// Candidates come likeliest first. Fails when the standard does not run.
Result<SearchResult> search(const ScheduleValues& standard,
                            const std::vector<ScheduleValues>& candidates, Bench& bench,
                            const SearchHooks& hooks);

}  // namespace bp::kernels
