// SPDX-License-Identifier: Apache-2.0
// Interface bp.device/1 of the CUDA plugin: GPUs as the driver describes them.
#pragma once

#include "backplane/event_driver/device.h"
#include "plugins/cuda/driver.h"

namespace bp::cuda {

using Device = event_driver::Device<Driver>;

extern const bp_device_api kDeviceApi;

}  // namespace bp::cuda
