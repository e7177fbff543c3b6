// SPDX-License-Identifier: Apache-2.0
#include "core/plan/tune.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "core/plugin/tables.h"

namespace bp {
namespace {

// Where the callbacks of a run lead.
struct Listener {
  const TuneOptions& options;
  std::string_view device;
  bool stopped = false;
};

// What a plugin hands over is read as far as its size goes, and its text is bounded.
template <typename T>
T read_record(const T* from) {
  T out{};
  if (from != nullptr) std::memcpy(&out, from, std::min<size_t>(from->size, sizeof(T)));
  return out;
}

std::string_view text_of(const bp_string& text) {
  constexpr uint64_t kMaxText = 256;
  return text.data == nullptr ? std::string_view()
                              : std::string_view(text.data, std::min(text.length, kMaxText));
}

// Nothing thrown may pass through the plugin.
int32_t on_progress(void* user, const bp_tuner_progress* record) noexcept {
  auto& listener = *static_cast<Listener*>(user);
  try {
    const auto progress = read_record(record);
    if (listener.options.progress &&
        !listener.options.progress(progress.done, progress.total, text_of(progress.text))) {
      listener.stopped = true;
    }
  } catch (...) {
    listener.stopped = true;
  }
  return listener.stopped ? 1 : 0;
}

void on_kernel(void* user, const bp_tuner_kernel* record) noexcept {
  auto& listener = *static_cast<Listener*>(user);
  try {
    const auto from = read_record(record);
    TunedKernel kernel;
    kernel.device = listener.device;
    kernel.name = text_of(from.name);
    kernel.schedule = text_of(from.schedule);
    kernel.tokens = from.tokens;
    kernel.uses = from.uses;
    kernel.tried = from.tried;
    kernel.rejected = from.rejected;
    kernel.default_ns = from.default_ns;
    kernel.tuned_ns = from.tuned_ns;
    kernel.is_known = (from.flags & BP_TUNER_KNOWN) != 0;
    kernel.is_changed = (from.flags & BP_TUNER_CHANGED) != 0;
    kernel.is_unsaved = (from.flags & BP_TUNER_UNSAVED) != 0;
    if (listener.options.kernel) listener.options.kernel(kernel);
  } catch (...) {
    listener.stopped = true;  // whoever listens cannot any more
  }
}

void add(const bp_tuner_totals& totals, TuneReport* report) {
  report->kernels += totals.kernels;
  report->measured += totals.measured;
  report->changed += totals.changed;
  report->failed += totals.failed;
  report->is_stopped = report->is_stopped || totals.stopped != 0;
  report->token_default_ns += totals.token_default_ns;
  report->token_tuned_ns += totals.token_tuned_ns;
  report->prompt_default_ns += totals.prompt_default_ns;
  report->prompt_tuned_ns += totals.prompt_tuned_ns;
}

// The steps of one target.
Status tune_target(const BoundPlan& plan, uint32_t first, const TuneOptions& options,
                   TuneReport* report) {
  const std::vector<bp_op>& ops = plan.flat().ops();
  const StepPlacement& placement = plan.placements()[first];
  std::vector<uint32_t> chosen(ops.size());
  for (uint32_t i = 0; i < ops.size(); ++i) {
    chosen[i] = plan.target(i) == plan.target(first) ? 1 : 0;
  }
  Listener listener{options, plan.devices()[placement.device]->id()};
  bp_tuner_request request{};
  request.size = sizeof request;
  request.flags = options.again ? BP_TUNER_AGAIN : 0;
  request.candidates = options.candidates;
  request.progress = &on_progress;
  request.kernel = &on_kernel;
  request.user = &listener;
  bp_tuner_totals totals{};
  totals.size = sizeof totals;
  const Plugin& provider = *placement.provider;
  const Status status =
      call_plugin(provider.id(), "tuning", provider.tune_api().tune, plan.target(first), ops.data(),
                  uint64_t{sizeof(bp_op)}, static_cast<uint32_t>(ops.size()),
                  static_cast<const uint32_t*>(chosen.data()), plan.ranges().data(),
                  static_cast<uint32_t>(plan.ranges().size()),
                  static_cast<const bp_tuner_request*>(&request), &totals);
  if (status.code() == Code::kUnimplemented) return {};  // nothing to choose between
  BP_TRY(Status(status));
  add(totals, report);
  return {};
}

}  // namespace

Result<TuneReport> tune_plan(const BoundPlan& plan, const TuneOptions& options) {
  TuneReport report;
  report.device = plan.devices().front()->id();
  std::set<bp_target*> done;
  for (uint32_t i = 0; i < plan.flat().ops().size() && !report.is_stopped; ++i) {
    if (done.insert(plan.target(i)).second) BP_TRY(tune_target(plan, i, options, &report));
  }
  return report;
}

}  // namespace bp
