// SPDX-License-Identifier: Apache-2.0
// Interface bp.kernel/1 of the kernel plugin: binds to every device that compiles a dialect which
// the kernel library can be rendered to.
#pragma once

#include "kernels/plugin/code.h"
#include "kernels/plugin/device.h"
#include "kernels/plugin/program.h"
#include "kernels/plugin/resident.h"

namespace bp::kernels {

// The library bound to one device. Thread-safe.
struct Target {
  Target(const Device& bound, std::string code_folder)
      : device(bound), code(device, std::move(code_folder)), weights(device) {}
  const Device device;
  CodeLibrary code;
  ResidentStore weights;
};

// `host` is what the plugin was initialised with; valid until shutdown.
void set_host(const bp_host* host) noexcept;

extern const bp_kernel_api kKernelApi;

}  // namespace bp::kernels
