// SPDX-License-Identifier: Apache-2.0
// Interface bp.gemm/1 of the ROCm plugin: products by hipBLASLt, where it is installed.
#pragma once

#include "backplane/event_driver/gemm.h"
#include "plugins/rocm/device.h"

namespace bp::rocm {

extern const bp_gemm_api kGemmApi;

}  // namespace bp::rocm
