// SPDX-License-Identifier: Apache-2.0
// Interface bp.stream/1 of the OpenCL plugin: an in-order queue for each stream, and timelines made
// of events.
//
// Drivers differ in whether a failed command fails the ones behind it, so failures are followed on
// the host: the commands between two signals are a batch, a batch knows the batches it came after,
// and a timeline's value is reached when its batch has ended without a failure anywhere before.
//
// Threads that wait look at the events. Callbacks of the driver would spare them that, but a thread
// of the driver holds the event, and so the context, until after its callback: on NVIDIA's (580)
// a device that was closed meanwhile lost its context there, on a thread that the end of a context
// waits for, and neither ever returned.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "plugins/opencl/memory.h"

namespace bp::opencl {

struct Command {
  cl_event event = nullptr;
  std::unique_ptr<std::byte[]> staged;  // bytes that the command reads
};

class Batch {
 public:
  explicit Batch(Device* owner) : device(owner) {}
  ~Batch();
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  // Has everything ended? Then *how says whether well. Thread-safe once `marker` is set.
  bool poll(bp_status* how) noexcept;
  // Drops commands that have ended, from the front; only when there are many.
  void retire() noexcept;

  // The stream's thread alone uses these until `marker` is set; then Device::polling guards them.
  Device* const device;
  cl_event marker = nullptr;                   // ends last
  bp_status failure = BP_OK;                   // first one seen
  std::deque<Command> commands;                // not yet looked at
  std::vector<std::shared_ptr<Batch>> before;  // of this stream, and of those waited for

 private:
  bool settle() noexcept;  // with the mutex held
  void drop_front(cl_int status) noexcept;
  bool has_ended_ = false;
};

struct Stream {
  Device* device = nullptr;
  cl_command_queue queue = nullptr;
  std::shared_ptr<Batch> batch;  // still open
  uint32_t signals = 0;          // since the queue was last known to be empty
  ~Stream();
};
BP_PLUGIN_HANDLE(bp_stream, Stream)

// How far a timeline is.
struct Progress {
  struct Point {
    uint64_t value;
    std::shared_ptr<Batch> batch;
  };
  std::condition_variable changed;  // by a signal or a failure; ends of commands change nothing
  std::mutex mutex;                 // of everything below
  uint64_t value = 0;
  uint64_t signalled = 0;     // largest value handed to signal
  bp_status failure = BP_OK;  // poisoned for ever
  std::deque<Point> points;   // signalled, not reached

  // Both with the mutex held.
  void advance() noexcept;
  void poison(bp_status why) noexcept;
};

struct Timeline {
  Device* device = nullptr;
  std::shared_ptr<Progress> progress = std::make_shared<Progress>();
};
BP_PLUGIN_HANDLE(bp_timeline, Timeline)

extern const bp_stream_api kStreamApi;

// Puts a command on the stream: call(cl_event*) enqueues it and returns the driver's code, which
// fails the stream, and so the timelines that it signals later, when it is an error.
template <class Call>
bp_status put(Stream* stream, const char* what, bp_error* error, Command command,
              const Call& call) noexcept {
  return glue::fenced(error, [&]() -> bp_status {
    Batch& batch = *stream->batch;
    if (batch.device->is_lost.load()) batch.failure = BP_DEVICE_LOST;
    if (batch.failure != BP_OK) {
      return glue::fail(error, batch.failure, "%s: the stream failed with status %d before", what,
                        batch.failure);
    }
    batch.retire();
    batch.commands.push_back(std::move(command));
    const cl_int code = call(&batch.commands.back().event);
    if (code == CL_SUCCESS) return BP_OK;
    batch.commands.pop_back();
    return batch.failure = fail_cl(batch.device, code, what, error);
  });
}

// Waits up to deadline_ns for what was signalled, then fails every timeline that is alive with
// BP_CANCELLED, so that no thread stays in a wait.
void drain_timelines(uint64_t deadline_ns);

}  // namespace bp::opencl
