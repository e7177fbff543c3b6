// SPDX-License-Identifier: Apache-2.0
// Interface bp.memory/1 of the CUDA plugin.
#pragma once

#include "backplane/event_driver/memory.h"
#include "plugins/cuda/device.h"

namespace bp::cuda {

using Buffer = event_driver::Buffer<Driver>;

extern const bp_memory_api kMemoryApi;

}  // namespace bp::cuda
