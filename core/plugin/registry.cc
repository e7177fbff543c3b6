// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/registry.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/plugin/tables.h"

namespace bp {
namespace {

// Fixed-size text of a plugin must end somewhere.
template <size_t N>
void end_text(char (&text)[N]) {
  text[N - 1] = '\0';
}

int rank_of(const DeviceEntry& entry) {
  if (!entry.usable.ok()) return 4;
  switch (entry.info.kind) {
    case BP_DEVICE_DISCRETE:
      return 0;
    case BP_DEVICE_INTEGRATED:
      return 1;
    case BP_DEVICE_CPU:
      return entry.plugin->id() == "cpu" ? 2 : 3;
    default:
      return 3;
  }
}

}  // namespace

Registry& Registry::shared() {
  // Leaked: plugins stay mapped and usable until the process is gone.
  static Registry* registry = new Registry;
  return *registry;
}

Status Registry::add(const std::filesystem::path& path) {
  std::error_code failure;
  const std::filesystem::path real = std::filesystem::canonical(path, failure);
  if (failure) {
    return error(Code::kNotFound, "cannot open plugin path '{}': {}", path.native(),
                 failure.message());
  }
  std::lock_guard lock(mutex_);
  given_.push_back(real);
  found_ = false;
  return {};
}

void Registry::find() {
  if (found_) return;
  found_ = true;
  folders_ = plugin_search_folders(given_);
  reports_.clear();
  devices_.clear();
  for (Candidate& candidate : discover_plugins(folders_)) {
    reports_.emplace_back().candidate = std::move(candidate);
  }
}

void Registry::start(PluginReport& report) {
  if (report.asked) return;
  report.asked = true;
  auto known = loaded_.find(report.candidate.manifest_path);
  if (!report.candidate.verdict.ok()) {
    report.status = report.candidate.verdict;
  } else if (known != loaded_.end()) {
    report.plugin = known->second;
    report.status = report.plugin->started() ? Status() : report.plugin->start();
  } else {
    auto plugin = Plugin::load(report.candidate);
    if (plugin.ok()) {
      report.plugin = plugin.value();
      loaded_.emplace(report.candidate.manifest_path, report.plugin);
      report.status = report.plugin->start();
    } else {
      report.status = std::move(plugin).status();
    }
  }
  if (report.status.ok()) report.status = list_devices(report.plugin);
  if (!report.status.ok()) {
    log::info("plugin '{}': {}", report.candidate.manifest_path.native(), report.status.message());
  }
}

// What failed may have been of the moment: who names a plugin has it tried again.
bool Registry::has_started(const PluginReport& report) const {
  return report.status.ok() &&
         std::all_of(devices_.begin(), devices_.end(), [&](const DeviceEntry& entry) {
           return entry.plugin != report.plugin || entry.usable.ok();
         });
}

void Registry::start_all() {
  find();
  for (PluginReport& report : reports_) start(report);
  sort_devices();
}

// Drivers cost time and memory, so those of other cards stay closed.
void Registry::start_for(std::string_view plugin_id) {
  find();
  bool any = false;
  for (PluginReport& report : reports_) {
    const Manifest& manifest = report.candidate.manifest;
    const auto is = [&](std::string_view kind) {
      return std::find(manifest.kinds.begin(), manifest.kinds.end(), kind) != manifest.kinds.end();
    };
    if (manifest.id != plugin_id && (is("device") || !is("kernel"))) continue;
    if (manifest.id == plugin_id) {
      any = true;
      report.asked = report.asked && has_started(report);
    }
    start(report);
  }
  if (!any) return start_all();  // whoever asked is told what there is
  sort_devices();
}

// By rank, then in the order of the search, whichever was started first.
void Registry::sort_devices() {
  const auto place = [&](const DeviceEntry& entry) {
    return std::find_if(reports_.begin(), reports_.end(),
                        [&](const PluginReport& r) { return r.plugin == entry.plugin; }) -
           reports_.begin();
  };
  std::stable_sort(devices_.begin(), devices_.end(), [&](const auto& a, const auto& b) {
    return std::make_pair(rank_of(a), place(a)) < std::make_pair(rank_of(b), place(b));
  });
}

Status Registry::list_devices(Plugin* plugin) {
  std::erase_if(devices_, [&](const DeviceEntry& entry) { return entry.plugin == plugin; });
  if (!plugin->has_devices()) return {};
  const bp_device_api& api = plugin->device_api();
  uint32_t count = 0;
  Status listed = call_plugin(plugin->id(), "listing devices", api.enumerate, &count);
  if (listed.code() == Code::kUnimplemented) {  // it has none, and never will
    log::warning("{}", listed.message());
    return {};
  }
  BP_TRY(std::move(listed));
  count = static_cast<uint32_t>(std::min<uint64_t>(count, limits::kMaxDevices));
  for (uint32_t i = 0; i < count; ++i) {
    DeviceEntry entry;
    entry.id = fmt::format("{}:{}", plugin->id(), i);
    entry.plugin = plugin;
    entry.index = i;
    entry.info.size = sizeof(entry.info);
    entry.caps.size = sizeof(entry.caps);
    entry.usable = call_plugin(plugin->id(), "describing a device", api.describe, i, &entry.info);
    if (entry.usable.ok()) {
      entry.usable =
          call_plugin(plugin->id(), "asking for capabilities", api.capabilities, i, &entry.caps);
    }
    end_text(entry.info.name);
    end_text(entry.info.vendor);
    end_text(entry.info.architecture);
    end_text(entry.info.driver);
    end_text(entry.caps.dialect);
    end_text(entry.caps.dialect_version);
    devices_.push_back(std::move(entry));
  }
  return {};
}

std::vector<PluginReport> Registry::plugins() {
  std::lock_guard lock(mutex_);
  start_all();
  return reports_;
}

std::vector<SearchFolder> Registry::folders() {
  std::lock_guard lock(mutex_);
  find();
  return folders_;
}

std::vector<DeviceEntry> Registry::devices() {
  std::lock_guard lock(mutex_);
  start_all();
  return devices_;
}

Result<DeviceEntry> Registry::choose(std::string_view selector) {
  if (selector.empty() || selector == "auto") {
    if (!devices_.empty() && devices_.front().usable.ok()) return devices_.front();
    return error(Code::kNotFound, "no usable device; `backplane doctor` says why");
  }
  const std::string wanted = selector.find(':') == std::string_view::npos
                                 ? std::string(selector) + ":0"
                                 : std::string(selector);
  for (const DeviceEntry& entry : devices_) {
    if (entry.id == wanted) return entry;
  }
  const std::string_view plugin_id = std::string_view(wanted).substr(0, wanted.find(':'));
  for (const PluginReport& report : reports_) {
    if (report.candidate.manifest.id == plugin_id && !report.status.ok()) {
      return error(Code::kUnavailable, "device '{}': {}", selector, report.status.message());
    }
  }
  std::string known;
  for (const DeviceEntry& entry : devices_) known += (known.empty() ? "" : ", ") + entry.id;
  return error(Code::kNotFound, "no device '{}'; there are: {}", selector,
               known.empty() ? "none" : known);
}

Result<std::shared_ptr<Device>> Registry::open(std::string_view selector) try {
  std::lock_guard lock(mutex_);
  if (selector.empty() || selector == "auto") {
    start_all();
  } else {
    start_for(selector.substr(0, selector.find(':')));
  }
  const DeviceEntry entry = BP_TRY(choose(selector));
  auto existing = open_[entry.id].lock();
  if (existing != nullptr && existing->status().ok()) return existing;
  const bool is_held = existing != nullptr;  // by sessions that have not ended
  existing.reset();
  std::vector<Plugin*> plugins;
  for (const PluginReport& report : reports_) {
    if (report.asked && report.status.ok()) plugins.push_back(report.plugin);
  }
  auto device = Device::open(entry, plugins);
  if (!device.ok() && device.status().code() == Code::kDeviceLost && is_held) {
    return std::move(device).with_context(
        "the device was lost; it can be opened anew when all sessions on it are destroyed");
  }
  if (device.ok()) open_[entry.id] = device.value();
  return device;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "opening device '{}': {}", selector, thrown.what());
}

}  // namespace bp
