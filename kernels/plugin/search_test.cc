// SPDX-License-Identifier: Apache-2.0
// The search over a bench that knows all times beforehand.
#include "kernels/plugin/search.h"

#include <gtest/gtest.h>

#include <map>

namespace bp::kernels {
namespace {

ScheduleValues schedule(uint32_t threads) {
  return {{"threads", threads}};
}

using Times = std::map<uint32_t, double>;

// Times by threads; schedules without one do not run.
class KnownTimes : public Bench {
 public:
  explicit KnownTimes(Times times) : times_(std::move(times)) {}

  Status check(const ScheduleValues& values) override {
    const uint32_t threads = values[0].value;
    ++checks[threads];
    if (lost_at == threads) return error(Code::kDeviceLost, "gone");
    if (wrong == threads) return error(Code::kFailedPrecondition, "wrong results");
    if (wrong_later == threads && checks[threads] > 1) {
      return error(Code::kFailedPrecondition, "wrong results now and then");
    }
    return times_.contains(threads) ? Status() : error(Code::kInvalidArgument, "does not build");
  }
  Result<double> measure(const ScheduleValues& values, uint32_t batches) override {
    EXPECT_GT(checks[values[0].value], 0u) << "measured before it was checked";
    measured += batches;
    if (fails_to_run == values[0].value) return error(Code::kExhausted, "no registers");
    return times_.at(values[0].value);
  }

  uint32_t wrong = 0, wrong_later = 0, lost_at = 0, fails_to_run = 0, measured = 0;
  std::map<uint32_t, uint32_t> checks;

 private:
  Times times_;
};

struct Outcome {
  Result<SearchResult> result = error(Code::kInternal, "not run");
  std::vector<uint32_t> rejected;
  uint32_t advanced = 0;
};

Outcome run(KnownTimes& bench, const std::vector<uint32_t>& candidates,
            uint32_t stop_after = UINT32_MAX) {
  Outcome out;
  std::vector<ScheduleValues> values;
  for (const uint32_t threads : candidates) values.push_back(schedule(threads));
  SearchHooks hooks;
  hooks.stopped = [&] { return out.advanced >= stop_after; };
  hooks.advanced = [&] { ++out.advanced; };
  hooks.rejected = [&](const ScheduleValues& which, const Status&) {
    out.rejected.push_back(which[0].value);
  };
  out.result = search(schedule(128), values, bench, hooks);
  return out;
}

TEST(Search, finds_the_fastest) {
  KnownTimes bench(Times{{128, 10}, {32, 12}, {64, 7}, {256, 9}, {512, 30}});
  const Outcome out = run(bench, {32, 64, 128, 256, 512});
  ASSERT_TRUE(out.result.ok());
  EXPECT_EQ(out.result->best, schedule(64));
  EXPECT_EQ(out.result->standard_ns, 10);
  EXPECT_EQ(out.result->best_ns, 7);
  EXPECT_EQ(out.result->tried, 4u);  // the standard is no candidate
  EXPECT_EQ(out.advanced, 4u);
  EXPECT_TRUE(out.result->is_complete);
}

TEST(Search, keeps_the_standard_where_the_gain_may_be_noise) {
  KnownTimes bench(Times{{128, 10}, {64, 9.9}});
  const Outcome out = run(bench, {64});
  ASSERT_TRUE(out.result.ok());
  EXPECT_EQ(out.result->best, schedule(128));
  EXPECT_EQ(out.result->best_ns, 10);
}

TEST(Search, drops_wrong_and_failing_candidates_however_fast) {
  KnownTimes bench(Times{{128, 10}, {32, 1}, {64, 2}, {256, 3}, {512, 8}});
  bench.wrong = 32;
  bench.fails_to_run = 64;
  bench.wrong_later = 256;  // right at first, wrong after many runs
  const Outcome out = run(bench, {32, 64, 7, 256, 512});
  ASSERT_TRUE(out.result.ok());
  EXPECT_EQ(out.result->best, schedule(128));  // a winner that is wrong leaves the standard
  EXPECT_EQ(out.rejected, (std::vector<uint32_t>{32, 64, 7, 256}));
  EXPECT_EQ(out.result->rejected, 4u);
}

TEST(Search, stops_between_two_candidates_and_keeps_what_was_found) {
  KnownTimes bench(Times{{128, 10}, {32, 5}, {64, 2}, {256, 1}});
  const Outcome out = run(bench, {32, 64, 256}, 1);
  ASSERT_TRUE(out.result.ok());
  EXPECT_EQ(out.result->best, schedule(32));
  EXPECT_EQ(out.result->tried, 1u);
  EXPECT_FALSE(out.result->is_complete);
}

TEST(Search, gives_up_when_nothing_gets_faster) {
  Times times{{128, 10}};
  std::vector<uint32_t> candidates;
  for (uint32_t i = 1; i <= 40; ++i) {
    candidates.push_back(i);
    times[i] = 20;
  }
  KnownTimes bench(times);
  const Outcome out = run(bench, candidates);
  ASSERT_TRUE(out.result.ok());
  EXPECT_LT(out.result->tried, 20u);
  EXPECT_TRUE(out.result->is_complete);
}

TEST(Search, ends_with_the_device) {
  KnownTimes bench(Times{{128, 10}, {32, 5}});
  bench.lost_at = 32;
  EXPECT_EQ(run(bench, {32}).result.status().code(), Code::kDeviceLost);
}

TEST(Search, needs_a_standard_that_runs) {
  KnownTimes bench(Times{{64, 5}});
  EXPECT_EQ(run(bench, {64}).result.status().code(), Code::kInvalidArgument);
}

TEST(Search, without_candidates_is_the_standard) {
  KnownTimes bench(Times{{128, 10}});
  const Outcome out = run(bench, {128});
  ASSERT_TRUE(out.result.ok());
  EXPECT_EQ(out.result->best, schedule(128));
}

}  // namespace
}  // namespace bp::kernels
