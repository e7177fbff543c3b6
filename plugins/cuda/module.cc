// SPDX-License-Identifier: Apache-2.0
#include "plugins/cuda/module.h"

namespace bp::cuda {

// The newest architecture that the compiler knows and the device runs: its own, or an older one of
// the same major version, whose code is compatible.
bp_status Driver::target_option(const std::string& target, std::string* option,
                                bp_error* error) const {
  const int own = std::atoi(target.c_str() + 3);
  int count = 0;
  std::vector<int> known;
  if (arch_count(&count) == 0 && count > 0) known.resize(static_cast<size_t>(count));
  if (!known.empty() && archs(known.data()) != 0) known.clear();
  int best = 0;
  for (const int arch : known) {
    if (arch <= own && arch / 10 == own / 10) best = std::max(best, arch);
  }
  if (best == 0) {
    return glue::fail(error, BP_INCOMPATIBLE,
                      "NVRTC %d.%d does not compile for %s; another version of NVRTC is needed",
                      compiler_major, compiler_minor, target.c_str());
  }
  *option = "--gpu-architecture=sm_" + std::to_string(best);
  return BP_OK;
}

const bp_module_api kModuleApi = event_driver::ModuleSlots<Driver>::kTable;

}  // namespace bp::cuda
