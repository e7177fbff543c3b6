// SPDX-License-Identifier: Apache-2.0
// Lets a test program run out of memory at a chosen allocation. For tests only: linking
// allocation_hook.cc replaces operator new of the whole program.
#pragma once

#include <cstdint>

namespace bp::testing {

// Allocations that still succeed on this thread; negative (the default): all of them.
extern constinit thread_local int64_t allocations_left;

}  // namespace bp::testing
