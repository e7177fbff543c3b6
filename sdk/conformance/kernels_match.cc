// SPDX-License-Identifier: Apache-2.0
// bp.kernel/1: binding, and match() as the contract words it.
#include <cstring>
#include <thread>

#include "backplane/plugin_glue.h"
#include "sdk/conformance/check.h"
#include "sdk/conformance/older_caller.h"
#include "sdk/conformance/op_run.h"
#include "sdk/conformance/samples.h"

namespace bp::conformance {
namespace {

Verdict declines_foreign_devices(Context& context) {
  // A device of nobody, which compiles nothing and of which nothing is known.
  bp_device_info info{};
  info.size = sizeof info;
  info.kind = BP_DEVICE_OTHER;
  bp_device_caps caps{};
  caps.size = sizeof caps;
  bp_device_api device{};
  bp_memory_api memory{};
  bp_stream_api stream{};
  bp_module_api module{};
  bp_gemm_api gemm{};
  BP_TRY(copy_table(nullptr, &device));
  BP_TRY(copy_table(nullptr, &memory));
  BP_TRY(copy_table(nullptr, &stream));
  BP_TRY(copy_table(nullptr, &module));
  BP_TRY(copy_table(nullptr, &gemm));
  uint64_t nobodys_device = 0;
  bp_bind_info bind{};
  bind.size = sizeof bind;
  bind.plugin_id = glue::text("nobody.at.all");
  bind.plugin_build_id = glue::text("none");
  bind.device = reinterpret_cast<bp_device*>(&nobodys_device);
  bind.info = &info;
  bind.caps = &caps;
  bind.device_api = &device;
  bind.memory_api = &memory;
  bind.stream_api = &stream;
  bind.module_api = &module;
  bind.gemm_api = &gemm;
  bp_target* target = nullptr;
  bp_error detail = BP_ERROR_INIT;
  const bp_status status = context.kernel_api().bind(&bind, &target, &detail);
  BP_TRY(expect_status(status, BP_INCOMPATIBLE, "bind to a device of nobody"));
  BP_EXPECT(detail.text[0] != '\0', "INCOMPATIBLE without a reason");
  return pass("INCOMPATIBLE: {}", detail.text);
}

// All samples in one array of records that are larger than this header's, as of a newer host.
struct Crowd {
  static constexpr uint32_t kPadding = 40;
  static constexpr uint64_t kOpStride = sizeof(bp_op) + kPadding;
  static constexpr uint64_t kMatchStride = sizeof(bp_match) + kPadding;

  explicit Crowd(const std::vector<OpRecord>& records) {
    for (const OpRecord& record : records) {
      flat.push_back(std::make_unique<FlatOp>(record, kPadding));
      bp_op op = flat.back()->op();
      op.size = kOpStride;
      const size_t at = ops.size();
      ops.resize(at + kOpStride, std::byte{0xBD});
      std::memcpy(ops.data() + at, &op, sizeof op);
    }
  }
  std::vector<std::unique_ptr<FlatOp>> flat;
  std::vector<std::byte> ops;
};

Result<std::vector<bp_match>> match_crowd(const Context& context, const Crowd& crowd) {
  const size_t count = crowd.flat.size();
  std::vector<std::byte> answers(count * Crowd::kMatchStride, std::byte{0xC9});
  for (size_t i = 0; i < count; ++i) {
    const uint32_t size = sizeof(bp_match);
    std::memcpy(answers.data() + i * Crowd::kMatchStride, &size, sizeof size);
  }
  const SymbolRanges ranges = sample_ranges();
  BP_TRY(call_plugin(context.provider->id(), "match", context.kernel_api().match, context.target,
                     reinterpret_cast<const bp_op*>(crowd.ops.data()), Crowd::kOpStride,
                     static_cast<uint32_t>(count), ranges.data(), uint32_t{kSymbols},
                     reinterpret_cast<bp_match*>(answers.data()), Crowd::kMatchStride));
  std::vector<bp_match> out(count);
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(&out[i], answers.data() + i * Crowd::kMatchStride, sizeof(bp_match));
    for (uint64_t b = sizeof(bp_match); b < Crowd::kMatchStride; ++b) {
      BP_EXPECT(answers[i * Crowd::kMatchStride + b] == std::byte{0xC9},
                "match wrote behind the answer of op {}", i);
    }
  }
  return out;
}

Verdict match_honours_strides(Context& context) {
  uint32_t ops = 0;
  uint32_t claimed = 0;
  for (const std::string_view format : {"f32", "q4_g32", "q6_k"}) {
    const std::vector<OpRecord> records = sample_records(format);
    const Crowd crowd(records);
    const std::vector<bp_match> together = BP_TRY(match_crowd(context, crowd));
    for (size_t i = 0; i < records.size(); ++i) {
      const bp_match alone = BP_TRY(match_op(context, records[i], sample_ranges()));
      BP_EXPECT(together[i].verdict == alone.verdict && together[i].flags == alone.flags &&
                    together[i].workspace_bytes == alone.workspace_bytes &&
                    together[i].zeroed_bytes == alone.zeroed_bytes,
                "'{}' is answered differently in an array of larger structs: verdict {} and {}",
                records[i].name, together[i].verdict, alone.verdict);
      ++ops;
      claimed += alone.verdict == BP_MATCH_YES ? 1 : 0;
    }
  }
  bp_match none{};
  none.size = sizeof none;
  BP_TRY(call_plugin(context.provider->id(), "match of no ops", context.kernel_api().match,
                     context.target, static_cast<const bp_op*>(nullptr), uint64_t{sizeof(bp_op)},
                     0u, static_cast<const bp_symbol_range*>(nullptr), 0u, &none,
                     uint64_t{sizeof none}));
  return pass("{} of {} samples claimed, alone and together", claimed, ops);
}

Verdict match_honours_size(Context& context) {
  const SymbolRanges ranges = sample_ranges();
  for (const OpRecord& record : sample_records("q8_g32")) {
    const FlatOp flat(record);
    const bp_match whole = BP_TRY(match_op(context, record, ranges));
    for (const size_t size : {offsetof(bp_match, flags), offsetof(bp_match, resident_bytes),
                              offsetof(bp_match, reason) + 8, sizeof(bp_match)}) {
      OlderCaller<bp_match> older(size);
      BP_TRY(call_plugin(context.provider->id(), "match", context.kernel_api().match,
                         context.target, &flat.op(), uint64_t{sizeof(bp_op)}, 1u, ranges.data(),
                         uint32_t{kSymbols}, older.get(), uint64_t{sizeof(bp_match)}));
      BP_EXPECT(older.is_intact(), "match of '{}' wrote behind a caller's {} bytes", record.name,
                size);
      BP_EXPECT(older.get()->verdict == whole.verdict,
                "match of '{}' says {} to a caller of {} bytes, {} else", record.name,
                older.get()->verdict, size, whole.verdict);
    }
  }
  return pass("answers fit into a smaller caller's struct");
}

Verdict match_from_threads(Context& context) {
  constexpr size_t kThreads = 4;
  std::vector<Status> results(kThreads);
  std::vector<std::thread> threads;
  const std::vector<OpRecord> records = sample_records("q4_k");
  const Crowd crowd(records);
  const std::vector<bp_match> wanted = BP_TRY(match_crowd(context, crowd));
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      results[i] = [&]() -> Status {
        for (int round = 0; round < 20; ++round) {
          const std::vector<bp_match> got = BP_TRY(match_crowd(context, crowd));
          for (size_t k = 0; k < got.size(); ++k) {
            BP_EXPECT(got[k].verdict == wanted[k].verdict,
                      "'{}' is answered differently on "
                      "another thread",
                      records[k].name);
          }
        }
        return {};
      }();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (Status& result : results) BP_TRY(std::move(result));
  return pass("{} threads, equal answers", kThreads);
}

}  // namespace

void add_match_checks(std::vector<Check>& out) {
  using N = Check::Needs;
  out.push_back({"kernels.bind.foreign", N::kKernels,
                 "a device that is not for the provider is INCOMPATIBLE",
                 declines_foreign_devices});
  out.push_back({"kernels.match.strides", N::kKernels,
                 "arrays of a newer host's larger structs, all ops at once",
                 match_honours_strides});
  out.push_back(
      {"kernels.match.sizes", N::kKernels, "smaller answers of older callers", match_honours_size});
  out.push_back({"kernels.match.threads", N::kKernels, "match is thread-safe", match_from_threads});
}

}  // namespace bp::conformance
