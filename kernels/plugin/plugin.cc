// SPDX-License-Identifier: Apache-2.0
// Entry of the kernel plugin: every GPU kernel of Backplane, for any device that compiles source
// text. It owns no device.
#include "backplane/plugin.h"

#include "kernels/plugin/provider.h"

#ifndef BP_KERNELS_VERSION
#define BP_KERNELS_VERSION "0.1.0"
#endif

namespace bp::kernels {
namespace {

bp_status probe(const bp_host*, bp_probe_result* out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    bp_probe_result result{};
    result.size = sizeof result;
    result.reason = BP_PROBE_USABLE;
    glue::copy_text(result.detail, sizeof result.detail,
                    "kernels for devices that compile cuda, hip, opencl or glsl");
    glue::write_struct(out, result);
    return BP_OK;
  });
}

bp_status init(const bp_host* host, bp_error* error) {
  if (host == nullptr) return glue::fail(error, BP_INVALID_ARGUMENT, "init without a host");
  set_host(host);
  return BP_OK;
}

bp_status get_interface(const bp_string* id, const void** out, bp_error*) {
  const std::string_view wanted = glue::view(id);
  *out = nullptr;
  if (wanted == BP_INTERFACE_KERNEL) *out = &kKernelApi;
  if (wanted == BP_INTERFACE_TUNE) *out = &kTuneApi;
  return BP_OK;
}

// Work runs on streams of devices, whose plugins finish it.
bp_status quiesce(uint64_t, bp_error*) {
  return BP_OK;
}

bp_status shutdown(bp_error*) {
  set_host(nullptr);
  return BP_OK;
}

constexpr bp_plugin_api kPluginApi = {
    sizeof(bp_plugin_api), 0, probe, init, get_interface, quiesce, shutdown,
};

}  // namespace
}  // namespace bp::kernels

extern "C" BP_EXPORT bp_status bp_plugin_query_1(const bp_host*, bp_plugin_desc* out, bp_error*) {
  bp_plugin_desc desc{};
  desc.size = sizeof desc;
  desc.abi_minor = BP_ABI_MINOR;
  desc.min_host_minor = 0;
  desc.id = bp::glue::text("kernels");
  desc.version = bp::glue::text(BP_KERNELS_VERSION);
  desc.build_id = bp::glue::text("kernels-" BP_KERNELS_VERSION "-" __VERSION__);
  desc.api = &bp::kernels::kPluginApi;
  bp::glue::write_struct(out, desc);
  return BP_OK;
}
