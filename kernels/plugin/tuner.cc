// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/tuner.h"

#include <algorithm>
#include <map>
#include <string>

#include "kernels/plugin/device_bench.h"
#include "kernels/plugin/placement.h"
#include "kernels/plugin/search.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kMaxCandidates = 256;
// Passes of more tokens are prompts.
constexpr uint64_t kPromptTokens = kInt8Tokens + 1;

// A kernel with the number of its launches.
struct Entry {
  Tunable tunable;
  uint32_t uses = 0;
};

// Those of one token first: they are what most time is spent in.
std::vector<Entry> entries_of(std::vector<Tunable> wanted) {
  std::vector<Entry> out;
  std::map<std::string, size_t> known;
  for (Tunable& tunable : wanted) {
    const std::string key = tunable.family + TunedSchedules::code_key(tunable, tunable.standard);
    const auto [found, is_new] = known.try_emplace(key, out.size());
    if (is_new) out.push_back({std::move(tunable), 0});
    ++out[found->second].uses;
  }
  std::stable_sort(out.begin(), out.end(), [](const Entry& a, const Entry& b) {
    return a.tunable.tokens < b.tunable.tokens;
  });
  return out;
}

class Run {
 public:
  Run(Target* target, const bp_tuner_request& request, size_t kernels)
      : target_(target),
        request_(request),
        candidates_(request.candidates == 0 ? kDefaultCandidates
                                            : std::min(request.candidates, kMaxCandidates)) {
    totals_.size = sizeof totals_;
    totals_.kernels = static_cast<uint32_t>(kernels);
    total_ = uint64_t{candidates_} * kernels;
  }
  // False when the run is to end.
  Result<bool> tune(const Entry& entry);
  bp_tuner_totals totals() const noexcept { return totals_; }

 private:
  bool stopped(const Tunable& tunable);
  bool tell_known(const Entry& entry);
  Result<SearchResult> measure(const Tunable& tunable);
  void tell(const Entry& entry, const SearchResult& found, uint32_t flags);

  Target* target_;
  const bp_tuner_request& request_;
  const uint32_t candidates_;
  uint64_t done_ = 0, total_ = 0;
  bp_tuner_totals totals_{};
};

bool Run::stopped(const Tunable& tunable) {
  if (totals_.stopped != 0 || request_.progress == nullptr) return totals_.stopped != 0;
  bp_tuner_progress progress{};
  progress.size = sizeof progress;
  progress.done = std::min(done_, total_);
  progress.total = total_;
  progress.text = glue::text(tunable.title);
  totals_.stopped = request_.progress(request_.user, &progress) != 0 ? 1 : 0;
  return totals_.stopped != 0;
}

void Run::tell(const Entry& entry, const SearchResult& found, uint32_t flags) {
  const bool changed = found.best != entry.tunable.standard;
  if (changed) flags |= BP_TUNER_CHANGED;
  totals_.changed += changed ? 1 : 0;
  const double uses = entry.uses;
  if (entry.tunable.tokens == 1) {
    totals_.token_default_ns += uses * found.standard_ns;
    totals_.token_tuned_ns += uses * found.best_ns;
  }
  if (entry.tunable.tokens >= kPromptTokens) {
    totals_.prompt_default_ns += uses * found.standard_ns;
    totals_.prompt_tuned_ns += uses * found.best_ns;
  }
  if (request_.kernel == nullptr) return;
  const std::string schedule = describe(found.best);
  bp_tuner_kernel kernel{};
  kernel.size = sizeof kernel;
  kernel.flags = flags;
  kernel.tokens = entry.tunable.tokens;
  kernel.uses = entry.uses;
  kernel.tried = found.tried;
  kernel.rejected = found.rejected;
  kernel.default_ns = found.standard_ns;
  kernel.tuned_ns = found.best_ns;
  kernel.name = glue::text(entry.tunable.title);
  kernel.schedule = glue::text(schedule);
  request_.kernel(request_.user, &kernel);
}

// What an earlier run found, if it tried as many candidates as this one would.
bool Run::tell_known(const Entry& entry) {
  if ((request_.flags & BP_TUNER_AGAIN) != 0) return false;
  const auto record = target_->tuned.known(entry.tunable);
  if (!record || record->integer("complete").value_or(0) == 0 ||
      record->integer("candidates").value_or(0) < candidates_) {
    return false;
  }
  SearchResult found;
  found.best = entry.tunable.standard;
  for (NamedInteger& value : found.best) {
    value.value = static_cast<uint32_t>(record->integer(value.name).value_or(value.value));
  }
  found.standard_ns = record->number("default_us").value_or(0) * 1e3;
  found.best_ns = record->number("tuned_us").value_or(0) * 1e3;
  tell(entry, found, BP_TUNER_KNOWN);
  return true;
}

Result<SearchResult> Run::measure(const Tunable& tunable) {
  const auto bench = BP_TRY(DeviceBench::create(target_->device, tunable));
  const bp_host* const host = target_->device.host;
  SearchHooks hooks;
  hooks.stopped = [&] { return stopped(tunable); };
  hooks.advanced = [&] { ++done_; };
  hooks.rejected = [&](const ScheduleValues& values, const Status& why) {
    glue::log(host, BP_LOG_INFO, "%s with %s is dropped: %s", tunable.title.c_str(),
              describe(values).c_str(), std::string(why.message()).c_str());
  };
  return search(tunable.standard, tunable.space(candidates_), *bench, hooks);
}

Result<bool> Run::tune(const Entry& entry) {
  const Tunable& tunable = entry.tunable;
  const uint64_t done_after = done_ + candidates_;
  if (stopped(tunable)) return false;
  if (tell_known(entry)) {
    done_ = done_after;
    return true;
  }
  const bp_host* const host = target_->device.host;
  const Result<SearchResult> found = measure(tunable);
  if (!found.ok()) {
    if (found.status().code() == Code::kDeviceLost) return Status(found.status());
    ++totals_.failed;
    done_ = done_after;
    glue::log(host, BP_LOG_WARNING, "%s is not tuned: %s", tunable.title.c_str(),
              std::string(found.status().message()).c_str());
    return true;
  }
  TuningRecord record;
  record.set("complete", int64_t{found->is_complete ? 1 : 0});
  record.set("candidates", int64_t{candidates_});
  record.set("default_us", found->standard_ns / 1e3);
  record.set("tuned_us", found->best_ns / 1e3);
  const Status kept = target_->tuned.keep(tunable, found->best, std::move(record));
  if (!kept.ok()) {
    glue::log(host, BP_LOG_WARNING, "what was tuned is lost at the end: %s",
              std::string(kept.message()).c_str());
  }
  ++totals_.measured;
  done_ = done_after;
  tell(entry, *found, kept.ok() ? 0 : BP_TUNER_UNSAVED);
  return found->is_complete;
}

}  // namespace

Result<bp_tuner_totals> tune(Target* target, std::vector<Tunable> wanted,
                             const bp_tuner_request& request) {
  const std::vector<Entry> entries = entries_of(std::move(wanted));
  Run run(target, request, entries.size());
  for (const Entry& entry : entries) {
    if (!BP_TRY(run.tune(entry))) break;
  }
  return run.totals();
}

}  // namespace bp::kernels
