// SPDX-License-Identifier: Apache-2.0
// Runs a case on the machine's Vulkan device (lavapipe in this project's tests).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/testing/opencl.h"

namespace bp::kernels::testing {

// The subgroup size of the device, 0 when there is no device.
uint32_t vulkan_subgroup_size();

// Runs SPIR-V on copies of the case's buffers; subgroup size as the kernel demands it.
Executed run_vulkan(const Case& test, const Kernel& kernel, const std::vector<uint32_t>& spirv);

}  // namespace bp::kernels::testing
