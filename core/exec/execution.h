// SPDX-License-Identifier: Apache-2.0
// Runs a bound plan: owns the buffers of one session and does forward passes over batches.
//
// All memory is reserved by create(): the arena that the plan laid out, the KV caches, inputs,
// workspace. A forward pass allocates nothing; a plan step is one enqueue.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "core/plan/bound_plan.h"

namespace bp {

// One forward pass, in the layout of docs/ops.md. Tokens of a sequence are contiguous.
struct Batch {
  std::vector<int32_t> token_ids;       // [T]
  std::vector<int32_t> positions;       // [T]
  std::vector<int32_t> sequence_of;     // [T]
  std::vector<int32_t> query_start;     // [S + 1]
  std::vector<int32_t> context_length;  // [S]
  std::vector<int32_t> page_table;      // [S, blocks of the limits]
  std::vector<int32_t> output_rows;     // [O]
};

// Exactly what a session will use, known before anything is allocated.
struct MemoryEstimate {
  uint64_t weights_bytes = 0;   // of the model file, shared and mapped
  uint64_t resident_bytes = 0;  // copies or repackings that kernels hold
  uint64_t kv_bytes = 0;
  uint64_t arena_bytes = 0;  // activations
  uint64_t workspace_bytes = 0;
  uint64_t io_bytes = 0;  // inputs and logits
  uint64_t total_bytes() const {
    return weights_bytes + resident_bytes + kv_bytes + arena_bytes + workspace_bytes + io_bytes;
  }
};
Result<MemoryEstimate> estimate_memory(const BoundPlan& plan);

// Not thread-safe: one forward pass at a time.
class Execution {
 public:
  // The plan must have been prepared.
  static Result<std::unique_ptr<Execution>> create(std::shared_ptr<BoundPlan> plan);
  ~Execution();
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  // Runs the batch. `cancel`, when given and set, stops between two steps with CANCELLED; the
  // caches then hold undefined content for the batch's positions and nothing else. Counts beyond
  // the limits, and ids, pages or rows out of range, are INVALID_ARGUMENT and run nothing.
  Status forward(const Batch& batch, const std::atomic<bool>* cancel);

  // Logits of the last forward pass, [outputs, vocabulary]; valid until the next one.
  std::span<const float> logits() const noexcept { return {logits_, logits_count_}; }
  uint64_t vocabulary() const noexcept { return vocabulary_; }
  const BoundPlan& plan() const noexcept { return *plan_; }
  // Rotary tables for contexts longer than this switch to their long form (Plan.ropes).
  void set_context_limit(uint64_t positions) noexcept { context_limit_ = positions; }
  // Commands that a pass of one token puts on streams.
  uint32_t launches() const noexcept { return plan_->launches(); }

 private:
  explicit Execution(std::shared_ptr<BoundPlan> plan) : plan_(std::move(plan)) {}

  // Range of an input within Lane::inputs; no bytes where this device does not read it.
  struct InputPlace {
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };
  // What a session holds on one device.
  struct Lane {
    Device* device = nullptr;
    bp_stream* stream = nullptr;
    bp_timeline* timeline = nullptr;
    uint64_t signalled = 0;
    Buffer arena;
    Buffer workspace;
    Buffer zeroed;
    std::vector<Buffer> own;  // by value: states that live on this device
    // Inputs lie together, so that a short pass brings them to the device in one write.
    Buffer inputs;
    std::vector<std::byte> staged;        // as they will be on the device
    std::vector<InputPlace> input_place;  // by value
    std::vector<uint32_t> input_order;    // values, as they lie
    bool pending = false;                 // work enqueued since the last host_wait
  };
  struct Transfer {
    uint32_t value;
    uint32_t from;
    uint32_t to;
  };
  struct Step {
    std::vector<bp_operand_buffer> inputs;
    std::vector<bp_operand_buffer> outputs;
    std::vector<Transfer> transfers;  // before the step
  };

  Status create_lanes();
  Status create_lane(uint32_t device);
  Status allocate_values();
  Status place_operands();
  Result<bp_operand_buffer> locate(uint32_t device, int32_t value) const;
  Status find_logits();

  void renew(Lane& lane) noexcept;
  Status clear(Lane& lane);
  Status check(const Batch& batch) const;
  Status check_sequences(const Batch& batch) const;
  void set_symbols(const Batch& batch);
  Status allocate_inputs(Lane& lane);
  Result<std::span<const std::byte>> input_bytes(const fb::Value& value, const Batch& batch);
  Status write_inputs(const Batch& batch);
  void fill_rope(const fb::Rope& rope, std::span<const int32_t> positions);
  Status write(Lane& lane, const Buffer& to, uint64_t offset, const void* from, uint64_t bytes);
  // The steps of a pass: recorded where that pays, one by one otherwise.
  Status run_pass(const std::atomic<bool>* cancel);
  Status run_steps(const std::atomic<bool>* cancel);
  bool may_record() const noexcept;
  Status record(Lane& lane);
  void forget_recording() noexcept;
  Status transfer(const Transfer& what);
  Status finish(Lane& lane);
  Status fetch_logits();

  std::shared_ptr<BoundPlan> plan_;
  std::vector<Lane> lanes_;
  std::vector<Step> steps_;
  SymbolValues limits_;
  SymbolValues symbols_;  // of the present batch
  std::vector<float> rope_;
  std::vector<std::byte> staging_;
  std::vector<float> logits_copy_;
  const float* logits_ = nullptr;
  size_t logits_count_ = 0;
  uint64_t vocabulary_ = 0;
  uint32_t logits_value_ = 0;
  uint32_t logits_lane_ = 0;
  uint64_t context_limit_ = 0;
  bool broken_ = false;
  // Passes of one token are the same commands on the same memory each time; from the second on they
  // are recorded once and replayed. Longer passes differ in size and are rare.
  enum class Recording : uint8_t { kUntried, kSeenOnce, kReady, kUnavailable };
  Recording recording_state_ = Recording::kUntried;
  bp_recording* recording_ = nullptr;
};

}  // namespace bp
