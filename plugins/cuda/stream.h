// SPDX-License-Identifier: Apache-2.0
// Interface bp.stream/1 of the CUDA plugin.
#pragma once

#include "backplane/event_driver/stream.h"
#include "plugins/cuda/device.h"

namespace bp::cuda {

using Stream = event_driver::Stream<Driver>;
using Timeline = event_driver::Timeline<Driver>;
using Recording = event_driver::Recording<Driver>;

extern const bp_stream_api kStreamApi;

// Fails every timeline that is alive, so that no thread stays in a wait. Used when quiescing.
void poison_all_timelines(bp_status failure) noexcept;

}  // namespace bp::cuda
