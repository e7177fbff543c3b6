// SPDX-License-Identifier: Apache-2.0
#include "plugins/rocm/module.h"

namespace bp::rocm {

// The name with its features ("gfx90a:sramecc+:xnack-"), so that the code is for exactly this mode.
bp_status Driver::target_option(const std::string& target, std::string* option, bp_error*) const {
  *option = "--offload-arch=" + target;
  return BP_OK;
}

const bp_module_api kModuleApi = event_driver::ModuleSlots<Driver>::kTable;

}  // namespace bp::rocm
