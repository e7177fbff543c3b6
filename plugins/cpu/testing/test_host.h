// SPDX-License-Identifier: Apache-2.0
// A host for tests and benchmarks of a plugin: two threads, a log that is kept, nothing else.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "backplane/plugin_glue.h"

namespace bp::cpu::testing {

// Threads that spin between jobs for a while, as the runtime's do.
class TestHost {
 public:
  explicit TestHost(uint32_t workers = 2) : workers_(workers) {
    for (uint32_t i = 1; i < workers; ++i) threads_.emplace_back([this, i] { serve(i); });
    table_.size = sizeof table_;
    table_.abi_minor = BP_ABI_MINOR;
    table_.user = this;
    table_.log = [](void*, int32_t, const bp_string*) {};
    table_.allocate = [](void*, uint64_t bytes, uint64_t alignment) -> void* {
      return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    };
    table_.release = [](void*, void* memory) { std::free(memory); };
    table_.parallel_for = [](void* user, uint64_t items, uint64_t grain, bp_parallel_fn fn,
                             void* fn_user) -> bp_status {
      static_cast<TestHost*>(user)->run(items, grain, fn, fn_user);
      return BP_OK;
    };
    table_.workers = [](void* user) { return static_cast<TestHost*>(user)->workers_; };
    table_.trace_begin = [](void*, const char*) {};
    table_.trace_end = [](void*) {};
  }
  ~TestHost() {
    stop_.store(true);
    for (std::thread& thread : threads_) thread.join();
  }
  const bp_host* table() const { return &table_; }

 private:
  void run(uint64_t items, uint64_t grain, bp_parallel_fn fn, void* user) {
    if (workers_ == 1 || items <= grain) return fn(user, 0, items, 0);
    fn_ = fn;
    user_ = user;
    items_ = items;
    chunk_ = std::max<uint64_t>(std::max<uint64_t>(grain, 1), items / (workers_ * 4));
    next_.store(0);
    busy_.store(workers_ - 1);
    job_.fetch_add(1);
    work(0);
    while (busy_.load(std::memory_order_acquire) != 0) relax();
  }
  static void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  void work(uint32_t worker) {
    for (;;) {
      const uint64_t begin = next_.fetch_add(chunk_);
      if (begin >= items_) return;
      fn_(user_, begin, std::min(items_, begin + chunk_), worker);
    }
  }
  void serve(uint32_t worker) {
    uint64_t seen = 0;
    uint64_t idle = 0;
    while (!stop_.load(std::memory_order_relaxed)) {
      if (job_.load(std::memory_order_acquire) == seen) {
        if (++idle > 20000) std::this_thread::sleep_for(std::chrono::microseconds(50));
        relax();
        continue;
      }
      idle = 0;
      ++seen;
      work(worker);
      busy_.fetch_sub(1, std::memory_order_release);
    }
  }

  bp_host table_{};
  uint32_t workers_;
  std::vector<std::thread> threads_;
  bp_parallel_fn fn_ = nullptr;
  void* user_ = nullptr;
  uint64_t items_ = 0;
  uint64_t chunk_ = 1;
  std::atomic<uint64_t> next_{0};
  std::atomic<uint32_t> busy_{0};
  std::atomic<uint64_t> job_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace bp::cpu::testing
