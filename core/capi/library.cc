// SPDX-License-Identifier: Apache-2.0
// The library itself: version, log, threads, plugins, devices.
#include <deque>
#include <mutex>
#include <string>

#include "core/capi/boundary.h"
#include "core/capi/handles.h"
#include "core/platform/thread_pool.h"
#include "core/plugin/registry.h"

#ifndef BP_VERSION
#define BP_VERSION "0.0.0"
#endif

namespace {

using bp::capi::guard;

struct LogTarget {
  bp_log_fn fn = nullptr;
  void* user = nullptr;
};
// Leaked: messages may come while static objects die. Old targets stay valid for late messages.
std::deque<LogTarget>& log_targets() {
  static auto* targets = new std::deque<LogTarget>;
  return *targets;
}

void forward_log(void* user, bp::log::Level level, std::string_view message) {
  const auto* target = static_cast<const LogTarget*>(user);
  target->fn(target->user, static_cast<int32_t>(level), message.data(), message.size());
}

int32_t kind_of(int32_t kind) {
  switch (kind) {
    case BP_DEVICE_CPU:
      return BP_DEVICE_KIND_CPU;
    case BP_DEVICE_INTEGRATED:
      return BP_DEVICE_KIND_INTEGRATED;
    case BP_DEVICE_DISCRETE:
      return BP_DEVICE_KIND_DISCRETE;
    default:
      return BP_DEVICE_KIND_OTHER;
  }
}

}  // namespace

namespace bp::capi {

bp_string keep(std::string_view text) {
  static auto* mutex = new std::mutex;
  static auto* texts = new std::deque<std::string>;
  std::lock_guard lock(*mutex);
  for (const std::string& known : *texts) {
    if (known == text) return view(known);
  }
  return view(texts->emplace_back(text));
}

}  // namespace bp::capi

namespace {
using bp::capi::keep;
}  // namespace

extern "C" {

const char* bp_version(void) {
  return BP_VERSION;
}

const char* bp_status_name(bp_status status) {
  return bp::code_name(static_cast<bp::Code>(status));
}

bp_status bp_log_set(bp_log_fn fn, void* user, int32_t lowest) {
  return guard(nullptr, [&]() -> bp::Status {
    if (fn == nullptr) {
      bp::log::set_sink(nullptr, nullptr, bp::log::Level::kOff);
      return {};
    }
    if (lowest < BP_LOG_LEVEL_TRACE || lowest > BP_LOG_LEVEL_ERROR) {
      return bp::error(bp::Code::kInvalidArgument, "log level {}", lowest);
    }
    static std::mutex mutex;
    std::lock_guard lock(mutex);
    LogTarget& target = log_targets().emplace_back(LogTarget{fn, user});
    bp::log::set_sink(&forward_log, &target, static_cast<bp::log::Level>(lowest));
    return {};
  });
}

bp_status bp_threads_set(uint32_t threads, bp_error* error) {
  return guard(error, [&] { return bp::ThreadPool::shared().set_workers(threads); });
}

uint32_t bp_threads_get(void) {
  return bp::ThreadPool::shared().workers();
}

bp_status bp_plugin_path_add(const char* path, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(bp::capi::require(path, "path"));
    return bp::Registry::shared().add(path);
  });
}

bp_status bp_plugin_count(uint32_t* count, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(bp::capi::require(count, "count"));
    *count = static_cast<uint32_t>(bp::Registry::shared().plugins().size());
    return {};
  });
}

bp_status bp_plugin_describe(uint32_t index, bp_plugin_entry* out, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    const auto reports = bp::Registry::shared().plugins();
    if (index >= reports.size()) {
      return bp::error(bp::Code::kNotFound, "plugin {} of {}", index, reports.size());
    }
    const bp::PluginReport& report = reports[index];
    const bp::Manifest& manifest = report.candidate.manifest;
    bp_plugin_entry entry{};
    entry.usable = report.status.ok() ? 1 : 0;
    entry.id = keep(manifest.id);
    entry.version = keep(report.plugin != nullptr ? report.plugin->version() : manifest.version);
    entry.manifest = keep(report.candidate.manifest_path.native());
    entry.library = keep(manifest.library.native());
    entry.reason = keep(report.status.message());
    return bp::capi::write_output(out, entry);
  });
}

bp_status bp_device_count(uint32_t* count, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    BP_TRY(bp::capi::require(count, "count"));
    *count = static_cast<uint32_t>(bp::Registry::shared().devices().size());
    return {};
  });
}

bp_status bp_device_describe(uint32_t index, bp_device_entry* out, bp_error* error) {
  return guard(error, [&]() -> bp::Status {
    const auto devices = bp::Registry::shared().devices();
    if (index >= devices.size()) {
      return bp::error(bp::Code::kNotFound, "device {} of {}", index, devices.size());
    }
    const bp::DeviceEntry& device = devices[index];
    bp_device_entry entry{};
    entry.kind = kind_of(device.info.kind);
    entry.usable = device.usable.ok() ? 1 : 0;
    entry.unified_memory = device.info.unified_memory != 0 ? 1 : 0;
    entry.memory_bytes = device.info.memory_bytes;
    entry.id = keep(device.id);
    entry.plugin = keep(device.plugin->id());
    entry.name = keep(device.info.name);
    entry.vendor = keep(device.info.vendor);
    entry.architecture = keep(device.info.architecture);
    entry.driver = keep(device.info.driver);
    entry.reason = keep(device.usable.message());
    return bp::capi::write_output(out, entry);
  });
}

}  // extern "C"
