// SPDX-License-Identifier: Apache-2.0
// Interface bp.stream/1 of the Vulkan plugin.
//
// A stream writes a batch of commands until a signal ends and submits it. All streams share the
// device's queue, which runs batches in the order of their submission; so a batch that waits for a
// value which nobody has submitted yet is held back until somebody has, or it would block the very
// batch that it waits for. Every batch raises its stream's own semaphore: what it used is then
// taken back, and what it read is copied to the host's memory.
#pragma once

#include <deque>

#include "plugins/vulkan/recording.h"

namespace bp::vulkan {

// A counter that only rises. It fails when its device fails, and only then.
struct Timeline {
  Device* device = nullptr;
  VkSemaphore semaphore = VK_NULL_HANDLE;
  uint64_t signalled = 0;          // last value asked for; guarded by the device's mutex
  uint64_t submitted = 0;          // last value given to the queue; guarded likewise
  std::shared_ptr<Timeline> self;  // until destroyed; batches that name it hold it too

  ~Timeline();
};
BP_PLUGIN_HANDLE(bp_timeline, Timeline)

struct Point {
  std::shared_ptr<Timeline> timeline;
  uint64_t value;
};

// Bytes to be copied when a batch has run, from staging memory to the host's.
struct ReadBack {
  void* to;
  const std::byte* from;
  uint64_t bytes;
};

struct Batch {
  explicit Batch(Device* device) : recording(device) {}
  Recording recording;
  std::vector<std::shared_ptr<Recording>> replays;
  std::vector<std::unique_ptr<Buffer>> blocks;  // staging memory
  uint64_t block_used = 0;                      // bytes of the last block
  std::vector<ReadBack> reads;
  std::vector<Point> waits, signals;
  uint64_t value = 0;  // that the stream's semaphore gets
};

struct Stream {
  Device* device = nullptr;
  VkSemaphore semaphore = VK_NULL_HANDLE;
  std::unique_ptr<Batch> open;         // being written, by the stream's thread alone
  std::shared_ptr<Recording> capture;  // between capture_begin and capture_end
  uint64_t block_count = 0;            // staging blocks that exist; the stream's thread alone
  // All below guarded by the device's mutex.
  uint64_t last_value = 0;       // of the batches closed so far
  uint64_t submitted_value = 0;  // of the batches given to the queue
  std::deque<std::unique_ptr<Batch>> held, running;
  std::vector<std::unique_ptr<Batch>> idle;
  std::vector<std::unique_ptr<Buffer>> spare_blocks;

  ~Stream();
  // Where the next command goes: the batch being written, or the capture. Commands that cannot be
  // captured pass `capturable` = false.
  bp_status recorder(const char* what, bool capturable, Recording** out, bp_error* error);
};
BP_PLUGIN_HANDLE(bp_stream, Stream)

extern const bp_stream_api kStreamApi;

// Waits until what the device's streams have submitted has run, at most `timeout_ns`.
void wait_for_streams(Device* device, uint64_t timeout_ns);

// ---- between stream.cc and queue.cc ----------------------------------------------------------

// Makes stream->open if there is none. Blocks while too many batches are running.
bp_status open_batch(Stream* stream, bp_error* error);
// Closes stream->open and gives it to the queue, or holds it back.
bp_status submit_batch(Stream* stream, bp_error* error);
// Waits for the oldest running batch; returns at once if none is running.
bp_status wait_for_oldest(Stream* stream, bp_error* error);
// Takes back what batches that have run were using. The device's mutex is held.
void collect(Stream* stream);
// Waits for all of a stream's batches, held ones included, unless the device fails.
void drain(Stream* stream);
// Waits in slices, so that a failure of the device ends the wait. BP_DEADLINE after timeout_ns.
bp_status wait_semaphore(Device* device, VkSemaphore semaphore, uint64_t value, uint64_t timeout_ns,
                         bp_error* error);
bp_status make_semaphore(Device* device, VkSemaphore* out, bp_error* error);

}  // namespace bp::vulkan
