// SPDX-License-Identifier: Apache-2.0
// Putting a provider's kernels through their paces: asking, preparing, running, comparing, running
// again, and counting what was claimed and what was tested.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "sdk/conformance/expected.h"
#include "sdk/conformance/op_run.h"

namespace bp::conformance {

// The tally of one check: one op in one format.
class Exercise {
 public:
  Exercise(Context& context, std::string op, std::string format)
      : context_(context), coverage_(context.coverage[{std::move(op), std::move(format)}]) {}

  Context& context() const { return context_; }
  // Asks and, on YES, prepares; null when the provider says NO.
  Result<std::unique_ptr<PreparedOp>> prepare(const OpRecord& record, const SymbolRanges& ranges);
  void count_run(double share_of_bound);
  // Skipped when nothing was claimed, with the provider's reason; else what was done.
  Verdict verdict() const;

 private:
  Context& context_;
  Coverage& coverage_;
  std::string refusal_;
  double worst_ = 0;
};

// An op that works on each token by itself. Slot by slot, the inputs hold `rows` rows of equal
// size; a run takes a stretch of them.
struct RowCase {
  using Comparison =
      std::function<Result<double>(const Outcome& outcome, uint64_t first, uint64_t count)>;

  OpRecord record;
  std::vector<Bytes> inputs;  // empty for weights and absent operands
  uint64_t rows = 0;
  uint64_t max_tokens = 0;                               // range of the symbol
  std::vector<std::pair<uint64_t, uint64_t>> stretches;  // first row, rows
  int in_place = -1;

  Expected expected;  // of all rows
  Tolerance tolerance{};
  Comparison compare;  // instead of `expected`, where set
  std::string what;    // for messages
};
// Stretches of these lengths, at different places of `rows`.
std::vector<std::pair<uint64_t, uint64_t>> stretches_of(const std::vector<uint64_t>& lengths,
                                                        uint64_t rows);

// Matches, prepares, runs every stretch and compares. Where claimed: equal bits at a second run
// and whatever else is in the batch; recorded and replayed. Then released, prepared and run again.
Status exercise_rows(Exercise& exercise, const RowCase& test);

// A failure unless the provider says NO.
Status expect_declined(const Context& context, const OpRecord& record, const SymbolRanges& ranges,
                       std::string_view what);

// Does the device record work?
bool can_record(const Context& context);

// Numbers of tokens that a run covers.
std::vector<uint64_t> token_counts(const Options& options, uint64_t most);

}  // namespace bp::conformance
