// SPDX-License-Identifier: Apache-2.0
// Interface bp.device/1 of the ROCm plugin: GPUs as the driver describes them.
#pragma once

#include "backplane/event_driver/device.h"
#include "plugins/rocm/driver.h"

namespace bp::rocm {

using Device = event_driver::Device<Driver>;

extern const bp_device_api kDeviceApi;

}  // namespace bp::rocm
