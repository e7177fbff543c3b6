// SPDX-License-Identifier: Apache-2.0
// Entry of the Vulkan plugin: who it is, and its interfaces by name.
#include "backplane/plugin.h"

#include "plugins/vulkan/module.h"

#ifndef BP_VULKAN_VERSION
#define BP_VULKAN_VERSION "0.1.0"
#endif

namespace bp::vulkan {
namespace {

bp_status probe(const bp_host* services, bp_probe_result* out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    if (host() == nullptr) set_host(services);
    glue::write_struct(out, driver()->verdict);
    return BP_OK;
  });
}

bp_status init(const bp_host* services, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    if (services == nullptr) return glue::fail(error, BP_INVALID_ARGUMENT, "init without a host");
    set_host(services);
    const bp_probe_result& verdict = driver()->verdict;
    if (verdict.reason == BP_PROBE_USABLE) return BP_OK;
    return glue::fail(error, BP_UNAVAILABLE, "vulkan: %s", verdict.detail);
  });
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
    quiesce_devices(deadline_ns);
    return BP_OK;
  });
}

// A device that is still open keeps its driver: its owner may yet close it.
bp_status shutdown(bp_error* error) {
  return glue::fenced(error, []() -> bp_status {
    if (open_devices() == 0) unload_driver();
    set_host(nullptr);
    return BP_OK;
  });
}

constexpr bp_plugin_api kPluginApi = {
    sizeof(bp_plugin_api), 0, probe, init, get_interface, quiesce, shutdown,
};

}  // namespace
}  // namespace bp::vulkan

extern "C" BP_EXPORT bp_status bp_plugin_query_1(const bp_host*, bp_plugin_desc* out, bp_error*) {
  bp_plugin_desc desc{};
  desc.size = sizeof desc;
  desc.abi_minor = BP_ABI_MINOR;
  desc.min_host_minor = 0;
  desc.id = bp::glue::text("vulkan");
  desc.version = bp::glue::text(BP_VULKAN_VERSION);
  desc.build_id = bp::glue::text("vulkan-" BP_VULKAN_VERSION "-" __VERSION__);
  desc.api = &bp::vulkan::kPluginApi;
  bp::glue::write_struct(out, desc);
  return BP_OK;
}
