// SPDX-License-Identifier: Apache-2.0
#include "core/platform/thread_pool.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "core/platform/process.h"

namespace bp {
namespace {

constexpr uint32_t kMaxWorkers = 1023;
// Layout of job_: number of the job, pool threads that take part, stopping flag.
constexpr uint64_t kStopping = 1;
constexpr int kParticipantsShift = 1;
constexpr int kNumberShift = 16;
constexpr uint64_t kChunksPerWorker = 4;  // so that a thread that is late costs little
constexpr int kSpins = 4000;              // some tens of microseconds

void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(uint32_t workers) {
  std::lock_guard lock(run_mutex_);
  grow(std::clamp(workers, 1u, kMaxWorkers));
  active_ = static_cast<uint32_t>(threads_.size()) + 1;
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(sleep_mutex_);
    job_.fetch_or(kStopping);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

ThreadPool& ThreadPool::shared() {
  // Leaked: worker threads must not be joined while static objects die.
  static ThreadPool* pool = [] {
    uint32_t workers = available_cpus();
    if (auto text = environment("BACKPLANE_THREADS")) {
      uint32_t asked = 0;
      const auto parsed = std::from_chars(text->data(), text->data() + text->size(), asked);
      if (parsed.ec == std::errc() && asked >= 1) workers = asked;
    }
    return new ThreadPool(workers);
  }();
  return *pool;
}

bool ThreadPool::grow(uint32_t workers) noexcept {
  try {
    while (threads_.size() + 1 < workers) {
      const auto index = static_cast<uint32_t>(threads_.size());
      threads_.emplace_back([this, index] { thread_main(index); });
    }
  } catch (...) {  // the system gives no more threads: work with those there are
    return false;
  }
  return true;
}

Status ThreadPool::set_workers(uint32_t workers) {
  if (workers < 1 || workers > kMaxWorkers) {
    return error(Code::kInvalidArgument, "{} threads asked for; 1 to {} are possible", workers,
                 kMaxWorkers);
  }
  std::lock_guard lock(run_mutex_);
  if (!grow(workers)) return error(Code::kExhausted, "the system refuses {} threads", workers);
  active_ = workers;
  return {};
}

void ThreadPool::work(uint32_t worker) noexcept {
  const uint64_t items = items_;
  const uint64_t chunk = chunk_;
  for (;;) {
    const uint64_t begin = next_.fetch_add(chunk, std::memory_order_relaxed);
    if (begin >= items) return;
    fn_(user_, begin, std::min(items, begin + chunk), worker);
  }
}

void ThreadPool::run(uint64_t items, uint64_t grain, bp_parallel_fn fn, void* user) noexcept {
  if (items == 0) return;
  grain = std::max<uint64_t>(grain, 1);
  const uint64_t most = (items + grain - 1) / grain;
  std::lock_guard lock(run_mutex_);
  const auto workers = static_cast<uint32_t>(
      std::min<uint64_t>({active_.load(std::memory_order_relaxed), threads_.size() + 1, most}));
  if (workers <= 1) {
    fn(user, 0, items, 0);
    return;
  }
  fn_ = fn;
  user_ = user;
  items_ = items;
  chunk_ = std::max(grain, items / (workers * kChunksPerWorker));
  next_.store(0, std::memory_order_relaxed);
  unfinished_.store(workers - 1, std::memory_order_relaxed);
  const uint64_t number = (job_.load(std::memory_order_relaxed) >> kNumberShift) + 1;
  // Sequentially consistent, against the sleepers_ check below.
  job_.store(number << kNumberShift | uint64_t{workers - 1} << kParticipantsShift);
  if (sleepers_.load() != 0) {
    std::lock_guard sleep_lock(sleep_mutex_);
    wake_.notify_all();
  }
  work(0);
  // Where other programs want the processor too, the thread that is waited for may not even be
  // running: spinning on would keep it from that.
  for (int spin = 0; unfinished_.load(std::memory_order_acquire) != 0; ++spin) {
    if (spin < kSpins) {
      relax();
    } else {
      spin = kSpins;
      std::this_thread::yield();
    }
  }
}

void ThreadPool::thread_main(uint32_t index) noexcept {
  uint64_t seen = 0;
  for (;;) {
    uint64_t job = job_.load(std::memory_order_acquire);
    for (int spin = 0; job == seen && spin < kSpins; ++spin) {
      relax();
      job = job_.load(std::memory_order_acquire);
    }
    if (job == seen) {
      std::unique_lock lock(sleep_mutex_);
      sleepers_.fetch_add(1);
      wake_.wait(lock, [&] { return job_.load() != seen; });
      sleepers_.fetch_sub(1);
      job = job_.load(std::memory_order_acquire);
    }
    if ((job & kStopping) != 0) return;
    seen = job;
    // run() waits for the participants named in the word, so a job they see is still the present
    // one; a thread that is none of them touches nothing of the job.
    if (index < ((job >> kParticipantsShift) & kMaxWorkers)) {
      work(index + 1);
      unfinished_.fetch_sub(1, std::memory_order_acq_rel);
    }
  }
}

}  // namespace bp
