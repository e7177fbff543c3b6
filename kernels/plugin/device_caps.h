// SPDX-License-Identifier: Apache-2.0
// What a device's plugin says of it, as the kernel library wants to hear it.
#pragma once

#include "backplane/plugin.h"
#include "core/base/status.h"
#include "kernels/ir/caps.h"

namespace bp::kernels {

// INCOMPATIBLE when the device takes no source text, or that of a dialect that nothing renders.
// What the device does not say counts as absent, so the result is never more than it has.
Result<Caps> caps_of(const bp_device_info& info, const bp_device_caps& caps);

}  // namespace bp::kernels
