// SPDX-License-Identifier: Apache-2.0
// Entry of the ROCm plugin: who it is, and its interfaces by name.
#include "backplane/plugin.h"

#include "plugins/rocm/device.h"
#include "plugins/rocm/gemm.h"
#include "plugins/rocm/memory.h"
#include "plugins/rocm/module.h"
#include "plugins/rocm/stream.h"

#ifndef BP_ROCM_VERSION
#define BP_ROCM_VERSION "0.1.0"
#endif

namespace bp::rocm {
namespace {

bp_status probe(const bp_host*, bp_probe_result* out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    glue::write_struct(out, probe_driver());
    return BP_OK;
  });
}

bp_status init(const bp_host*, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const bp_probe_result result = probe_driver();
    if (result.reason == BP_PROBE_USABLE) return BP_OK;
    return glue::fail(error, BP_UNAVAILABLE, "%s", result.detail);
  });
}

bp_status get_interface(const bp_string* id, const void** out, bp_error*) {
  const std::string_view name = glue::view(id);
  *out = nullptr;
  if (name == BP_INTERFACE_DEVICE) *out = &kDeviceApi;
  if (name == BP_INTERFACE_MEMORY) *out = &kMemoryApi;
  if (name == BP_INTERFACE_STREAM) *out = &kStreamApi;
  if (name == BP_INTERFACE_MODULE) *out = &kModuleApi;
  if (name == BP_INTERFACE_GEMM) *out = &kGemmApi;
  return BP_OK;
}

// Work on the device ends by itself; threads that wait for it are released.
bp_status quiesce(uint64_t, bp_error* error) {
  return glue::fenced(error, []() -> bp_status {
    poison_all_timelines(BP_CANCELLED);
    return BP_OK;
  });
}

// What was opened is closed by whoever opened it; the driver stays until the process ends.
bp_status shutdown(bp_error*) {
  return BP_OK;
}

constexpr bp_plugin_api kPluginApi = {
    sizeof(bp_plugin_api), 0, probe, init, get_interface, quiesce, shutdown,
};

}  // namespace
}  // namespace bp::rocm

extern "C" BP_EXPORT bp_status bp_plugin_query_1(const bp_host*, bp_plugin_desc* out, bp_error*) {
  bp_plugin_desc desc{};
  desc.size = sizeof desc;
  desc.abi_minor = BP_ABI_MINOR;
  desc.min_host_minor = 0;
  desc.id = bp::glue::text("rocm");
  desc.version = bp::glue::text(BP_ROCM_VERSION);
  desc.build_id = bp::glue::text("rocm-" BP_ROCM_VERSION "-" __VERSION__);
  desc.api = &bp::rocm::kPluginApi;
  bp::glue::write_struct(out, desc);
  return BP_OK;
}
