// SPDX-License-Identifier: Apache-2.0
// What came out: a table for people while it happens, and JSON for programs at the end.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sdk/conformance/context.h"

namespace bp::conformance {

struct CheckResult {
  std::string name;
  Verdict::Kind kind = Verdict::Kind::kFail;
  std::string detail;
};

struct DeviceReport {
  std::string id;    // "vulkan:0"; empty for checks of the plugin as a whole
  std::string name;  // of the device
  std::vector<CheckResult> checks;
};

class Report {
 public:
  // `print`: write lines to stdout as results come.
  explicit Report(bool print) : print_(print) {}

  void begin_plugin(std::string id, std::string version);
  void begin_device(std::string id, std::string name);
  void add(CheckResult result);
  void add_coverage(const CoverageKey& key, const Coverage& counts);
  // The plugin cannot run on this machine: nothing else is to come.
  void set_unusable(std::string why);

  bool is_unusable() const noexcept { return !unusable_.empty(); }
  uint64_t count(Verdict::Kind kind) const;
  void print_summary() const;
  std::string json() const;

 private:
  bool print_;
  std::string plugin_, version_, unusable_;
  std::vector<DeviceReport> devices_;
  std::map<CoverageKey, Coverage> coverage_;
};

// "pass", "fail", "skip"
const char* kind_name(Verdict::Kind kind);

}  // namespace bp::conformance
