// SPDX-License-Identifier: Apache-2.0
#include "plugins/vulkan/device.h"

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <memory>

#include "plugins/vulkan/cooperative_matrix.h"
#include "plugins/vulkan/stream.h"

namespace bp::vulkan {
namespace {

std::mutex list_mutex;
std::vector<Device*> devices;  // open ones, guarded by list_mutex

bp_status find_adapter(uint32_t index, const Adapter** out, bp_error* error) {
  const Driver* const found = driver();
  if (found->verdict.reason != BP_PROBE_USABLE) {
    return glue::fail(error, BP_UNAVAILABLE, "vulkan: %s", found->verdict.detail);
  }
  if (index >= found->adapters.size()) {
    return glue::fail(error, BP_NOT_FOUND, "the vulkan plugin has %zu devices and no number %u",
                      found->adapters.size(), index);
  }
  *out = &found->adapters[index];
  return BP_OK;
}

bp_status enumerate(uint32_t* count, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Driver* const found = driver();
    const bool usable = found->verdict.reason == BP_PROBE_USABLE;
    *count = usable ? static_cast<uint32_t>(found->adapters.size()) : 0;
    return BP_OK;
  });
}

bp_status describe(uint32_t index, bp_device_info* out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Adapter* adapter = nullptr;
    if (const bp_status status = find_adapter(index, &adapter, error)) return status;
    glue::write_struct(out, adapter->info);
    return BP_OK;
  });
}

bp_status capabilities(uint32_t index, bp_device_caps* out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Adapter* adapter = nullptr;
    if (const bp_status status = find_adapter(index, &adapter, error)) return status;
    glue::write_struct(out, adapter->caps);
    return BP_OK;
  });
}

bp_status open(uint32_t index, bp_device** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    auto device = std::make_unique<Device>();
    if (const bp_status status = find_adapter(index, &device->adapter, error)) return status;
    device->driver = driver();
    if (const bp_status status = device->open(error)) return status;
    const std::lock_guard lock(list_mutex);
    devices.push_back(device.get());
    *out = wrap(device.release());
    return BP_OK;
  });
}

bp_status close(bp_device* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Device* const device = unwrap(handle);
    if (device == nullptr) return BP_OK;
    if (const uint64_t children = device->children.load(); children != 0) {
      return glue::fail(
          error, BP_FAILED_PRECONDITION,
          "%" PRIu64 " objects of the vulkan device are still alive; destroy them first", children);
    }
    const std::lock_guard lock(list_mutex);
    std::erase(devices, device);
    delete device;
    return BP_OK;
  });
}

bp_status status(bp_device* device, bp_error* error) {
  return unwrap(device)->check_alive(error);
}

bp_status native(bp_device* handle, const bp_string* name, void** out, bp_error* error) {
  const Device* const device = unwrap(handle);
  const std::string_view wanted = glue::view(name);
  *out = nullptr;
  if (wanted == "vulkan.device") *out = device->handle;
  if (wanted == "vulkan.physical_device") *out = device->adapter->handle;
  if (wanted == "vulkan.instance") *out = device->driver->instance;
  if (wanted == "vulkan.queue") *out = device->queue;
  if (*out != nullptr) return BP_OK;
  return glue::fail(error, BP_NOT_FOUND, "the vulkan device has no native handle '%.*s'",
                    static_cast<int>(std::min<size_t>(wanted.size(), 64)), wanted.data());
}

}  // namespace

VkResult Device::create_device() {
  VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR dot{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR,
      .shaderIntegerDotProduct = VK_TRUE};
  VkPhysicalDeviceSubgroupSizeControlFeaturesEXT subgroup{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT,
      .subgroupSizeControl = VK_TRUE,
      .computeFullSubgroups = VK_TRUE};
  VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR,
      .cooperativeMatrix = VK_TRUE};
  // What generated text may use. Robust access stays off: ranges are checked at the launch.
  VkPhysicalDeviceVulkan11Features v11{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
      .storageBuffer16BitAccess = adapter->features11.storageBuffer16BitAccess};
  VkPhysicalDeviceVulkan12Features v12{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
      .pNext = &v11,
      .storageBuffer8BitAccess = adapter->features12.storageBuffer8BitAccess,
      .shaderFloat16 = adapter->features12.shaderFloat16,
      .shaderInt8 = adapter->features12.shaderInt8,
      .timelineSemaphore = VK_TRUE,
      .vulkanMemoryModel = adapter->features12.vulkanMemoryModel,
      .vulkanMemoryModelDeviceScope = adapter->features12.vulkanMemoryModelDeviceScope};
  VkPhysicalDeviceFeatures2 features{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                     .pNext = &v12};
  features.features.shaderInt16 = adapter->features.shaderInt16;
  features.features.shaderInt64 = adapter->features.shaderInt64;
  const auto enable = [&features](bool wanted, auto* more) {
    if (!wanted) return;
    more->pNext = features.pNext;
    features.pNext = more;
  };
  enable(adapter->integer_dot, &dot);
  enable(adapter->subgroup_control, &subgroup);
  enable(adapter->cooperative_matrix, &matrix);

  const float priority = 1;
  const VkDeviceQueueCreateInfo queues{.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                       .queueFamilyIndex = adapter->queue_family,
                                       .queueCount = 1,
                                       .pQueuePriorities = &priority};
  const VkDeviceCreateInfo info{
      .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
      .pNext = &features,
      .queueCreateInfoCount = 1,
      .pQueueCreateInfos = &queues,
      .enabledExtensionCount = static_cast<uint32_t>(adapter->extensions.size()),
      .ppEnabledExtensionNames = adapter->extensions.data()};
  return driver->CreateDevice(adapter->handle, &info, nullptr, &handle);
}

bp_status Device::open(bp_error* error) {
  const VkResult result = create_device();
  if (const bp_status status = check(result, "opening the device", error)) return status;
#define BP_VK_RESOLVE(name)                                                                \
  vk.name = reinterpret_cast<PFN_vk##name>(driver->GetDeviceProcAddr(handle, "vk" #name)); \
  if (vk.name == nullptr) return glue::fail(error, BP_INCOMPATIBLE, "the driver has no vk" #name);
  BP_VK_DEVICE_FUNCTIONS(BP_VK_RESOLVE)
#undef BP_VK_RESOLVE
  vk.GetMemoryHostPointerPropertiesEXT = reinterpret_cast<PFN_vkGetMemoryHostPointerPropertiesEXT>(
      driver->GetDeviceProcAddr(handle, "vkGetMemoryHostPointerPropertiesEXT"));
  vk.GetDeviceQueue(handle, adapter->queue_family, 0, &queue);
  return create_objects(error);
}

bp_status Device::create_objects(bp_error* error) {
  const VkPipelineCacheCreateInfo cache{.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  VkResult result = vk.CreatePipelineCache(handle, &cache, nullptr, &pipelines);
  std::array<VkDescriptorSetLayoutBinding, kMaxBuffers> bindings{};
  for (uint32_t i = 0; i < kMaxBuffers; ++i) {
    bindings[i] = {i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  }
  for (uint32_t i = 0; i <= adapter->caps.max_buffers && result == VK_SUCCESS; ++i) {
    const VkDescriptorSetLayoutCreateInfo layout{
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
        .bindingCount = i,
        .pBindings = bindings.data()};
    result = vk.CreateDescriptorSetLayout(handle, &layout, nullptr, &set_layouts[i]);
  }
  return check(result, "preparing the device", error);
}

Device::~Device() {
  if (handle == VK_NULL_HANDLE || vk.DestroyDevice == nullptr) return;
  for (VkDescriptorSetLayout layout : set_layouts) {
    if (layout != VK_NULL_HANDLE) vk.DestroyDescriptorSetLayout(handle, layout, nullptr);
  }
  if (pipelines != VK_NULL_HANDLE) vk.DestroyPipelineCache(handle, pipelines, nullptr);
  vk.DestroyDevice(handle, nullptr);
}

bp_status Device::check_alive(bp_error* error) const {
  const bp_status status = failure.load(std::memory_order_acquire);
  if (status == BP_OK) return BP_OK;
  return glue::fail(error, status, "the vulkan device '%s' %s", adapter->info.name,
                    status == BP_CANCELLED ? "is shutting down"
                    : status == BP_DEVICE_LOST
                        ? "was lost; close it and open it anew"
                        : "could not submit work; close it and open it anew");
}

bp_status Device::check(VkResult result, const char* what, bp_error* error) {
  if (result >= VK_SUCCESS) return BP_OK;
  bp_status status = BP_INTERNAL;
  if (result == VK_ERROR_DEVICE_LOST) {
    fail(status = BP_DEVICE_LOST);
  } else if (result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY ||
             result == VK_ERROR_TOO_MANY_OBJECTS || result == VK_ERROR_OUT_OF_POOL_MEMORY ||
             result == VK_ERROR_FRAGMENTED_POOL || result == VK_ERROR_MEMORY_MAP_FAILED) {
    status = BP_EXHAUSTED;
  }
  return glue::fail_native(error, status, result, "%s on '%s': the driver answered %s", what,
                           adapter->info.name, result_name(result));
}

void Device::fail(bp_status status) noexcept {
  bp_status none = BP_OK;
  failure.compare_exchange_strong(none, status);
}

void quiesce_devices(uint64_t deadline_ns) {
  const auto start = std::chrono::steady_clock::now();
  const std::lock_guard lock(list_mutex);
  for (Device* device : devices) {
    const auto spent = std::chrono::steady_clock::now() - start;
    const uint64_t spent_ns = static_cast<uint64_t>(std::chrono::nanoseconds(spent).count());
    wait_for_streams(device, deadline_ns - std::min(deadline_ns, spent_ns));
    device->fail(BP_CANCELLED);
  }
}

size_t open_devices() {
  const std::lock_guard lock(list_mutex);
  return devices.size();
}

const bp_device_api kDeviceApi = {
    sizeof(bp_device_api), 0, enumerate, describe, capabilities, open, close, status, native,
};

}  // namespace bp::vulkan
