// SPDX-License-Identifier: Apache-2.0
// For tests: how much memory does the code under test ask for at once? Linking allocation_watch.cc
// replaces operator new of the whole program.
#pragma once

#include <atomic>
#include <cstddef>

namespace bp {

// Bytes of the largest allocation by operator new so far; assign 0 to begin anew.
std::atomic<size_t>& largest_allocation();

}  // namespace bp
