// SPDX-License-Identifier: Apache-2.0
#include "core/exec/execution.h"

#include <algorithm>
#include <cstring>

#include "backplane/formats.h"
#include "core/base/checked.h"
#include "core/base/log.h"
#include "core/plugin/tables.h"

namespace bp {
namespace {

// Of an input within the buffer that holds all of them: what every GPU API can bind.
constexpr uint64_t kInputAlignment = 256;
// Writing so many bytes that nobody needs is cheaper than a write of their own for the next ones.
constexpr uint64_t kLargestGapBytes = 8192;

// Bytes reserved for an input.
Result<uint64_t> input_capacity(const FlatPlan& flat, uint32_t value, const SymbolValues& limits) {
  uint64_t bytes = std::max<uint64_t>(BP_TRY(flat.value_bytes(value, limits)), 1);
  if (try_align_up(bytes, kInputAlignment, &bytes)) return bytes;
  return error(Code::kCorrupt, "an input of the plan is too large");
}

std::string_view name_of(const fb::Value& value) {
  return value.name()->string_view();
}

Result<uint64_t> arena_bytes(const FlatPlan& flat, const SymbolValues& limits) {
  return evaluate(*flat.plan().arena_bytes(), limits);
}

// Which lane holds a current copy of each value while the plan runs, step by step.
class Residency {
 public:
  explicit Residency(size_t values) : lanes_(values, 0) {}
  bool has(uint32_t value, uint32_t lane) const { return (lanes_[value] >> lane & 1) != 0; }
  void add(uint32_t value, uint32_t lane) { lanes_[value] |= uint64_t{1} << lane; }
  void only(uint32_t value, uint32_t lane) { lanes_[value] = uint64_t{1} << lane; }
  uint32_t any(uint32_t value) const {
    return static_cast<uint32_t>(__builtin_ctzll(lanes_[value] | uint64_t{1} << 63));
  }

 private:
  std::vector<uint64_t> lanes_;  // bit set per value
};

}  // namespace

Result<MemoryEstimate> estimate_memory(const BoundPlan& plan) {
  const FlatPlan& flat = plan.flat();
  const SymbolValues limits = symbol_values(flat.symbols(), plan.limits());
  MemoryEstimate estimate;
  estimate.weights_bytes = flat.file().size_bytes();
  std::vector<bool> used(plan.devices().size(), false);
  for (const StepPlacement& placement : plan.placements()) used[placement.device] = true;
  for (uint32_t d = 0; d < plan.devices().size(); ++d) {
    if (!used[d]) continue;
    estimate.resident_bytes += plan.memory(d).resident_bytes;
    estimate.workspace_bytes += plan.memory(d).workspace_bytes + plan.memory(d).zeroed_bytes;
    estimate.arena_bytes += BP_TRY(arena_bytes(flat, limits));
  }
  // Inputs exist on each device that reads them, states on one.
  std::vector<uint64_t> readers(flat.plan().values()->size(), 0);
  for (size_t i = 0; i < flat.ops().size(); ++i) {
    const bp_op& op = flat.ops()[i];
    for (uint32_t k = 0; k < op.input_count; ++k) {
      if (op.inputs[k].role == BP_ROLE_NONE) continue;
      readers[op.inputs[k].value] |= uint64_t{1} << plan.placements()[i].device;
    }
  }
  for (uint32_t v = 0; v < readers.size(); ++v) {
    const fb::Value& value = *flat.plan().values()->Get(v);
    if (readers[v] == 0) continue;
    if (value.role() == fb::Role::State) {
      estimate.kv_bytes += BP_TRY(flat.value_bytes(v, limits));
    } else if (value.role() == fb::Role::Input) {
      estimate.io_bytes += static_cast<uint64_t>(__builtin_popcountll(readers[v])) *
                           BP_TRY(input_capacity(flat, v, limits));
    }
  }
  for (uint32_t v = 0; v < readers.size(); ++v) {
    if (flat.plan().values()->Get(v)->role() == fb::Role::Output) {
      estimate.io_bytes += BP_TRY(flat.value_bytes(v, limits));
    }
  }
  return estimate;
}

Result<std::unique_ptr<Execution>> Execution::create(std::shared_ptr<BoundPlan> plan) try {
  std::unique_ptr<Execution> execution(new Execution(std::move(plan)));
  execution->limits_ =
      symbol_values(execution->plan_->flat().symbols(), execution->plan_->limits());
  execution->symbols_ = execution->limits_;
  BP_TRY(execution->create_lanes());
  BP_TRY(execution->allocate_values());
  BP_TRY(execution->place_operands());
  BP_TRY(execution->find_logits());
  return execution;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "creating a session: {}", thrown.what());
}

Execution::~Execution() {
  forget_recording();
  bp_error detail = BP_ERROR_INIT;
  for (Lane& lane : lanes_) {
    if (lane.device == nullptr) continue;
    const bp_stream_api& api = lane.device->stream_api();
    if (lane.stream != nullptr) api.destroy(lane.stream, &detail);
    if (lane.timeline != nullptr) api.timeline_destroy(lane.timeline, &detail);
  }
}

Status Execution::create_lanes() {
  if (plan_->devices().size() > 63) return error(Code::kExhausted, "more than 63 devices");
  lanes_.resize(plan_->devices().size());
  for (const StepPlacement& placement : plan_->placements()) {
    if (lanes_[placement.device].device == nullptr) BP_TRY(create_lane(placement.device));
  }
  return {};
}

// A failure poisons a timeline for good; the session goes on with a fresh one where the device
// itself survived, and fails on next use where it did not.
void Execution::renew(Lane& lane) noexcept {
  forget_recording();
  bp_error detail = BP_ERROR_INIT;
  const bp_stream_api& api = lane.device->stream_api();
  api.destroy(lane.stream, &detail);
  api.timeline_destroy(lane.timeline, &detail);
  lane.stream = nullptr;
  lane.timeline = nullptr;
  lane.signalled = 0;
  lane.pending = false;
  if (api.create(lane.device->handle(), &lane.stream, &detail) != BP_OK ||
      api.timeline_create(lane.device->handle(), &lane.timeline, &detail) != BP_OK) {
    log::error("{} cannot go on after a failure: {}", lane.device->id(), detail.text);
    broken_ = true;
    return;
  }
  const Status cleared = clear(lane);
  if (cleared.ok()) return;
  log::error("{} cannot go on after a failure: {}", lane.device->id(), cleared.message());
  broken_ = true;
}

// What stopped half-way may have left counts behind.
Status Execution::clear(Lane& lane) {
  if (!lane.zeroed) return {};
  lane.pending = true;
  return call_plugin(lane.device->entry().plugin->id(), "clearing memory",
                     lane.device->stream_api().fill, lane.stream, lane.zeroed.handle(), uint64_t{0},
                     lane.zeroed.bytes(), uint32_t{0});
}

Status Execution::create_lane(uint32_t index) {
  Lane& lane = lanes_[index];
  Device& device = *plan_->devices()[index];
  lane.device = &device;
  const std::string& who = device.entry().plugin->id();
  const bp_stream_api& api = device.stream_api();
  BP_TRY(call_plugin(who, "creating a stream", api.create, device.handle(), &lane.stream));
  BP_TRY(call_plugin(who, "creating a timeline", api.timeline_create, device.handle(),
                     &lane.timeline));
  const uint64_t arena = BP_TRY(arena_bytes(plan_->flat(), limits_));
  lane.arena = BP_TRY(device.allocate(arena, false).with_context("activations"));
  const uint64_t workspace = plan_->memory(index).workspace_bytes;
  if (workspace != 0) {
    lane.workspace = BP_TRY(device.allocate(workspace, false).with_context("workspace"));
  }
  const uint64_t zeroed = plan_->memory(index).zeroed_bytes;
  if (zeroed != 0) {
    lane.zeroed = BP_TRY(device.allocate(zeroed, false).with_context("zeroed memory"));
    BP_TRY(clear(lane));
  }
  lane.own.resize(plan_->flat().plan().values()->size());
  lane.input_place.resize(lane.own.size());
  return {};
}

Status Execution::allocate_values() {
  const FlatPlan& flat = plan_->flat();
  for (size_t i = 0; i < flat.ops().size(); ++i) {
    Lane& lane = lanes_[plan_->placements()[i].device];
    const bp_op& op = flat.ops()[i];
    for (uint32_t k = 0; k < op.input_count; ++k) {
      const bp_operand& operand = op.inputs[k];
      const fb::Value& value = *flat.plan().values()->Get(operand.value);
      if (operand.role == BP_ROLE_INPUT) {
        lane.input_place[operand.value].bytes =
            BP_TRY(input_capacity(flat, operand.value, limits_));
      }
      if (operand.role != BP_ROLE_STATE || lane.own[operand.value]) continue;
      const uint64_t bytes = BP_TRY(flat.value_bytes(operand.value, limits_));
      lane.own[operand.value] =
          BP_TRY(lane.device->allocate(bytes, false).with_context("value '{}'", name_of(value)));
    }
  }
  for (Lane& lane : lanes_) {
    if (lane.device != nullptr) BP_TRY(allocate_inputs(lane));
  }
  return {};
}

// Kernels read inputs again and again, so they belong into the memory that the device reads
// fastest. The largest come last: what a short pass fills of them then lies next to all the others.
Status Execution::allocate_inputs(Lane& lane) {
  for (uint32_t v = 0; v < lane.input_place.size(); ++v) {
    if (lane.input_place[v].bytes != 0) lane.input_order.push_back(v);
  }
  if (lane.input_order.empty()) return {};
  std::stable_sort(lane.input_order.begin(), lane.input_order.end(), [&](uint32_t a, uint32_t b) {
    return lane.input_place[a].bytes < lane.input_place[b].bytes;
  });
  uint64_t end = 0;
  for (const uint32_t v : lane.input_order) {
    lane.input_place[v].offset = end;
    end = BP_TRY(checked_add(end, lane.input_place[v].bytes));
  }
  lane.inputs = BP_TRY(lane.device->allocate(end, false).with_context("inputs"));
  lane.staged.resize(end);
  return {};
}

Result<bp_operand_buffer> Execution::locate(uint32_t device, int32_t value) const {
  bp_operand_buffer place{};
  if (value < 0) return place;
  const FlatPlan& flat = plan_->flat();
  const auto index = static_cast<uint32_t>(value);
  const fb::Value& entry = *flat.plan().values()->Get(index);
  const Lane& lane = lanes_[device];
  switch (entry.role()) {
    case fb::Role::Weight:
      break;
    case fb::Role::Input:
      place = {lane.inputs.handle(), lane.input_place[index].offset, lane.input_place[index].bytes};
      break;
    case fb::Role::State:
      place.buffer = lane.own[index].handle();
      place.bytes = lane.own[index].bytes();
      break;
    case fb::Role::Output:
    case fb::Role::Scratch:
      place.buffer = lane.arena.handle();
      place.offset = BP_TRY(evaluate(*entry.arena_offset(), limits_));
      place.bytes = BP_TRY(evaluate(*entry.arena_bytes(), limits_));
      if (!range_fits(place.offset, place.bytes, lane.arena.bytes())) {
        return error(Code::kCorrupt, "value '{}' lies outside the arena", name_of(entry));
      }
      break;
  }
  return place;
}

Status Execution::place_operands() {
  const FlatPlan& flat = plan_->flat();
  Residency residency(flat.plan().values()->size());
  steps_.resize(flat.ops().size());
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    const fb::Step& step = *flat.plan().steps()->Get(i);
    const uint32_t here = plan_->placements()[i].device;
    for (const int32_t input : *step.inputs()) {
      steps_[i].inputs.push_back(BP_TRY(locate(here, input)));
      if (input < 0) continue;
      const auto value = static_cast<uint32_t>(input);
      const fb::Role role = flat.plan().values()->Get(value)->role();
      const bool computed = role == fb::Role::Scratch || role == fb::Role::Output;
      if (!computed || residency.has(value, here)) continue;
      steps_[i].transfers.push_back({value, residency.any(value), here});
      residency.add(value, here);
    }
    for (const int32_t output : *step.outputs()) {
      steps_[i].outputs.push_back(BP_TRY(locate(here, output)));
      if (output >= 0) residency.only(static_cast<uint32_t>(output), here);
    }
  }
  return {};
}

Status Execution::find_logits() {
  const auto& values = *plan_->flat().plan().values();
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    for (const int32_t output : *plan_->flat().plan().steps()->Get(i)->outputs()) {
      if (output < 0) continue;
      const auto value = static_cast<uint32_t>(output);
      if (values.Get(value)->role() != fb::Role::Output) continue;
      logits_value_ = value;
      logits_lane_ = plan_->placements()[i].device;
    }
  }
  const fb::Value& logits = *values.Get(logits_value_);
  if (logits.role() != fb::Role::Output || name_of(logits) != "logits" ||
      plan_->flat().format_of(logits_value_) != "f32" || logits.shape() == nullptr ||
      logits.shape()->size() != 2 || logits.shape()->Get(1)->symbol() >= 0) {
    return error(Code::kCorrupt,
                 "the plan does not compute a value 'logits' [outputs, vocabulary]");
  }
  vocabulary_ = logits.shape()->Get(1)->offset();
  if (lanes_[logits_lane_].arena.host() == nullptr) {
    logits_copy_.resize(BP_TRY(element_count(logits, limits_)));
  }
  return {};
}

Status Execution::check(const Batch& batch) const {
  const PlanLimits& limits = plan_->limits();
  const size_t tokens = batch.token_ids.size();
  const size_t sequences = batch.context_length.size();
  if (tokens == 0 || tokens > limits.tokens || sequences == 0 || sequences > limits.sequences ||
      batch.output_rows.empty() || batch.output_rows.size() > limits.outputs) {
    return error(Code::kInvalidArgument,
                 "a batch of {} tokens, {} sequences, {} outputs; the "
                 "session is made for 1 to {}, {}, {}",
                 tokens, sequences, batch.output_rows.size(), limits.tokens, limits.sequences,
                 limits.outputs);
  }
  if (batch.positions.size() != tokens || batch.sequence_of.size() != tokens ||
      batch.query_start.size() != sequences + 1 ||
      batch.page_table.size() != sequences * limits.blocks) {
    return error(Code::kInvalidArgument, "the arrays of a batch do not fit together");
  }
  for (const int32_t id : batch.token_ids) {
    if (id < 0 || static_cast<uint64_t>(id) >= vocabulary_) {
      return error(Code::kInvalidArgument, "token id {} is outside the vocabulary of {}", id,
                   vocabulary_);
    }
  }
  BP_TRY(check_sequences(batch));
  for (const int32_t row : batch.output_rows) {
    if (row < 0 || static_cast<size_t>(row) >= tokens) {
      return error(Code::kInvalidArgument, "output row {} of {} tokens", row, tokens);
    }
  }
  for (const int32_t page : batch.page_table) {
    if (page < -1 || (page >= 0 && static_cast<uint64_t>(page) >= limits.pages)) {
      return error(Code::kInvalidArgument, "KV page {} of {}", page, limits.pages);
    }
  }
  return {};
}

// Kernels index memory with these arrays; a device may have no way to check them.
Status Execution::check_sequences(const Batch& batch) const {
  const uint64_t blocks = plan_->limits().blocks;
  const uint64_t page_size = plan_->flat().plan().page_size();
  const auto wrong = [](const char* what, size_t sequence) {
    return error(Code::kInvalidArgument, "sequence {} of a batch has inconsistent {}", sequence,
                 what);
  };
  if (batch.query_start.front() != 0 ||
      static_cast<size_t>(batch.query_start.back()) != batch.token_ids.size()) {
    return error(Code::kInvalidArgument, "the sequences of a batch do not cover its tokens");
  }
  for (size_t s = 0; s < batch.context_length.size(); ++s) {
    const int32_t begin = batch.query_start[s], end = batch.query_start[s + 1];
    const int32_t context = batch.context_length[s];
    if (begin < 0 || begin > end || static_cast<size_t>(end) > batch.token_ids.size()) {
      return wrong("token ranges", s);
    }
    if (context < end - begin || static_cast<uint64_t>(context) > blocks * page_size) {
      return wrong("lengths", s);
    }
    for (int32_t t = begin; t < end; ++t) {
      const auto token = static_cast<size_t>(t);
      if (static_cast<size_t>(batch.sequence_of[token]) != s ||
          batch.positions[token] != context - (end - t)) {
        return wrong("positions", s);
      }
    }
    const uint64_t pages = (static_cast<uint64_t>(context) + page_size - 1) / page_size;
    for (uint64_t b = 0; b < pages; ++b) {
      if (batch.page_table[s * blocks + b] < 0) return wrong("pages", s);
    }
  }
  return {};
}

void Execution::set_symbols(const Batch& batch) {
  const PlanSymbols& symbols = plan_->flat().symbols();
  symbols_[static_cast<size_t>(symbols.tokens)] = batch.token_ids.size();
  symbols_[static_cast<size_t>(symbols.sequences)] = batch.context_length.size();
  symbols_[static_cast<size_t>(symbols.outputs)] = batch.output_rows.size();
}

Status Execution::write(Lane& lane, const Buffer& to, uint64_t offset, const void* from,
                        uint64_t bytes) {
  if (bytes == 0) return {};
  return call_plugin(lane.device->entry().plugin->id(), "writing memory",
                     lane.device->stream_api().write, lane.stream, to.handle(), offset, from,
                     bytes);
}

// cos and sin in double: the angle of a late position has no digits left in float.
void Execution::fill_rope(const fb::Rope& rope, std::span<const int32_t> positions) {
  const bool is_long = rope.long_from() != 0 && context_limit_ > rope.long_from() &&
                       rope.long_frequencies() != nullptr;
  const auto& frequencies = is_long ? *rope.long_frequencies() : *rope.frequencies();
  const double factor =
      static_cast<double>(is_long ? rope.long_attention_factor() : rope.attention_factor());
  const size_t half = frequencies.size();
  rope_.resize(positions.size() * 2 * half);
  for (size_t t = 0; t < positions.size(); ++t) {
    float* row = rope_.data() + t * 2 * half;
    for (size_t i = 0; i < half; ++i) {
      const double angle = double{static_cast<double>(positions[t])} *
                           static_cast<double>(frequencies.Get(static_cast<uint32_t>(i)));
      row[i] = static_cast<float>(__builtin_cos(angle) * factor);
      row[half + i] = static_cast<float>(__builtin_sin(angle) * factor);
    }
  }
}

// The bytes of one input for this batch; they stay where they are until the next input is asked
// for.
Result<std::span<const std::byte>> Execution::input_bytes(const fb::Value& value,
                                                          const Batch& batch) {
  if (value.rope() >= 0) {
    const auto& ropes = *plan_->flat().plan().ropes();
    fill_rope(*ropes.Get(static_cast<uint32_t>(value.rope())), batch.positions);
    return std::as_bytes(std::span(rope_));
  }
  const std::pair<std::string_view, const std::vector<int32_t>&> known[] = {
      {"token_ids", batch.token_ids},           {"positions", batch.positions},
      {"sequence_of", batch.sequence_of},       {"query_start", batch.query_start},
      {"context_length", batch.context_length}, {"page_table", batch.page_table},
      {"output_rows", batch.output_rows}};
  for (const auto& [name, values] : known) {
    if (name == name_of(value)) return std::as_bytes(std::span(values));
  }
  return error(Code::kIncompatible, "the plan wants an input '{}' that this version does not know",
               name_of(value));
}

Status Execution::write_inputs(const Batch& batch) {
  const auto& values = *plan_->flat().plan().values();
  for (Lane& lane : lanes_) {
    uint64_t begin = 0, end = 0;  // staged and not yet written
    for (const uint32_t v : lane.input_order) {
      const fb::Value& value = *values.Get(v);
      const std::span<const std::byte> bytes = BP_TRY(input_bytes(value, batch));
      const InputPlace& place = lane.input_place[v];
      if (bytes.size() > place.bytes) {
        return error(Code::kCorrupt, "input '{}' has {} bytes where the plan reserves {}",
                     name_of(value), bytes.size(), place.bytes);
      }
      if (bytes.empty()) continue;
      if (place.offset > end + kLargestGapBytes) {
        BP_TRY(write(lane, lane.inputs, begin, lane.staged.data() + begin, end - begin));
        begin = place.offset;
      }
      std::memcpy(lane.staged.data() + place.offset, bytes.data(), bytes.size());
      end = place.offset + bytes.size();
    }
    BP_TRY(write(lane, lane.inputs, begin, lane.staged.data() + begin, end - begin));
  }
  return {};
}

Status Execution::finish(Lane& lane) {
  if (!lane.pending) return {};
  const std::string& who = lane.device->entry().plugin->id();
  const bp_stream_api& api = lane.device->stream_api();
  ++lane.signalled;
  BP_TRY(call_plugin(who, "signalling", api.signal, lane.stream, lane.timeline, lane.signalled));
  BP_TRY(call_plugin(who, "waiting for the device", api.host_wait, lane.timeline, lane.signalled,
                     uint64_t{UINT64_MAX}));
  lane.pending = false;
  return {};
}

Status Execution::transfer(const Transfer& what) {
  const FlatPlan& flat = plan_->flat();
  const fb::Value& value = *flat.plan().values()->Get(what.value);
  const uint64_t bytes = BP_TRY(flat.value_bytes(what.value, symbols_));
  const uint64_t offset = BP_TRY(evaluate(*value.arena_offset(), limits_));
  Lane& from = lanes_[what.from];
  Lane& to = lanes_[what.to];
  const void* source = nullptr;
  if (from.arena.host() != nullptr) {
    BP_TRY(finish(from));
    source = from.arena.host() + offset;
  } else {
    staging_.resize(bytes);
    BP_TRY(call_plugin(from.device->entry().plugin->id(), "reading memory",
                       from.device->stream_api().read, from.stream,
                       static_cast<void*>(staging_.data()), from.arena.handle(), offset, bytes));
    from.pending = true;
    BP_TRY(finish(from));
    source = staging_.data();
  }
  BP_TRY(write(to, to.arena, offset, source, bytes));
  to.pending = true;
  return {};
}

Status Execution::run_steps(const std::atomic<bool>* cancel) {
  for (uint32_t i = 0; i < steps_.size(); ++i) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
      return error(Code::kCancelled, "cancelled");
    }
    Step& step = steps_[i];
    for (const Transfer& what : step.transfers) BP_TRY(transfer(what));
    const StepPlacement& placement = plan_->placements()[i];
    Lane& lane = lanes_[placement.device];
    bp_kernel_launch launch{};
    launch.size = sizeof(launch);
    launch.input_count = static_cast<uint32_t>(step.inputs.size());
    launch.output_count = static_cast<uint32_t>(step.outputs.size());
    launch.symbol_count = static_cast<uint32_t>(symbols_.size());
    launch.inputs = step.inputs.data();
    launch.outputs = step.outputs.data();
    launch.symbols = symbols_.data();
    launch.workspace = {lane.workspace.handle(), 0, lane.workspace.bytes()};
    launch.zeroed = {lane.zeroed.handle(), 0, lane.zeroed.bytes()};
    lane.pending = true;
    const Status status = call_plugin(placement.provider->id(), "running a kernel",
                                      placement.provider->kernel_api().enqueue, plan_->kernel(i),
                                      lane.stream, &launch);
    if (!status.ok()) {
      const bp_op& op = plan_->flat().ops()[i];
      return Status(status).with_context("step {} ('{}', layer {})", i,
                                         std::string_view(op.name.data, op.name.length), op.layer);
    }
  }
  return {};
}

// One sequence, one token, one row of logits, all on one device, by kernels that allow it.
bool Execution::may_record() const noexcept {
  const PlanSymbols& symbols = plan_->flat().symbols();
  const auto is_one = [&](int32_t symbol) { return symbols_[static_cast<size_t>(symbol)] == 1; };
  if (recording_state_ == Recording::kUnavailable || !is_one(symbols.tokens) ||
      !is_one(symbols.sequences) || !is_one(symbols.outputs)) {
    return false;
  }
  for (const StepPlacement& placement : plan_->placements()) {
    if (placement.device != plan_->placements().front().device || !placement.capture_safe) {
      return false;
    }
  }
  return true;
}

void Execution::forget_recording() noexcept {
  if (recording_ != nullptr) {
    bp_error detail = BP_ERROR_INIT;
    const Lane& lane = lanes_[plan_->placements().front().device];
    lane.device->stream_api().recording_destroy(recording_, &detail);
    recording_ = nullptr;
  }
  if (recording_state_ == Recording::kReady) recording_state_ = Recording::kUntried;
}

Status Execution::record(Lane& lane) {
  const std::string& who = lane.device->entry().plugin->id();
  const bp_stream_api& api = lane.device->stream_api();
  recording_state_ = Recording::kUnavailable;  // until it has worked
  BP_TRY(call_plugin(who, "recording", api.capture_begin, lane.stream));
  const Status run = run_steps(nullptr);
  const Status ended =
      call_plugin(who, "ending a recording", api.capture_end, lane.stream, &recording_);
  BP_TRY(Status(run));
  BP_TRY(Status(ended));
  recording_state_ = Recording::kReady;
  return {};
}

Status Execution::run_pass(const std::atomic<bool>* cancel) {
  if (!may_record()) return run_steps(cancel);
  if (recording_state_ == Recording::kUntried) {
    recording_state_ = Recording::kSeenOnce;
    return run_steps(cancel);
  }
  Lane& lane = lanes_[plan_->placements().front().device];
  if (recording_state_ == Recording::kSeenOnce) {
    Status recorded = record(lane);
    if (!recorded.ok()) {
      log::debug("{} does not record: {}", lane.device->id(), recorded.message());
      if (recorded.code() == Code::kDeviceLost) return recorded;
      return run_steps(cancel);
    }
  }
  if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
    return error(Code::kCancelled, "cancelled");
  }
  lane.pending = true;
  return call_plugin(lane.device->entry().plugin->id(), "replaying a pass",
                     lane.device->stream_api().replay, lane.stream, recording_);
}

Status Execution::fetch_logits() {
  Lane& lane = lanes_[logits_lane_];
  const fb::Value& value = *plan_->flat().plan().values()->Get(logits_value_);
  const uint64_t offset = BP_TRY(evaluate(*value.arena_offset(), limits_));
  logits_count_ = BP_TRY(element_count(value, symbols_));
  if (lane.arena.host() != nullptr) {
    BP_TRY(finish(lane));
    logits_ = reinterpret_cast<const float*>(lane.arena.host() + offset);
  } else {
    BP_TRY(call_plugin(lane.device->entry().plugin->id(), "reading logits",
                       lane.device->stream_api().read, lane.stream,
                       static_cast<void*>(logits_copy_.data()), lane.arena.handle(), offset,
                       uint64_t{logits_count_ * sizeof(float)}));
    lane.pending = true;
    BP_TRY(finish(lane));
    logits_ = logits_copy_.data();
  }
  return {};
}

Status Execution::forward(const Batch& batch, const std::atomic<bool>* cancel) try {
  logits_count_ = 0;
  if (broken_) {
    return error(Code::kDeviceLost, "the device of this session failed; create a new session");
  }
  BP_TRY(check(batch));
  BP_TRY(plan_->flat().file().check_unchanged());
  set_symbols(batch);
  BP_TRY(write_inputs(batch));
  Status status = run_pass(cancel);
  if (status.ok()) status = fetch_logits();
  // Whatever happened, nothing of this batch may still be running when the caller goes on.
  for (Lane& lane : lanes_) {
    if (lane.device == nullptr || !lane.pending) continue;
    Status drained = finish(lane);
    if (!drained.ok()) renew(lane);
    if (status.ok() && !drained.ok()) status = std::move(drained);
  }
  if (!status.ok()) logits_count_ = 0;
  return status;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "running the model: {}", thrown.what());
}

}  // namespace bp
