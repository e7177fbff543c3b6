// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/search.h"

#include <algorithm>

namespace bp::kernels {
namespace {

constexpr uint32_t kFirstBatches = 3;
constexpr uint32_t kFinalBatches = 12;
// So many candidates in a row that are not faster than the best end the first round: they come
// ranked, so the rest will hardly be.
constexpr uint32_t kPatience = 6;
constexpr double kImproves = 0.99;  // of the best, to count as faster
constexpr double kHopeless = 1.5;   // times the best: not measured again
// What has to be left of the standard's time for another schedule to be kept: less may be noise.
constexpr double kWorthwhile = 0.97;

struct Contender {
  ScheduleValues values;
  double ns = 0;
};

void sort_by_time(std::vector<Contender>* contenders) {
  std::stable_sort(contenders->begin(), contenders->end(),
                   [](const Contender& a, const Contender& b) { return a.ns < b.ns; });
}

// One candidate; a failure that is only its own is told and forgotten.
Status try_one(const ScheduleValues& values, Bench& bench, const SearchHooks& hooks,
               SearchResult* result, std::vector<Contender>* contenders) {
  ++result->tried;
  Status failure = bench.check(values);
  if (failure.ok()) {
    Result<double> ns = bench.measure(values, kFirstBatches);
    if (ns.ok()) {
      contenders->push_back({values, *ns});
      return {};
    }
    failure = std::move(ns).status();
  }
  if (failure.code() == Code::kDeviceLost) return failure;
  ++result->rejected;
  hooks.rejected(values, failure);
  return {};
}

// Every candidate once, until patience is out.
Status first_round(const std::vector<ScheduleValues>& candidates, Bench& bench,
                   const SearchHooks& hooks, SearchResult* result,
                   std::vector<Contender>* contenders) {
  double best = result->standard_ns;
  uint32_t in_vain = 0;
  for (const ScheduleValues& values : candidates) {
    if (values == result->best) continue;  // the standard
    if (hooks.stopped()) {
      result->is_complete = false;
      return {};
    }
    const size_t before = contenders->size();
    BP_TRY(try_one(values, bench, hooks, result, contenders));
    hooks.advanced();
    const bool faster = contenders->size() > before && contenders->back().ns < kImproves * best;
    if (contenders->size() > before) best = std::min(best, contenders->back().ns);
    in_vain = faster ? 0 : in_vain + 1;
    if (in_vain == kPatience) return {};
  }
  return {};
}

// Halves the field until one is left, each time measuring twice as long. What fails now is out.
Status halve(Bench& bench, const SearchHooks& hooks, SearchResult* result,
             std::vector<Contender>* contenders) {
  for (uint32_t batches = 2 * kFirstBatches; contenders->size() > 1; batches *= 2) {
    sort_by_time(contenders);
    const double limit = kHopeless * contenders->front().ns;
    contenders->resize((contenders->size() + 1) / 2);
    std::erase_if(*contenders, [&](const Contender& c) { return c.ns > limit; });
    if (contenders->size() == 1) return {};
    std::vector<Contender> left;
    for (Contender& contender : *contenders) {
      if (hooks.stopped()) {
        result->is_complete = false;
        sort_by_time(contenders);
        return {};
      }
      const Result<double> ns = bench.measure(contender.values, batches);
      if (!ns.ok() && ns.status().code() == Code::kDeviceLost) return Status(ns.status());
      if (ns.ok()) left.push_back({contender.values, std::min(*ns, contender.ns)});
    }
    *contenders = std::move(left);
  }
  return {};
}

}  // namespace

Result<SearchResult> search(const ScheduleValues& standard,
                            const std::vector<ScheduleValues>& candidates, Bench& bench,
                            const SearchHooks& hooks) {
  SearchResult result;
  result.best = standard;
  BP_TRY(bench.check(standard).with_context("the default schedule"));
  result.standard_ns = BP_TRY(bench.measure(standard, kFirstBatches));
  std::vector<Contender> contenders;
  BP_TRY(first_round(candidates, bench, hooks, &result, &contenders));
  BP_TRY(halve(bench, hooks, &result, &contenders));
  result.best_ns = result.standard_ns;
  if (contenders.empty()) return result;
  sort_by_time(&contenders);
  const ScheduleValues& winner = contenders.front().values;
  if (contenders.front().ns >= kWorthwhile * result.standard_ns) return result;
  // Side by side and for longer, so that clocks and neighbours are the same for both; and what has
  // run so often must still be right.
  double winner_ns = contenders.front().ns;
  const auto contest = [&]() -> Status {
    for (uint32_t round = 0; round < 2; ++round) {
      result.standard_ns =
          std::min(result.standard_ns, BP_TRY(bench.measure(standard, kFinalBatches / 2)));
      winner_ns = std::min(winner_ns, BP_TRY(bench.measure(winner, kFinalBatches / 2)));
    }
    return bench.check(winner);
  };
  const Status failure = contest();
  result.best_ns = result.standard_ns;
  if (!failure.ok()) {
    if (failure.code() == Code::kDeviceLost) return failure;
    ++result.rejected;
    hooks.rejected(winner, failure);
    return result;
  }
  if (winner_ns < kWorthwhile * result.standard_ns) {
    result.best = winner;
    result.best_ns = winner_ns;
  }
  return result;
}

}  // namespace bp::kernels
