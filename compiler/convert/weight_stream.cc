// SPDX-License-Identifier: Apache-2.0
#include "compiler/convert/weight_stream.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <numeric>
#include <system_error>
#include <thread>

#include "backplane/formats.h"
#include "compiler/quantize/quantize.h"
#include "core/platform/file.h"
#include "core/platform/process.h"

namespace bp::compiler {
namespace {

constexpr uint64_t kChunkBytes = uint64_t{4} << 20;  // of f32 values
constexpr uint64_t kDigestChunkBytes = uint64_t{1} << 20;
constexpr uint32_t kMaxThreads = 8;
constexpr auto kTick = std::chrono::milliseconds(100);

class WeightCopier {
 public:
  WeightCopier(const TensorSource& source, const Weight& weight, uint32_t index,
               ModelWriter& writer)
      : source_(source),
        weight_(weight),
        index_(index),
        writer_(writer),
        format_(*find_weight_format(weight.format)) {}

  Status run(const std::atomic<bool>& stop) {
    for (const WeightPart& part : weight_.parts) {
      const SourceTensor& tensor = source_.tensors()[part.tensor];
      const uint64_t columns = tensor.columns();
      const uint64_t chunk_rows = std::max<uint64_t>(1, kChunkBytes / sizeof(float) / columns);
      for (uint64_t row = 0; row < part.rows; row += chunk_rows) {
        if (stop.load(std::memory_order_relaxed)) return Status(Code::kCancelled, "stopped");
        const uint64_t rows = std::min(chunk_rows, part.rows - row);
        BP_TRY(move_rows(part.tensor, part.first_row + row, rows, columns));
      }
      source_.release(part.tensor);
    }
    return {};
  }

 private:
  Status move_rows(size_t tensor, uint64_t first_row, uint64_t rows, uint64_t columns) {
    const SourceTensor& from = source_.tensors()[tensor];
    const uint64_t elements = rows * columns;
    const PlaneBuffers planes = BP_TRY(storage_.reserve(format_, elements));
    const RowsOf where{from.name, first_row};
    if (from.format == weight_.format && weight_.add == 0) {
      BP_TRY(source_.read_rows(tensor, first_row, rows, planes));
      BP_TRY(check_finite(format_, planes, rows, columns, where));
    } else {
      values_.resize(elements);
      BP_TRY(source_.dequantize_rows(tensor, first_row, rows, values_));
      if (weight_.add != 0) {
        for (float& value : values_) value += weight_.add;
      }
      BP_TRY(quantize_rows(format_, values_.data(), rows, columns, planes, where));
    }
    for (uint32_t p = 0; p < format_.plane_count; ++p) {
      BP_TRY(writer_.write_plane(index_, p, plane_bytes(format_, p, elements_done_), planes[p]));
    }
    elements_done_ += elements;
    return {};
  }

  const TensorSource& source_;
  const Weight& weight_;
  const uint32_t index_;
  ModelWriter& writer_;
  const WeightFormat& format_;
  PlaneStorage storage_;
  std::vector<float> values_;
  uint64_t elements_done_ = 0;
};

Result<Sha256Digest> digest_file(const SourceFile& source, const std::atomic<bool>& stop,
                                 std::atomic<uint64_t>& done_bytes) {
  const auto file = BP_TRY(File::open(source.path));
  Sha256 hash = BP_TRY(Sha256::create());
  std::vector<std::byte> buffer(kDigestChunkBytes);
  for (uint64_t offset = 0; offset < source.size_bytes; offset += buffer.size()) {
    if (stop.load(std::memory_order_relaxed)) return Status(Code::kCancelled, "stopped");
    const uint64_t length = std::min<uint64_t>(buffer.size(), source.size_bytes - offset);
    const std::span<std::byte> bytes(buffer.data(), length);
    BP_TRY(file->read_at(offset, bytes));
    file->release(offset, length);
    BP_TRY(hash.update(bytes));
    done_bytes.fetch_add(length, std::memory_order_relaxed);
  }
  return hash.finish();
}

// Threads that take jobs 0 … count − 1 in turn, until one fails.
class Crew {
 public:
  Crew(size_t count, std::function<Status(size_t, const std::atomic<bool>&)> work)
      : count_(count), work_(std::move(work)) {}
  ~Crew() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  Status start(uint32_t threads) {
    for (uint32_t i = 0; i < threads; ++i) {
      const std::lock_guard lock(mutex_);
      try {
        threads_.emplace_back([this] { thread_main(); });
        ++running_;
      } catch (const std::system_error& e) {
        if (i == 0) return error(Code::kExhausted, "no thread could be started: {}", e.what());
        break;  // fewer threads do the same work
      }
    }
    return {};
  }

  // True when all jobs are done or one has failed; waits a moment at most.
  bool wait(std::chrono::milliseconds at_most) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, at_most, [this] { return running_ == 0; });
  }
  void stop() { stop_ = true; }
  Status status() {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

 private:
  void thread_main() noexcept {
    while (!stop_.load(std::memory_order_relaxed)) {
      const size_t job = next_.fetch_add(1, std::memory_order_relaxed);
      if (job >= count_) break;
      Status status = attempt(job);
      if (status.ok()) continue;
      const std::lock_guard lock(mutex_);
      // The failure that stopped the others is the one to report, not their stopping.
      if (failure_.ok()) failure_ = std::move(status);
      stop_ = true;
    }
    const std::lock_guard lock(mutex_);
    --running_;
    changed_.notify_all();
  }

  Status attempt(size_t job) noexcept {
    try {
      return work_(job, stop_);
    } catch (const std::bad_alloc&) {
      return error(Code::kExhausted, "there is not enough memory to convert the weights");
    } catch (const std::exception& e) {
      return error(Code::kInternal, "converting the weights: {}", e.what());
    }
  }

  const size_t count_;
  const std::function<Status(size_t, const std::atomic<bool>&)> work_;
  std::vector<std::thread> threads_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  uint32_t running_ = 0;
  Status failure_;
};

uint64_t source_bytes(const TensorSource& source) {
  uint64_t total = 0;
  for (const SourceFile& file : source.files()) total += file.size_bytes;
  return total;
}

std::vector<size_t> largest_first(std::span<const Weight> tensors) {
  const auto elements = [](const Weight& weight) {
    return std::accumulate(weight.shape.begin(), weight.shape.end(), uint64_t{1},
                           std::multiplies<>());
  };
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return elements(tensors[a]) > elements(tensors[b]); });
  return order;
}

}  // namespace

Status write_weight(const TensorSource& source, const Weight& weight, uint32_t index,
                    ModelWriter& writer, const std::atomic<bool>& stop) {
  return WeightCopier(source, weight, index, writer)
      .run(stop)
      .with_context("tensor '{}'", weight.name);
}

Status stream_weights(const TensorSource& source, std::span<const Weight> tensors,
                      const ConvertOptions& options, ModelWriter& writer,
                      std::vector<Sha256Digest>* digests) {
  const std::vector<size_t> order = largest_first(tensors);
  const size_t file_count = source.files().size();
  digests->assign(file_count, Sha256Digest{});
  std::atomic<uint64_t> digested_bytes{0};
  const auto work = [&](size_t job, const std::atomic<bool>& stop) -> Status {
    if (job < order.size()) {
      const size_t i = order[job];
      return write_weight(source, tensors[i], static_cast<uint32_t>(i), writer, stop);
    }
    const size_t file = job - order.size();
    (*digests)[file] = BP_TRY(digest_file(source.files()[file], stop, digested_bytes));
    return {};
  };
  Crew crew(order.size() + file_count, work);
  const uint32_t threads = options.threads != 0 ? options.threads : std::max(2u, available_cpus());
  BP_TRY(crew.start(std::min(threads, kMaxThreads)));
  const uint64_t total = writer.weight_bytes_total() + source_bytes(source);
  bool cancelled = false;
  for (bool done = false; !done;) {
    done = crew.wait(kTick);
    if (options.cancel != nullptr && options.cancel->load(std::memory_order_relaxed)) {
      cancelled = true;
      crew.stop();
    }
    if (!options.progress) continue;
    const bool weights_done = writer.weight_bytes_written() == writer.weight_bytes_total();
    options.progress({weights_done ? "digests" : "weights",
                      writer.weight_bytes_written() + digested_bytes.load(), total});
  }
  if (cancelled) return error(Code::kCancelled, "the conversion was cancelled");
  return crew.status();
}

}  // namespace bp::compiler
