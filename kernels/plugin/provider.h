// SPDX-License-Identifier: Apache-2.0
// Interfaces bp.kernel/1 and bp.tune/1 of the kernel plugin: binds to every device that compiles a
// dialect which the kernel library can be rendered to.
#pragma once

#include <atomic>
#include <string>

#include "backplane/plugin/tune.h"
#include "kernels/plugin/code.h"
#include "kernels/plugin/device.h"
#include "kernels/plugin/program.h"
#include "kernels/plugin/resident.h"
#include "kernels/plugin/tuned_schedules.h"
#include "kernels/plugin/vendor_gemm.h"

namespace bp::kernels {

// The library bound to one device. Thread-safe.
struct Target {
  // `folder` is the plugin's for derived data; empty: nothing is kept.
  Target(const Device& bound, const std::string& folder)
      : device(bound),
        code(device, folder.empty() ? folder : folder + "/code"),
        weights(device),
        vendor(device, folder.empty() ? folder : folder + "/choices"),
        tuned(device, folder.empty() ? folder : folder + "/tuning") {}
  const Device device;
  CodeLibrary code;
  ResidentStore weights;
  VendorGemm vendor;
  TunedSchedules tuned;
  std::atomic<bool> is_tuning{false};
};

// `host` is what the plugin was initialised with; valid until shutdown.
void set_host(const bp_host* host) noexcept;

// What can be tuned of the chosen ops of a plan, in order, once for every launch.
std::vector<Tunable> tunables_of(Target* target, const bp_op* ops, uint64_t op_stride,
                                 uint32_t op_count, const uint32_t* chosen,
                                 const ops::Ranges& ranges);

extern const bp_kernel_api kKernelApi;
extern const bp_tune_api kTuneApi;  // tune_slots.cc

}  // namespace bp::kernels
