// SPDX-License-Identifier: Apache-2.0
#include "plugins/opencl/stream.h"

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <set>

namespace bp::opencl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kStagedBytes = 64 << 10;  // larger writes wait for their transfer instead
constexpr size_t kCommandsKept = 256;        // of a batch, before ended ones are dropped
constexpr uint32_t kMaxSignals = 1024;       // under way in one stream; the next one waits
// A wait looks at the events after a thirty-second of the time that it has taken so far, within
// these bounds: what it adds to the time of a command stays in proportion.
constexpr uint64_t kPatience = 32;
constexpr uint64_t kMinLookNs = 20 * 1000;
constexpr uint64_t kMaxLookNs = 1000 * 1000;
constexpr uint64_t kMaxIdleNs = 1000 * 1000 * 1000;

std::mutex alive_mutex;
std::set<std::shared_ptr<Progress>> alive;  // of all timelines; guarded by the mutex

uint64_t ns_since(Clock::time_point start) noexcept {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count());
}

cl_int status_of(const Driver& cl, cl_event event) noexcept {
  cl_int status = CL_QUEUED;
  const cl_int code =
      cl.get_event_info(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, nullptr);
  return code == CL_SUCCESS ? status : code;
}

bp_status create(bp_device* handle, bp_stream** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    Device* const device = unwrap(handle);
    auto stream = std::make_unique<Stream>();
    stream->batch = std::make_shared<Batch>(device);
    cl_int code = CL_SUCCESS;
    stream->queue = device->cl->create_queue(device->context, device->physical->id, 0, &code);
    if (code != CL_SUCCESS) return fail_cl(device, code, "clCreateCommandQueue", error);
    stream->device = device;
    device->children.fetch_add(1);
    *out = wrap(stream.release());
    return BP_OK;
  });
}

bp_status destroy(bp_stream* stream, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    delete unwrap(stream);
    return BP_OK;
  });
}

bp_status copy(bp_stream* handle, bp_buffer* to, uint64_t to_offset, bp_buffer* from,
               uint64_t from_offset, uint64_t bytes, bp_error* error) {
  Stream& s = *unwrap(handle);
  const Buffer* const target = unwrap(to);
  const Buffer* const source = unwrap(from);
  bp_status status = check_range(s.device, target, to_offset, bytes, true, "copy", error);
  if (status != BP_OK) return status;
  status = check_range(s.device, source, from_offset, bytes, false, "copy", error);
  if (status != BP_OK || bytes == 0) return status;
  if (target == source && to_offset < from_offset + bytes && from_offset < to_offset + bytes) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "copy: the two ranges overlap");
  }
  return put(&s, "copy", error, {}, [&](cl_event* event) {
    return s.device->cl->enqueue_copy(s.queue, source->memory, target->memory, from_offset,
                                      to_offset, bytes, 0, nullptr, event);
  });
}

bp_status write(bp_stream* handle, bp_buffer* to, uint64_t to_offset, const void* from,
                uint64_t bytes, bp_error* error) {
  Stream& s = *unwrap(handle);
  const Buffer* const target = unwrap(to);
  const bp_status status = check_range(s.device, target, to_offset, bytes, true, "write", error);
  if (status != BP_OK || bytes == 0) return status;
  Command command;
  if (bytes <= kStagedBytes) command.staged.reset(new (std::nothrow) std::byte[bytes]);
  const cl_bool waits = command.staged == nullptr;
  if (!waits) from = std::memcpy(command.staged.get(), from, bytes);
  return put(&s, "write", error, std::move(command), [&](cl_event* event) {
    return s.device->cl->enqueue_write(s.queue, target->memory, waits, to_offset, bytes, from, 0,
                                       nullptr, event);
  });
}

bp_status read(bp_stream* handle, void* to, bp_buffer* from, uint64_t from_offset, uint64_t bytes,
               bp_error* error) {
  Stream& s = *unwrap(handle);
  const Buffer* const source = unwrap(from);
  const bp_status status = check_range(s.device, source, from_offset, bytes, false, "read", error);
  if (status != BP_OK || bytes == 0) return status;
  return put(&s, "read", error, {}, [&](cl_event* event) {
    return s.device->cl->enqueue_read(s.queue, source->memory, CL_FALSE, from_offset, bytes, to, 0,
                                      nullptr, event);
  });
}

bp_status fill(bp_stream* handle, bp_buffer* to, uint64_t offset, uint64_t bytes, uint32_t word,
               bp_error* error) {
  Stream& s = *unwrap(handle);
  const Buffer* const target = unwrap(to);
  const bp_status status = check_range(s.device, target, offset, bytes, true, "fill", error);
  if (status != BP_OK || bytes == 0) return status;
  if (offset % 4 != 0 || bytes % 4 != 0) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "fill: offset and bytes must be multiples of 4");
  }
  return put(&s, "fill", error, {}, [&](cl_event* event) {
    return s.device->cl->enqueue_fill(s.queue, target->memory, &word, sizeof word, offset, bytes, 0,
                                      nullptr, event);
  });
}

bp_status timeline_create(bp_device* device, bp_timeline** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    auto timeline = std::make_unique<Timeline>();
    timeline->device = unwrap(device);
    const std::lock_guard lock(alive_mutex);
    alive.insert(timeline->progress);
    timeline->device->children.fetch_add(1);
    *out = wrap(timeline.release());
    return BP_OK;
  });
}

bp_status timeline_destroy(bp_timeline* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const std::unique_ptr<Timeline> timeline(unwrap(handle));
    if (timeline == nullptr) return BP_OK;
    {
      const std::lock_guard lock(alive_mutex);
      alive.erase(timeline->progress);
    }
    {
      // Draining may hold the progress still; batches use the device, which may be closed next.
      const std::lock_guard lock(timeline->progress->mutex);
      timeline->progress->points.clear();
    }
    timeline->device->children.fetch_sub(1);
    return BP_OK;
  });
}

bp_status report_poison(bp_status failure, bp_error* error) noexcept {
  return glue::fail(error, failure,
                    "the timeline failed with status %d before the value was reached", failure);
}

bp_status check_owner(const Stream& stream, const Timeline& timeline, bp_error* error) noexcept {
  if (stream.device == timeline.device) return BP_OK;
  return glue::fail(error, BP_INVALID_ARGUMENT, "stream and timeline are of different devices");
}

// Looks at the timeline until it has failed or is_done(), which are both true; false after
// timeout_ns. The mutex is held, but not while waiting.
template <class Done>
bool look_until(Progress& progress, std::unique_lock<std::mutex>& lock, uint64_t timeout_ns,
                const Done& is_done) {
  const auto start = Clock::now();
  for (;;) {
    progress.advance();
    if (progress.failure != BP_OK || is_done()) return true;
    const uint64_t passed_ns = ns_since(start);
    if (passed_ns >= timeout_ns) return false;
    const uint64_t look_ns = std::clamp(passed_ns / kPatience, kMinLookNs, kMaxLookNs);
    // Without a point there is nothing to look at: a signal or a failure wakes this.
    const uint64_t most_ns = progress.points.empty() ? kMaxIdleNs : look_ns;
    progress.changed.wait_for(lock,
                              std::chrono::nanoseconds(std::min(timeout_ns - passed_ns, most_ns)));
  }
}

// Drops the batches before this one that have ended, and keeps how they did.
void prune(Batch* batch) {
  std::erase_if(batch->before, [&](const std::shared_ptr<Batch>& earlier) {
    bp_status theirs = BP_OK;
    const bool has_ended = earlier->poll(&theirs);
    if (batch->failure == BP_OK) batch->failure = theirs;
    return has_ended;
  });
}

bp_status signal(bp_stream* handle, bp_timeline* timeline, uint64_t value, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Stream& s = *unwrap(handle);
    const Driver& cl = *s.device->cl;
    if (const bp_status status = check_owner(s, *unwrap(timeline), error)) return status;
    Progress& progress = *unwrap(timeline)->progress;
    if (++s.signals > kMaxSignals && cl.finish(s.queue) == CL_SUCCESS) s.signals = 0;
    const std::shared_ptr<Batch> batch = s.batch;
    prune(batch.get());
    auto next = std::make_shared<Batch>(s.device);
    next->before.push_back(batch);
    std::unique_lock lock(progress.mutex);
    progress.advance();
    if (progress.failure != BP_OK) return report_poison(progress.failure, error);
    if (value <= progress.signalled) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "signal: %" PRIu64 " is not larger than the timeline's %" PRIu64, value,
                        progress.signalled);
    }
    progress.points.push_back({value, batch});
    cl_int code = cl.enqueue_marker(s.queue, 0, nullptr, &batch->marker);
    if (code == CL_SUCCESS) {
      progress.signalled = value;
      s.batch = next;
      progress.changed.notify_all();
      lock.unlock();
      code = cl.flush(s.queue);
      if (code == CL_SUCCESS) return BP_OK;
      lock.lock();
    }
    s.batch->failure = fail_cl(s.device, code, "signal", error);
    progress.poison(s.batch->failure);
    return s.batch->failure;
  });
}

bp_status host_wait(bp_timeline* handle, uint64_t value, uint64_t timeout_ns, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Progress& progress = *unwrap(handle)->progress;
    std::unique_lock lock(progress.mutex);
    if (!look_until(progress, lock, timeout_ns, [&] { return progress.value >= value; })) {
      return glue::fail(error, BP_DEADLINE,
                        "the timeline stood at %" PRIu64 " of %" PRIu64 " when time was up",
                        progress.value, value);
    }
    return progress.value >= value ? BP_OK : report_poison(progress.failure, error);
  });
}

// OpenCL cannot wait for what is not enqueued yet: until some stream has signalled the value, the
// calling thread waits; from then on the queue does.
bp_status wait(bp_stream* handle, bp_timeline* timeline, uint64_t value, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Stream& s = *unwrap(handle);
    if (const bp_status status = check_owner(s, *unwrap(timeline), error)) return status;
    Progress& progress = *unwrap(timeline)->progress;
    std::unique_lock lock(progress.mutex);
    look_until(progress, lock, UINT64_MAX, [&] { return progress.signalled >= value; });
    if (progress.value >= value) return BP_OK;
    if (progress.failure != BP_OK) {
      if (s.batch->failure == BP_OK) s.batch->failure = progress.failure;
      return report_poison(progress.failure, error);
    }
    // There is one: the last point is `signalled`.
    const auto at = std::find_if(progress.points.begin(), progress.points.end(),
                                 [&](const auto& point) { return point.value >= value; });
    const std::shared_ptr<Batch> batch = at->batch;
    lock.unlock();
    s.batch->before.push_back(batch);
    return put(&s, "wait", error, {}, [&](cl_event* event) {
      return s.device->cl->enqueue_barrier(s.queue, 1, &batch->marker, event);
    });
  });
}

bp_status query(bp_timeline* handle, uint64_t* value, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const std::shared_ptr<Progress> progress = unwrap(handle)->progress;
    const std::lock_guard lock(progress->mutex);
    progress->advance();
    *value = progress->value;
    return progress->failure == BP_OK ? BP_OK : report_poison(progress->failure, error);
  });
}

}  // namespace

Batch::~Batch() {
  for (const Command& command : commands) device->cl->release_event(command.event);
  if (marker != nullptr) device->cl->release_event(marker);
}

void Batch::drop_front(cl_int status) noexcept {
  if (status < 0 && failure == BP_OK) failure = failed_command(device, status);
  device->cl->release_event(commands.front().event);
  commands.pop_front();
}

void Batch::retire() noexcept {
  while (commands.size() >= kCommandsKept) {
    const cl_int status = status_of(*device->cl, commands.front().event);
    if (status > CL_COMPLETE) return;
    drop_front(status);
  }
}

bool Batch::poll(bp_status* how) noexcept {
  const std::lock_guard lock(device->polling);
  if (!settle()) return false;
  *how = failure;
  return true;
}

// Recurses as deep as signals are under way, which kMaxSignals bounds for a stream.
bool Batch::settle() noexcept {
  if (has_ended_) return true;
  const cl_int status = status_of(*device->cl, marker);
  if (status > CL_COMPLETE) return false;
  for (const auto& earlier : before) {
    earlier->settle();
    if (failure == BP_OK) failure = earlier->failure;
  }
  before.clear();
  while (!commands.empty()) drop_front(status_of(*device->cl, commands.front().event));
  if (status < 0 && failure == BP_OK) failure = failed_command(device, status);
  return has_ended_ = true;
}

Stream::~Stream() {
  if (queue == nullptr) return;
  device->cl->finish(queue);
  batch.reset();
  device->cl->release_queue(queue);
  device->children.fetch_sub(1);
}

void Progress::poison(bp_status why) noexcept {
  if (failure == BP_OK) failure = why;
  points.clear();
  changed.notify_all();
}

void Progress::advance() noexcept {
  bp_status outcome = BP_OK;
  while (!points.empty() && points.front().batch->poll(&outcome)) {
    if (outcome != BP_OK) return poison(outcome);
    value = points.front().value;
    points.pop_front();
  }
}

void drain_timelines(uint64_t deadline_ns) {
  std::set<std::shared_ptr<Progress>> all;
  {
    const std::lock_guard lock(alive_mutex);
    all = alive;
  }
  const auto start = Clock::now();
  for (const auto& progress : all) {
    const uint64_t passed_ns = ns_since(start);
    std::unique_lock lock(progress->mutex);
    look_until(*progress, lock, deadline_ns - std::min(deadline_ns, passed_ns),
               [&] { return progress->points.empty(); });
    progress->poison(BP_CANCELLED);
  }
}

// Recording needs cl_khr_command_buffer, which is provisional; the host's stubs say so.
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

}  // namespace bp::opencl
