// SPDX-License-Identifier: Apache-2.0
#include "plugins/vulkan/recording.h"

namespace bp::vulkan {
namespace {

constexpr uint32_t kSetsPerPool = 256;
constexpr uint32_t kDescriptorsPerPool = kSetsPerPool * 8;
constexpr size_t kMaxUnordered = 64;  // accesses compared with; a barrier is cheaper than more
constexpr VkPipelineStageFlags kStages =
    VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
constexpr VkAccessFlags kWrites = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
constexpr VkAccessFlags kAll = kWrites | VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT;

bool conflict(const Access& a, const Access& b) {
  if (!a.writes && !b.writes) return false;
  // Imported memory can be the same bytes under two names.
  if (a.buffer->imported && b.buffer->imported) return true;
  return a.buffer == b.buffer && a.begin < b.end && b.begin < a.end;
}

}  // namespace

Recording::~Recording() {
  for (VkDescriptorPool pool : descriptor_pools_) {
    device_->vk.DestroyDescriptorPool(device_->handle, pool, nullptr);
  }
  device_->vk.DestroyCommandPool(device_->handle, pool_, nullptr);
}

bp_status Recording::create(bool captured, bp_error* error) {
  const VkCommandPoolCreateInfo pool{.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                     .queueFamilyIndex = device_->adapter->queue_family};
  VkResult result = device_->vk.CreateCommandPool(device_->handle, &pool, nullptr, &pool_);
  if (result == VK_SUCCESS) {
    const VkCommandBufferAllocateInfo info{
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = pool_,
        .level = captured ? VK_COMMAND_BUFFER_LEVEL_SECONDARY : VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1};
    result = device_->vk.AllocateCommandBuffers(device_->handle, &info, &commands_);
  }
  return device_->check(result, "creating a command buffer", error);
}

bp_status Recording::begin(bool captured, bp_error* error) {
  if (commands_ == VK_NULL_HANDLE) {
    if (const bp_status status = create(captured, error)) return status;
  }
  VkResult result = device_->vk.ResetCommandPool(device_->handle, pool_, 0);
  for (VkDescriptorPool pool : descriptor_pools_) {
    device_->vk.ResetDescriptorPool(device_->handle, pool, 0);
  }
  const VkCommandBufferInheritanceInfo inheritance{
      .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
  const VkCommandBufferBeginInfo info{.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                      .flags = captured
                                                   ? VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT
                                                   : VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
                                      .pInheritanceInfo = captured ? &inheritance : nullptr};
  if (result == VK_SUCCESS) result = device_->vk.BeginCommandBuffer(commands_, &info);
  descriptor_pool_ = 0;
  sets_ = descriptors_ = 0;
  pipeline_ = VK_NULL_HANDLE;
  unordered_.clear();
  needs_barrier_ = !captured;  // whoever replays puts one
  is_empty_ = true;
  return device_->check(result, "beginning a command buffer", error);
}

bp_status Recording::end(bool to_host, bp_error* error) {
  if (to_host && !is_empty_) barrier(VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
  return device_->check(device_->vk.EndCommandBuffer(commands_), "ending a command buffer", error);
}

void Recording::barrier(VkPipelineStageFlags to, VkAccessFlags access) {
  const VkMemoryBarrier memory{
      .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER, .srcAccessMask = kWrites, .dstAccessMask = access};
  device_->vk.CmdPipelineBarrier(commands_, kStages, to, 0, 1, &memory, 0, nullptr, 0, nullptr);
}

void Recording::order(const Access* accesses, uint32_t count) {
  bool needed = needs_barrier_ || unordered_.size() + count > kMaxUnordered;
  for (uint32_t i = 0; i < count && !needed; ++i) {
    for (const Access& before : unordered_) needed = needed || conflict(accesses[i], before);
  }
  if (needed) {
    barrier(kStages, kAll);
    unordered_.clear();
    needs_barrier_ = false;
  }
  unordered_.insert(unordered_.end(), accesses, accesses + count);
  is_empty_ = false;
}

void Recording::order_all() {
  barrier(kStages, kAll);
  unordered_.clear();
  needs_barrier_ = true;
  is_empty_ = false;
  pipeline_ = VK_NULL_HANDLE;  // what runs in between may bind its own
}

void Recording::use(VkPipeline pipeline) {
  if (pipeline == pipeline_) return;
  device_->vk.CmdBindPipeline(commands_, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
  pipeline_ = pipeline;
}

bp_status Recording::add_descriptor_pool(bp_error* error) {
  const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, kDescriptorsPerPool};
  const VkDescriptorPoolCreateInfo info{.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                        .maxSets = kSetsPerPool,
                                        .poolSizeCount = 1,
                                        .pPoolSizes = &size};
  VkDescriptorPool pool = VK_NULL_HANDLE;
  const VkResult result = device_->vk.CreateDescriptorPool(device_->handle, &info, nullptr, &pool);
  if (result == VK_SUCCESS) descriptor_pools_.push_back(pool);
  return device_->check(result, "creating a descriptor pool", error);
}

bp_status Recording::bind(VkPipelineLayout layout, uint32_t count,
                          const VkDescriptorBufferInfo* buffers, bp_error* error) {
  if (count == 0) return BP_OK;
  if (descriptor_pool_ < descriptor_pools_.size() &&
      (sets_ == kSetsPerPool || descriptors_ + count > kDescriptorsPerPool)) {
    ++descriptor_pool_;
    sets_ = descriptors_ = 0;
  }
  if (descriptor_pool_ == descriptor_pools_.size()) {
    if (const bp_status status = add_descriptor_pool(error)) return status;
  }
  const VkDescriptorSetAllocateInfo info{.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                         .descriptorPool = descriptor_pools_[descriptor_pool_],
                                         .descriptorSetCount = 1,
                                         .pSetLayouts = &device_->set_layouts[count]};
  VkDescriptorSet set = VK_NULL_HANDLE;
  const VkResult result = device_->vk.AllocateDescriptorSets(device_->handle, &info, &set);
  if (const bp_status s = device_->check(result, "allocating descriptors", error)) return s;
  ++sets_;
  descriptors_ += count;
  // Bindings follow each other, so one write fills them all.
  const VkWriteDescriptorSet write{.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                   .dstSet = set,
                                   .descriptorCount = count,
                                   .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                   .pBufferInfo = buffers};
  device_->vk.UpdateDescriptorSets(device_->handle, 1, &write, 0, nullptr);
  device_->vk.CmdBindDescriptorSets(commands_, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set,
                                    0, nullptr);
  return BP_OK;
}

}  // namespace bp::vulkan
