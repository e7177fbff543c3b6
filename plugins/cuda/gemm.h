// SPDX-License-Identifier: Apache-2.0
// Interface bp.gemm/1 of the CUDA plugin: products by cuBLASLt, where it is installed.
#pragma once

#include "backplane/event_driver/gemm.h"
#include "plugins/cuda/device.h"

namespace bp::cuda {

extern const bp_gemm_api kGemmApi;

}  // namespace bp::cuda
