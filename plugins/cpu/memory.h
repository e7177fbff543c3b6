// SPDX-License-Identifier: Apache-2.0
// Interface bp.memory/1 of the CPU plugin: one heap, ordinary memory, always mapped.
#pragma once

#include <cstddef>
#include <cstdint>

#include "plugins/cpu/device.h"

namespace bp::cpu {

// A range of memory, ours or (imported) the host's.
struct Buffer {
  Device* device = nullptr;
  std::byte* data = nullptr;
  uint64_t bytes = 0;
  uint64_t mapped_bytes = 0;  // length of our anonymous mapping, 0 for imported memory
  bool read_only = false;
};
BP_PLUGIN_HANDLE(bp_buffer, Buffer)

inline constexpr uint64_t kBufferAlignment = 4096;

extern const bp_memory_api kMemoryApi;

// Is [offset, offset + bytes) inside the buffer? NULL buffers have no bytes.
inline bool range_fits(const Buffer* buffer, uint64_t offset, uint64_t bytes) noexcept {
  const uint64_t size = buffer == nullptr ? 0 : buffer->bytes;
  return offset <= size && bytes <= size - offset;
}

}  // namespace bp::cpu
