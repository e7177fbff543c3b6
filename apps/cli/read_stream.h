// SPDX-License-Identifier: Apache-2.0
// How fast this machine reads memory, the limit of decoding on a CPU.
#pragma once

#include <cstdint>

namespace bp::cli {

// GB/s of `threads` threads that each sum their own part of a 1 GiB buffer once. 0 when there is
// no memory for it.
double measure_read_stream(uint32_t threads);

}  // namespace bp::cli
