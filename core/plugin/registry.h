// SPDX-License-Identifier: Apache-2.0
// All plugins of the process and the devices they offer.
#pragma once

#include <map>
#include <mutex>

#include "core/plugin/device.h"

namespace bp {

// One line of `backplane plugins`.
struct PluginReport {
  Candidate candidate;
  Plugin* plugin = nullptr;  // null when it could not be loaded
  Status status;             // OK when it is in use
  bool asked = false;        // the plugin was asked to start; until then status says nothing
};

// Thread-safe. Finds plugins on first use, and starts those that are needed, each once a process
// unless that failed.
class Registry {
 public:
  static Registry& shared();

  // Adds a manifest or a folder, ahead of the standard ones. Takes effect at once.
  Status add(const std::filesystem::path& path);
  // What was found, and what became of it, in order of the search.
  std::vector<PluginReport> plugins();
  // Folders that were searched, with the origin of each.
  std::vector<SearchFolder> folders();
  // Devices of all started plugins; unusable ones say why. cpu:0 comes last: the fallback.
  std::vector<DeviceEntry> devices();

  // Starts what that needs: the named plugin and those of kernels alone, or for "auto" all of them.
  // Opens "cpu", "vulkan", "vulkan:1" or "auto" (the first discrete, else integrated, else CPU
  // device). NOT_FOUND lists what there is, UNAVAILABLE says why the plugin is not usable. A plugin
  // that is named and failed before is tried again.
  Result<std::shared_ptr<Device>> open(std::string_view selector);

 private:
  // All of these need mutex_.
  void find();  // manifests, nothing loaded
  void start_all();
  void start_for(std::string_view plugin_id);  // and plugins that bring kernels alone
  void start(PluginReport& report);
  void sort_devices();
  bool has_started(const PluginReport& report) const;
  Status list_devices(Plugin* plugin);
  Result<DeviceEntry> choose(std::string_view selector);

  std::mutex mutex_;  // guards everything below
  bool found_ = false;
  std::vector<std::filesystem::path> given_;
  std::vector<SearchFolder> folders_;
  std::vector<PluginReport> reports_;
  std::map<std::filesystem::path, Plugin*> loaded_;  // by manifest
  std::vector<DeviceEntry> devices_;
  std::map<std::string, std::weak_ptr<Device>> open_;
};

}  // namespace bp
