// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/report.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace bp::conformance {

const char* kind_name(Verdict::Kind kind) {
  switch (kind) {
    case Verdict::Kind::kPass:
      return "pass";
    case Verdict::Kind::kSkip:
      return "skip";
    default:
      return "fail";
  }
}

void Report::begin_plugin(std::string id, std::string version) {
  if (!plugin_.empty()) return;  // a child that was started again says it again
  plugin_ = std::move(id);
  version_ = std::move(version);
  devices_.push_back({});
  if (print_) fmt::print("{} {}\n", plugin_, version_);
}

void Report::begin_device(std::string id, std::string name) {
  if (!devices_.empty() && devices_.back().id == id) return;
  devices_.push_back({std::move(id), std::move(name), {}});
  if (print_) fmt::print("{}  {}\n", devices_.back().id, devices_.back().name);
}

void Report::add(CheckResult result) {
  if (devices_.empty()) devices_.push_back({});
  if (print_) {
    fmt::print("  {}  {:<36}  {}\n",
               result.kind == Verdict::Kind::kFail ? "FAIL" : kind_name(result.kind), result.name,
               result.detail);
    std::fflush(stdout);
  }
  devices_.back().checks.push_back(std::move(result));
}

void Report::add_coverage(const CoverageKey& key, const Coverage& counts) {
  Coverage& total = coverage_[key];
  total.asked += counts.asked;
  total.claimed += counts.claimed;
  total.runs += counts.runs;
}

void Report::set_unusable(std::string why) {
  unusable_ = std::move(why);
  if (print_) fmt::print("skipped: the plugin cannot run on this machine: {}\n", unusable_);
}

uint64_t Report::count(Verdict::Kind kind) const {
  uint64_t out = 0;
  for (const DeviceReport& device : devices_) {
    for (const CheckResult& result : device.checks) out += result.kind == kind ? 1 : 0;
  }
  return out;
}

void Report::print_summary() const {
  if (is_unusable()) return;
  if (!coverage_.empty()) {
    fmt::print("\ncoverage         format   asked  claimed  runs compared\n");
    for (const auto& [key, counts] : coverage_) {
      fmt::print("{:<16} {:<8} {:>5}  {:>7}  {:>13}\n", key.first, key.second, counts.asked,
                 counts.claimed, counts.runs);
    }
  }
  const uint64_t failed = count(Verdict::Kind::kFail);
  fmt::print("\n{}: {} passed, {} failed, {} skipped: {}\n", plugin_, count(Verdict::Kind::kPass),
             failed, count(Verdict::Kind::kSkip), failed == 0 ? "conforms" : "DOES NOT CONFORM");
}

std::string Report::json() const {
  nlohmann::ordered_json out;
  out["plugin"] = plugin_;
  out["version"] = version_;
  if (is_unusable()) out["skipped"] = unusable_;
  out["checks"] = nlohmann::ordered_json::array();
  out["devices"] = nlohmann::ordered_json::array();
  for (const DeviceReport& device : devices_) {
    nlohmann::ordered_json checks = nlohmann::ordered_json::array();
    for (const CheckResult& result : device.checks) {
      checks.push_back(
          {{"name", result.name}, {"status", kind_name(result.kind)}, {"detail", result.detail}});
    }
    if (device.id.empty()) {
      for (auto& check : checks) out["checks"].push_back(std::move(check));
    } else {
      out["devices"].push_back(
          {{"id", device.id}, {"name", device.name}, {"checks", std::move(checks)}});
    }
  }
  out["summary"] = {{"pass", count(Verdict::Kind::kPass)},
                    {"fail", count(Verdict::Kind::kFail)},
                    {"skip", count(Verdict::Kind::kSkip)}};
  out["coverage"] = nlohmann::ordered_json::array();
  for (const auto& [key, counts] : coverage_) {
    out["coverage"].push_back({{"op", key.first},
                               {"format", key.second},
                               {"asked", counts.asked},
                               {"claimed", counts.claimed},
                               {"runs", counts.runs}});
  }
  // Text of plugins may be anything; what is no UTF-8 is replaced.
  return out.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace bp::conformance
