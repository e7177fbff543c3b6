// SPDX-License-Identifier: Apache-2.0
// Interface bp.kernel/1 of the kernel plugin: binds to every device that compiles a dialect which
// the kernel library can be rendered to.
#pragma once

#include "kernels/plugin/code.h"
#include "kernels/plugin/device.h"
#include "kernels/plugin/program.h"
#include "kernels/plugin/resident.h"
#include "kernels/plugin/vendor_gemm.h"

namespace bp::kernels {

// The library bound to one device. Thread-safe.
struct Target {
  // `cache` is the plugin's folder for derived data; empty: nothing is kept.
  Target(const Device& bound, const std::string& cache)
      : device(bound),
        code(device, cache.empty() ? cache : cache + "/code"),
        weights(device),
        vendor(device, cache.empty() ? cache : cache + "/choices") {}
  const Device device;
  CodeLibrary code;
  ResidentStore weights;
  VendorGemm vendor;
};

// `host` is what the plugin was initialised with; valid until shutdown.
void set_host(const bp_host* host) noexcept;

extern const bp_kernel_api kKernelApi;

}  // namespace bp::kernels
