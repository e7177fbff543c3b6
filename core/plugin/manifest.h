// SPDX-License-Identifier: Apache-2.0
// The JSON file beside a plugin's library. It is read before anything is loaded, so that every
// candidate can be listed with a verdict even when its library is missing or foreign.
//
//   {"id": "cpu", "version": "0.1.0", "abi": {"major": 1, "min_minor": 0},
//    "library": "libbackplane-cpu.so", "kinds": ["device", "memory", "kernel"],
//    "dialects": [], "description": "…"}
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace bp {

struct Manifest {
  std::string id;
  std::string version;
  uint32_t abi_major = 0;
  uint32_t abi_min_minor = 0;      // least minor of the host that the plugin needs
  std::filesystem::path library;   // absolute, inside the manifest's folder or below it
  std::vector<std::string> kinds;  // "device", "memory", "stream", "module", "kernel"
  std::vector<std::string> dialects;
  std::string description;
};

// Parses the text of a manifest that lies in `folder`. CORRUPT names the key that is wrong;
// unknown keys are ignored.
Result<Manifest> parse_manifest(std::string_view text, const std::filesystem::path& folder);

// Is this an id that manifests and plugins may carry: 1 to 64 of [a-z0-9._-], a letter first?
bool is_plugin_id(std::string_view id);

}  // namespace bp
