// SPDX-License-Identifier: Apache-2.0
// Measures schedules of one kernel on a device, on scratch memory of the kernel's real shape.
// Nothing but this memory is touched. One thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/plugin/code.h"
#include "kernels/plugin/search.h"
#include "kernels/plugin/tunable.h"

namespace bp::kernels {

class DeviceBench : public Bench {
 public:
  // Reserves and fills the scratch memory, which is freed with the object. EXHAUSTED when the
  // device has no room. `tunable` and `device` must outlive the bench.
  static Result<std::unique_ptr<DeviceBench>> create(const Device& device, const Tunable& tunable);
  ~DeviceBench() override;
  DeviceBench(const DeviceBench&) = delete;
  DeviceBench& operator=(const DeviceBench&) = delete;

  Status check(const ScheduleValues& values) override;
  Result<double> measure(const ScheduleValues& values, uint32_t batches) override;

 private:
  DeviceBench(const Device& device, const Tunable& tunable)
      : device_(device), tunable_(tunable), code_(device, {}) {}
  // A schedule with its code loaded.
  struct Ready {
    struct Step {
      TrialLaunch launch;
      DeviceKernel* code = nullptr;
    };
    std::vector<Step> steps;
    uint32_t runs = 0;                  // of a batch; 0 until it was measured first
    bp_recording* recording = nullptr;  // of a batch, where the device records
  };
  Status allocate();
  Status fill(uint32_t index);
  Status add_copies();
  Status open_stream();
  void close_stream() noexcept;
  Status renew(Status failure);
  Result<Ready*> ready(const ScheduleValues& values);
  Status run_fresh(const Ready& kernel, std::vector<std::vector<uint32_t>>* results);
  Status enqueue(const Ready& kernel, uint32_t turn);
  Status wait();
  Status record(Ready* kernel);
  Result<double> batch_ns(Ready* kernel);

  const Device& device_;
  const Tunable& tunable_;
  CodeLibrary code_;  // of candidates: gone with the bench, and not on disk
  std::vector<std::vector<bp_buffer*>> buffers_;  // [tunable's buffer][copy]
  uint32_t copies_ = 1;                           // of streamed buffers
  std::map<std::string, Ready> ready_;            // by the schedule's text
  std::vector<std::vector<uint32_t>> expected_;   // results of the standard
  bp_stream* stream_ = nullptr;
  bp_timeline* timeline_ = nullptr;
  uint64_t signalled_ = 0;
  uint32_t turn_ = 0;
};

}  // namespace bp::kernels
