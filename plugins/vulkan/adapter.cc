// SPDX-License-Identifier: Apache-2.0
#include "plugins/vulkan/adapter.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <thread>

#include "plugins/vulkan/cooperative_matrix.h"
#include "plugins/vulkan/driver.h"

namespace bp::vulkan {
namespace {

constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
constexpr VkMemoryPropertyFlags kCoherent =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
constexpr VkMemoryPropertyFlags kOrdinary = kLocal | kCached | kCoherent;  // no protected, lazy, …
// Without resizable BAR the host sees this much of a discrete card: too little to offer.
constexpr uint64_t kSmallWindowBytes = 256u << 20;

// The extensions of one device, by name.
struct Extensions {
  std::vector<VkExtensionProperties> all;
  Extensions(const Driver& driver, VkPhysicalDevice device) {
    uint32_t count = 0;
    driver.EnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr);
    all.resize(count);
    driver.EnumerateDeviceExtensionProperties(device, nullptr, &count, all.data());
    all.resize(std::min<size_t>(all.size(), count));
  }
  bool has(const char* name) const {
    return std::any_of(all.begin(), all.end(), [name](const VkExtensionProperties& e) {
      return std::strcmp(e.extensionName, name) == 0;
    });
  }
};

// What a device is asked about itself. A struct that is not linked stays zero.
struct Properties {
  VkPhysicalDeviceIDProperties id{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES};
  VkPhysicalDeviceSubgroupProperties subgroup{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
  VkPhysicalDeviceMaintenance3Properties sizes{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES};
  VkPhysicalDeviceDriverProperties driver{.sType =
                                              VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
  VkPhysicalDeviceSubgroupSizeControlPropertiesEXT control{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES_EXT};
  VkPhysicalDeviceShaderIntegerDotProductPropertiesKHR dot{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES_KHR};
  VkPhysicalDeviceExternalMemoryHostPropertiesEXT import{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT};
  VkPhysicalDevicePCIBusInfoPropertiesEXT pci{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT};
  VkPhysicalDeviceShaderCoreProperties2AMD amd{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_2_AMD};
  VkPhysicalDeviceShaderSMBuiltinsPropertiesNV nvidia{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV};
  VkPhysicalDeviceProperties2 all{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};

  template <class T>
  void link(bool known, T* next) {
    if (!known) return;
    next->pNext = all.pNext;
    all.pNext = next;
  }
  void link_known(const Extensions& has, const Adapter& adapter) {
    link(true, &id);
    link(true, &subgroup);
    link(true, &sizes);
    link(true, &driver);
    link(adapter.subgroup_control, &control);
    link(adapter.integer_dot, &dot);
    link(adapter.import_host, &import);
    link(has.has(VK_EXT_PCI_BUS_INFO_EXTENSION_NAME), &pci);
    link(has.has(VK_AMD_SHADER_CORE_PROPERTIES_2_EXTENSION_NAME), &amd);
    link(has.has(VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME), &nvidia);
  }
};

void add_type(const Adapter& adapter, VkMemoryPropertyFlags with, VkMemoryPropertyFlags without,
              Heap* heap) {
  const VkPhysicalDeviceMemoryProperties& memory = adapter.memory;
  for (uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    const VkMemoryPropertyFlags flags = memory.memoryTypes[i].propertyFlags;
    if ((flags & with) != with || (flags & (without | ~kOrdinary)) != 0) continue;
    for (uint32_t type : heap->types) {
      if (memory.memoryTypes[type].heapIndex == memory.memoryTypes[i].heapIndex) return;
    }
    uint32_t found = (flags & kLocal) != 0 ? BP_HEAP_DEVICE_LOCAL : 0;
    if ((flags & kCoherent) == kCoherent) found |= BP_HEAP_HOST_VISIBLE | BP_HEAP_HOST_COHERENT;
    if ((flags & kCached) != 0) found |= BP_HEAP_HOST_CACHED;
    heap->flags = heap->types.empty() ? found : heap->flags & found;
    heap->types.push_back(i);
    const uint64_t bytes = memory.memoryHeaps[memory.memoryTypes[i].heapIndex].size;
    heap->bytes += bytes;
    heap->largest_bytes = std::max(heap->largest_bytes, bytes);
    return;
  }
}

void describe_heaps(Adapter* out) {
  add_type(*out, kCoherent | kCached, 0, &out->staging);
  if (out->staging.types.empty()) add_type(*out, kCoherent, 0, &out->staging);
  Heap heap;
  if (out->info.unified_memory != 0) {
    // What firmware carves out as video memory can be far less than the device may use.
    add_type(*out, kCoherent | kLocal, 0, &heap);
    add_type(*out, kCoherent, kLocal, &heap);
    if (!heap.types.empty()) out->heaps.push_back(heap);
    return;
  }
  add_type(*out, kLocal, kCoherent, &heap);
  if (heap.types.empty()) add_type(*out, kLocal, 0, &heap);
  out->heaps.push_back(heap);
  heap = {};
  add_type(*out, kCoherent | kLocal, 0, &heap);
  if (heap.bytes > kSmallWindowBytes) out->heaps.push_back(heap);
  out->heaps.push_back(out->staging);
  std::erase_if(out->heaps, [](const Heap& h) { return h.types.empty(); });
}

// Fragments of f16 with f32 sums that a subgroup multiplies: 16 × 16 where there are such, else
// any, so that a caller sees what there is.
void find_matrices(const Driver& driver, Adapter* out) {
  if (!out->cooperative_matrix) return;
  const auto get = reinterpret_cast<PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR>(
      driver.GetInstanceProcAddr(driver.instance,
                                 "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"));
  uint32_t count = 0;
  if (get == nullptr || get(out->handle, &count, nullptr) < VK_SUCCESS) return;
  std::vector<VkCooperativeMatrixPropertiesKHR> all(
      count, {.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR});
  if (get(out->handle, &count, all.data()) < VK_SUCCESS) return;
  all.resize(std::min<size_t>(all.size(), count));
  bp_device_caps* const caps = &out->caps;
  for (const VkCooperativeMatrixPropertiesKHR& p : all) {
    const bool wanted = p.MSize == 16 && p.NSize == 16 && p.KSize == 16;
    if (p.AType != VK_COMPONENT_TYPE_FLOAT16_KHR || p.BType != VK_COMPONENT_TYPE_FLOAT16_KHR ||
        p.CType != VK_COMPONENT_TYPE_FLOAT32_KHR || p.ResultType != VK_COMPONENT_TYPE_FLOAT32_KHR ||
        p.scope != VK_SCOPE_SUBGROUP_KHR || (caps->has_matrix != 0 && !wanted)) {
      continue;
    }
    caps->has_matrix = 1;
    caps->matrix_shape[0] = p.MSize;
    caps->matrix_shape[1] = p.NSize;
    caps->matrix_shape[2] = p.KSize;
  }
}

const char* vendor_name(uint32_t id) {
  switch (id) {
    case 0x1002:
      return "AMD";
    case 0x10de:
      return "NVIDIA";
    case 0x8086:
      return "Intel";
    case 0x13b5:
      return "Arm";
    case 0x5143:
      return "Qualcomm";
    case 0x14e4:
      return "Broadcom";
    case VK_VENDOR_ID_MESA:
      return "Mesa";
    default:
      return "";
  }
}

void describe_info(const Properties& p, bp_device_info* info) {
  const VkPhysicalDeviceProperties& properties = p.all.properties;
  const VkPhysicalDeviceType type = properties.deviceType;
  info->size = sizeof *info;
  info->kind = type == VK_PHYSICAL_DEVICE_TYPE_CPU              ? BP_DEVICE_CPU
               : type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU ? BP_DEVICE_INTEGRATED
               : type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU   ? BP_DEVICE_DISCRETE
                                                                : BP_DEVICE_OTHER;
  info->unified_memory = info->kind == BP_DEVICE_CPU || info->kind == BP_DEVICE_INTEGRATED;
  if (properties.vendorID < 0x10000) {  // larger ones are Khronos' numbers, not PCI's
    info->pci_vendor = properties.vendorID;
    info->pci_device = properties.deviceID;
  }
  const uint32_t place[4] = {p.pci.pciDomain, p.pci.pciBus, p.pci.pciDevice, p.pci.pciFunction};
  std::copy_n(place, 4, info->pci_domain_bus_device_function);
  std::copy_n(p.id.deviceUUID, sizeof info->uuid, info->uuid);
  glue::copy_text(info->name, sizeof info->name, properties.deviceName);
  glue::copy_text(info->vendor, sizeof info->vendor, vendor_name(properties.vendorID));
  glue::print_text(info->architecture, sizeof info->architecture, "vulkan %u.%u",
                   VK_API_VERSION_MAJOR(properties.apiVersion),
                   VK_API_VERSION_MINOR(properties.apiVersion));
  glue::print_text(info->driver, sizeof info->driver, "%s %s", p.driver.driverName,
                   p.driver.driverInfo);
}

void describe_caps(const Adapter& a, const Properties& p, bp_device_caps* caps) {
  caps->size = sizeof *caps;
  caps->compute_units = a.info.kind == BP_DEVICE_CPU
                            ? std::thread::hardware_concurrency()
                            : std::max(p.amd.activeComputeUnitCount, p.nvidia.shaderSMCount);
  const VkSubgroupFeatureFlags wanted =
      VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
  if ((p.subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0 &&
      (p.subgroup.supportedOperations & wanted) == wanted) {
    caps->subgroup_required = a.subgroup_control;
    caps->subgroup_min = a.subgroup_control ? p.control.minSubgroupSize : p.subgroup.subgroupSize;
    caps->subgroup_max = a.subgroup_control ? p.control.maxSubgroupSize : p.subgroup.subgroupSize;
  }
  const VkPhysicalDeviceLimits& limits = a.limits;
  caps->max_group_threads =
      std::min(limits.maxComputeWorkGroupInvocations, limits.maxComputeWorkGroupSize[0]);
  // Kernels that demand a size have this limit besides; whoever reads the caps may demand any.
  const uint64_t in_subgroups =
      uint64_t{p.control.maxComputeWorkgroupSubgroups} * caps->subgroup_min;
  if (caps->subgroup_required != 0 && in_subgroups != 0) {
    caps->max_group_threads =
        static_cast<uint32_t>(std::min<uint64_t>(caps->max_group_threads, in_subgroups));
  }
  caps->shared_bytes = limits.maxComputeSharedMemorySize;
  caps->has_f16 = a.features12.shaderFloat16;
  caps->has_int8_dot = a.integer_dot && p.dot.integerDotProduct4x8BitPackedSignedAccelerated != 0;
  caps->max_param_bytes = limits.maxPushConstantsSize;
  caps->max_buffers =
      std::min({kMaxBuffers, limits.maxPerStageDescriptorStorageBuffers,
                limits.maxDescriptorSetStorageBuffers, limits.maxPerStageResources});
  caps->max_buffer_range = limits.maxStorageBufferRange;
  std::copy_n(limits.maxComputeWorkGroupCount, 3, caps->max_grid);
  glue::copy_text(caps->dialect, sizeof caps->dialect, "glsl");
  glue::copy_text(caps->dialect_version, sizeof caps->dialect_version, "450 vulkan1.2");
  caps->buffer_offset_alignment =
      static_cast<uint32_t>(std::max<VkDeviceSize>(limits.minStorageBufferOffsetAlignment, 4));
}

int32_t find_queue(const Driver& driver, Adapter* out, const char** why) {
  uint32_t count = 0;
  driver.GetPhysicalDeviceQueueFamilyProperties(out->handle, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  driver.GetPhysicalDeviceQueueFamilyProperties(out->handle, &count, families.data());
  // A family without graphics first: such queues are not in the way of a desktop's drawing.
  for (VkQueueFlags avoided : {VkQueueFlags{VK_QUEUE_GRAPHICS_BIT}, VkQueueFlags{0}}) {
    for (uint32_t i = 0; i < count; ++i) {
      const VkQueueFlags flags = families[i].queueFlags;
      if ((flags & VK_QUEUE_COMPUTE_BIT) == 0 || (flags & avoided) != 0) continue;
      out->queue_family = i;
      return BP_PROBE_USABLE;
    }
  }
  *why = "has no compute queue";
  return BP_PROBE_NO_DEVICE;
}

void find_features(const Driver& driver, const Extensions& has, Adapter* out) {
  VkPhysicalDeviceShaderIntegerDotProductFeaturesKHR dot{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES_KHR};
  VkPhysicalDeviceSubgroupSizeControlFeaturesEXT subgroup{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT};
  VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
  out->features11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES};
  out->features12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                     .pNext = &out->features11};
  VkPhysicalDeviceFeatures2 all{.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                .pNext = &out->features12};
  const auto ask = [&](const char* extension, auto* features) {
    if (!has.has(extension)) return;
    features->pNext = all.pNext;
    all.pNext = features;
  };
  ask(VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME, &dot);
  ask(VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME, &subgroup);
  ask(VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME, &matrix);
  driver.GetPhysicalDeviceFeatures2(out->handle, &all);
  out->features = all.features;
  out->integer_dot = dot.shaderIntegerDotProduct != 0;
  out->subgroup_control = subgroup.subgroupSizeControl != 0 && subgroup.computeFullSubgroups != 0;
  // Code with matrices needs halves and Vulkan's memory model besides.
  out->cooperative_matrix = matrix.cooperativeMatrix != 0 && out->features12.shaderFloat16 != 0 &&
                            out->features12.vulkanMemoryModel != 0;
  out->import_host = has.has(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  out->memory_budget = has.has(VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
}

// What open() enables.
void list_extensions(Adapter* out) {
  const auto enable = [out](bool wanted, const char* name) {
    if (wanted) out->extensions.push_back(name);
  };
  enable(out->subgroup_control, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
  enable(out->integer_dot, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME);
  enable(out->cooperative_matrix, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME);
  enable(out->import_host, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
  enable(out->memory_budget, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
}

}  // namespace

int32_t describe_adapter(const Driver& driver, VkPhysicalDevice device, Adapter* out,
                         const char** why) {
  out->handle = device;
  Properties p;
  driver.GetPhysicalDeviceProperties2(device, &p.all);
  glue::copy_text(out->info.name, sizeof out->info.name, p.all.properties.deviceName);
  if (p.all.properties.apiVersion < VK_API_VERSION_1_2) {
    *why = "has a driver older than Vulkan 1.2";
    return BP_PROBE_DRIVER_TOO_OLD;
  }
  if (const int32_t reason = find_queue(driver, out, why)) return reason;
  const Extensions has(driver, device);
  find_features(driver, has, out);
  if (out->features12.timelineSemaphore == 0) {
    *why = "has no timeline semaphores";
    return BP_PROBE_NO_DEVICE;
  }
  p.link_known(has, *out);
  driver.GetPhysicalDeviceProperties2(device, &p.all);
  out->limits = p.all.properties.limits;
  out->max_allocation_bytes = p.sizes.maxMemoryAllocationSize;
  out->import_alignment = p.import.minImportedHostPointerAlignment;
  out->max_group_subgroups = p.control.maxComputeWorkgroupSubgroups;
  if ((p.control.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) == 0) {
    out->subgroup_control = false;
  }
  std::copy_n(p.all.properties.pipelineCacheUUID, VK_UUID_SIZE, out->cache_uuid);
  VkPhysicalDeviceMemoryProperties2 memory{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
  driver.GetPhysicalDeviceMemoryProperties2(device, &memory);
  out->memory = memory.memoryProperties;
  describe_info(p, &out->info);
  describe_heaps(out);
  if (out->heaps.empty() || out->staging.types.empty()) {
    *why = "offers no usable kind of memory";
    return BP_PROBE_NO_DEVICE;
  }
  out->info.memory_bytes = out->heaps[0].bytes;
  describe_caps(*out, p, &out->caps);
  find_matrices(driver, out);
  list_extensions(out);
  return BP_PROBE_USABLE;
}

uint64_t free_bytes_of(const Driver& driver, const Adapter& adapter, uint32_t memory_type) {
  const uint32_t heap = adapter.memory.memoryTypes[memory_type].heapIndex;
  if (!adapter.memory_budget) return adapter.memory.memoryHeaps[heap].size;
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
  VkPhysicalDeviceMemoryProperties2 memory{
      .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, .pNext = &budget};
  driver.GetPhysicalDeviceMemoryProperties2(adapter.handle, &memory);
  return budget.heapBudget[heap] - std::min(budget.heapBudget[heap], budget.heapUsage[heap]);
}

}  // namespace bp::vulkan
