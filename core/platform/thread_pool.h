// SPDX-License-Identifier: Apache-2.0
// The one pool of compute threads of a process. Kernels divide their work over it through
// bp_host.parallel_for.
//
// Between two jobs a thread spins for some tens of microseconds, because the next step of a plan
// follows at once while a model runs, and sleeps afterwards, so that an idle host costs nothing.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "backplane/plugin.h"
#include "core/base/status.h"

namespace bp {

class ThreadPool {
 public:
  // `workers` counts the calling thread: 1 starts no thread. Fewer threads than asked for are
  // used when the system gives no more.
  explicit ThreadPool(uint32_t workers);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // The process's pool: BACKPLANE_THREADS, else available_cpus(), threads.
  static ThreadPool& shared();

  // Threads that run() may use, the caller included.
  uint32_t workers() const noexcept { return active_.load(std::memory_order_relaxed); }
  // Uses at most this many threads from now on; grows the pool if needed. 1 … 1023.
  Status set_workers(uint32_t workers);

  // Calls fn for ranges that cover [0, items), each of at least `grain` items but the last, and
  // returns when all have run. Thread-safe: jobs of several callers run one after the other.
  // fn must not call run().
  void run(uint64_t items, uint64_t grain, bp_parallel_fn fn, void* user) noexcept;

 private:
  void thread_main(uint32_t index) noexcept;
  void work(uint32_t worker) noexcept;
  bool grow(uint32_t workers) noexcept;

  std::mutex run_mutex_;  // one job at a time; guards threads_ and the job's fields below
  std::vector<std::thread> threads_;
  std::atomic<uint32_t> active_{1};

  bp_parallel_fn fn_ = nullptr;
  void* user_ = nullptr;
  uint64_t items_ = 0;
  uint64_t chunk_ = 1;
  std::atomic<uint64_t> next_{0};
  std::atomic<uint32_t> unfinished_{0};  // pool threads still at work on the present job

  // Number of the job, how many pool threads take part, and the order to stop, in one word, so
  // that a thread learns all three at once.
  std::atomic<uint64_t> job_{0};
  std::mutex sleep_mutex_;  // guards sleepers_ and pairs with wake_
  std::condition_variable wake_;
  std::atomic<uint32_t> sleepers_{0};
};

}  // namespace bp
