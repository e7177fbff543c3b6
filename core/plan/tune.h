// SPDX-License-Identifier: Apache-2.0
// Asks the providers of a placed plan to measure their kernels (interface bp.tune/1).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/plan/bound_plan.h"

namespace bp {

// One kernel; strings are valid during the call.
struct TunedKernel {
  std::string_view device;
  std::string_view name;
  std::string_view schedule;
  uint64_t tokens = 1;
  uint32_t uses = 0, tried = 0, rejected = 0;
  double default_ns = 0, tuned_ns = 0;
  bool is_known = false, is_changed = false, is_unsaved = false;
};

struct TuneOptions {
  uint32_t candidates = 0;  // for each kernel; 0: as the provider likes
  bool again = false;       // also what an earlier run has finished
  // Between candidates; false stops the run and keeps what was found. May be empty.
  std::function<bool(uint64_t done, uint64_t total, std::string_view what)> progress;
  std::function<void(const TunedKernel&)> kernel;  // may be empty
};

struct TuneReport {
  std::string device;  // the plan's first
  uint32_t kernels = 0, measured = 0, changed = 0, failed = 0;
  bool is_stopped = false;
  double token_default_ns = 0, token_tuned_ns = 0;
  double prompt_default_ns = 0, prompt_tuned_ns = 0;
};

// A plan whose providers have nothing to tune gives a report of no kernels. Blocking.
Result<TuneReport> tune_plan(const BoundPlan& plan, const TuneOptions& options);

}  // namespace bp
