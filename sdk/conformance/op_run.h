// SPDX-License-Identifier: Apache-2.0
// Runs one op on the device as the runtime does: match, prepare, enqueue.
//
// All operands of a launch lie in one buffer, each at a multiple of 256 with a guard behind it.
// Everything that a kernel has no business with is NaN in every float format: guards, the rows of
// inputs beyond the present number of tokens, outputs and workspace before the run. So reading too
// far shows in the results, and writing too far shows in the guards.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "sdk/conformance/op_record.h"
#include "sdk/conformance/queue.h"

namespace bp::conformance {

using Bytes = std::vector<std::byte>;

template <class T>
Bytes bytes_of(const std::vector<T>& values) {
  const auto* const from = reinterpret_cast<const std::byte*>(values.data());
  return Bytes(from, from + values.size() * sizeof(T));
}
template <class T>
std::vector<T> values_of(std::span<const std::byte> bytes) {
  std::vector<T> out(bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
  return out;
}

// What the provider says of an op. A failure when the answer itself is wrong, whatever it is.
Result<bp_match> match_op(const Context& context, const OpRecord& record,
                          const SymbolRanges& ranges);

// What one execution gets and gives.
struct Launch {
  SymbolValues symbols{};
  std::vector<Bytes> inputs;  // by slot; empty for weights and absent operands
  int in_place = -1;          // output 0 takes the memory of this input
};
struct Outcome {
  std::vector<Bytes> outputs;
  std::vector<Bytes> states;  // by input slot, after the run; empty for all but states
};

// A prepared op. Its weights are copies of the record's: where the provider says that it copied
// them, they are overwritten after prepare, as a host's dropped pages would be.
class PreparedOp {
 public:
  static Result<std::unique_ptr<PreparedOp>> prepare(const Context& context, const OpRecord& record,
                                                     const SymbolRanges& ranges,
                                                     const bp_match& match);
  PreparedOp(const Context& context, const OpRecord& record, const SymbolRanges& ranges,
             const bp_match& match)
      : context_(context), record_(record), ranges_(ranges), match_(match) {}
  PreparedOp(const PreparedOp&) = delete;
  PreparedOp& operator=(const PreparedOp&) = delete;
  ~PreparedOp();

  const OpRecord& record() const { return record_; }
  const SymbolRanges& ranges() const { return ranges_; }
  const bp_match& match() const { return match_; }
  bp_kernel* kernel() const { return kernel_; }
  bool is_deterministic() const { return (match_.flags & BP_MATCH_DETERMINISTIC) != 0; }

 private:
  const Context& context_;
  const OpRecord& record_;  // outlives this
  SymbolRanges ranges_;
  bp_match match_;
  std::vector<Weight> weights_;
  bp_kernel* kernel_ = nullptr;
};

// Memory and a stream for executions of one op. Used by one thread; the op may be shared.
class Bench {
 public:
  static Result<std::unique_ptr<Bench>> create(const Context& context, const OpRecord& record,
                                               const SymbolRanges& ranges, const bp_match& match);
  Bench(const Context& context, Queue queue) : context_(context), queue_(std::move(queue)) {}

  // One execution; everything around the outputs is checked.
  Result<Outcome> run(const PreparedOp& op, const Launch& launch);
  // The same, recorded and replayed. UNIMPLEMENTED where the device records nothing.
  Result<Outcome> run_recorded(const PreparedOp& op, const Launch& launch);
  // One execution that must be refused, at once or through the timeline.
  Result<bp_status> run_refused(const PreparedOp& op, const Launch& launch);

 private:
  struct Place {
    uint64_t offset = 0, bytes = 0;  // at maximum symbols; 0 bytes: not in memory
  };
  Status lay_out(const OpRecord& record, const SymbolValues& maximum, const bp_match& match);
  // The buffer's content before a run.
  Result<Bytes> image_of(const OpRecord& record, const Launch& launch) const;
  bp_kernel_launch record_of(const Launch& launch);
  Result<Outcome> examine(const OpRecord& record, const Launch& launch, const Bytes& before,
                          const Bytes& after) const;

  const Context& context_;
  // The queue goes first at the end: a check that gave up may have left work on it.
  Buffer arena_;
  Queue queue_;
  std::vector<Place> inputs_, outputs_;
  Place workspace_, zeroed_;
  // Records of the launch under way.
  std::vector<bp_operand_buffer> input_records_, output_records_;
};

}  // namespace bp::conformance
