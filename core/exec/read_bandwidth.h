// SPDX-License-Identifier: Apache-2.0
// How fast a device reads its own memory, measured now with a kernel of its own.
#pragma once

#include "core/plugin/device.h"

namespace bp {

// Bytes per second, the best of several passes over more memory than caches hold: the limit that
// decoding runs against. UNIMPLEMENTED where no provider of the device offers `row_sums`. Blocking,
// well below a second; takes up to a quarter of the device's free memory while it runs.
Result<double> measure_read_bandwidth(Device& device);

}  // namespace bp
