// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/runner.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <regex>

#include "core/base/log.h"
#include "sdk/conformance/check.h"
#include "sdk/conformance/report.h"

namespace bp::conformance {
namespace {

using Json = nlohmann::ordered_json;

std::atomic<uint64_t> warnings{0};

void log_to_stderr(void*, log::Level level, std::string_view message) {
  if (level >= log::Level::kWarning) ++warnings;
  fmt::print(stderr, "{}\n", message);
}

class Runner {
 public:
  Runner(const Settings& settings, uint64_t first, int pipe)
      : settings_(settings), first_(first), pipe_(pipe) {
    if (!settings.filter.empty()) filter_.emplace(settings.filter);
  }
  void run();

 private:
  void send(const Json& event) {
    const std::string line = event.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    for (size_t at = 0; at < line.size();) {
      const ssize_t written = ::write(pipe_, line.data() + at, line.size() - at);
      if (written <= 0) ::_exit(3);  // nobody listens any more
      at += static_cast<size_t>(written);
    }
  }
  void alive() {
    const ssize_t written = ::write(pipe_, "\n", 1);
    if (written != 1) ::_exit(3);
  }
  // Runs one check unless the filter or an earlier run has dealt with it.
  void step(const std::string& name, Context& context,
            const std::function<Verdict(Context&)>& check);
  void run_needing(Check::Needs needs, Context& context, const std::string& suffix);
  void run_device(Plugin* owner, uint32_t index);
  void run_providers(Context& context);
  std::vector<Plugin*> load_others(const char* kind, bool given);

  const Settings& settings_;
  uint64_t first_, next_ = 0;
  int pipe_;
  std::optional<std::regex> filter_;
  std::vector<Check> checks_ = all_checks();
  Candidate candidate_;
  Plugin* plugin_ = nullptr;
};

void Runner::step(const std::string& name, Context& context,
                  const std::function<Verdict(Context&)>& check) {
  if (filter_ && !std::regex_search(name, *filter_)) return;
  const uint64_t index = next_++;
  if (index < first_) return;
  send({{"event", "start"}, {"index", index}, {"name", name}});
  context.coverage.clear();
  const Verdict verdict = [&]() -> Verdict {
    try {
      return check(context);
    } catch (const std::exception& thrown) {
      return fail("threw: {}", thrown.what());
    } catch (...) {
      return fail("threw something");
    }
  }();
  Json coverage = Json::array();
  for (const auto& [key, counts] : context.coverage) {
    coverage.push_back({{"op", key.first},
                        {"format", key.second},
                        {"asked", counts.asked},
                        {"claimed", counts.claimed},
                        {"runs", counts.runs}});
  }
  std::string detail = verdict.detail();
  for (char& c : detail) c = static_cast<unsigned char>(c) < 0x20 ? ' ' : c;  // one line
  send({{"event", "end"},
        {"status", kind_name(verdict.kind())},
        {"detail", detail},
        {"coverage", std::move(coverage)}});
}

void Runner::run_needing(Check::Needs needs, Context& context, const std::string& suffix) {
  for (const Check& check : checks_) {
    if (check.needs == needs) step(check.name + suffix, context, check.run);
  }
}

// Plugins beside the certified one, or those that were given, that list `kind`.
std::vector<Plugin*> Runner::load_others(const char* kind, bool given) {
  std::vector<SearchFolder> places;
  for (const auto& path : settings_.kernels) {
    if (given) places.push_back({path, "given"});
  }
  if (places.empty()) places.push_back({settings_.manifest.parent_path(), "neighbours"});
  std::vector<Plugin*> out;
  for (const Candidate& other : discover_plugins(places)) {
    const auto& kinds = other.manifest.kinds;
    if (!other.verdict.ok() || other.manifest.id == candidate_.manifest.id ||
        std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
      continue;
    }
    auto loaded = Plugin::load(other);
    Status status = loaded.ok() ? loaded.value()->start() : loaded.status();
    if (status.ok()) {
      out.push_back(loaded.value());
    } else {
      log::info("'{}' is left out: {}", other.manifest.id, status.message());
    }
  }
  return out;
}

void Runner::run_providers(Context& context) {
  std::vector<Plugin*> providers;
  if (plugin_->has_kernels()) providers.push_back(plugin_);
  if (context.owner == plugin_) {
    for (Plugin* other : load_others("kernel", true)) {
      if (other->has_kernels()) providers.push_back(other);
    }
  }
  for (Plugin* provider : providers) {
    const std::string suffix = provider == plugin_ ? "" : "@" + provider->id();
    bp_bind_info info{};
    info.size = sizeof info;
    info.device_index = context.entry.index;
    info.plugin_id = {context.owner->id().data(), context.owner->id().size()};
    info.plugin_build_id = {context.owner->build_id().data(), context.owner->build_id().size()};
    info.device = context.device;
    info.info = &context.entry.info;
    info.caps = &context.entry.caps;
    info.device_api = &context.owner->device_api();
    info.memory_api = &context.owner->memory_api();
    info.stream_api = &context.owner->stream_api();
    info.module_api = &context.owner->module_api();
    info.gemm_api = &context.owner->gemm_api();
    context.provider = provider;
    context.target = nullptr;
    const Status bound =
        call_plugin(provider->id(), "bind", provider->kernel_api().bind, &info, &context.target);
    step("kernels.bind" + suffix, context, [&](Context&) -> Verdict {
      if (bound.code() == Code::kIncompatible) return skip("{}", bound.message());
      BP_TRY(Status(bound));
      BP_EXPECT(context.target != nullptr, "bind returned OK and no target");
      return pass("kernels of '{}' {} on {}", provider->id(), provider->version(),
                  context.entry.id);
    });
    if (!bound.ok() || context.target == nullptr) continue;
    run_needing(Check::Needs::kKernels, context, suffix);
    const bp_status unbound = provider->kernel_api().unbind(context.target, nullptr);
    step("kernels.unbind" + suffix, context, [&](Context&) -> Verdict {
      BP_TRY(expect_status(unbound, BP_OK, "unbind after all kernels were released"));
      return pass("all kernels released before");
    });
  }
}

void Runner::run_device(Plugin* owner, uint32_t index) {
  Context context;
  context.options = settings_.options;
  context.alive = [this] { alive(); };
  context.candidate = &candidate_;
  context.plugin = plugin_;
  context.owner = owner;
  context.entry.id = fmt::format("{}:{}", owner->id(), index);
  context.entry.plugin = owner;
  context.entry.index = index;
  context.entry.info.size = sizeof(bp_device_info);
  context.entry.caps.size = sizeof(bp_device_caps);
  const Status opened = [&]() -> Status {
    const bp_device_api& api = owner->device_api();
    BP_TRY(context.call("describe", api.describe, index, &context.entry.info));
    BP_TRY(context.call("capabilities", api.capabilities, index, &context.entry.caps));
    context.entry.info.name[BP_DEVICE_NAME_BYTES - 1] = '\0';
    context.entry.caps.dialect[sizeof context.entry.caps.dialect - 1] = '\0';
    BP_TRY(context.call("open", api.open, index, &context.device));
    BP_EXPECT(context.device != nullptr, "open returned OK and no device");
    context.heaps.resize(32);
    for (bp_heap& heap : context.heaps) heap.size = sizeof heap;
    uint32_t count = 0;
    BP_TRY(context.call("heaps", owner->memory_api().heaps, context.device, context.heaps.data(),
                        uint64_t{sizeof(bp_heap)}, 32u, &count));
    BP_EXPECT(count > 0 && count <= 32, "{} heaps", count);
    context.heaps.resize(count);
    return {};
  }();
  send({{"event", "device"}, {"id", context.entry.id}, {"name", context.entry.info.name}});
  if (!opened.ok()) {
    return step("device.start", context, [&](Context&) -> Verdict { return opened; });
  }
  // Devices of neighbours are certified elsewhere. What comes last comes after the kernels.
  Check last = checks_.back();
  if (owner == plugin_) {
    for (const Check& check : checks_) {
      if (check.needs == Check::Needs::kDevice && check.name != last.name) {
        step(check.name, context, check.run);
      }
    }
  }
  run_providers(context);
  if (owner == plugin_) step(last.name, context, last.run);
  step("device.close", context, [&](Context& c) -> Verdict {
    BP_TRY(c.call("close", c.device_api().close, c.device)
               .with_context("everything made from the device has been destroyed"));
    return pass("nothing was left");
  });
}

void Runner::run() {
  log::set_sink(log_to_stderr, nullptr,
                settings_.verbose ? log::Level::kDebug : log::Level::kWarning);
  std::vector<Candidate> found = discover_plugins({{settings_.manifest, "given"}});
  Context context;
  context.options = settings_.options;
  context.alive = [this] { alive(); };
  if (found.empty()) {
    return step("negotiation.load", context,
                [&](Context&) -> Verdict { return fail("no manifest at this path"); });
  }
  candidate_ = std::move(found[0]);
  send({{"event", "plugin"},
        {"id", candidate_.manifest.id},
        {"version", candidate_.manifest.version}});
  context.candidate = &candidate_;
  Status started;
  bool unusable = false;
  // Loading may already be the end of a plugin, so the step begins before.
  step("negotiation.load", context, [&](Context&) -> Verdict {
    auto loaded = Plugin::load(candidate_);
    if (!loaded.ok()) return loaded.status();
    plugin_ = loaded.value();
    started = plugin_->start();
    unusable = plugin_->probe().reason != BP_PROBE_USABLE;
    if (unusable) return skip("{}", started.message());
    BP_TRY(Status(started));
    return pass("loaded, probed, initialised");
  });
  if (plugin_ == nullptr) {  // filtered out, or done by a child before this one
    auto loaded = Plugin::load(candidate_);
    if (!loaded.ok()) return;
    plugin_ = loaded.value();
    started = plugin_->start();
    unusable = plugin_->probe().reason != BP_PROBE_USABLE;
  }
  if (unusable) return send({{"event", "unusable"}, {"why", started.message()}});
  if (!started.ok()) return;
  context.plugin = plugin_;
  run_needing(Check::Needs::kPlugin, context, "");
  std::vector<Plugin*> owners;
  if (plugin_->has_devices()) {
    owners.push_back(plugin_);
  } else {
    owners = load_others("device", false);
  }
  for (Plugin* owner : owners) {
    uint32_t count = 0;
    owner->device_api().enumerate(&count, nullptr);
    for (uint32_t i = 0; i < std::min(count, 256u); ++i) {
      if (settings_.device < 0 || settings_.device == i) run_device(owner, i);
    }
  }
  step("negotiation.shutdown", context, [&](Context&) -> Verdict {
    const uint64_t before = warnings.load();
    plugin_->stop();
    BP_EXPECT(warnings.load() == before, "quiesce or shutdown failed; the log has the reason");
    return pass("quiesced and shut down");
  });
}

}  // namespace

void run_checks(const Settings& settings, uint64_t first, int pipe) noexcept {
  try {
    Runner runner(settings, first, pipe);
    runner.run();
    constexpr std::string_view kDone = "{\"event\": \"done\"}\n";
    if (::write(pipe, kDone.data(), kDone.size()) < 0) return;
  } catch (const std::exception& thrown) {
    fmt::print(stderr, "backplane-conformance: {}\n", thrown.what());
  }
}

}  // namespace bp::conformance
