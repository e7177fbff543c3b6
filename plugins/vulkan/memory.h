// SPDX-License-Identifier: Apache-2.0
// Interface bp.memory/1 of the Vulkan plugin. Every buffer is one VkBuffer on one allocation of
// its own; host-visible ones are mapped from their creation to their end.
#pragma once

#include <cstddef>
#include <memory>

#include "plugins/vulkan/device.h"

namespace bp::vulkan {

struct Buffer {
  Device* device = nullptr;
  VkBuffer handle = VK_NULL_HANDLE;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  uint64_t bytes = 0;
  uint64_t allocated_bytes = 0;  // of device memory; 0 for imported memory
  std::byte* mapped = nullptr;   // NULL where the host cannot see it
  bool read_only = false;
  bool imported = false;  // others may see the same bytes under another name
  // Set when a command first names the buffer. Until then the host may write to it directly.
  std::atomic<bool> used{false};

  ~Buffer();
};
BP_PLUGIN_HANDLE(bp_buffer, Buffer)

extern const bp_memory_api kMemoryApi;

// A buffer in one of the heap's memory types. BP_EXHAUSTED when there is no room.
bp_status make_buffer(Device* device, const Heap& heap, uint64_t bytes,
                      std::unique_ptr<Buffer>* out, bp_error* error);

// BP_OK if [offset, offset + bytes) is inside the buffer and, for writers, may be written.
bp_status check_range(const Buffer* buffer, uint64_t offset, uint64_t bytes, bool writes,
                      const char* what, bp_error* error) noexcept;

}  // namespace bp::vulkan
