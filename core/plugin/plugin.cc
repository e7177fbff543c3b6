// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/plugin.h"

#include <algorithm>
#include <cstring>

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/platform/shared_object.h"
#include "core/plugin/tables.h"

namespace bp {
namespace {

constexpr uint64_t kStopDeadlineNs = 2'000'000'000;
// A plugin may know a longer description than this host; garbage sizes are told from it by this.
constexpr uint32_t kMaxDescBytes = 1u << 16;

// A string of a plugin's description: printable, short, and copied at once.
Result<std::string> copy_string(const bp_string& text, const char* what) {
  if (text.length > limits::kMaxNameBytes || (text.length != 0 && text.data == nullptr)) {
    return error(Code::kCorrupt, "its {} claims to be {} bytes long", what, text.length);
  }
  std::string copy(text.data == nullptr ? "" : text.data, text.length);
  const bool printable =
      std::all_of(copy.begin(), copy.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  if (!printable) return error(Code::kCorrupt, "its {} is not printable text", what);
  return copy;
}

}  // namespace

const char* probe_reason_name(int32_t reason) {
  switch (reason) {
    case BP_PROBE_USABLE:
      return "usable";
    case BP_PROBE_NO_DRIVER:
      return "no driver";
    case BP_PROBE_DRIVER_TOO_OLD:
      return "driver too old";
    case BP_PROBE_NO_DEVICE:
      return "no device";
    case BP_PROBE_NO_PERMISSION:
      return "no permission";
    case BP_PROBE_MISSING_LIBRARY:
      return "missing library";
    case BP_PROBE_BROKEN:
      return "broken driver";
    default:
      return "unknown reason";
  }
}

Plugin::Plugin(const Manifest& manifest)
    : id_(manifest.id), host_(manifest.id, manifest.library.parent_path()) {}

Result<Plugin*> Plugin::load(const Candidate& candidate) try {
  BP_TRY(Status(candidate.verdict));
  const Manifest& manifest = candidate.manifest;
  SharedObject* object = BP_TRY(SharedObject::load(manifest.library));
  auto symbol = object->symbol(BP_PLUGIN_QUERY_SYMBOL);
  if (!symbol.ok()) {
    return error(Code::kIncompatible,
                 "'{}' exports no '{}': it is no plugin, or made for another ABI major",
                 manifest.library.native(), BP_PLUGIN_QUERY_SYMBOL);
  }
  auto query = reinterpret_cast<bp_plugin_query_fn>(symbol.value());
  std::unique_ptr<Plugin> plugin(new Plugin(manifest));
  BP_TRY(plugin->negotiate(query, manifest));
  return plugin.release();
} catch (const std::exception& thrown) {
  return error(Code::kInternal, "loading plugin '{}' threw: {}", candidate.manifest.id,
               thrown.what());
} catch (...) {
  return error(Code::kInternal, "loading plugin '{}' threw", candidate.manifest.id);
}

Status Plugin::negotiate(bp_plugin_query_fn query, const Manifest& manifest) {
  bp_plugin_desc desc{};
  desc.size = sizeof(desc);
  bp_error detail = BP_ERROR_INIT;
  // Exceptions are forbidden to plugins; load() catches one that comes anyway.
  const bp_status status = query(host_.table(), &desc, &detail);
  if (status != BP_OK) return status_from_plugin(status, detail, id_, "query");
  if (desc.size < sizeof(bp_plugin_desc) || desc.size > kMaxDescBytes) {
    return error(Code::kCorrupt,
                 "plugin '{}' says its description has {} bytes; at least {} are "
                 "needed",
                 id_, desc.size, sizeof(bp_plugin_desc));
  }
  if (desc.min_host_minor > BP_ABI_MINOR) {
    return error(Code::kIncompatible,
                 "plugin '{}' needs plugin ABI {}.{}, this host has {}.{}; "
                 "install a newer backplane",
                 id_, BP_ABI_MAJOR, desc.min_host_minor, BP_ABI_MAJOR, BP_ABI_MINOR);
  }
  const std::string id = BP_TRY(copy_string(desc.id, "id").with_context("plugin '{}'", id_));
  version_ = BP_TRY(copy_string(desc.version, "version").with_context("plugin '{}'", id_));
  build_id_ = BP_TRY(copy_string(desc.build_id, "build id").with_context("plugin '{}'", id_));
  if (id != manifest.id) {
    return error(Code::kCorrupt, "the manifest calls the plugin '{}', the library '{}'",
                 manifest.id, id);
  }
  if (desc.api == nullptr) {
    return error(Code::kCorrupt, "plugin '{}' has no table of functions", id_);
  }
  return copy_table(desc.api, &api_).with_context("plugin '{}'", id_);
}

Status Plugin::start() try {
  bp_probe_result answer{};
  answer.size = sizeof(answer);
  BP_TRY(call_plugin(id_, "probe", api_.probe, host_.table(), &answer));
  probe_.reason = answer.reason;
  probe_.detail.assign(answer.detail, ::strnlen(answer.detail, sizeof(answer.detail)));
  if (probe_.reason != BP_PROBE_USABLE) {
    return error(Code::kUnavailable, "{}: {}", probe_reason_name(probe_.reason),
                 probe_.detail.empty() ? "no further detail" : probe_.detail);
  }
  BP_TRY(call_plugin(id_, "init", api_.init, host_.table()));
  BP_TRY(fetch_interfaces());
  started_ = true;
  return {};
} catch (const std::exception& thrown) {
  return error(Code::kInternal, "plugin '{}' threw: {}", id_, thrown.what());
} catch (...) {
  return error(Code::kInternal, "plugin '{}' threw", id_);
}

template <typename Table>
Status Plugin::fetch(const char* id, Table* out, bool* present) {
  const bp_string name{id, std::strlen(id)};
  const void* table = nullptr;
  BP_TRY(call_plugin(id_, "get_interface", api_.get_interface, &name, &table));
  if (present != nullptr) *present = table != nullptr;
  return copy_table(table, out).with_context("plugin '{}', interface '{}'", id_, id);
}

Status Plugin::fetch_interfaces() {
  BP_TRY(fetch(BP_INTERFACE_DEVICE, &device_, &has_devices_));
  BP_TRY(fetch(BP_INTERFACE_MEMORY, &memory_, nullptr));
  BP_TRY(fetch(BP_INTERFACE_STREAM, &stream_, nullptr));
  BP_TRY(fetch(BP_INTERFACE_MODULE, &module_, &has_modules_));
  BP_TRY(fetch(BP_INTERFACE_KERNEL, &kernel_, &has_kernels_));
  BP_TRY(fetch(BP_INTERFACE_GEMM, &gemm_, &has_gemm_));
  return fetch(BP_INTERFACE_TUNE, &tune_, nullptr);
}

void Plugin::stop() noexcept {
  if (!started_) return;
  started_ = false;
  try {
    Status status = call_plugin(id_, "quiesce", api_.quiesce, kStopDeadlineNs);
    if (!status.ok()) log::warning("{}", status.to_string());
    status = call_plugin(id_, "shutdown", api_.shutdown);
    if (!status.ok()) log::warning("{}", status.to_string());
  } catch (...) {  // already leaving: nothing can be done about a plugin that throws
  }
  host_.silence();
}

}  // namespace bp
