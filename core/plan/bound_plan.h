// SPDX-License-Identifier: Apache-2.0
// A plan bound to devices: every step has a device and a kernel. Made once per model, device and
// limits; shared by all sessions that have the same.
//
// Placement. The chosen device is asked first, then the CPU, whose portable kernels make every
// plan total. Steps that share a state value (the KV cache of a layer) are placed together. Among
// the providers of a device the cheapest estimate wins, then priority, then plugin id; portable
// reference kernels only when nobody else can.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/plan/flat_plan.h"
#include "core/plugin/device.h"

namespace bp {

// Largest values that the symbols may take; fixed when kernels are prepared.
struct PlanLimits {
  uint64_t tokens = 512;  // in one forward pass
  uint64_t sequences = 1;
  uint64_t outputs = 1;
  uint64_t pages = 1;   // KV pages of the session
  uint64_t blocks = 1;  // KV pages of one sequence

  friend bool operator==(const PlanLimits&, const PlanLimits&) = default;
};
SymbolValues symbol_values(const PlanSymbols& symbols, const PlanLimits& limits);

// Where a step runs and why; one line of `--explain`.
struct StepPlacement {
  uint32_t device = 0;  // into BoundPlan::devices()
  Plugin* provider = nullptr;
  std::string variant;        // what the provider said of its kernel
  std::string fallback;       // why the first device does not run it; empty when it does
  uint32_t launches = 1;      // commands that running it puts on a stream
  bool capture_safe = false;  // may be recorded and replayed
};

struct PlanMemory {
  uint64_t workspace_bytes = 0;  // per session, largest of the device's kernels
  uint64_t zeroed_bytes = 0;     // likewise, of memory that kernels find zero and leave so
  uint64_t resident_bytes = 0;   // held by kernels beyond the mapped weights
};

class BoundPlan {
 public:
  // Chooses placements only: enough for exact memory figures and for --explain.
  static Result<std::shared_ptr<BoundPlan>> place(std::shared_ptr<const FlatPlan> flat,
                                                  std::vector<std::shared_ptr<Device>> devices,
                                                  const PlanLimits& limits, bool strict);
  // Prepares the kernels: repacks or uploads weights. Blocking; idempotent; any thread. `progress`
  // may be empty; it is told the steps done and all, and CANCELLED follows when it returns false.
  // What was prepared before a failure is kept for the next attempt.
  using Progress = std::function<bool(uint64_t done, uint64_t total)>;
  Status prepare(const Progress& progress);
  ~BoundPlan();
  BoundPlan(const BoundPlan&) = delete;
  BoundPlan& operator=(const BoundPlan&) = delete;

  const FlatPlan& flat() const noexcept { return *flat_; }
  const PlanLimits& limits() const noexcept { return limits_; }
  const std::vector<std::shared_ptr<Device>>& devices() const noexcept { return devices_; }
  const std::vector<StepPlacement>& placements() const noexcept { return placements_; }
  const PlanMemory& memory(uint32_t device) const noexcept { return memory_[device]; }
  bp_kernel* kernel(uint32_t step) const noexcept { return kernels_[step]; }
  bp_target* target(uint32_t step) const noexcept { return targets_[step]; }
  // What the symbols may be, as providers were told.
  const std::vector<bp_symbol_range>& ranges() const noexcept { return ranges_; }
  // Steps that do not run on the first device.
  uint32_t fallback_count() const noexcept;
  // Commands that a pass puts on streams.
  uint32_t launches() const noexcept;

 private:
  BoundPlan(std::shared_ptr<const FlatPlan> flat, std::vector<std::shared_ptr<Device>> devices,
            const PlanLimits& limits);
  struct Choice;
  Result<std::vector<Choice>> match_device(uint32_t device) const;
  Status assign(const std::vector<std::vector<Choice>>& choices, bool strict);
  // Tells every target which steps it was given, where it wants to know.
  Status tell_placements();
  Status prepare_step(uint32_t step);
  // Lets the file drop pages whose every reader made copies.
  void release_copied_weights();
  // Device of every step such that steps sharing state agree; kNowhere where none can.
  std::vector<uint32_t> agree_on_devices(const std::vector<std::vector<Choice>>& choices) const;

  std::shared_ptr<const FlatPlan> flat_;
  std::vector<std::shared_ptr<Device>> devices_;
  PlanLimits limits_;
  std::vector<bp_symbol_range> ranges_;
  std::vector<StepPlacement> placements_;
  std::vector<PlanMemory> memory_;   // by device
  std::vector<bp_target*> targets_;  // by step
  std::vector<bp_kernel*> kernels_;  // by step; null until prepared
  // What targets made of their placement; absent where one did not ask.
  struct Told {
    Plugin* provider;
    bp_placement* placement;
  };
  std::map<bp_target*, Told> told_;
  std::mutex preparing_;                // guards the following, and kernels_ until prepared_
  std::vector<uint32_t> kernel_flags_;  // by step: BP_KERNEL_…
  bool prepared_ = false;
};

}  // namespace bp
