// SPDX-License-Identifier: Apache-2.0
// `backplane devices`, `plugins` and `doctor`: what is there, what is usable, and why the rest is
// not.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/cli/options.h"
#include "apps/cli/terminal.h"

namespace bp::cli {
namespace {

using Json = nlohmann::ordered_json;

const char* kind_name(int32_t kind) {
  switch (kind) {
    case BP_DEVICE_KIND_CPU:
      return "cpu";
    case BP_DEVICE_KIND_INTEGRATED:
      return "integrated";
    case BP_DEVICE_KIND_DISCRETE:
      return "discrete";
    default:
      return "other";
  }
}

Result<std::vector<bp_device_entry>> all_devices() {
  uint32_t count = 0;
  BP_TRY(call(bp_device_count, &count));
  std::vector<bp_device_entry> devices(count);
  for (uint32_t i = 0; i < count; ++i) {
    devices[i].size = sizeof(bp_device_entry);
    BP_TRY(call(bp_device_describe, i, &devices[i]));
  }
  return devices;
}

Result<std::vector<bp_plugin_entry>> all_plugins() {
  uint32_t count = 0;
  BP_TRY(call(bp_plugin_count, &count));
  std::vector<bp_plugin_entry> plugins(count);
  for (uint32_t i = 0; i < count; ++i) {
    plugins[i].size = sizeof(bp_plugin_entry);
    BP_TRY(call(bp_plugin_describe, i, &plugins[i]));
  }
  return plugins;
}

Json text_or_null(std::string_view text) {
  return text.empty() ? Json() : Json(text);
}

Json device_json(const bp_device_entry& d) {
  return {{"id", view(d.id)},
          {"plugin", view(d.plugin)},
          {"name", view(d.name)},
          {"vendor", view(d.vendor)},
          {"kind", kind_name(d.kind)},
          {"architecture", view(d.architecture)},
          {"driver", view(d.driver)},
          {"memory_bytes", d.memory_bytes},
          {"unified_memory", d.unified_memory != 0},
          {"usable", d.usable != 0},
          {"reason", text_or_null(view(d.reason))}};
}

Status print_devices(bool json) {
  const auto devices = BP_TRY(all_devices());
  const auto plugins = BP_TRY(all_plugins());
  if (json) {
    Json list = Json::array();
    for (const auto& device : devices) list.push_back(device_json(device));
    // Backends without a usable device are listed too, so that a script learns the reason.
    for (const auto& plugin : plugins) {
      if (plugin.usable != 0 || view(plugin.id).empty()) continue;
      list.push_back({{"id", view(plugin.id)},
                      {"plugin", view(plugin.id)},
                      {"name", nullptr},
                      {"vendor", nullptr},
                      {"kind", nullptr},
                      {"driver", nullptr},
                      {"memory_bytes", 0},
                      {"unified_memory", false},
                      {"usable", false},
                      {"reason", view(plugin.reason)}});
    }
    fmt::print("{}\n", list.dump(2, ' ', false, Json::error_handler_t::replace));
    return {};
  }
  for (const auto& d : devices) {
    fmt::print("{:<10} {:<10} {}{}  {}  {}\n", view(d.id), kind_name(d.kind), view(d.name),
               d.memory_bytes == 0 ? "" : "  " + human_bytes(d.memory_bytes), view(d.architecture),
               view(d.driver));
    if (d.usable == 0) fmt::print("{:<10} not usable: {}\n", "", view(d.reason));
  }
  for (const auto& plugin : plugins) {
    if (plugin.usable != 0 || view(plugin.id).empty()) continue;
    fmt::print("{:<10} not usable: {}\n", view(plugin.id), view(plugin.reason));
  }
  return {};
}

Status print_plugins(bool json) {
  const auto plugins = BP_TRY(all_plugins());
  if (json) {
    Json list = Json::array();
    for (const auto& p : plugins) {
      list.push_back({{"id", view(p.id)},
                      {"version", view(p.version)},
                      {"manifest", view(p.manifest)},
                      {"library", view(p.library)},
                      {"usable", p.usable != 0},
                      {"reason", text_or_null(view(p.reason))}});
    }
    fmt::print("{}\n", list.dump(2, ' ', false, Json::error_handler_t::replace));
    return {};
  }
  if (plugins.empty()) fmt::print("no plugin found; `backplane doctor` says where was looked\n");
  for (const auto& p : plugins) {
    fmt::print("{:<12} {:<8} {:<10} {}\n", view(p.id), view(p.version),
               p.usable != 0 ? "usable" : "not usable", view(p.manifest));
    if (p.usable == 0) fmt::print("{:<12} {}\n", "", view(p.reason));
  }
  return {};
}

Status doctor() {
  fmt::print("backplane {}, {} threads\n\nPlugins\n", bp_version(), bp_threads_get());
  BP_TRY(print_plugins(false));
  fmt::print("\nDevices\n");
  BP_TRY(print_devices(false));
  const auto devices = BP_TRY(all_devices());
  for (const auto& device : devices) {
    if (device.usable != 0) {
      fmt::print("\n`--device auto` means {} here.\n", view(device.id));
      return {};
    }
  }
  fmt::print(
      "\nNothing can run. Plugins are looked for in folders given with --plugin, in those "
      "of BACKPLANE_PLUGIN_PATH, and in plugins.d beside the library and the program.\n");
  return error(Code::kUnavailable, "no usable device");
}

}  // namespace

void add_devices(CLI::App& app, Action* chosen) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("devices", "List devices, usable or not, and why not");
  command->add_flag("--json", *json, "As JSON");
  command->callback([json, chosen] { *chosen = [json] { return print_devices(*json); }; });
}

void add_plugins(CLI::App& app, Action* chosen) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("plugins", "List plugins with their verdicts");
  command->add_flag("--json", *json, "As JSON");
  command->callback([json, chosen] { *chosen = [json] { return print_plugins(*json); }; });
}

void add_doctor(CLI::App& app, Action* chosen) {
  CLI::App* command = app.add_subcommand("doctor", "Check the installation and explain it");
  command->callback([chosen] { *chosen = [] { return doctor(); }; });
}

}  // namespace bp::cli
