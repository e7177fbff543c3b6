// SPDX-License-Identifier: Apache-2.0
// Checks of a module's description and of a bp_launch that are the same on every device: counts as
// the module was loaded with, ranges inside their buffers, offsets aligned, grid and group within
// the device's limits. A driver would answer some of these with a lost device.
#pragma once

#include <bit>
#include <cinttypes>
#include <string>

#include "backplane/plugin_glue.h"

namespace bp::glue {

// What bp_module_source said about a function, and what its code turned out to be.
struct FunctionShape {
  std::string name;
  uint32_t group_threads = 0;
  uint32_t buffer_count = 0;
  uint32_t param_words = 0;
  uint32_t max_shared_bytes = 0;  // that a launch may add
  uint32_t written = 0;           // bit i: buffer i is known to be written
};

inline FunctionShape shape_of(const bp_module_source& source) {
  return {.name = std::string(view(source.entry)),
          .group_threads = source.group_threads,
          .buffer_count = source.buffer_count,
          .param_words = source.param_words};
}

// A buffer as a launch sees it.
struct LaunchBuffer {
  uint64_t bytes;
  const void* device;  // whose it is
  bool is_read_only;
};

// Can a device with these caps run a kernel so described? BP_OK, or BP_INVALID_ARGUMENT, or
// BP_INCOMPATIBLE for a subgroup size that it does not grant.
inline bp_status check_module(const bp_module_source& source, const bp_device_caps& caps,
                              bp_error* error) noexcept {
  const struct {
    const char* what;
    uint64_t wanted, most;
  } limits[] = {{"buffers", source.buffer_count, caps.max_buffers},
                {"bytes of params", uint64_t{source.param_words} * 4, caps.max_param_bytes},
                {"threads in a group", source.group_threads, caps.max_group_threads},
                {"bytes of shared memory", source.shared_bytes, caps.shared_bytes}};
  for (const auto& limit : limits) {
    if (limit.wanted <= limit.most) continue;
    return fail(error, BP_INVALID_ARGUMENT,
                "the kernel has %" PRIu64 " %s; the device allows %" PRIu64, limit.wanted,
                limit.what, limit.most);
  }
  if (source.group_threads == 0) {
    return fail(error, BP_INVALID_ARGUMENT, "the kernel has no threads");
  }
  const uint32_t subgroup = source.subgroup_size;
  if (subgroup == 0) return BP_OK;
  const bool is_only = caps.subgroup_min == caps.subgroup_max && subgroup == caps.subgroup_max;
  if (!is_only && (caps.subgroup_required == 0 || !std::has_single_bit(subgroup) ||
                   subgroup < caps.subgroup_min || subgroup > caps.subgroup_max)) {
    return fail(error, BP_INCOMPATIBLE,
                "the kernel demands subgroups of %u; the device %s sizes from %u to %u", subgroup,
                caps.subgroup_required != 0 ? "has" : "grants no demands among", caps.subgroup_min,
                caps.subgroup_max);
  }
  if (source.group_threads % subgroup == 0) return BP_OK;
  return fail(error, BP_INVALID_ARGUMENT, "%u threads are no whole number of subgroups of %u",
              source.group_threads, subgroup);
}

// BP_OK, or BP_INVALID_ARGUMENT that names what is wrong. `device` is the function's, on_device the
// stream's; describe(const bp_buffer*) gives a LaunchBuffer, and is not asked for a NULL one.
template <class Describe>
bp_status check_launch(const bp_launch& launch, const FunctionShape& shape, const void* device,
                       const void* on_device, const bp_device_caps& caps, const Describe& describe,
                       bp_error* error) noexcept {
  const char* const name = shape.name.c_str();
  if (device != on_device) {
    return fail(error, BP_INVALID_ARGUMENT, "launch of %s: the stream is another device's", name);
  }
  if (launch.buffer_count != shape.buffer_count || launch.param_words != shape.param_words) {
    return fail(error, BP_INVALID_ARGUMENT,
                "launch of %s with %u buffers and %u params; its text takes %u and %u", name,
                launch.buffer_count, launch.param_words, shape.buffer_count, shape.param_words);
  }
  if ((launch.buffer_count != 0 && launch.buffers == nullptr) ||
      (launch.param_words != 0 && launch.params == nullptr)) {
    return fail(error, BP_INVALID_ARGUMENT, "launch of %s: buffers or params are NULL", name);
  }
  if (launch.group_threads != shape.group_threads) {
    return fail(error, BP_INVALID_ARGUMENT, "launch of %s in groups of %u threads; its text has %u",
                name, launch.group_threads, shape.group_threads);
  }
  for (uint32_t i = 0; i < 3; ++i) {
    if (launch.grid[i] == 0 || launch.grid[i] > caps.max_grid[i]) {
      return fail(error, BP_INVALID_ARGUMENT,
                  "launch of %s: grid[%u] is %" PRIu64 ", outside 1 to %" PRIu64, name, i,
                  launch.grid[i], caps.max_grid[i]);
    }
  }
  if (launch.shared_bytes > shape.max_shared_bytes) {
    return fail(error, BP_INVALID_ARGUMENT,
                "launch of %s with %u more bytes of shared memory; %u are left", name,
                launch.shared_bytes, shape.max_shared_bytes);
  }
  const uint64_t alignment = caps.buffer_offset_alignment == 0 ? 16 : caps.buffer_offset_alignment;
  for (uint32_t i = 0; i < launch.buffer_count; ++i) {
    const bp_launch_buffer& b = launch.buffers[i];
    if (b.buffer == nullptr) {
      return fail(error, BP_INVALID_ARGUMENT, "launch of %s: buffer %u is NULL", name, i);
    }
    const LaunchBuffer buffer = describe(b.buffer);
    if (buffer.device != device) {
      return fail(error, BP_INVALID_ARGUMENT, "launch of %s: buffer %u is another device's", name,
                  i);
    }
    if (b.offset > buffer.bytes || b.bytes > buffer.bytes - b.offset) {
      return fail(error, BP_INVALID_ARGUMENT,
                  "launch of %s: buffer %u has %" PRIu64 " bytes, not %" PRIu64 " at %" PRIu64,
                  name, i, buffer.bytes, b.bytes, b.offset);
    }
    if (buffer.is_read_only && (shape.written >> i & 1) != 0) {
      return fail(error, BP_INVALID_ARGUMENT,
                  "launch of %s: buffer %u is written, and was imported read-only", name, i);
    }
    if (b.offset % alignment != 0) {
      return fail(error, BP_INVALID_ARGUMENT,
                  "launch of %s: offset %" PRIu64 " of buffer %u is no multiple of %" PRIu64, name,
                  b.offset, i, alignment);
    }
    if (b.bytes == 0 || b.bytes > caps.max_buffer_range) {
      return fail(error, BP_INVALID_ARGUMENT,
                  "launch of %s: buffer %u spans %" PRIu64 " bytes, not 1 to %" PRIu64, name, i,
                  b.bytes, caps.max_buffer_range);
    }
  }
  return BP_OK;
}

}  // namespace bp::glue
