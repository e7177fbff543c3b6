// SPDX-License-Identifier: Apache-2.0
#include "plugins/vulkan/stream.h"

#include <algorithm>
#include <cinttypes>

namespace bp::vulkan {
namespace {

constexpr uint64_t kBlockBytes = 1u << 20;  // of staging memory
constexpr uint64_t kMaxBlocks = 64;         // of one stream, before its thread waits
constexpr uint64_t kStagingAlignment = 64;

bp_status create(bp_device* handle, bp_stream** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    Device* const device = unwrap(handle);
    if (const bp_status status = device->check_alive(error)) return status;
    auto stream = std::make_unique<Stream>();
    stream->device = device;
    if (const bp_status status = make_semaphore(device, &stream->semaphore, error)) return status;
    const std::lock_guard lock(device->mutex);
    device->streams.push_back(stream.get());
    device->children.fetch_add(1);
    *out = wrap(stream.release());
    return BP_OK;
  });
}

bp_status destroy(bp_stream* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const std::unique_ptr<Stream> stream(unwrap(handle));
    if (stream == nullptr) return BP_OK;
    Device* const device = stream->device;
    if (stream->open != nullptr && device->failure.load() == BP_OK) {
      submit_batch(stream.get(), nullptr);  // a failure is the device's, and remembered there
    }
    drain(stream.get());
    const std::lock_guard lock(device->mutex);
    if (device->failure.load() == BP_OK) collect(stream.get());
    std::erase(device->streams, stream.get());
    device->children.fetch_sub(1);
    return BP_OK;
  });
}

// Room in the open batch's staging memory. A stream that has used up its share waits for its
// oldest batch; one whose batches are all held back gets more, since they may wait for the caller.
bp_status stage(Stream* stream, uint64_t bytes, Buffer** block, uint64_t* offset, bp_error* error) {
  const Batch* const batch = stream->open.get();
  if (batch->blocks.empty() || kBlockBytes - batch->block_used < bytes) {
    std::unique_ptr<Buffer> fresh;
    for (int attempt = 0; attempt < 2 && fresh == nullptr; ++attempt) {
      const bool is_last = attempt == 1 || stream->block_count < kMaxBlocks;
      {
        const std::lock_guard lock(stream->device->mutex);
        if (stream->spare_blocks.empty()) collect(stream);
        if (!stream->spare_blocks.empty()) {
          fresh = std::move(stream->spare_blocks.back());
          stream->spare_blocks.pop_back();
          break;
        }
      }
      if (is_last) {
        if (const bp_status status = make_buffer(stream->device, stream->device->adapter->staging,
                                                 kBlockBytes, &fresh, error)) {
          return status;
        }
        ++stream->block_count;
      } else {
        if (const bp_status status = submit_batch(stream, error)) return status;
        if (const bp_status status = wait_for_oldest(stream, error)) return status;
        if (const bp_status status = open_batch(stream, error)) return status;
      }
    }
    stream->open->blocks.push_back(std::move(fresh));
    stream->open->block_used = 0;
  }
  *block = stream->open->blocks.back().get();
  *offset = stream->open->block_used;
  const uint64_t next = *offset + bytes + kStagingAlignment - 1;
  stream->open->block_used = std::min(kBlockBytes, next / kStagingAlignment * kStagingAlignment);
  return BP_OK;
}

// Calls each(batch, block, range) for pieces of a buffer's bytes that staging memory has room for;
// range leads from the block to the buffer. What each() records is ordered already.
template <class Each>
bp_status in_pieces(Stream* stream, const Buffer* buffer, uint64_t offset, uint64_t bytes,
                    bool writes, bp_error* error, const Each& each) {
  for (const uint64_t end = offset + bytes; offset < end;) {
    const uint64_t piece = std::min(end - offset, kBlockBytes);
    Buffer* block = nullptr;
    uint64_t staged = 0;
    if (const bp_status s = stage(stream, piece, &block, &staged, error)) return s;
    const Access access{buffer, offset, offset + piece, writes};
    stream->open->recording.order(&access, 1);
    each(stream->open.get(), block, VkBufferCopy{staged, offset, piece});
    offset += piece;
  }
  return BP_OK;
}

bp_status copy(bp_stream* handle, bp_buffer* to, uint64_t to_offset, bp_buffer* from,
               uint64_t from_offset, uint64_t bytes, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Buffer* const target = unwrap(to);
    Buffer* const source = unwrap(from);
    if (const bp_status s = check_range(target, to_offset, bytes, true, "copy", error)) return s;
    if (const bp_status s = check_range(source, from_offset, bytes, false, "copy", error)) return s;
    if (target == source && to_offset < from_offset + bytes && from_offset < to_offset + bytes) {
      return glue::fail(error, BP_INVALID_ARGUMENT, "copy: the ranges overlap");
    }
    Recording* recording = nullptr;
    if (const bp_status s = unwrap(handle)->recorder("copy", true, &recording, error)) return s;
    if (bytes == 0) return BP_OK;
    const Access accesses[2] = {{target, to_offset, to_offset + bytes, true},
                                {source, from_offset, from_offset + bytes, false}};
    recording->order(accesses, 2);
    target->used = source->used = true;
    const VkBufferCopy range{from_offset, to_offset, bytes};
    recording->device()->vk.CmdCopyBuffer(recording->commands(), source->handle, target->handle, 1,
                                          &range);
    return BP_OK;
  });
}

bp_status write(bp_stream* handle, bp_buffer* to, uint64_t to_offset, const void* from,
                uint64_t bytes, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Stream* const stream = unwrap(handle);
    Buffer* const target = unwrap(to);
    if (const bp_status s = check_range(target, to_offset, bytes, true, "write", error)) return s;
    Recording* recording = nullptr;
    if (const bp_status s = stream->recorder("write", false, &recording, error)) return s;
    if (bytes == 0) return BP_OK;
    if (target->mapped != nullptr && !target->used.load()) {
      // No command has named it yet, so none can run before or after these bytes by mistake.
      std::memcpy(target->mapped + to_offset, from, bytes);
      return BP_OK;
    }
    target->used = true;
    const auto* next = static_cast<const std::byte*>(from);
    return in_pieces(stream, target, to_offset, bytes, true, error,
                     [&](Batch* batch, Buffer* block, VkBufferCopy range) {
                       std::memcpy(block->mapped + range.srcOffset, next, range.size);
                       next += range.size;
                       stream->device->vk.CmdCopyBuffer(batch->recording.commands(), block->handle,
                                                        target->handle, 1, &range);
                     });
  });
}

bp_status read(bp_stream* handle, void* to, bp_buffer* from, uint64_t from_offset, uint64_t bytes,
               bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Stream* const stream = unwrap(handle);
    Buffer* const source = unwrap(from);
    if (const bp_status s = check_range(source, from_offset, bytes, false, "read", error)) return s;
    Recording* recording = nullptr;
    if (const bp_status s = stream->recorder("read", false, &recording, error)) return s;
    if (bytes == 0) return BP_OK;
    source->used = true;
    auto* next = static_cast<std::byte*>(to);
    return in_pieces(stream, source, from_offset, bytes, false, error,
                     [&](Batch* batch, Buffer* block, VkBufferCopy range) {
                       batch->reads.push_back({next, block->mapped + range.srcOffset, range.size});
                       stream->device->pending_reads.fetch_add(1);
                       next += range.size;
                       std::swap(range.srcOffset, range.dstOffset);
                       stream->device->vk.CmdCopyBuffer(batch->recording.commands(), source->handle,
                                                        block->handle, 1, &range);
                     });
  });
}

bp_status fill(bp_stream* handle, bp_buffer* to, uint64_t offset, uint64_t bytes, uint32_t word,
               bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Buffer* const target = unwrap(to);
    if (const bp_status s = check_range(target, offset, bytes, true, "fill", error)) return s;
    if (offset % 4 != 0 || bytes % 4 != 0) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "fill: offset and bytes must be multiples of 4");
    }
    Recording* recording = nullptr;
    if (const bp_status s = unwrap(handle)->recorder("fill", true, &recording, error)) return s;
    if (bytes == 0) return BP_OK;
    const Access access{target, offset, offset + bytes, true};
    recording->order(&access, 1);
    target->used = true;
    recording->device()->vk.CmdFillBuffer(recording->commands(), target->handle, offset, bytes,
                                          word);
    return BP_OK;
  });
}

bp_status timeline_create(bp_device* handle, bp_timeline** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    Device* const device = unwrap(handle);
    if (const bp_status status = device->check_alive(error)) return status;
    auto timeline = std::make_shared<Timeline>();
    timeline->device = device;
    if (const bp_status s = make_semaphore(device, &timeline->semaphore, error)) return s;
    device->children.fetch_add(1);
    timeline->self = timeline;
    *out = wrap(timeline.get());
    return BP_OK;
  });
}

bp_status timeline_destroy(bp_timeline* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Timeline* const timeline = unwrap(handle);
    if (timeline == nullptr) return BP_OK;
    timeline->device->children.fetch_sub(1);
    const std::shared_ptr<Timeline> last = std::move(timeline->self);
    return BP_OK;
  });
}

bp_status check_same_device(const Stream* stream, const Device* device, const char* what,
                            bp_error* error) {
  if (stream->device == device) return BP_OK;
  return glue::fail(error, BP_INVALID_ARGUMENT, "%s: stream and object are of two devices", what);
}

bp_status signal(bp_stream* handle, bp_timeline* point, uint64_t value, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Stream* const stream = unwrap(handle);
    Timeline* const timeline = unwrap(point);
    if (const bp_status s = check_same_device(stream, timeline->device, "signal", error)) return s;
    Recording* recording = nullptr;
    if (const bp_status s = stream->recorder("signal", false, &recording, error)) return s;
    {
      const std::lock_guard lock(stream->device->mutex);
      if (value <= timeline->signalled) {
        return glue::fail(error, BP_INVALID_ARGUMENT,
                          "signal: %" PRIu64 " is not larger than the timeline's %" PRIu64, value,
                          timeline->signalled);
      }
      timeline->signalled = value;
    }
    stream->open->signals.push_back({timeline->self, value});
    return submit_batch(stream, error);
  });
}

bp_status wait(bp_stream* handle, bp_timeline* point, uint64_t value, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Stream* const stream = unwrap(handle);
    Timeline* const timeline = unwrap(point);
    if (const bp_status s = check_same_device(stream, timeline->device, "wait", error)) return s;
    Recording* recording = nullptr;
    if (const bp_status s = stream->recorder("wait", false, &recording, error)) return s;
    // Commands already in the batch wait too; nobody can tell, for no signal has followed them.
    if (value != 0) stream->open->waits.push_back({timeline->self, value});
    return BP_OK;
  });
}

// Copies what was read to the host's memory, for all batches that have run. On a failed device
// nobody may be left who still owns that memory, so the failure is answered instead.
bp_status finish_reads(Device* device, bp_error* error) {
  if (device->pending_reads.load() == 0) return BP_OK;
  if (const bp_status status = device->check_alive(error)) return status;
  const std::lock_guard lock(device->mutex);
  for (Stream* stream : device->streams) collect(stream);
  return BP_OK;
}

bp_status query(bp_timeline* handle, uint64_t* value, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Timeline* const timeline = unwrap(handle);
    Device* const device = timeline->device;
    const VkResult result =
        device->vk.GetSemaphoreCounterValue(device->handle, timeline->semaphore, value);
    if (const bp_status status = device->check(result, "query", error)) return status;
    if (const bp_status status = finish_reads(device, error)) return status;
    return device->check_alive(error);
  });
}

bp_status host_wait(bp_timeline* handle, uint64_t value, uint64_t timeout_ns, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Timeline* const timeline = unwrap(handle);
    if (const bp_status status =
            wait_semaphore(timeline->device, timeline->semaphore, value, timeout_ns, error)) {
      return status;
    }
    return finish_reads(timeline->device, error);
  });
}

bp_status capture_begin(bp_stream* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Stream* const stream = unwrap(handle);
    if (const bp_status status = stream->device->check_alive(error)) return status;
    if (stream->capture != nullptr) {
      return glue::fail(error, BP_FAILED_PRECONDITION, "the stream is being captured already");
    }
    auto recording = std::make_shared<Recording>(stream->device);
    if (const bp_status status = recording->begin(true, error)) return status;
    stream->capture = std::move(recording);
    return BP_OK;
  });
}

bp_status capture_end(bp_stream* handle, bp_recording** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Stream* const stream = unwrap(handle);
    *out = nullptr;
    if (stream->capture == nullptr) {
      return glue::fail(error, BP_FAILED_PRECONDITION, "no capture of this stream has begun");
    }
    const std::shared_ptr<Recording> recording = std::move(stream->capture);
    if (const bp_status status = recording->end(false, error)) return status;
    stream->device->children.fetch_add(1);
    recording->self = recording;
    *out = wrap(recording.get());
    return BP_OK;
  });
}

bp_status replay(bp_stream* handle, bp_recording* what, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Stream* const stream = unwrap(handle);
    Recording* const captured = unwrap(what);
    if (const bp_status s = check_same_device(stream, captured->device(), "replay", error))
      return s;
    Recording* recording = nullptr;
    if (const bp_status s = stream->recorder("replay", false, &recording, error)) return s;
    if (captured->is_empty()) return BP_OK;
    stream->open->replays.push_back(captured->self);
    recording->order_all();
    VkCommandBuffer commands = captured->commands();
    stream->device->vk.CmdExecuteCommands(recording->commands(), 1, &commands);
    return BP_OK;
  });
}

bp_status recording_destroy(bp_recording* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Recording* const recording = unwrap(handle);
    if (recording == nullptr) return BP_OK;
    recording->device()->children.fetch_sub(1);
    const std::shared_ptr<Recording> last = std::move(recording->self);
    return BP_OK;
  });
}

}  // namespace

Timeline::~Timeline() {
  device->vk.DestroySemaphore(device->handle, semaphore, nullptr);
}

Stream::~Stream() {
  for (const auto* list : {&held, &running}) {
    for (const auto& batch : *list) device->pending_reads.fetch_sub(batch->reads.size());
  }
  if (open != nullptr) device->pending_reads.fetch_sub(open->reads.size());
  device->vk.DestroySemaphore(device->handle, semaphore, nullptr);
}

bp_status Stream::recorder(const char* what, bool capturable, Recording** out, bp_error* error) {
  if (const bp_status status = device->check_alive(error)) return status;
  if (capture != nullptr) {
    *out = capture.get();
    if (capturable) return BP_OK;
    return glue::fail(error, BP_FAILED_PRECONDITION, "%s: not while the stream is being captured",
                      what);
  }
  if (const bp_status status = open_batch(this, error)) return status;
  *out = &open->recording;
  return BP_OK;
}

const bp_stream_api kStreamApi = {
    sizeof(bp_stream_api),
    0,
    create,
    destroy,
    copy,
    write,
    read,
    fill,
    timeline_create,
    timeline_destroy,
    signal,
    wait,
    query,
    host_wait,
    capture_begin,
    capture_end,
    replay,
    recording_destroy,
};

}  // namespace bp::vulkan
