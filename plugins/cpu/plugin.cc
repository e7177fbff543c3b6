// SPDX-License-Identifier: Apache-2.0
// Entry of the CPU plugin: who it is, and its interfaces by name.
#include "backplane/plugin.h"

#include "plugins/cpu/device.h"
#include "plugins/cpu/host.h"
#include "plugins/cpu/isa.h"
#include "plugins/cpu/kernel.h"
#include "plugins/cpu/memory.h"
#include "plugins/cpu/stream.h"

#ifndef BP_CPU_VERSION
#define BP_CPU_VERSION "0.1.0"
#endif

namespace bp::cpu {
namespace {

bp_status probe(const bp_host*, bp_probe_result* out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    bp_probe_result result{};
    result.size = sizeof result;
    result.reason = BP_PROBE_USABLE;
    char isa[64];
    describe_isa(isa, sizeof isa);
    glue::print_text(result.detail, sizeof result.detail, "%s, kernels for %s", isa,
                     isa_name(best_isa()));
    glue::write_struct(out, result);
    return BP_OK;
  });
}

bp_status init(const bp_host* services, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    if (services == nullptr) return glue::fail(error, BP_INVALID_ARGUMENT, "init without a host");
    set_host(services);
    if (!choose_isa_from_environment()) {
      glue::log(services, BP_LOG_WARNING,
                "BACKPLANE_CPU_ISA names no instruction set of this machine; using %s",
                isa_name(active_isa()));
    }
    return BP_OK;
  });
}

bp_status get_interface(const bp_string* id, const void** out, bp_error*) {
  const std::string_view name = glue::view(id);
  *out = nullptr;
  if (name == BP_INTERFACE_DEVICE) *out = &kDeviceApi;
  if (name == BP_INTERFACE_MEMORY) *out = &kMemoryApi;
  if (name == BP_INTERFACE_STREAM) *out = &kStreamApi;
  if (name == BP_INTERFACE_KERNEL) *out = &kKernelApi;
  return BP_OK;
}

// Work runs inside the calls that ask for it, so only waiting threads are left to release.
bp_status quiesce(uint64_t, bp_error* error) {
  return glue::fenced(error, []() -> bp_status {
    poison_all_timelines(BP_CANCELLED);
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
}  // namespace bp::cpu

extern "C" BP_EXPORT bp_status bp_plugin_query_1(const bp_host*, bp_plugin_desc* out, bp_error*) {
  bp_plugin_desc desc{};
  desc.size = sizeof desc;
  desc.abi_minor = BP_ABI_MINOR;
  desc.min_host_minor = 0;
  desc.id = bp::glue::text("cpu");
  desc.version = bp::glue::text(BP_CPU_VERSION);
  desc.build_id = bp::glue::text("cpu-" BP_CPU_VERSION "-" __VERSION__);
  desc.api = &bp::cpu::kPluginApi;
  bp::glue::write_struct(out, desc);
  return BP_OK;
}
