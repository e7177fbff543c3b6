// SPDX-License-Identifier: Apache-2.0
// Checks of a bp_launch that are the same on every device: counts as the module was loaded with,
// ranges inside their buffers, offsets aligned, grid and group within the device's limits. A driver
// would answer some of these with a lost device.
#pragma once

#include <cinttypes>
#include <string>

#include "backplane/plugin_glue.h"

namespace bp::glue {

// What bp_module_source said about a function.
struct FunctionShape {
  std::string name;
  uint32_t group_threads = 0;  // 0: not said
  uint32_t buffer_count = 0;
  uint32_t param_words = 0;
};

// BP_OK, or BP_INVALID_ARGUMENT that names what is wrong. buffer_bytes(const bp_buffer*) gives the
// size of a buffer; a NULL buffer is refused before it is asked.
template <class BufferBytes>
bp_status check_launch(const bp_launch& launch, const FunctionShape& shape,
                       const bp_device_caps& caps, const BufferBytes& buffer_bytes,
                       bp_error* error) noexcept {
  const char* const name = shape.name.c_str();
  if (launch.buffer_count != shape.buffer_count || launch.param_words != shape.param_words) {
    return fail(error, BP_INVALID_ARGUMENT,
                "launch of %s with %u buffers and %u params; its text takes %u and %u", name,
                launch.buffer_count, launch.param_words, shape.buffer_count, shape.param_words);
  }
  if ((launch.buffer_count != 0 && launch.buffers == nullptr) ||
      (launch.param_words != 0 && launch.params == nullptr)) {
    return fail(error, BP_INVALID_ARGUMENT, "launch of %s: buffers or params are NULL", name);
  }
  if (launch.group_threads == 0 || launch.group_threads > caps.max_group_threads ||
      (shape.group_threads != 0 && launch.group_threads != shape.group_threads)) {
    return fail(error, BP_INVALID_ARGUMENT,
                "launch of %s in groups of %u threads; its text has %u, the device at most %u",
                name, launch.group_threads, shape.group_threads, caps.max_group_threads);
  }
  for (uint32_t i = 0; i < 3; ++i) {
    if (launch.grid[i] == 0 || launch.grid[i] > caps.max_grid[i]) {
      return fail(error, BP_INVALID_ARGUMENT,
                  "launch of %s: grid[%u] is %" PRIu64 ", outside 1 to %" PRIu64, name, i,
                  launch.grid[i], caps.max_grid[i]);
    }
  }
  const uint64_t alignment = caps.buffer_offset_alignment == 0 ? 16 : caps.buffer_offset_alignment;
  for (uint32_t i = 0; i < launch.buffer_count; ++i) {
    const bp_launch_buffer& b = launch.buffers[i];
    if (b.buffer == nullptr) {
      return fail(error, BP_INVALID_ARGUMENT, "launch of %s: buffer %u is NULL", name, i);
    }
    const uint64_t size = buffer_bytes(b.buffer);
    if (b.offset > size || b.bytes > size - b.offset) {
      return fail(error, BP_INVALID_ARGUMENT,
                  "launch of %s: buffer %u has %" PRIu64 " bytes, not %" PRIu64 " at %" PRIu64,
                  name, i, size, b.bytes, b.offset);
    }
    if (b.offset % alignment != 0) {
      return fail(error, BP_INVALID_ARGUMENT,
                  "launch of %s: offset %" PRIu64 " of buffer %u is no multiple of %" PRIu64, name,
                  b.offset, i, alignment);
    }
    if (b.bytes > caps.max_buffer_range) {
      return fail(error, BP_INVALID_ARGUMENT,
                  "launch of %s: buffer %u spans %" PRIu64 " bytes, more than %" PRIu64, name, i,
                  b.bytes, caps.max_buffer_range);
    }
  }
  return BP_OK;
}

}  // namespace bp::glue
