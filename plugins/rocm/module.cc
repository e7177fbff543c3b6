// SPDX-License-Identifier: Apache-2.0
#include "plugins/rocm/module.h"

namespace bp::rocm {

// The name with its features ("gfx90a:sramecc+:xnack-"), so that the code is for exactly this mode.
// hipRTC 5.2 ends the process when it compiles for gfx11. Libraries of AMD's name gfx11 from 5.5 on
// (rocWMMA 1.0); what lies between has not been tried.
bp_status Driver::target_option(const std::string& target, std::string* option,
                                bp_error* error) const {
  constexpr int kFirstVersionForGfx11 = 50500000;
  const bool is_new = target.rfind("gfx11", 0) == 0 || target.rfind("gfx12", 0) == 0;
  if (is_new && version < kFirstVersionForGfx11) {
    return glue::fail(error, BP_INCOMPATIBLE,
                      "ROCm %d.%d does not compile for %s; 5.5 or a newer one is needed",
                      version / 10000000, version / 100000 % 100, target.c_str());
  }
  *option = "--offload-arch=" + target;
  return BP_OK;
}

const bp_module_api kModuleApi = event_driver::ModuleSlots<Driver>::kTable;

}  // namespace bp::rocm
