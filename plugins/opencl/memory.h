// SPDX-License-Identifier: Apache-2.0
// Interface bp.memory/1 of the OpenCL plugin: one heap, host-visible where the device shares
// memory.
#pragma once

#include "plugins/opencl/device.h"

namespace bp::opencl {

struct Buffer {
  Device* device = nullptr;
  cl_mem memory = nullptr;
  std::byte* data = nullptr;  // host address, NULL where there is none
  void* svm = nullptr;        // what we allocated behind `memory`, NULL for everything else
  uint64_t bytes = 0;
  uint64_t counted_bytes = 0;  // in Physical::used_bytes
  bool is_imported = false;
  bool is_read_only = false;
  ~Buffer();
};
BP_PLUGIN_HANDLE(bp_buffer, Buffer)

extern const bp_memory_api kMemoryApi;

// BP_OK if the buffer is the device's and has [offset, offset + bytes), and may be written if
// `writes`; else BP_INVALID_ARGUMENT with a text that begins with `what`.
bp_status check_range(const Device* device, const Buffer* buffer, uint64_t offset, uint64_t bytes,
                      bool writes, const char* what, bp_error* error) noexcept;

}  // namespace bp::opencl
