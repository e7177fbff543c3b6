// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/exercise.h"

#include <algorithm>
#include <cstring>

namespace bp::conformance {

Result<std::unique_ptr<PreparedOp>> Exercise::prepare(const OpRecord& record,
                                                      const SymbolRanges& ranges) {
  ++coverage_.asked;
  const bp_match match = BP_TRY(match_op(context_, record, ranges));
  if (match.verdict != BP_MATCH_YES) {
    if (refusal_.empty()) refusal_ = match.reason;
    return std::unique_ptr<PreparedOp>();
  }
  ++coverage_.claimed;
  return PreparedOp::prepare(context_, record, ranges, match);
}

void Exercise::count_run(double share_of_bound) {
  ++coverage_.runs;
  worst_ = std::max(worst_, share_of_bound);
}

Verdict Exercise::verdict() const {
  if (coverage_.claimed == 0) return skip("not claimed: {}", refusal_);
  return pass("{} of {} claimed, {} runs, at most {:.0f}% of the bound", coverage_.claimed,
              coverage_.asked, coverage_.runs, 100 * worst_);
}

Status expect_declined(const Context& context, const OpRecord& record, const SymbolRanges& ranges,
                       std::string_view what) {
  const bp_match answer = BP_TRY(match_op(context, record, ranges).with_context("{}", what));
  BP_EXPECT(answer.verdict == BP_MATCH_NO, "{} is claimed, which no such cache can hold", what);
  return {};
}

bool can_record(const Context& context) {
  const bp_stream_api& api = context.stream_api();
  bp_stream* stream = nullptr;
  if (api.create(context.device, &stream, nullptr) != BP_OK) return false;
  bp_recording* recording = nullptr;
  const bool can = api.capture_begin(stream, nullptr) == BP_OK &&
                   api.capture_end(stream, &recording, nullptr) == BP_OK;
  if (recording != nullptr) api.recording_destroy(recording, nullptr);
  api.destroy(stream, nullptr);
  return can;
}

std::vector<uint64_t> token_counts(const Options& options, uint64_t most) {
  std::vector<uint64_t> out;
  const std::vector<uint64_t> wanted = options.quick
                                           ? std::vector<uint64_t>{1, 5, 33}
                                           : std::vector<uint64_t>{1, 2, 3, 5, 8, 9, 16, 17, 33};
  for (const uint64_t count : wanted) {
    if (count < most) out.push_back(count);
  }
  out.push_back(most);
  return out;
}

std::vector<std::pair<uint64_t, uint64_t>> stretches_of(const std::vector<uint64_t>& lengths,
                                                        uint64_t rows) {
  std::vector<std::pair<uint64_t, uint64_t>> out;
  for (const uint64_t length : lengths)
    out.emplace_back((rows - length) * (out.size() % 3) / 2, length);
  return out;
}

namespace {

Launch stretch_of(const RowCase& test, uint64_t first, uint64_t count) {
  Launch out;
  out.symbols = {count, 1, count, 1, 1};
  out.in_place = test.in_place;
  for (const Bytes& all : test.inputs) {
    const uint64_t row_bytes = all.size() / test.rows;
    const auto begin = all.begin() + static_cast<ptrdiff_t>(first * row_bytes);
    out.inputs.emplace_back(begin, begin + static_cast<ptrdiff_t>(count * row_bytes));
  }
  return out;
}

Result<double> judge(const RowCase& test, const Outcome& outcome, uint64_t first, uint64_t count) {
  if (test.compare) return test.compare(outcome, first, count);
  const uint64_t begin = first * test.expected.columns;
  Expected part = test.expected.first(first + count);
  const auto drop = [&](std::vector<double>& from) {
    from.erase(from.begin(), from.begin() + static_cast<ptrdiff_t>(begin));
  };
  drop(part.value);
  drop(part.magnitude);
  drop(part.slack);
  return compare(values_of<float>(outcome.outputs[0]), part, test.tolerance,
                 fmt::format("{}, {} tokens", test.what, count));
}

// The bits of one token must not depend on the run or on the other tokens.
Status check_determinism(const RowCase& test, Bench& bench, const PreparedOp& op) {
  const uint64_t count = std::min<uint64_t>({9, test.max_tokens, test.rows});
  const Outcome first = BP_TRY(bench.run(op, stretch_of(test, 0, count)));
  const Outcome second = BP_TRY(bench.run(op, stretch_of(test, 0, count)));
  const Outcome alone = BP_TRY(bench.run(op, stretch_of(test, count / 2, 1)));
  for (size_t i = 0; i < first.outputs.size(); ++i) {
    BP_TRY(expect_bytes(second.outputs[i], first.outputs[i],
                        fmt::format("{}, claimed to be deterministic, run again", test.what)));
    const size_t row_bytes = first.outputs[i].size() / count;
    BP_TRY(expect_bytes(alone.outputs[i],
                        {first.outputs[i].data() + count / 2 * row_bytes, row_bytes},
                        fmt::format("{}, claimed to be deterministic, one of {} tokens run alone",
                                    test.what, count)));
  }
  return {};
}

}  // namespace

Status exercise_rows(Exercise& exercise, const RowCase& test) {
  Context& context = exercise.context();
  const SymbolRanges ranges = ranges_up_to({test.max_tokens, 1, test.max_tokens, 1, 1});
  auto op = BP_TRY(exercise.prepare(test.record, ranges).with_context("{}", test.what));
  if (op == nullptr) return {};
  const auto bench = BP_TRY(Bench::create(context, test.record, ranges, op->match()));
  for (const auto& [first, count] : test.stretches) {
    const Outcome outcome =
        BP_TRY(bench->run(*op, stretch_of(test, first, count)).with_context("{}", test.what));
    exercise.count_run(BP_TRY(judge(test, outcome, first, count)));
  }
  if (op->is_deterministic()) BP_TRY(check_determinism(test, *bench, *op));
  const auto [first, count] = test.stretches.back();
  if ((op->match().flags & BP_MATCH_CAPTURE_SAFE) != 0 && can_record(context)) {
    const Outcome outcome = BP_TRY(bench->run_recorded(*op, stretch_of(test, first, count))
                                       .with_context("{}, recorded", test.what));
    exercise.count_run(
        BP_TRY(judge(test, outcome, first, count).with_context("recorded and replayed")));
  }
  // Nothing of the first kernel may be needed by the second.
  const bp_match match = op->match();
  op.reset();
  op = BP_TRY(PreparedOp::prepare(context, test.record, ranges, match)
                  .with_context("{}, a second time", test.what));
  const Outcome outcome = BP_TRY(bench->run(*op, stretch_of(test, first, count)));
  exercise.count_run(
      BP_TRY(judge(test, outcome, first, count).with_context("released and prepared again")));
  return {};
}

}  // namespace bp::conformance
