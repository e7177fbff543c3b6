// SPDX-License-Identifier: Apache-2.0
// A command buffer being written: order between its commands, descriptor sets for its launches.
// Streams submit them, captures keep them to be replayed.
#pragma once

#include <vector>

#include "plugins/vulkan/memory.h"

namespace bp::vulkan {

// Bytes that a command reads or writes.
struct Access {
  const Buffer* buffer;
  uint64_t begin, end;
  bool writes;
};

// Owned by one stream, or by a captured recording. Not thread-safe.
class Recording {
 public:
  explicit Recording(Device* device) : device_(device) {}
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  // Makes it empty and open. A captured one is a secondary command buffer that may run many times
  // at once; the others run once. What it recorded before must have run.
  bp_status begin(bool captured, bp_error* error);
  // Closes it; with `to_host`, what was written becomes visible to the host.
  bp_status end(bool to_host, bp_error* error);

  // Called before a command that does these accesses. Puts a barrier where one of them meets an
  // earlier one at the same bytes and either writes.
  void order(const Access* accesses, uint32_t count);
  // A barrier against everything before, and before everything after.
  void order_all();
  // A set of storage buffers, valid until the next begin().
  bp_status bind(VkPipelineLayout layout, uint32_t count, const VkDescriptorBufferInfo* buffers,
                 bp_error* error);

  VkCommandBuffer commands() const { return commands_; }
  Device* device() const { return device_; }
  bool is_empty() const { return is_empty_; }
  // Binds a pipeline if another one was bound last.
  void use(VkPipeline pipeline);

  // Keeps a captured one alive from capture_end to recording_destroy; replays hold it too.
  std::shared_ptr<Recording> self;

 private:
  bp_status create(bool captured, bp_error* error);
  bp_status add_descriptor_pool(bp_error* error);
  void barrier(VkPipelineStageFlags to, VkAccessFlags access);

  Device* device_;
  VkCommandPool pool_ = VK_NULL_HANDLE;
  VkCommandBuffer commands_ = VK_NULL_HANDLE;
  VkPipeline pipeline_ = VK_NULL_HANDLE;
  std::vector<VkDescriptorPool> descriptor_pools_;
  size_t descriptor_pool_ = 0;  // in use, index into descriptor_pools_
  uint32_t sets_ = 0;           // taken from that one
  uint32_t descriptors_ = 0;
  std::vector<Access> unordered_;  // since the last barrier
  bool needs_barrier_ = false;     // against what came before this command buffer
  bool is_empty_ = true;
};
BP_PLUGIN_HANDLE(bp_recording, Recording)

}  // namespace bp::vulkan
