// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/op_run.h"

#include <algorithm>
#include <cstring>

namespace bp::conformance {
namespace {

constexpr uint64_t kOperandAlignment = 256;  // that the runtime's arenas have
constexpr uint64_t kGuardBytes = 256;
constexpr std::byte kPoison{0xFF};  // NaN in f32, f16 and bf16, −1 in i32

std::string_view reason_of(const bp_match& match) {
  return {match.reason, ::strnlen(match.reason, sizeof match.reason)};
}

}  // namespace

Result<bp_match> match_op(const Context& context, const OpRecord& record,
                          const SymbolRanges& ranges) {
  context.alive();
  const FlatOp flat(record);
  bp_match answer{};
  answer.size = sizeof answer;
  answer.verdict = 12345;
  std::memset(answer.reason, 0x7F, sizeof answer.reason);
  BP_TRY(call_plugin(context.provider->id(), "match", context.kernel_api().match, context.target,
                     &flat.op(), uint64_t{sizeof(bp_op)}, 1u, ranges.data(), uint32_t{kSymbols},
                     &answer, uint64_t{sizeof(bp_match)}));
  BP_EXPECT(answer.verdict == BP_MATCH_NO || answer.verdict == BP_MATCH_YES,
            "match of '{}': verdict {}", record.name, answer.verdict);
  BP_EXPECT(answer.size == sizeof answer, "match of '{}' changed the size of its answer",
            record.name);
  BP_EXPECT(is_ended_utf8(answer.reason, sizeof answer.reason),
            "match of '{}': the reason is no UTF-8 with an end", record.name);
  BP_EXPECT(answer.verdict == BP_MATCH_YES || answer.reason[0] != '\0',
            "match of '{}': NO without a reason", record.name);
  return answer;
}

Result<std::unique_ptr<PreparedOp>> PreparedOp::prepare(const Context& context,
                                                        const OpRecord& record,
                                                        const SymbolRanges& ranges,
                                                        const bp_match& match) {
  context.alive();
  auto out = std::make_unique<PreparedOp>(context, record, ranges, match);
  const FlatOp flat(record);
  std::vector<bp_weight> records(record.inputs.size());
  out->weights_.reserve(record.inputs.size());
  for (size_t i = 0; i < records.size(); ++i) {
    records[i].size = sizeof(bp_weight);
    if (record.inputs[i].role != BP_ROLE_WEIGHT) continue;
    out->weights_.push_back(*record.inputs[i].weight);
    // Distinct tensors have distinct ids, also across the ops of a run.
    static std::atomic<uint64_t> next_id{1};
    records[i] = weight_record(out->weights_.back(), next_id++);
  }
  uint32_t flags = 0;
  BP_TRY(call_plugin(context.provider->id(), "prepare", context.kernel_api().prepare,
                     context.target, &flat.op(), ranges.data(), uint32_t{kSymbols}, records.data(),
                     uint64_t{sizeof(bp_weight)}, &out->kernel_, &flags)
             .with_context("'{}', which match said YES to ({})", record.name, reason_of(match)));
  BP_EXPECT(out->kernel_ != nullptr, "prepare of '{}' returned OK and no kernel", record.name);
  if ((flags & BP_KERNEL_COPIED_WEIGHTS) != 0) {
    for (Weight& weight : out->weights_) {
      for (Plane& plane : weight.planes) std::memset(plane.data(), 0xA5, plane.size());
    }
  }
  return out;
}

PreparedOp::~PreparedOp() {
  if (kernel_ != nullptr) context_.kernel_api().release(kernel_, nullptr);
}

Result<std::unique_ptr<Bench>> Bench::create(const Context& context, const OpRecord& record,
                                             const SymbolRanges& ranges, const bp_match& match) {
  auto out = std::make_unique<Bench>(context, BP_TRY(Queue::open(context)));
  BP_TRY(out->lay_out(record, maximum_of(ranges), match));
  return out;
}

Status Bench::lay_out(const OpRecord& record, const SymbolValues& maximum, const bp_match& match) {
  const uint64_t alignment =
      std::max<uint64_t>(kOperandAlignment, context_.entry.caps.buffer_offset_alignment);
  uint64_t end = kGuardBytes;
  const auto place = [&](uint64_t bytes) {
    const uint64_t offset = (end + alignment - 1) / alignment * alignment;
    end = offset + bytes + kGuardBytes;
    return Place{offset, bytes};
  };
  for (const Operand& operand : record.inputs) {
    inputs_.push_back(operand.is_memory() ? place(operand.bytes(maximum)) : Place{});
  }
  for (const Operand& operand : record.outputs) outputs_.push_back(place(operand.bytes(maximum)));
  BP_EXPECT(match.workspace_bytes < (uint64_t{8} << 30), "'{}' wants a workspace of {} bytes",
            record.name, match.workspace_bytes);
  if (match.workspace_bytes != 0) workspace_ = place(match.workspace_bytes);
  if (match.zeroed_bytes != 0) zeroed_ = place(match.zeroed_bytes);
  arena_ = BP_TRY(context_.allocate(end));
  return {};
}

Result<Bytes> Bench::image_of(const OpRecord& record, const Launch& launch) const {
  Bytes image(arena_.bytes(), kPoison);
  std::fill_n(image.begin() + static_cast<ptrdiff_t>(zeroed_.offset), zeroed_.bytes, std::byte{0});
  BP_EXPECT(launch.inputs.size() == record.inputs.size(), "a launch with {} of {} inputs",
            launch.inputs.size(), record.inputs.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (!record.inputs[i].is_memory()) continue;
    BP_EXPECT(launch.inputs[i].size() == record.inputs[i].bytes(launch.symbols),
              "input {} of '{}' is given {} bytes, its shape has {}", i, record.name,
              launch.inputs[i].size(), record.inputs[i].bytes(launch.symbols));
    std::copy(launch.inputs[i].begin(), launch.inputs[i].end(),
              image.begin() + static_cast<ptrdiff_t>(inputs_[i].offset));
  }
  return image;
}

bp_kernel_launch Bench::record_of(const Launch& launch) {
  const auto operand = [&](const Place& place) {
    return place.bytes == 0 ? bp_operand_buffer{}
                            : bp_operand_buffer{arena_.handle(), place.offset, place.bytes};
  };
  input_records_.clear();
  output_records_.clear();
  for (const Place& place : inputs_) input_records_.push_back(operand(place));
  for (const Place& place : outputs_) output_records_.push_back(operand(place));
  if (launch.in_place >= 0)
    output_records_[0] = input_records_[static_cast<size_t>(launch.in_place)];
  bp_kernel_launch out{};
  out.size = sizeof out;
  out.input_count = static_cast<uint32_t>(input_records_.size());
  out.output_count = static_cast<uint32_t>(output_records_.size());
  out.symbol_count = kSymbols;
  out.inputs = input_records_.data();
  out.outputs = output_records_.data();
  out.symbols = launch.symbols.data();
  out.workspace = operand(workspace_);
  out.zeroed = operand(zeroed_);
  return out;
}

Result<Outcome> Bench::examine(const OpRecord& record, const Launch& launch, const Bytes& before,
                               const Bytes& after) const {
  Outcome out;
  Bytes expected = before;
  // Whatever the kernel may write is taken over; the rest has to be as it was.
  const auto take = [&](const Place& place, uint64_t bytes) {
    const auto from = after.begin() + static_cast<ptrdiff_t>(place.offset);
    std::copy(from, from + static_cast<ptrdiff_t>(place.bytes),
              expected.begin() + static_cast<ptrdiff_t>(place.offset));
    return Bytes(from, from + static_cast<ptrdiff_t>(bytes));
  };
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const bool shared = i == 0 && launch.in_place >= 0;
    const Place& place = shared ? inputs_[static_cast<size_t>(launch.in_place)] : outputs_[i];
    out.outputs.push_back(take(place, record.outputs[i].bytes(launch.symbols)));
  }
  out.states.resize(inputs_.size());
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (record.inputs[i].role != BP_ROLE_STATE) continue;
    out.states[i] = take(inputs_[i], record.inputs[i].bytes(launch.symbols));
  }
  if (workspace_.bytes != 0) take(workspace_, 0);
  const auto at = std::mismatch(after.begin(), after.end(), expected.begin());
  if (at.first == after.end()) return out;
  // Say whose bytes these are.
  const auto byte = static_cast<uint64_t>(at.first - after.begin());
  std::string owner = "before the first operand";
  uint64_t best = 0;
  const auto name = [&](const Place& place, std::string_view kind, size_t index) {
    if (place.bytes == 0 || place.offset > byte || place.offset < best) return;
    best = place.offset;
    const bool inside = byte < place.offset + place.bytes;
    owner = inside ? fmt::format("inside {} {}, which must be as it was", kind, index)
                   : fmt::format("{} bytes behind the end of {} {}",
                                 byte - place.offset - place.bytes, kind, index);
  };
  for (size_t i = 0; i < inputs_.size(); ++i) name(inputs_[i], "input", i);
  for (size_t i = 0; i < outputs_.size(); ++i) name(outputs_[i], "output", i);
  name(workspace_, "workspace", 0);
  name(zeroed_, "zeroed memory", 0);
  return fail("'{}' wrote {}", record.name, owner);
}

Result<Outcome> Bench::run(const PreparedOp& op, const Launch& launch) {
  const Bytes before = BP_TRY(image_of(op.record(), launch));
  BP_TRY(queue_.write(arena_, 0, before));
  const bp_kernel_launch record = record_of(launch);
  BP_TRY(call_plugin(context_.provider->id(), "enqueue", context_.kernel_api().enqueue, op.kernel(),
                     queue_.stream(), &record));
  const Bytes after = BP_TRY(queue_.content(arena_));
  return examine(op.record(), launch, before, after);
}

Result<Outcome> Bench::run_recorded(const PreparedOp& op, const Launch& launch) {
  const Bytes before = BP_TRY(image_of(op.record(), launch));
  BP_TRY(queue_.write(arena_, 0, before));
  BP_TRY(queue_.finish());
  const bp_stream_api& api = context_.stream_api();
  BP_TRY(context_.call("capture_begin", api.capture_begin, queue_.stream()));
  const bp_kernel_launch record = record_of(launch);
  const Status enqueued =
      call_plugin(context_.provider->id(), "enqueue while recording", context_.kernel_api().enqueue,
                  op.kernel(), queue_.stream(), &record);
  bp_recording* recording = nullptr;
  const Status ended = context_.call("capture_end", api.capture_end, queue_.stream(), &recording);
  BP_TRY(Status(enqueued));
  BP_TRY(Status(ended));
  Status replayed = [&]() -> Status {
    for (int i = 0; i < 2; ++i) {  // a recording may run again
      BP_TRY(queue_.write(arena_, 0, before));
      BP_TRY(context_.call("replay", api.replay, queue_.stream(), recording));
      BP_TRY(queue_.finish());
    }
    return {};
  }();
  const auto after = queue_.content(arena_);
  api.recording_destroy(recording, nullptr);
  BP_TRY(std::move(replayed));
  BP_TRY(Status(after.status()));
  return examine(op.record(), launch, before, after.value());
}

Result<bp_status> Bench::run_refused(const PreparedOp& op, const Launch& launch) {
  const Bytes before = BP_TRY(image_of(op.record(), launch));
  BP_TRY(queue_.write(arena_, 0, before));
  BP_TRY(queue_.finish());
  const bp_kernel_launch record = record_of(launch);
  bp_status status = context_.kernel_api().enqueue(op.kernel(), queue_.stream(), &record, nullptr);
  if (status == BP_OK) {
    // The failure may come later, and poisons the timeline of whoever waits.
    const Status finished = queue_.finish();
    if (!finished.ok()) return static_cast<bp_status>(finished.code());
  }
  const Bytes after = BP_TRY(queue_.content(arena_));
  BP_TRY(examine(op.record(), launch, before, after));
  return status;
}

}  // namespace bp::conformance
