// SPDX-License-Identifier: Apache-2.0
#include "core/exec/read_bandwidth.h"

#include <algorithm>
#include <chrono>

#include "core/plugin/tables.h"

namespace bp {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kMostBytes = uint64_t{2} << 30;
constexpr uint64_t kRowFloats = 64 * 1024;
constexpr uint64_t kRowBytes = kRowFloats * sizeof(float);
constexpr int kPasses = 6;           // the first warms up
constexpr int kLaunchesPerPass = 4;  // so that waiting costs little

bp_string text(std::string_view from) {
  return {from.data(), from.size()};
}

// The op row_sums over so many rows, as records that stay where they are.
struct RowSumsOp {
  explicit RowSumsOp(uint64_t rows)
      : x_dims{{-1, 0, 0, rows}, {-1, 0, 0, kRowFloats}}, y_dims{{-1, 0, 0, rows}} {
    x = {sizeof(bp_operand), BP_ROLE_INPUT, text("f32"), x_dims, 2, 0};
    y = {sizeof(bp_operand), BP_ROLE_OUTPUT, text("f32"), y_dims, 1, 1};
    op.size = sizeof op;
    op.version = 1;
    op.name = text("row_sums");
    op.inputs = &x;
    op.outputs = &y;
    op.input_count = op.output_count = 1;
    op.operand_stride = sizeof(bp_operand);
    op.attribute_stride = sizeof(bp_attribute);
    op.layer = -1;
  }
  RowSumsOp(const RowSumsOp&) = delete;
  RowSumsOp& operator=(const RowSumsOp&) = delete;
  bp_dim x_dims[2], y_dims[1];
  bp_operand x, y;
  bp_op op{};
};

// What a measurement holds on the device, released in the right order however it ends.
class Measurement {
 public:
  explicit Measurement(Device& device) : device_(device), who_(device.entry().plugin->id()) {}
  ~Measurement() {
    bp_error detail = BP_ERROR_INIT;
    const bp_stream_api& api = device_.stream_api();
    if (stream_ != nullptr) api.destroy(stream_, &detail);
    if (timeline_ != nullptr) api.timeline_destroy(timeline_, &detail);
    if (kernel_ != nullptr) provider_->plugin->kernel_api().release(kernel_, &detail);
  }
  Measurement(const Measurement&) = delete;
  Measurement& operator=(const Measurement&) = delete;

  Result<double> run() {
    const uint64_t rows = choose_rows();
    const RowSumsOp op(rows);
    BP_TRY(prepare(op));
    x_ = BP_TRY(device_.allocate(rows * kRowBytes, false));
    y_ = BP_TRY(device_.allocate(rows * sizeof(float), false));
    const bp_stream_api& api = device_.stream_api();
    BP_TRY(call_plugin(who_, "creating a stream", api.create, device_.handle(), &stream_));
    BP_TRY(call_plugin(who_, "creating a timeline", api.timeline_create, device_.handle(),
                       &timeline_));
    BP_TRY(call_plugin(who_, "filling memory", api.fill, stream_, x_.handle(), uint64_t{0},
                       rows * kRowBytes, 0x3f800000u));
    BP_TRY(finish());
    double best = 0;
    for (int pass = 0; pass < kPasses; ++pass) {
      const auto start = Clock::now();
      for (int i = 0; i < kLaunchesPerPass; ++i) BP_TRY(enqueue(rows));
      BP_TRY(finish());
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      const double bytes = static_cast<double>(rows * kRowBytes) * kLaunchesPerPass;
      if (pass != 0) best = std::max(best, bytes / seconds);
    }
    return best;
  }

 private:
  uint64_t choose_rows() {
    uint64_t free_bytes = 0, total_bytes = 0;
    device_.budget(&free_bytes, &total_bytes);
    uint64_t bytes = free_bytes != 0 ? std::min(kMostBytes, free_bytes / 4) : kMostBytes / 8;
    const uint64_t range = device_.entry().caps.max_buffer_range;
    if (range != 0) bytes = std::min(bytes, range);
    return std::max<uint64_t>(bytes / kRowBytes, 1);
  }

  Status prepare(const RowSumsOp& op) {
    for (const Provider& provider : device_.providers()) {
      bp_match answer{};
      answer.size = sizeof answer;
      const bp_kernel_api& api = provider.plugin->kernel_api();
      BP_TRY(call_plugin(provider.plugin->id(), "matching", api.match, provider.target, &op.op,
                         uint64_t{sizeof(bp_op)}, 1u, static_cast<const bp_symbol_range*>(nullptr),
                         0u, &answer, uint64_t{sizeof(bp_match)}));
      if (answer.verdict != BP_MATCH_YES || answer.workspace_bytes != 0 ||
          answer.zeroed_bytes != 0) {
        continue;
      }
      provider_ = &provider;
      bp_weight none{};
      none.size = sizeof none;
      uint32_t flags = 0;
      return call_plugin(provider.plugin->id(), "preparing a kernel", api.prepare, provider.target,
                         &op.op, static_cast<const bp_symbol_range*>(nullptr), 0u,
                         static_cast<const bp_weight*>(&none), uint64_t{sizeof none}, &kernel_,
                         &flags);
    }
    return error(Code::kUnimplemented, "{} has no kernel that measures its memory", device_.id());
  }

  Status enqueue(uint64_t rows) {
    const bp_operand_buffer in{x_.handle(), 0, rows * kRowBytes};
    const bp_operand_buffer out{y_.handle(), 0, rows * sizeof(float)};
    bp_kernel_launch launch{};
    launch.size = sizeof launch;
    launch.input_count = launch.output_count = 1;
    launch.inputs = &in;
    launch.outputs = &out;
    return call_plugin(provider_->plugin->id(), "running a kernel",
                       provider_->plugin->kernel_api().enqueue, kernel_, stream_,
                       static_cast<const bp_kernel_launch*>(&launch));
  }

  Status finish() {
    const bp_stream_api& api = device_.stream_api();
    BP_TRY(call_plugin(who_, "signalling", api.signal, stream_, timeline_, ++signalled_));
    return call_plugin(who_, "waiting for the device", api.host_wait, timeline_, signalled_,
                       uint64_t{UINT64_MAX});
  }

  Device& device_;
  const std::string& who_;
  const Provider* provider_ = nullptr;
  bp_kernel* kernel_ = nullptr;
  Buffer x_, y_;
  bp_stream* stream_ = nullptr;
  bp_timeline* timeline_ = nullptr;
  uint64_t signalled_ = 0;
};

}  // namespace

Result<double> measure_read_bandwidth(Device& device) {
  return Measurement(device).run();
}

}  // namespace bp
