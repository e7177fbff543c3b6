// SPDX-License-Identifier: Apache-2.0
// bp.kernel/1: enqueue from several threads, launches that do not fit, data that is wrong.
#include <thread>

#include "sdk/conformance/check.h"
#include "sdk/conformance/exercise.h"
#include "sdk/conformance/random_values.h"
#include "sdk/conformance/reference.h"
#include "sdk/conformance/samples.h"

namespace bp::conformance {
namespace {

// A kernel that the provider has, of the simplest kind: embed or linear in some format.
struct Subject {
  OpRecord record;
  bp_match match{};
};
Result<Subject> claimed_linear(const Context& context) {
  Subject out;
  for (const WeightFormat& format : kWeightFormats) {
    out.record = sample_record("linear", format.name);
    out.record.find("activation")->string_value = "none";
    out.match = BP_TRY(match_op(context, out.record, sample_ranges()));
    if (out.match.verdict == BP_MATCH_YES) return out;
  }
  out.record = OpRecord();
  return out;
}

Launch linear_launch(const OpRecord& record, uint64_t tokens, const std::vector<float>& x) {
  Launch out;
  out.symbols = {tokens, 1, 1, 12, 8};
  out.inputs.resize(record.inputs.size());
  out.inputs[0] = bytes_of(x);
  return out;
}

Verdict runs_on_several_streams(Context& context) {
  const Subject subject = BP_TRY(claimed_linear(context));
  if (subject.record.name.empty()) return skip("linear is not claimed in any format");
  const OpRecord& record = subject.record;
  const SymbolRanges ranges = sample_ranges();
  const auto op = BP_TRY(PreparedOp::prepare(context, record, ranges, subject.match));
  const Weight& weight = record.weight_at(1);
  const uint64_t rows = weight.dims[0];
  const uint64_t columns = weight.dims[1];
  const std::vector<float> values = weight.dequantized();
  constexpr size_t kThreads = 4;
  std::vector<Status> results(kThreads);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      results[i] = [&]() -> Status {
        const auto bench = BP_TRY(Bench::create(context, record, ranges, subject.match));
        for (uint64_t round = 0; round < 12; ++round) {
          const uint64_t tokens = 1 + (round * 5 + i) % 16;
          const std::vector<float> x = random_activations(tokens, columns, 100 * i + round);
          const Outcome outcome = BP_TRY(bench->run(*op, linear_launch(record, tokens, x)));
          const Expected want = linear_reference(x, values, {}, {}, {}, tokens, rows, columns);
          BP_TRY(compare(values_of<float>(outcome.outputs[0]), want,
                         weight_tolerance(weight.format->name),
                         fmt::format("thread {}, round {}", i, round)));
        }
        return {};
      }();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (Status& result : results) BP_TRY(std::move(result));
  return pass("one kernel ({}) on {} streams of {} threads", weight.format->name, kThreads,
              kThreads);
}

Verdict refuses_launches_that_do_not_fit(Context& context) {
  const Subject subject = BP_TRY(claimed_linear(context));
  if (subject.record.name.empty()) return skip("linear is not claimed in any format");
  const SymbolRanges ranges = sample_ranges();
  const auto op = BP_TRY(PreparedOp::prepare(context, subject.record, ranges, subject.match));
  Queue queue = BP_TRY(Queue::open(context));
  const Buffer x = BP_TRY(context.allocate(65'536));
  const Buffer y = BP_TRY(context.allocate(65'536));
  const Buffer workspace = BP_TRY(context.allocate(subject.match.workspace_bytes + 64));
  const Buffer zeroed = BP_TRY(context.allocate(subject.match.zeroed_bytes + 64));
  const Bytes zeros(zeroed.bytes());
  BP_TRY(queue.write(zeroed, 0, zeros));
  const SymbolValues symbols = {4, 1, 1, 12, 8};
  const auto enqueue = [&](auto&& change) {
    bp_operand_buffer inputs[4] = {{x.handle(), 0, x.bytes()}};
    bp_operand_buffer outputs[1] = {{y.handle(), 0, y.bytes()}};
    bp_kernel_launch launch{};
    launch.size = sizeof launch;
    launch.input_count = 4;
    launch.output_count = 1;
    launch.symbol_count = kSymbols;
    launch.inputs = inputs;
    launch.outputs = outputs;
    launch.symbols = symbols.data();
    launch.workspace = {workspace.handle(), 0, workspace.bytes()};
    launch.zeroed = {zeroed.handle(), 0, zeroed.bytes()};
    change(launch, inputs, outputs);
    return context.kernel_api().enqueue(op->kernel(), queue.stream(), &launch, nullptr);
  };
  using L = bp_kernel_launch&;
  using O = bp_operand_buffer*;
  BP_TRY(expect_refusal(enqueue([](L l, O, O) { l.input_count = 0; }), "a launch without inputs"));
  BP_TRY(
      expect_refusal(enqueue([](L l, O, O) { l.output_count = 0; }), "a launch without outputs"));
  BP_TRY(
      expect_refusal(enqueue([](L l, O, O) { l.symbol_count = 0; }), "a launch without symbols"));
  BP_TRY(expect_refusal(enqueue([](L, O in, O) { in[0].buffer = nullptr; }),
                        "a launch whose input has no buffer"));
  BP_TRY(expect_refusal(enqueue([](L, O in, O) { in[0].bytes = 16; }),
                        "a launch whose input has 16 bytes"));
  BP_TRY(expect_refusal(enqueue([](L, O, O out) { out[0].bytes = 16; }),
                        "a launch whose output has 16 bytes"));
  BP_TRY(expect_refusal(enqueue([](L, O, O out) { out[0].offset = uint64_t{1} << 40; }),
                        "a launch whose output lies beyond its buffer"));
  // And one that fits.
  BP_TRY(expect_status(enqueue([](L, O, O) {}), BP_OK, "a launch that fits"));
  BP_TRY(queue.finish());
  return pass("7 launches refused, the kernel still runs");
}

Verdict reports_wrong_data(Context& context) {
  uint32_t tried = 0;
  const SymbolRanges ranges = sample_ranges();
  const auto refuse = [&](const OpRecord& record, const Launch& launch,
                          std::string_view what) -> Status {
    const bp_match match = BP_TRY(match_op(context, record, ranges));
    if (match.verdict != BP_MATCH_YES) return {};
    const auto op = BP_TRY(PreparedOp::prepare(context, record, ranges, match));
    const auto bench = BP_TRY(Bench::create(context, record, ranges, match));
    ++tried;
    const bp_status status = BP_TRY(bench->run_refused(*op, launch));
    // Kernels of a GPU may have no way to see it, and then just stay inside their operands.
    if (status == BP_OK) return {};
    return expect_status(status, BP_INVALID_ARGUMENT, what);
  };
  const OpRecord embed = sample_record("embed", "f32");
  for (const int32_t id : {24, -1, INT32_MAX, INT32_MIN}) {
    Launch launch;
    launch.symbols = {3, 1, 1, 12, 8};
    launch.inputs = {bytes_of(std::vector<int32_t>{0, id, 23}), {}};
    BP_TRY(refuse(embed, launch, fmt::format("embed of id {} in a table of 24", id)));
  }
  const OpRecord rope = sample_record("rope_kv_write", "f32");
  for (const int32_t page : {12, -1, INT32_MAX}) {
    Launch launch;
    launch.symbols = {1, 1, 1, 12, 8};
    for (const Operand& operand : rope.inputs) {
      launch.inputs.emplace_back(operand.is_memory() ? operand.bytes(launch.symbols) : 0);
    }
    std::vector<int32_t> pages(8, -1);
    pages[0] = page;
    launch.inputs[8] = bytes_of(pages);
    BP_TRY(refuse(rope, launch, fmt::format("rope_kv_write into page {} of 12", page)));
  }
  if (tried == 0) return skip("neither embed nor rope_kv_write is claimed");
  BP_TRY(context.call("status", context.device_api().status, context.device));
  return pass("{} runs with wrong ids or pages are refused or do no harm", tried);
}

}  // namespace

void add_launch_checks(std::vector<Check>& out) {
  using N = Check::Needs;
  out.push_back({"kernels.launch.threads", N::kKernels,
                 "one prepared kernel on several streams at once", runs_on_several_streams});
  out.push_back({"kernels.launch.refused", N::kKernels,
                 "counts and ranges that do not fit are refused",
                 refuses_launches_that_do_not_fit});
  out.push_back({"kernels.launch.data", N::kKernels,
                 "ids and pages out of range are refused or touch nothing outside the operands",
                 reports_wrong_data});
}

}  // namespace bp::conformance
