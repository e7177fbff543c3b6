// SPDX-License-Identifier: Apache-2.0
// Facts about the process and where it lives.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "core/base/status.h"

namespace bp {

// Folder of the object file that contains this library's code: libbackplane.so when it is a
// shared library, else the program. Empty when the system does not say.
std::filesystem::path library_folder();
// Folder of the running program. Empty when the system does not say.
std::filesystem::path program_folder();
// $XDG_CACHE_HOME/backplane or ~/.cache/backplane; empty when neither variable is set.
std::filesystem::path cache_folder();
// Does the process run with raised privileges (set-user-id and the like), so that its
// environment must not be believed?
bool runs_privileged();
// An environment variable, unless the process is privileged or the variable is empty.
std::optional<std::string> environment(const char* name);
// CPUs this process may use: affinity mask, capped by the control group's quota. At least 1.
uint32_t available_cpus();
// Highest resident set size so far, in bytes.
uint64_t peak_resident_bytes();

// DENIED when others could have put the file there: group- or world-writable, or owned by a user
// other than root and the effective one. Applies to the file and to its folder.
Status check_trusted(const std::filesystem::path& path);

}  // namespace bp
