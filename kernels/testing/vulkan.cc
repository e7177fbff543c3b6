// SPDX-License-Identifier: Apache-2.0
// A minimal Vulkan compute host: one device, one queue, host-visible buffers, a pipeline a run.
#include "kernels/testing/vulkan.h"

#ifdef BP_TEST_VULKAN
#include <fmt/format.h>
#include <vulkan/vulkan.h>

#include <cstring>
#endif

namespace bp::kernels::testing {

#ifndef BP_TEST_VULKAN

uint32_t vulkan_subgroup_size() {
  return 0;
}
Executed run_vulkan(const Case&, const Kernel&, const std::vector<uint32_t>&) {
  Executed out;
  out.log = "Vulkan headers or loader (Debian: libvulkan-dev) were absent when this was built";
  return out;
}

#else
namespace {

struct Device {
  VkInstance instance = VK_NULL_HANDLE;
  VkPhysicalDevice physical = VK_NULL_HANDLE;
  VkDevice device = VK_NULL_HANDLE;
  VkQueue queue = VK_NULL_HANDLE;
  uint32_t family = 0, memory_type = 0, subgroup = 0;

  Device() {
    VkApplicationInfo app{};
    app.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
    app.apiVersion = VK_API_VERSION_1_2;
    VkInstanceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    info.pApplicationInfo = &app;
    if (vkCreateInstance(&info, nullptr, &instance) != VK_SUCCESS) return;
    uint32_t count = 1;
    vkEnumeratePhysicalDevices(instance, &count, &physical);
    if (count == 0 || physical == VK_NULL_HANDLE || !pick_family() || !pick_memory()) return;
    VkPhysicalDeviceSubgroupProperties subgroups{};
    subgroups.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.pNext = &subgroups;
    vkGetPhysicalDeviceProperties2(physical, &properties);
    const float priority = 1;
    VkDeviceQueueCreateInfo queues{};
    queues.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
    queues.queueFamilyIndex = family;
    queues.queueCount = 1;
    queues.pQueuePriorities = &priority;
    VkDeviceCreateInfo create{};
    create.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    create.queueCreateInfoCount = 1;
    create.pQueueCreateInfos = &queues;
    if (vkCreateDevice(physical, &create, nullptr, &device) != VK_SUCCESS) return;
    vkGetDeviceQueue(device, family, 0, &queue);
    subgroup = subgroups.subgroupSize;
  }

  bool pick_family() {
    VkQueueFamilyProperties families[16];
    uint32_t count = 16;
    vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
    for (family = 0; family < count; ++family) {
      if ((families[family].queueFlags & VK_QUEUE_COMPUTE_BIT) != 0) return true;
    }
    return false;
  }

  bool pick_memory() {
    VkPhysicalDeviceMemoryProperties memory;
    vkGetPhysicalDeviceMemoryProperties(physical, &memory);
    const VkMemoryPropertyFlags wanted =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    for (memory_type = 0; memory_type < memory.memoryTypeCount; ++memory_type) {
      if ((memory.memoryTypes[memory_type].propertyFlags & wanted) == wanted) return true;
    }
    return false;
  }
};

const Device& the_device() {
  static const Device kDevice;
  return kDevice;
}

struct Memory {
  VkBuffer buffer = VK_NULL_HANDLE;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  void* mapped = nullptr;
};

// Everything one run creates; the order of members is that of creation.
struct Run {
  const Device& d = the_device();
  std::vector<Memory> memory;
  VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  VkShaderModule module = VK_NULL_HANDLE;
  VkPipeline pipeline = VK_NULL_HANDLE;
  VkDescriptorPool descriptors = VK_NULL_HANDLE;
  VkDescriptorSet set = VK_NULL_HANDLE;
  VkCommandPool commands = VK_NULL_HANDLE;

  ~Run() {
    vkDestroyCommandPool(d.device, commands, nullptr);
    vkDestroyDescriptorPool(d.device, descriptors, nullptr);
    vkDestroyPipeline(d.device, pipeline, nullptr);
    vkDestroyShaderModule(d.device, module, nullptr);
    vkDestroyPipelineLayout(d.device, layout, nullptr);
    vkDestroyDescriptorSetLayout(d.device, set_layout, nullptr);
    for (Memory& m : memory) {
      vkDestroyBuffer(d.device, m.buffer, nullptr);
      vkFreeMemory(d.device, m.memory, nullptr);
    }
  }

  VkResult add_buffer(const Words& words) {
    Memory& m = memory.emplace_back();
    VkBufferCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
    info.size = words.size() * 4;
    info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
    VkResult result = vkCreateBuffer(d.device, &info, nullptr, &m.buffer);
    if (result != VK_SUCCESS) return result;
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(d.device, m.buffer, &needs);
    VkMemoryAllocateInfo allocate{};
    allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    allocate.allocationSize = needs.size;
    allocate.memoryTypeIndex = d.memory_type;
    result = vkAllocateMemory(d.device, &allocate, nullptr, &m.memory);
    if (result == VK_SUCCESS) result = vkBindBufferMemory(d.device, m.buffer, m.memory, 0);
    if (result == VK_SUCCESS)
      result = vkMapMemory(d.device, m.memory, 0, VK_WHOLE_SIZE, 0, &m.mapped);
    if (result == VK_SUCCESS) std::memcpy(m.mapped, words.data(), words.size() * 4);
    return result;
  }

  VkResult make_pipeline(const std::vector<uint32_t>& spirv, uint32_t param_words) {
    std::vector<VkDescriptorSetLayoutBinding> bindings(memory.size());
    for (uint32_t i = 0; i < bindings.size(); ++i) {
      bindings[i] = {i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
    }
    VkDescriptorSetLayoutCreateInfo sets{};
    sets.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
    sets.bindingCount = static_cast<uint32_t>(bindings.size());
    sets.pBindings = bindings.data();
    VkResult result = vkCreateDescriptorSetLayout(d.device, &sets, nullptr, &set_layout);
    if (result != VK_SUCCESS) return result;
    const VkPushConstantRange push{VK_SHADER_STAGE_COMPUTE_BIT, 0, param_words * 4};
    VkPipelineLayoutCreateInfo layouts{};
    layouts.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
    layouts.setLayoutCount = 1;
    layouts.pSetLayouts = &set_layout;
    layouts.pushConstantRangeCount = param_words > 0 ? 1 : 0;
    layouts.pPushConstantRanges = &push;
    result = vkCreatePipelineLayout(d.device, &layouts, nullptr, &layout);
    if (result != VK_SUCCESS) return result;
    VkShaderModuleCreateInfo code{};
    code.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    code.codeSize = spirv.size() * 4;
    code.pCode = spirv.data();
    result = vkCreateShaderModule(d.device, &code, nullptr, &module);
    if (result != VK_SUCCESS) return result;
    VkComputePipelineCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
    info.layout = layout;
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.module = module;
    info.stage.pName = "main";
    return vkCreateComputePipelines(d.device, VK_NULL_HANDLE, 1, &info, nullptr, &pipeline);
  }

  VkResult bind() {
    const uint32_t count = static_cast<uint32_t>(memory.size());
    const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, count};
    VkDescriptorPoolCreateInfo pool{};
    pool.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
    pool.maxSets = 1;
    pool.poolSizeCount = 1;
    pool.pPoolSizes = &size;
    VkResult result = vkCreateDescriptorPool(d.device, &pool, nullptr, &descriptors);
    if (result != VK_SUCCESS) return result;
    VkDescriptorSetAllocateInfo allocate{};
    allocate.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
    allocate.descriptorPool = descriptors;
    allocate.descriptorSetCount = 1;
    allocate.pSetLayouts = &set_layout;
    result = vkAllocateDescriptorSets(d.device, &allocate, &set);
    if (result != VK_SUCCESS) return result;
    for (uint32_t i = 0; i < count; ++i) {
      const VkDescriptorBufferInfo range{memory[i].buffer, 0, VK_WHOLE_SIZE};
      VkWriteDescriptorSet write{};
      write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
      write.dstSet = set;
      write.dstBinding = i;
      write.descriptorCount = 1;
      write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
      write.pBufferInfo = &range;
      vkUpdateDescriptorSets(d.device, 1, &write, 0, nullptr);
    }
    return VK_SUCCESS;
  }

  VkResult dispatch(const Case& test) {
    VkCommandPoolCreateInfo pool{};
    pool.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    pool.queueFamilyIndex = d.family;
    VkResult result = vkCreateCommandPool(d.device, &pool, nullptr, &commands);
    if (result != VK_SUCCESS) return result;
    VkCommandBufferAllocateInfo allocate{};
    allocate.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    allocate.commandPool = commands;
    allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    allocate.commandBufferCount = 1;
    VkCommandBuffer buffer;
    result = vkAllocateCommandBuffers(d.device, &allocate, &buffer);
    if (result != VK_SUCCESS) return result;
    VkCommandBufferBeginInfo begin{};
    begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    vkBeginCommandBuffer(buffer, &begin);
    vkCmdBindPipeline(buffer, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vkCmdBindDescriptorSets(buffer, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0, nullptr);
    if (!test.params.empty()) {
      vkCmdPushConstants(buffer, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                         static_cast<uint32_t>(test.params.size() * 4), test.params.data());
    }
    vkCmdDispatch(buffer, test.grid_x, test.grid_y, 1);
    result = vkEndCommandBuffer(buffer);
    VkSubmitInfo submit{};
    submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    submit.commandBufferCount = 1;
    submit.pCommandBuffers = &buffer;
    if (result == VK_SUCCESS) result = vkQueueSubmit(d.queue, 1, &submit, VK_NULL_HANDLE);
    return result == VK_SUCCESS ? vkQueueWaitIdle(d.queue) : result;
  }
};

}  // namespace

uint32_t vulkan_subgroup_size() {
  return the_device().subgroup;
}

Executed run_vulkan(const Case& test, const Kernel& kernel, const std::vector<uint32_t>& spirv) {
  Executed out;
  if (the_device().queue == VK_NULL_HANDLE)
    return out.log = "no Vulkan device (Debian: mesa-vulkan-drivers)", out;
  out.state = Executed::kFailed;
  if (kernel.subgroup_size != 0 && kernel.subgroup_size != the_device().subgroup) {
    return out.log = "the kernel wants other subgroups than the device has", out;
  }
  Run run;
  VkResult result = VK_SUCCESS;
  for (const Words& words : test.buffers) {
    if (result == VK_SUCCESS) result = run.add_buffer(words);
  }
  if (result == VK_SUCCESS)
    result = run.make_pipeline(spirv, static_cast<uint32_t>(test.params.size()));
  if (result == VK_SUCCESS) result = run.bind();
  if (result == VK_SUCCESS) result = run.dispatch(test);
  if (result != VK_SUCCESS)
    return out.log = fmt::format("Vulkan error {}", static_cast<int>(result)), out;
  out.buffers = test.buffers;
  for (size_t i = 0; i < out.buffers.size(); ++i) {
    std::memcpy(out.buffers[i].data(), run.memory[i].mapped, out.buffers[i].size() * 4);
  }
  out.state = Executed::kOk;
  return out;
}
#endif

}  // namespace bp::kernels::testing
