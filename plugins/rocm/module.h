// SPDX-License-Identifier: Apache-2.0
// Interface bp.module/1 of the ROCm plugin: HIP C to code objects through hipRTC.
#pragma once

#include "backplane/event_driver/module.h"
#include "plugins/rocm/device.h"

namespace bp::rocm {

using Module = event_driver::Module<Driver>;
using Function = event_driver::Function<Driver>;

extern const bp_module_api kModuleApi;

}  // namespace bp::rocm
