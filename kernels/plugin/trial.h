// SPDX-License-Identifier: Apache-2.0
// Kernels of ours against the vendor's library: both compute the same pass on the device, with the
// op's own weights and random activations, and the faster one stays. Only while an op is prepared.
#pragma once

#include "kernels/plugin/program.h"
#include "kernels/plugin/provider.h"

namespace bp::kernels {

// Replaces the launches of every variant whose rival is to be used, and drops all rivals. Equal ops
// of a device are tried once. A rival that cannot be prepared, fails or computes something else
// loses with a warning; the only failure that comes back is the loss of the device.
Status settle_rivals(Target* target, PreparedKernel* kernel, const ops::Ranges& ranges);

}  // namespace bp::kernels
