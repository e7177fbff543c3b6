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
};

// Thread-safe. Scans, loads and starts plugins on first use; each plugin once per process.
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

  // Opens "cpu", "vulkan", "vulkan:1" or "auto" (the first discrete, else integrated, else CPU
  // device). NOT_FOUND lists what there is, UNAVAILABLE says why the plugin is not usable.
  Result<std::shared_ptr<Device>> open(std::string_view selector);

 private:
  void scan();                                            // needs mutex_
  void list_devices(Plugin* plugin);                      // needs mutex_
  Result<DeviceEntry> choose(std::string_view selector);  // needs mutex_

  std::mutex mutex_;  // guards everything below
  bool scanned_ = false;
  std::vector<std::filesystem::path> given_;
  std::vector<SearchFolder> folders_;
  std::vector<PluginReport> reports_;
  std::map<std::filesystem::path, Plugin*> loaded_;  // by manifest
  std::vector<DeviceEntry> devices_;
  std::map<std::string, std::weak_ptr<Device>> open_;
};

}  // namespace bp
