// SPDX-License-Identifier: Apache-2.0
// The process that loads the plugin and runs the checks. It reports each step through a pipe, so
// that its supervisor knows what ran when it dies.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sdk/conformance/context.h"

namespace bp::conformance {

struct Settings {
  std::filesystem::path manifest;              // absolute
  std::vector<std::filesystem::path> kernels;  // absolute; empty: the manifest's neighbours
  int64_t device = -1;                         // −1: all of them
  std::string filter;                          // regular expression on names, empty: all
  bool verbose = false;
  Options options;
};

// Lines that cross the pipe: one JSON object each, or an empty line as a sign of life.
//   {"event": "plugin", "id", "version"}             {"event": "unusable", "why"}
//   {"event": "device", "id", "name"}                {"event": "start", "index", "name"}
//   {"event": "end", "status", "detail", "coverage"} {"event": "done"}
//
// Runs all checks from number `first` on and writes to `pipe`. Never throws.
void run_checks(const Settings& settings, uint64_t first, int pipe) noexcept;

}  // namespace bp::conformance
