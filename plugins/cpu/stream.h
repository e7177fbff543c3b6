// SPDX-License-Identifier: Apache-2.0
// Interface bp.stream/1 of the CPU plugin. Streams are synchronous: whatever is put on one has
// run when the call returns, and a failure is what the call returns. Timelines exist so that
// threads can wait for each other and so that hosts need one way of working only.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "plugins/cpu/device.h"

namespace bp::cpu {

struct Stream {
  Device* device = nullptr;
};
BP_PLUGIN_HANDLE(bp_stream, Stream)

// A counter that only rises. Once poisoned it answers every query and wait with the failure.
struct Timeline {
  Device* device = nullptr;
  std::mutex mutex;
  std::condition_variable raised;
  uint64_t value = 0;         // guarded by mutex
  bp_status failure = BP_OK;  // guarded by mutex
  Timeline* next = nullptr;   // list of all, guarded by the list's own mutex
  Timeline* previous = nullptr;
};
BP_PLUGIN_HANDLE(bp_timeline, Timeline)

extern const bp_stream_api kStreamApi;

// Fails every timeline that is alive, so that no thread stays in a wait. Used when quiescing.
void poison_all_timelines(bp_status failure) noexcept;

}  // namespace bp::cpu
