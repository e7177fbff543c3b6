// SPDX-License-Identifier: Apache-2.0
// Interface bp.device/1 of the Vulkan plugin, and the opened device that all else hangs on.
#pragma once

#include <array>
#include <condition_variable>
#include <mutex>

#include "plugins/vulkan/driver.h"

namespace bp::vulkan {

struct Stream;

// clang-format off
#define BP_VK_DEVICE_FUNCTIONS(X) \
  X(DestroyDevice) X(GetDeviceQueue) X(QueueSubmit) X(CreateSemaphore) \
  X(DestroySemaphore) X(GetSemaphoreCounterValue) X(WaitSemaphores) X(AllocateMemory) \
  X(FreeMemory) X(MapMemory) X(CreateBuffer) X(DestroyBuffer) X(GetBufferMemoryRequirements) \
  X(BindBufferMemory) X(CreateCommandPool) X(DestroyCommandPool) X(ResetCommandPool) \
  X(AllocateCommandBuffers) X(BeginCommandBuffer) X(EndCommandBuffer) X(CmdPipelineBarrier) \
  X(CmdCopyBuffer) X(CmdFillBuffer) X(CmdExecuteCommands) X(CmdBindPipeline) \
  X(CmdBindDescriptorSets) X(CmdPushConstants) X(CmdDispatch) X(CreateDescriptorSetLayout) \
  X(DestroyDescriptorSetLayout) X(CreateDescriptorPool) X(DestroyDescriptorPool) \
  X(ResetDescriptorPool) X(AllocateDescriptorSets) X(UpdateDescriptorSets) \
  X(CreateShaderModule) X(DestroyShaderModule) X(CreatePipelineLayout) \
  X(DestroyPipelineLayout) X(CreateComputePipelines) X(DestroyPipeline) X(CreatePipelineCache) \
  X(DestroyPipelineCache)
// clang-format on

struct DeviceFunctions {
  BP_VK_DEVICE_FUNCTIONS(BP_VK_MEMBER)
  PFN_vkGetMemoryHostPointerPropertiesEXT GetMemoryHostPointerPropertiesEXT = nullptr;  // or NULL
};

// An opened device with one queue that its streams share.
struct Device {
  const Driver* driver = nullptr;
  const Adapter* adapter = nullptr;
  VkDevice handle = VK_NULL_HANDLE;
  DeviceFunctions vk;
  VkQueue queue = VK_NULL_HANDLE;
  VkPipelineCache pipelines = VK_NULL_HANDLE;
  std::array<VkDescriptorSetLayout, kMaxBuffers + 1> set_layouts{};  // by number of buffers

  std::mutex mutex;                        // held around the queue, the list and what streams share
  std::vector<Stream*> streams;            // guarded by mutex
  std::condition_variable progress;        // with mutex: something was submitted
  std::atomic<bp_status> failure{BP_OK};   // the first one; never cleared
  std::atomic<uint64_t> pending_reads{0};  // whose bytes have not reached the host's memory
  std::atomic<uint64_t> children{0};       // buffers, streams, timelines, modules alive
  std::atomic<uint32_t> allocations{0};    // against maxMemoryAllocationCount
  std::atomic<uint64_t> allocated_bytes{0};

  ~Device();
  bp_status open(bp_error* error);

  // BP_OK, or the failure that everything on this device ends with since it happened.
  bp_status check_alive(bp_error* error) const;
  // Turns a driver's answer into a status. A loss of the device is remembered.
  bp_status check(VkResult result, const char* what, bp_error* error);
  // Remembers a failure: from now on every wait on the device's timelines ends with it.
  void fail(bp_status status) noexcept;

 private:
  VkResult create_device();
  bp_status create_objects(bp_error* error);
};
BP_PLUGIN_HANDLE(bp_device, Device)

extern const bp_device_api kDeviceApi;

// Waits until running work has ended or the time is over, then fails what still waits with
// BP_CANCELLED, on all open devices.
void quiesce_devices(uint64_t deadline_ns);
// Number of open devices.
size_t open_devices();

}  // namespace bp::vulkan
