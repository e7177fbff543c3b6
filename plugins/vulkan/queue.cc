// SPDX-License-Identifier: Apache-2.0
// Batches on their way: written, held back, submitted, running, taken back.
#include <algorithm>
#include <chrono>
#include <cinttypes>

#include "plugins/vulkan/stream.h"

namespace bp::vulkan {
namespace {

constexpr size_t kMaxRunning = 64;  // batches of one stream before its thread waits
constexpr uint64_t kSliceNs = 20'000'000;

// Everything before this batch's waits has been submitted. The device's mutex is held.
bool is_ready(const Batch& batch) {
  return std::all_of(batch.waits.begin(), batch.waits.end(),
                     [](const Point& p) { return p.timeline->submitted >= p.value; });
}

struct Semaphores {
  std::vector<VkSemaphore> handles;
  std::vector<uint64_t> values;
  explicit Semaphores(const std::vector<Point>& points) {
    for (const Point& p : points) {
      handles.push_back(p.timeline->semaphore);
      values.push_back(p.value);
    }
  }
};

// Gives one batch to the queue. The device's mutex is held.
VkResult submit(Stream* stream, const Batch& batch) {
  const Semaphores waits(batch.waits), signals(batch.signals);
  const std::vector<VkPipelineStageFlags> stages(batch.waits.size(),
                                                 VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
  VkCommandBuffer commands = batch.recording.commands();
  // Two parts, because signals of one part have no order: whoever sees a timeline's value must
  // find the stream's own semaphore raised, which says that read-backs are complete.
  VkTimelineSemaphoreSubmitInfo values[2] = {};
  VkSubmitInfo parts[2] = {};
  for (uint32_t i = 0; i < 2; ++i) {
    values[i].sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
    parts[i].sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    parts[i].pNext = &values[i];
  }
  values[0].waitSemaphoreValueCount = parts[0].waitSemaphoreCount =
      static_cast<uint32_t>(waits.handles.size());
  values[0].pWaitSemaphoreValues = waits.values.data();
  values[0].signalSemaphoreValueCount = parts[0].signalSemaphoreCount = 1;
  values[0].pSignalSemaphoreValues = &batch.value;
  parts[0].pWaitSemaphores = waits.handles.data();
  parts[0].pWaitDstStageMask = stages.data();
  parts[0].commandBufferCount = batch.recording.is_empty() ? 0 : 1;
  parts[0].pCommandBuffers = &commands;
  parts[0].pSignalSemaphores = &stream->semaphore;
  values[1].signalSemaphoreValueCount = parts[1].signalSemaphoreCount =
      static_cast<uint32_t>(signals.handles.size());
  values[1].pSignalSemaphoreValues = signals.values.data();
  parts[1].pSignalSemaphores = signals.handles.data();
  const Device& device = *stream->device;
  return device.vk.QueueSubmit(device.queue, signals.handles.empty() ? 1 : 2, parts,
                               VK_NULL_HANDLE);
}

// Submits every held batch that may go. The device's mutex is held.
void submit_ready(Device* device) {
  for (bool again = true; again && device->failure.load() == BP_OK;) {
    again = false;
    for (Stream* stream : device->streams) {
      while (!stream->held.empty() && is_ready(*stream->held.front())) {
        Batch& batch = *stream->held.front();
        const VkResult result = submit(stream, batch);
        if (result != VK_SUCCESS) {
          // Its signals will never come, nor what depends on them: the device is given up.
          if (device->check(result, "submitting work", nullptr) != BP_OK)
            device->fail(BP_EXHAUSTED);
          glue::log(host(), BP_LOG_ERROR, "vulkan: submitting work on '%s' failed: %s",
                    device->adapter->info.name, result_name(result));
          return;
        }
        for (const Point& p : batch.signals) p.timeline->submitted = p.value;
        stream->submitted_value = batch.value;
        stream->running.push_back(std::move(stream->held.front()));
        stream->held.pop_front();
        again = true;
      }
    }
  }
}

}  // namespace

bp_status make_semaphore(Device* device, VkSemaphore* out, bp_error* error) {
  const VkSemaphoreTypeCreateInfo type{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                       .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
  const VkSemaphoreCreateInfo info{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                   .pNext = &type};
  return device->check(device->vk.CreateSemaphore(device->handle, &info, nullptr, out),
                       "creating a timeline", error);
}

bp_status wait_semaphore(Device* device, VkSemaphore semaphore, uint64_t value, uint64_t timeout_ns,
                         bp_error* error) {
  const VkSemaphoreWaitInfo info{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                 .semaphoreCount = 1,
                                 .pSemaphores = &semaphore,
                                 .pValues = &value};
  for (uint64_t left_ns = timeout_ns;;) {
    const uint64_t slice_ns = std::min(left_ns, kSliceNs);
    const VkResult result = device->vk.WaitSemaphores(device->handle, &info, slice_ns);
    if (result == VK_SUCCESS) return BP_OK;
    if (result != VK_TIMEOUT) return device->check(result, "waiting", error);
    if (const bp_status status = device->check_alive(error)) return status;
    if (timeout_ns != UINT64_MAX) left_ns -= slice_ns;
    if (left_ns == 0) {
      return glue::fail(error, BP_DEADLINE,
                        "the timeline had not reached %" PRIu64 " when time was up", value);
    }
  }
}

void collect(Stream* stream) {
  if (stream->running.empty()) return;
  Device* const device = stream->device;
  uint64_t reached = 0;
  if (device->vk.GetSemaphoreCounterValue(device->handle, stream->semaphore, &reached) !=
      VK_SUCCESS) {
    return;
  }
  while (!stream->running.empty() && stream->running.front()->value <= reached) {
    std::unique_ptr<Batch> batch = std::move(stream->running.front());
    stream->running.pop_front();
    for (const ReadBack& read : batch->reads) std::memcpy(read.to, read.from, read.bytes);
    device->pending_reads.fetch_sub(batch->reads.size());
    for (auto& block : batch->blocks) stream->spare_blocks.push_back(std::move(block));
    batch->blocks.clear();
    batch->reads.clear();
    batch->waits.clear();
    batch->signals.clear();
    batch->replays.clear();
    stream->idle.push_back(std::move(batch));
  }
}

bp_status wait_for_oldest(Stream* stream, bp_error* error) {
  uint64_t value = 0;
  {
    const std::lock_guard lock(stream->device->mutex);
    collect(stream);
    if (stream->running.empty()) return BP_OK;
    value = stream->running.front()->value;
  }
  if (const bp_status status =
          wait_semaphore(stream->device, stream->semaphore, value, UINT64_MAX, error)) {
    return status;
  }
  const std::lock_guard lock(stream->device->mutex);
  collect(stream);
  return BP_OK;
}

bp_status open_batch(Stream* stream, bp_error* error) {
  if (stream->open != nullptr) return BP_OK;
  std::unique_ptr<Batch> batch;
  bool is_full = false;
  {
    const std::lock_guard lock(stream->device->mutex);
    collect(stream);
    is_full = stream->running.size() >= kMaxRunning;
  }
  if (is_full) {
    if (const bp_status status = wait_for_oldest(stream, error)) return status;
  }
  {
    const std::lock_guard lock(stream->device->mutex);
    if (!stream->idle.empty()) {
      batch = std::move(stream->idle.back());
      stream->idle.pop_back();
    }
  }
  if (batch == nullptr) batch = std::make_unique<Batch>(stream->device);
  if (const bp_status status = batch->recording.begin(false, error)) return status;
  stream->open = std::move(batch);
  return BP_OK;
}

bp_status submit_batch(Stream* stream, bp_error* error) {
  Device* const device = stream->device;
  if (const bp_status status = stream->open->recording.end(true, error)) {
    device->fail(status);  // signals of this batch would never come
    return status;
  }
  {
    const std::lock_guard lock(device->mutex);
    stream->open->value = ++stream->last_value;
    stream->held.push_back(std::move(stream->open));
    submit_ready(device);
    device->progress.notify_all();
  }
  return device->check_alive(error);
}

void drain(Stream* stream) {
  Device* const device = stream->device;
  uint64_t value = 0;
  {
    std::unique_lock lock(device->mutex);
    while (!stream->held.empty() && device->failure.load() == BP_OK) {
      device->progress.wait_for(lock, std::chrono::nanoseconds(kSliceNs));
    }
    value = stream->submitted_value;
  }
  // What runs must end before its memory goes, even on a device that has been given up; a driver
  // that has really lost it answers at once.
  const VkSemaphoreWaitInfo info{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                 .semaphoreCount = 1,
                                 .pSemaphores = &stream->semaphore,
                                 .pValues = &value};
  device->check(device->vk.WaitSemaphores(device->handle, &info, UINT64_MAX), "waiting", nullptr);
}

void wait_for_streams(Device* device, uint64_t timeout_ns) {
  const std::lock_guard lock(device->mutex);
  std::vector<VkSemaphore> semaphores;
  std::vector<uint64_t> values;
  for (const Stream* stream : device->streams) {
    semaphores.push_back(stream->semaphore);
    values.push_back(stream->submitted_value);
  }
  if (semaphores.empty()) return;
  const VkSemaphoreWaitInfo info{.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                 .semaphoreCount = static_cast<uint32_t>(semaphores.size()),
                                 .pSemaphores = semaphores.data(),
                                 .pValues = values.data()};
  device->vk.WaitSemaphores(device->handle, &info, timeout_ns);
}

}  // namespace bp::vulkan
