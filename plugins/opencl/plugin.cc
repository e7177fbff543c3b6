// SPDX-License-Identifier: Apache-2.0
// Entry of the OpenCL plugin: who it is, and its interfaces by name.
#include "backplane/plugin.h"

#include "plugins/opencl/device.h"
#include "plugins/opencl/memory.h"
#include "plugins/opencl/module.h"
#include "plugins/opencl/stream.h"

#ifndef BP_OPENCL_VERSION
#define BP_OPENCL_VERSION "0.1.0"
#endif

namespace bp::opencl {
namespace {

bp_status probe(const bp_host*, bp_probe_result* out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Verdict verdict;
    const auto devices = physical_devices(&verdict);
    if (!devices.empty()) {
      const bp_device_info& first = devices.front()->info;
      verdict.detail = std::to_string(devices.size()) + " OpenCL device(s), first " + first.name +
                       ", driver " + first.driver;
    }
    bp_probe_result result{};
    result.size = sizeof result;
    result.reason = verdict.reason;
    glue::copy_text(result.detail, sizeof result.detail, verdict.detail);
    glue::write_struct(out, result);
    return BP_OK;
  });
}

bp_status init(const bp_host* services, bp_error* error) {
  if (services == nullptr) return glue::fail(error, BP_INVALID_ARGUMENT, "init without a host");
  set_host(services);
  return BP_OK;
}

bp_status get_interface(const bp_string* id, const void** out, bp_error*) {
  const std::string_view name = glue::view(id);
  *out = nullptr;
  if (name == BP_INTERFACE_DEVICE) *out = &kDeviceApi;
  if (name == BP_INTERFACE_MEMORY) *out = &kMemoryApi;
  if (name == BP_INTERFACE_STREAM) *out = &kStreamApi;
  if (name == BP_INTERFACE_MODULE) *out = &kModuleApi;
  return BP_OK;
}

bp_status quiesce(uint64_t deadline_ns, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    drain_timelines(deadline_ns);
    return BP_OK;
  });
}

bp_status shutdown(bp_error*) {
  set_host(nullptr);
  return BP_OK;
}

constexpr bp_plugin_api kPluginApi = {
    sizeof(bp_plugin_api), 0, probe, init, get_interface, quiesce, shutdown,
};

}  // namespace
}  // namespace bp::opencl

extern "C" BP_EXPORT bp_status bp_plugin_query_1(const bp_host*, bp_plugin_desc* out, bp_error*) {
  bp_plugin_desc desc{};
  desc.size = sizeof desc;
  desc.abi_minor = BP_ABI_MINOR;
  desc.min_host_minor = 0;
  desc.id = bp::glue::text("opencl");
  desc.version = bp::glue::text(BP_OPENCL_VERSION);
  desc.build_id = bp::glue::text("opencl-" BP_OPENCL_VERSION "-" __VERSION__);
  desc.api = &bp::opencl::kPluginApi;
  bp::glue::write_struct(out, desc);
  return BP_OK;
}
