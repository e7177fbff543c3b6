// SPDX-License-Identifier: Apache-2.0
// Interface bp.device/1 of the OpenCL plugin: the devices of all platforms that run OpenCL C 1.2.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "plugins/opencl/driver.h"

namespace bp::opencl {

// A device that was found. Never freed: indices are stable for the life of the process.
struct Physical {
  const Driver* cl = nullptr;
  cl_platform_id platform = nullptr;
  cl_device_id id = nullptr;
  uint32_t version = 0;    // 300 for OpenCL 3.0
  uint32_t c_version = 0;  // newest OpenCL C, same scale
  uint64_t max_allocation_bytes = 0;
  bool shares_memory = false;           // allocations are host memory, coherent while kernels run
  uint64_t import_alignment = 0;        // of host memory that is used in place; 0: it is copied
  std::string compiler;                 // platform, device and driver with their versions
  std::atomic<uint64_t> used_bytes{0};  // allocated by us
  bp_device_info info{};
  bp_device_caps caps{};
};

// An opened device. It counts what was made from it, so that closing too early is told.
struct Device {
  Physical* physical = nullptr;
  const Driver* cl = nullptr;
  cl_context context = nullptr;
  cl_command_queue queue = nullptr;  // for our own short work; streams have their own
  std::atomic<uint64_t> children{0};
  std::atomic<bool> is_lost{false};
  std::mutex polling;  // one for all batches: they look at each other in any order
  ~Device();
};
BP_PLUGIN_HANDLE(bp_device, Device)

extern const bp_device_api kDeviceApi;

// Searches all platforms once it succeeds, again while nothing is found. Thread-safe.
std::vector<Physical*> physical_devices(Verdict* verdict);

// Reports what a call of the driver answered: "doing: CL_NAME (-5)". A loss stays with the device.
bp_status fail_cl(Device* device, cl_int code, const char* doing, bp_error* error) noexcept;

// Status of a command that failed while it ran, from the negative status of its event.
bp_status failed_command(Device* device, cl_int code) noexcept;

}  // namespace bp::opencl
