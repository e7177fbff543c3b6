// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/device_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "kernels/plugin/trial_data.h"
#include "kernels/plugin/tuned_schedules.h"

namespace bp::kernels {
namespace {

using Clock = std::chrono::steady_clock;

// Copies of what is streamed, so that no run finds it in a cache.
constexpr uint64_t kMaxCopiedBytes = uint64_t{256} << 20;
constexpr uint64_t kGuessedCacheBytes = uint64_t{32} << 20;
constexpr uint32_t kMaxCopies = 64;
// A batch is long against waiting for it, and short against a person's patience.
constexpr double kBatchNs = 2e6;
constexpr uint32_t kMaxRuns = 64;
constexpr uint64_t kFillWords = uint64_t{1} << 20;  // at once

double ns_since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

}  // namespace

Result<std::unique_ptr<DeviceBench>> DeviceBench::create(const Device& device,
                                                         const Tunable& tunable) {
  std::unique_ptr<DeviceBench> bench(new DeviceBench(device, tunable));
  BP_TRY(bench->open_stream());
  BP_TRY(bench->allocate());
  for (uint32_t i = 0; i < tunable.buffers.size(); ++i) {
    if (!starts_unwritten(tunable.buffers[i].content)) BP_TRY(bench->fill(i));
  }
  BP_TRY(bench->add_copies());
  BP_TRY(bench->wait());
  return bench;
}

DeviceBench::~DeviceBench() {
  for (const auto& [text, kernel] : ready_) {
    if (kernel.recording != nullptr) device_.stream->recording_destroy(kernel.recording, nullptr);
  }
  close_stream();
  for (const auto& copies : buffers_) {
    for (bp_buffer* buffer : copies) device_.memory->free(buffer, nullptr);
  }
}

Status DeviceBench::open_stream() {
  BP_TRY(call("creating a stream", device_.stream->create, device_.handle, &stream_));
  signalled_ = 0;
  return call("creating a timeline", device_.stream->timeline_create, device_.handle, &timeline_);
}

void DeviceBench::close_stream() noexcept {
  if (stream_ != nullptr) device_.stream->destroy(stream_, nullptr);
  if (timeline_ != nullptr) device_.stream->timeline_destroy(timeline_, nullptr);
  stream_ = nullptr;
  timeline_ = nullptr;
}

// A failure poisons its timeline; the next candidate gets a new one.
Status DeviceBench::renew(Status failure) {
  if (failure.code() == Code::kDeviceLost) return failure;
  close_stream();
  const Status opened = open_stream();
  if (opened.ok()) return failure;
  return error(Code::kDeviceLost, "{}; and then: {}", failure.message(), opened.message());
}

Status DeviceBench::allocate() {
  for (const TrialBuffer& wanted : tunable_.buffers) {
    bp_buffer*& buffer = buffers_.emplace_back(size_t{1}).front();
    BP_TRY(call("allocating scratch memory", device_.memory->alloc, device_.handle, uint32_t{0},
                wanted.bytes, &buffer));
  }
  return {};
}

Status DeviceBench::fill(uint32_t index) {
  const uint64_t words = tunable_.buffers[index].bytes / 4;
  std::vector<uint32_t> some(std::min(words, kFillWords));
  for (uint64_t first = 0; first < words; first += some.size()) {
    const uint64_t count = std::min<uint64_t>(some.size(), words - first);
    fill_words(tunable_.buffers, index, first, std::span(some).first(count));
    BP_TRY(call("filling scratch memory", device_.stream->write, stream_, buffers_[index][0],
                first * 4, static_cast<const void*>(some.data()), count * 4));
  }
  return {};
}

// As many as memory allows; one is enough to be right.
Status DeviceBench::add_copies() {
  uint64_t streamed = 0;
  for (const TrialBuffer& buffer : tunable_.buffers) {
    if (buffer.is_streamed) streamed += buffer.bytes;
  }
  if (streamed == 0) return {};
  const uint64_t cache = device_.cache_bytes != 0 ? device_.cache_bytes : kGuessedCacheBytes;
  const uint64_t wanted = std::min(kMaxCopiedBytes, cache > UINT64_MAX / 4 ? cache : 4 * cache);
  const uint64_t copies = std::min<uint64_t>((wanted + streamed - 1) / streamed, kMaxCopies);
  for (; copies_ < copies; ++copies_) {
    for (size_t i = 0; i < buffers_.size(); ++i) {
      if (!tunable_.buffers[i].is_streamed) continue;
      bp_buffer*& buffer = buffers_[i].emplace_back();
      if (device_.memory->alloc(device_.handle, 0, tunable_.buffers[i].bytes, &buffer, nullptr) !=
          BP_OK) {
        return {};  // a copy that is not whole is not used
      }
      BP_TRY(call("copying scratch memory", device_.stream->copy, stream_, buffer, uint64_t{0},
                  buffers_[i][0], uint64_t{0}, tunable_.buffers[i].bytes));
    }
  }
  return {};
}

Status DeviceBench::wait() {
  BP_TRY(call("signalling", device_.stream->signal, stream_, timeline_, ++signalled_));
  return call("waiting", device_.stream->host_wait, timeline_, signalled_, uint64_t{UINT64_MAX});
}

Result<DeviceBench::Ready*> DeviceBench::ready(const ScheduleValues& values) {
  const std::string text = describe(values);
  if (const auto found = ready_.find(text); found != ready_.end()) return &found->second;
  std::vector<TrialLaunch> launches = BP_TRY(tunable_.launches(values));
  BP_TRY(check_launches(device_, launches));
  Ready kernel;
  for (size_t i = 0; i < launches.size(); ++i) {
    Ready::Step step;
    step.launch = std::move(launches[i]);
    step.code = BP_TRY(code_.get(fmt::format("{} #{}", text, i),
                                 [&]() -> Result<Kernel> { return step.launch.kernel; }));
    BP_TRY(code_.ready(step.code));
    kernel.steps.push_back(std::move(step));
  }
  return &ready_.emplace(text, std::move(kernel)).first->second;
}

Status DeviceBench::enqueue(const Ready& kernel, uint32_t turn) {
  for (const Ready::Step& step : kernel.steps) {
    std::array<bp_launch_buffer, kMaxBuffers> bound{};
    const size_t count = std::min<size_t>(step.launch.buffers.size(), bound.size());
    for (size_t i = 0; i < count; ++i) {
      const uint32_t index = step.launch.buffers[i];
      const bool turns = tunable_.buffers[index].is_streamed;
      bound[i] = {buffers_[index][turns ? turn % copies_ : 0], 0, tunable_.buffers[index].bytes};
    }
    bp_launch record{};
    record.size = sizeof record;
    record.buffer_count = static_cast<uint32_t>(count);
    record.param_words = static_cast<uint32_t>(step.launch.params.size());
    record.group_threads = step.code->kernel.threads;
    record.grid[0] = step.launch.grid_x;
    record.grid[1] = step.launch.grid_y;
    record.grid[2] = 1;
    record.buffers = bound.data();
    record.params = step.launch.params.data();
    BP_TRY(call("launching", device_.module->launch, stream_, step.code->function,
                static_cast<const bp_launch*>(&record)));
  }
  return {};
}

// Once, on outputs that hold nothing; and what is in them then.
Status DeviceBench::run_fresh(const Ready& kernel, std::vector<std::vector<uint32_t>>* results) {
  for (uint32_t i = 0; i < buffers_.size(); ++i) {
    const TrialBuffer& buffer = tunable_.buffers[i];
    if (buffer.content == TrialBuffer::kUpdated) BP_TRY(fill(i));
    if (!starts_unwritten(buffer.content)) continue;
    BP_TRY(call("filling outputs", device_.stream->fill, stream_, buffers_[i][0], uint64_t{0},
                buffer.bytes, kUnwritten));
  }
  BP_TRY(enqueue(kernel, 0));
  BP_TRY(wait());
  results->assign(buffers_.size(), {});
  for (size_t i = 0; i < buffers_.size(); ++i) {
    if (!is_compared(tunable_.buffers[i].content)) continue;
    std::vector<uint32_t>& words = (*results)[i];
    words.resize(tunable_.buffers[i].bytes / 4);
    BP_TRY(call("reading results", device_.stream->read, stream_, static_cast<void*>(words.data()),
                buffers_[i][0], uint64_t{0}, tunable_.buffers[i].bytes));
  }
  return wait();
}

Status DeviceBench::check(const ScheduleValues& values) {
  const Ready* const kernel = BP_TRY(ready(values));
  std::vector<std::vector<uint32_t>> results;
  if (Status run = run_fresh(*kernel, &results); !run.ok()) return renew(std::move(run));
  const bool is_first = expected_.empty();
  for (size_t i = 0; i < results.size(); ++i) {
    const TrialBuffer::Content content = tunable_.buffers[i].content;
    if (!is_compared(content)) continue;
    const std::string wrong =
        is_first ? check_standard(content, results[i])
                 : compare_results(content, expected_[i], results[i], tunable_.tolerance);
    if (!wrong.empty()) return error(Code::kFailedPrecondition, "wrong results: {}", wrong);
  }
  if (is_first) expected_ = std::move(results);
  return {};
}

// A batch as one command, as decoding runs too; where the device does not record, launches are
// enqueued one by one.
Status DeviceBench::record(Ready* kernel) {
  if (device_.stream->capture_begin(stream_, nullptr) != BP_OK) return {};
  Status run;
  for (uint32_t i = 0; i < kernel->runs && run.ok(); ++i) run = enqueue(*kernel, i);
  const Status ended =
      call("ending a recording", device_.stream->capture_end, stream_, &kernel->recording);
  BP_TRY(std::move(run));
  if (!ended.ok()) kernel->recording = nullptr;
  return {};
}

Result<double> DeviceBench::batch_ns(Ready* kernel) {
  const auto start = Clock::now();
  if (kernel->recording != nullptr) {
    BP_TRY(call("replaying", device_.stream->replay, stream_, kernel->recording));
  } else {
    for (uint32_t i = 0; i < kernel->runs; ++i) BP_TRY(enqueue(*kernel, turn_++));
  }
  BP_TRY(wait());
  return ns_since(start) / kernel->runs;
}

Result<double> DeviceBench::measure(const ScheduleValues& values, uint32_t batches) {
  Ready* const kernel = BP_TRY(ready(values));
  const auto measured = [&]() -> Result<double> {
    if (kernel->runs == 0) {
      kernel->runs = 1;
      const double one = std::max(BP_TRY(batch_ns(kernel)), 1.0);
      kernel->runs = static_cast<uint32_t>(std::clamp(kBatchNs / one, 1.0, double{kMaxRuns}));
      if (kernel->runs > 1) BP_TRY(record(kernel));
      if (kernel->runs > 1) BP_TRY(batch_ns(kernel));  // warms up
    }
    double best = BP_TRY(batch_ns(kernel));
    for (uint32_t i = 1; i < batches; ++i) best = std::min(best, BP_TRY(batch_ns(kernel)));
    return best;
  };
  Result<double> ns = measured();
  if (!ns.ok()) return renew(std::move(ns).status());
  return ns;
}

}  // namespace bp::kernels
