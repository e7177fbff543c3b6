// SPDX-License-Identifier: Apache-2.0
// A physical device and everything that is known about it without opening it.
#pragma once

#include <vulkan/vulkan_core.h>

#include <vector>

#include "backplane/plugin.h"

namespace bp::vulkan {

struct Driver;

inline constexpr uint32_t kMaxBuffers = 16;  // buffer arguments of a launch

// A heap as bp.memory/1 shows it: Vulkan memory types, tried in this order. More than one on a
// device that shares the host's memory, whose small "video memory" is not where its memory ends.
struct Heap {
  uint32_t flags = 0;          // BP_HEAP_…, what all its types have
  uint64_t bytes = 0;          // of all
  uint64_t largest_bytes = 0;  // of one: what a single buffer can have
  std::vector<uint32_t> types;
};

struct Adapter {
  VkPhysicalDevice handle = VK_NULL_HANDLE;
  uint32_t queue_family = 0;
  VkPhysicalDeviceLimits limits{};
  VkPhysicalDeviceMemoryProperties memory{};
  VkPhysicalDeviceFeatures features{};  // as supported; the same for the two below
  VkPhysicalDeviceVulkan11Features features11{};
  VkPhysicalDeviceVulkan12Features features12{};
  bool subgroup_control = false;  // kernels may demand a subgroup size and full subgroups
  bool integer_dot = false;
  bool cooperative_matrix = false;
  bool import_host = false;
  bool memory_budget = false;
  uint32_t max_group_subgroups = 0;
  uint64_t max_allocation_bytes = 0;
  uint64_t import_alignment = 0;
  uint8_t cache_uuid[VK_UUID_SIZE] = {};
  std::vector<Heap> heaps;  // best first for kernels; never empty
  Heap staging;             // host-visible and coherent, cached where there is such a type
  bp_device_info info{};
  bp_device_caps caps{};
  std::vector<const char*> extensions;  // to be enabled
};

// Fills an adapter. Returns BP_PROBE_USABLE, or the reason why this plugin cannot drive the device
// and in *why the words.
int32_t describe_adapter(const Driver& driver, VkPhysicalDevice device, Adapter* out,
                         const char** why);

// Bytes that the driver would still hand out from that memory type; all of its heap where the
// driver does not say.
uint64_t free_bytes_of(const Driver& driver, const Adapter& adapter, uint32_t memory_type);

}  // namespace bp::vulkan
