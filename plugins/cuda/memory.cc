// SPDX-License-Identifier: Apache-2.0
#include "plugins/cuda/memory.h"

namespace bp::cuda {

const bp_memory_api kMemoryApi = event_driver::MemorySlots<Driver>::kTable;

}  // namespace bp::cuda
