// SPDX-License-Identifier: Apache-2.0
#include "plugins/rocm/memory.h"

namespace bp::rocm {

const bp_memory_api kMemoryApi = event_driver::MemorySlots<Driver>::kTable;

}  // namespace bp::rocm
