// SPDX-License-Identifier: Apache-2.0
// Interface bp.module/1 of the CUDA plugin: CUDA C to cubin through NVRTC.
#pragma once

#include "backplane/event_driver/module.h"
#include "plugins/cuda/device.h"

namespace bp::cuda {

using Module = event_driver::Module<Driver>;
using Function = event_driver::Function<Driver>;

extern const bp_module_api kModuleApi;

}  // namespace bp::cuda
