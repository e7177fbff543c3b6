// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "kernels/plugin/ops/vendor_product.h"

namespace bp::kernels {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kWaitNs = 60'000'000'000;  // a pass that takes longer has hung
constexpr int kRounds = 3;                    // of both, in turn; the fastest counts
constexpr double kRoundSeconds = 2e-3;        // passes of a round take about so long
constexpr double kMaxPasses = 16;             // of a round
constexpr double kClear = 1.5;                // a difference that needs no further rounds
constexpr double kGain = 0.97;                // of our time, which a rival must stay below
constexpr uint64_t kComparedTokens = 8;       // rows of y that are compared
// Of the root mean square of a row, and of a value itself: rounding of two f16 factors adds up to a
// few thousandths, and gates multiply two such sums.
constexpr double kTolerance = 3e-2;
constexpr double kRelative = 2e-2;

// Buffers and a stream for running one op; released at the end.
class Bench {
 public:
  Bench(const Device& device, const PreparedKernel& kernel) : device_(device), kernel_(kernel) {}
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() {
    if (stream_ != nullptr) device_.stream->destroy(stream_, nullptr);
    if (timeline_ != nullptr) device_.stream->timeline_destroy(timeline_, nullptr);
    for (bp_buffer* buffer : {x_, y_, workspace_}) device_.memory->free(buffer, nullptr);
  }

  // For passes of up to `most` tokens. NOT_FOUND when no pass of that size exists.
  Status open(uint64_t most, const ops::Ranges& ranges) {
    BP_TRY(set_symbols(most, ranges));
    const ops::Operand &x = kernel_.op.input(0), &y = kernel_.op.output(0);
    if (!x.constant_dim(1, &columns_) || !y.constant_dim(1, &rows_)) {
      return error(Code::kInternal, "a product without constant widths");
    }
    BP_TRY(alloc(tokens_ * columns_ * sizeof(float), &x_));
    BP_TRY(alloc(tokens_ * rows_ * sizeof(float), &y_));
    BP_TRY(alloc(kernel_.program.workspace_bytes, &workspace_));
    BP_TRY(call("creating a stream", device_.stream->create, device_.handle, &stream_));
    BP_TRY(
        call("creating a timeline", device_.stream->timeline_create, device_.handle, &timeline_));
    BP_TRY(fill_x());
    set_launch();
    return {};
  }

  // Rows of y after one pass over a y of zeros, which is also what is added where y is.
  Result<std::vector<float>> result(const std::vector<Launch>& steps) {
    BP_TRY(call("clearing", device_.stream->fill, stream_, y_, uint64_t{0},
                tokens_ * rows_ * sizeof(float), uint32_t{0}));
    BP_TRY(run(steps));
    const uint64_t count = std::min(tokens_, kComparedTokens);
    std::vector<float> out(count * rows_);
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t token = count == 1 ? 0 : i * (tokens_ - 1) / (count - 1);
      BP_TRY(call("reading a result", device_.stream->read, stream_,
                  static_cast<void*>(&out[i * rows_]), y_, token * rows_ * sizeof(float),
                  rows_ * sizeof(float)));
    }
    BP_TRY(finish());
    return out;
  }

  // Seconds of one of so many passes.
  Result<double> seconds(const std::vector<Launch>& steps, uint64_t passes) {
    BP_TRY(finish());
    const auto start = Clock::now();
    for (uint64_t i = 0; i < passes; ++i) BP_TRY(run(steps));
    BP_TRY(finish());
    return std::chrono::duration<double>(Clock::now() - start).count() /
           static_cast<double>(passes);
  }

  uint64_t tokens() const noexcept { return tokens_; }
  uint64_t rows() const noexcept { return rows_; }

 private:
  Status alloc(uint64_t bytes, bp_buffer** out) {
    return call("allocating memory for a trial", device_.memory->alloc, device_.handle, uint32_t{0},
                bytes, out);
  }

  Status set_symbols(uint64_t most, const ops::Ranges& ranges) {
    const bp_dim& dim = kernel_.program.tokens;
    for (uint32_t i = 0; i < ranges.count; ++i) symbols_.push_back(ranges.symbols[i].typical);
    tokens_ = dim.offset;
    if (dim.symbol >= 0 && static_cast<uint32_t>(dim.symbol) < ranges.count && dim.scale != 0 &&
        most >= dim.offset) {
      uint64_t& value = symbols_[static_cast<size_t>(dim.symbol)];
      value = std::min((most - dim.offset) / dim.scale,
                       ranges.symbols[static_cast<size_t>(dim.symbol)].maximum);
      tokens_ = dim.scale * value + dim.offset;  // at most `most`
    }
    if (tokens_ >= kVendorTokens && tokens_ <= most) return {};
    return error(Code::kNotFound, "no pass has up to {} tokens", most);
  }

  // Numbers between −1 and 1 that differ everywhere.
  Status fill_x() {
    std::vector<float> x(tokens_ * columns_);
    uint32_t state = 1;
    for (float& value : x) {
      state = state * 1664525u + 1013904223u;
      value = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-31f;
    }
    return call("writing activations", device_.stream->write, stream_, x_, uint64_t{0},
                static_cast<const void*>(x.data()), uint64_t{x.size() * sizeof(float)});
  }

  // The residual, where there is one, lies where y does.
  void set_launch() {
    inputs_.assign(kernel_.op.input_count, {});
    for (uint32_t i = 0; i < kernel_.op.input_count; ++i) {
      const ops::Operand& operand = kernel_.op.inputs[i];
      if (!operand.present() || operand.is_weight()) continue;
      inputs_[i] = i == 0 ? bp_operand_buffer{x_, 0, tokens_ * columns_ * sizeof(float)}
                          : bp_operand_buffer{y_, 0, tokens_ * rows_ * sizeof(float)};
    }
    output_ = {y_, 0, tokens_ * rows_ * sizeof(float)};
    launch_.size = sizeof launch_;
    launch_.input_count = kernel_.op.input_count;
    launch_.output_count = 1;
    launch_.symbol_count = static_cast<uint32_t>(symbols_.size());
    launch_.inputs = inputs_.data();
    launch_.outputs = &output_;
    launch_.symbols = symbols_.data();
    launch_.workspace = {workspace_, 0, kernel_.program.workspace_bytes};
  }

  Status run(const std::vector<Launch>& steps) {
    bp_error detail = BP_ERROR_INIT;
    return status_from(kernel_.run_all(steps, stream_, launch_, &detail), detail, "running a pass");
  }

  Status finish() {
    BP_TRY(call("signalling", device_.stream->signal, stream_, timeline_, ++signalled_));
    return call("waiting for a pass", device_.stream->host_wait, timeline_, signalled_, kWaitNs);
  }

  const Device& device_;
  const PreparedKernel& kernel_;
  uint64_t tokens_ = 0, rows_ = 0, columns_ = 0, signalled_ = 0;
  std::vector<uint64_t> symbols_;
  std::vector<bp_operand_buffer> inputs_;
  bp_operand_buffer output_{};
  bp_kernel_launch launch_{};
  bp_buffer *x_ = nullptr, *y_ = nullptr, *workspace_ = nullptr;
  bp_stream* stream_ = nullptr;
  bp_timeline* timeline_ = nullptr;
};

// Does the rival compute what our kernels do? INCOMPATIBLE when not.
Status compare(const std::vector<float>& ours, const std::vector<float>& theirs, uint64_t rows) {
  for (uint64_t first = 0; first < ours.size(); first += rows) {
    double squares = 0;
    for (uint64_t i = first; i < first + rows; ++i) squares += double{ours[i]} * ours[i];
    const double bound = kTolerance * std::sqrt(squares / static_cast<double>(rows)) + 1e-6;
    for (uint64_t i = first; i < first + rows; ++i) {
      const double off = std::fabs(double{ours[i]} - theirs[i]);
      if (off <= bound + kRelative * std::fabs(ours[i])) continue;  // false for NaN
      return error(Code::kIncompatible, "{} where our kernels compute {}, row {}", theirs[i],
                   ours[i], i - first);
    }
  }
  return {};
}

struct Times {
  double ours = std::numeric_limits<double>::infinity();
  double theirs = std::numeric_limits<double>::infinity();
};

// Fastest passes of both.
Result<Times> race(Bench* bench, const Variant& variant) {
  Times times;
  uint64_t our_passes = 1, their_passes = 1;
  const auto passes = [](double seconds) {
    return static_cast<uint64_t>(
        std::clamp(kRoundSeconds / std::max(seconds, 1e-6), 1.0, kMaxPasses));
  };
  for (int round = 0; round < kRounds; ++round) {
    times.ours = std::min(times.ours, BP_TRY(bench->seconds(variant.launches, our_passes)));
    times.theirs = std::min(times.theirs, BP_TRY(bench->seconds(variant.rival, their_passes)));
    if (std::max(times.ours, times.theirs) > kClear * std::min(times.ours, times.theirs)) break;
    our_passes = passes(times.ours);
    their_passes = passes(times.theirs);
  }
  return times;
}

// Loads kernels and prepares products.
Status make_ready(Target* target, std::vector<Launch>* steps) {
  for (Launch& step : *steps) {
    if (step.product.shape.size == 0) {
      BP_TRY(target->code.ready(step.kernel));
    } else {
      step.product.gemm = BP_TRY(target->vendor.get(step.product.shape));
    }
  }
  return {};
}

// Whether the rival wins. A failure says why it cannot run at all.
Result<bool> try_rival(Target* target, const PreparedKernel& kernel, const Variant& variant,
                       const std::string& key, const ops::Ranges& ranges) {
  Bench bench(target->device, kernel);
  BP_TRY(bench.open(variant.max_tokens, ranges));
  const auto ours = BP_TRY(bench.result(variant.launches));
  const auto theirs = BP_TRY(bench.result(variant.rival));
  BP_TRY(compare(ours, theirs, bench.rows()));
  if (target->vendor.mode() == VendorGemm::Mode::kOn) return true;
  const Times times = BP_TRY(race(&bench, variant));
  const bool wins = times.theirs < kGain * times.ours;
  glue::log(target->device.host, BP_LOG_INFO,
            "%s: %llu tokens take %.3f ms by our kernels, %.3f ms by %s; %s", key.c_str(),
            static_cast<unsigned long long>(bench.tokens()), times.ours * 1e3, times.theirs * 1e3,
            target->vendor.library().c_str(), wins ? "the library stays" : "our kernels stay");
  return wins;
}

// The choice for one variant, which is remembered: for good where both have run to the end, for
// this process where something failed or was wrong, and not at all for want of memory, which comes
// and goes.
Status settle(Target* target, PreparedKernel* kernel, Variant* variant, const ops::Ranges& ranges) {
  const std::string key =
      fmt::format("{}, passes of up to {}", kernel->program.rival_key, variant->max_tokens);
  const std::lock_guard lock(target->vendor.trial());
  const std::optional<bool> known = target->vendor.choice(key);
  if (known && !*known) return {};
  Status status = make_ready(target, &variant->rival);
  bool wins = known.value_or(false);
  if (status.ok() && !known) {
    auto tried = try_rival(target, *kernel, *variant, key, ranges);
    status = tried.status();
    if (tried.ok()) wins = *tried;
  }
  if (status.code() == Code::kDeviceLost) return status;
  if (status.code() == Code::kNotFound) return {};
  if (!status.ok()) {
    glue::log(target->device.host, BP_LOG_WARNING, "%s does not compute %s: %s",
              target->vendor.library().c_str(), key.c_str(), status.to_string().c_str());
    wins = false;
  }
  if (!known && status.code() != Code::kExhausted) {
    target->vendor.choose(
        key, wins, status.ok() ? VendorGemm::Because::kMeasured : VendorGemm::Because::kFailed);
  }
  if (wins) variant->launches = std::move(variant->rival);
  return {};
}

}  // namespace

Status settle_rivals(Target* target, PreparedKernel* kernel, const ops::Ranges& ranges) {
  for (Variant& variant : kernel->program.variants) {
    if (!variant.rival.empty()) BP_TRY(settle(target, kernel, &variant, ranges));
    variant.rival.clear();
  }
  return {};
}

}  // namespace bp::kernels
