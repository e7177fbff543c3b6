// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/stream.h"

#include <chrono>
#include <cinttypes>
#include <memory>

#include "plugins/cpu/memory.h"

namespace bp::cpu {
namespace {

std::mutex list_mutex;
Timeline* first_timeline = nullptr;  // guarded by list_mutex

// Longest time given to the condition variable at once; its clock arithmetic overflows otherwise.
constexpr uint64_t kLongestWaitNs = 3600ull * 1000 * 1000 * 1000;

bp_status create(bp_device* device, bp_stream** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    auto stream = std::make_unique<Stream>();
    stream->device = unwrap(device);
    stream->device->children.fetch_add(1);
    *out = wrap(stream.release());
    return BP_OK;
  });
}

bp_status destroy(bp_stream* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const std::unique_ptr<Stream> stream(unwrap(handle));
    if (stream != nullptr) stream->device->children.fetch_sub(1);
    return BP_OK;
  });
}

bp_status check_range(const Buffer* buffer, uint64_t offset, uint64_t bytes, bool writes,
                      const char* what, bp_error* error) noexcept {
  if (!range_fits(buffer, offset, bytes)) {
    return glue::fail(error, BP_INVALID_ARGUMENT,
                      "%s: %" PRIu64 " bytes at %" PRIu64 " leave the buffer of %" PRIu64 " bytes",
                      what, bytes, offset, buffer == nullptr ? 0 : buffer->bytes);
  }
  if (writes && buffer != nullptr && buffer->read_only) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "%s: the buffer was imported read-only", what);
  }
  return BP_OK;
}

bp_status copy(bp_stream*, bp_buffer* to, uint64_t to_offset, bp_buffer* from, uint64_t from_offset,
               uint64_t bytes, bp_error* error) {
  const Buffer* const target = unwrap(to);
  const Buffer* const source = unwrap(from);
  if (const bp_status s = check_range(target, to_offset, bytes, true, "copy", error)) return s;
  if (const bp_status s = check_range(source, from_offset, bytes, false, "copy", error)) return s;
  if (bytes != 0) std::memmove(target->data + to_offset, source->data + from_offset, bytes);
  return BP_OK;
}

bp_status write(bp_stream*, bp_buffer* to, uint64_t to_offset, const void* from, uint64_t bytes,
                bp_error* error) {
  const Buffer* const target = unwrap(to);
  if (const bp_status s = check_range(target, to_offset, bytes, true, "write", error)) return s;
  if (bytes != 0) std::memmove(target->data + to_offset, from, bytes);
  return BP_OK;
}

bp_status read(bp_stream*, void* to, bp_buffer* from, uint64_t from_offset, uint64_t bytes,
               bp_error* error) {
  const Buffer* const source = unwrap(from);
  if (const bp_status s = check_range(source, from_offset, bytes, false, "read", error)) return s;
  if (bytes != 0) std::memmove(to, source->data + from_offset, bytes);
  return BP_OK;
}

bp_status fill(bp_stream*, bp_buffer* to, uint64_t offset, uint64_t bytes, uint32_t word,
               bp_error* error) {
  const Buffer* const target = unwrap(to);
  if (const bp_status s = check_range(target, offset, bytes, true, "fill", error)) return s;
  if (offset % 4 != 0 || bytes % 4 != 0) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "fill: offset and bytes must be multiples of 4");
  }
  for (uint64_t i = 0; i < bytes; i += 4) std::memcpy(target->data + offset + i, &word, 4);
  return BP_OK;
}

bp_status timeline_create(bp_device* device, bp_timeline** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    auto timeline = std::make_unique<Timeline>();
    timeline->device = unwrap(device);
    timeline->device->children.fetch_add(1);
    const std::lock_guard lock(list_mutex);
    timeline->next = first_timeline;
    if (first_timeline != nullptr) first_timeline->previous = timeline.get();
    first_timeline = timeline.get();
    *out = wrap(timeline.release());
    return BP_OK;
  });
}

bp_status timeline_destroy(bp_timeline* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const std::unique_ptr<Timeline> timeline(unwrap(handle));
    if (timeline == nullptr) return BP_OK;
    const std::lock_guard lock(list_mutex);
    if (timeline->next != nullptr) timeline->next->previous = timeline->previous;
    if (timeline->previous != nullptr) {
      timeline->previous->next = timeline->next;
    } else {
      first_timeline = timeline->next;
    }
    timeline->device->children.fetch_sub(1);
    return BP_OK;
  });
}

bp_status report_poison(bp_status failure, bp_error* error) noexcept {
  return glue::fail(error, failure,
                    "the timeline failed with status %d before the value was reached", failure);
}

bp_status signal(bp_stream*, bp_timeline* handle, uint64_t value, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Timeline* const timeline = unwrap(handle);
    const std::lock_guard lock(timeline->mutex);
    if (timeline->failure != BP_OK) return report_poison(timeline->failure, error);
    if (value <= timeline->value) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "signal: %" PRIu64 " is not larger than the timeline's %" PRIu64, value,
                        timeline->value);
    }
    timeline->value = value;
    timeline->raised.notify_all();
    return BP_OK;
  });
}

bp_status host_wait(bp_timeline* handle, uint64_t value, uint64_t timeout_ns, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Timeline* const timeline = unwrap(handle);
    std::unique_lock lock(timeline->mutex);
    const auto done = [&] { return timeline->failure != BP_OK || timeline->value >= value; };
    uint64_t left_ns = timeout_ns;
    while (!done()) {
      const uint64_t now_ns = left_ns < kLongestWaitNs ? left_ns : kLongestWaitNs;
      const bool reached = timeline->raised.wait_for(lock, std::chrono::nanoseconds(now_ns), done);
      if (reached) break;
      if (timeout_ns == UINT64_MAX) continue;
      left_ns -= now_ns;
      if (left_ns == 0) {
        return glue::fail(error, BP_DEADLINE,
                          "the timeline stood at %" PRIu64 " of %" PRIu64 " when time was up",
                          timeline->value, value);
      }
    }
    if (timeline->value >= value) return BP_OK;
    return report_poison(timeline->failure, error);
  });
}

bp_status wait(bp_stream*, bp_timeline* timeline, uint64_t value, bp_error* error) {
  return host_wait(timeline, value, UINT64_MAX, error);
}

bp_status query(bp_timeline* handle, uint64_t* value, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Timeline* const timeline = unwrap(handle);
    const std::lock_guard lock(timeline->mutex);
    *value = timeline->value;
    return timeline->failure == BP_OK ? BP_OK : report_poison(timeline->failure, error);
  });
}

}  // namespace

void poison_all_timelines(bp_status failure) noexcept {
  const std::lock_guard lock(list_mutex);
  for (Timeline* timeline = first_timeline; timeline != nullptr; timeline = timeline->next) {
    const std::lock_guard timeline_lock(timeline->mutex);
    if (timeline->failure == BP_OK) timeline->failure = failure;
    timeline->raised.notify_all();
  }
}

// Synchronous work cannot be recorded; the host fills the missing slots with its stubs.
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
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

}  // namespace bp::cpu
