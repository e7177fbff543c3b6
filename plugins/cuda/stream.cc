// SPDX-License-Identifier: Apache-2.0
#include "plugins/cuda/stream.h"

namespace bp::cuda {

const bp_stream_api kStreamApi = event_driver::StreamSlots<Driver>::kTable;

void poison_all_timelines(bp_status failure) noexcept {
  event_driver::StreamSlots<Driver>::poison_all_timelines(failure);
}

}  // namespace bp::cuda
