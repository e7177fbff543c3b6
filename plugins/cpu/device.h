// SPDX-License-Identifier: Apache-2.0
// Interface bp.device/1 of the CPU plugin: one device, the machine itself.
#pragma once

#include <atomic>
#include <cstdint>

#include "backplane/plugin_glue.h"

namespace bp::cpu {

// An opened device. The CPU has no context; the object counts what was made from it, so that
// closing too early is told instead of leaving dangling handles.
struct Device {
  std::atomic<uint64_t> children{0};  // buffers, streams, timelines and targets alive
};
BP_PLUGIN_HANDLE(bp_device, Device)

extern const bp_device_api kDeviceApi;

// Fills what describe and capabilities tell.
bp_device_info device_info() noexcept;
bp_device_caps device_caps() noexcept;

// Memory of the machine as the system reports it now; 0 when it does not.
uint64_t total_memory_bytes() noexcept;
uint64_t available_memory_bytes() noexcept;

}  // namespace bp::cpu
