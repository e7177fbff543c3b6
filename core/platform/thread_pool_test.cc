// SPDX-License-Identifier: Apache-2.0
#include "core/platform/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <numeric>

namespace bp {
namespace {

struct Marks {
  std::vector<std::atomic<uint32_t>> hits;
  std::atomic<uint32_t> worker_limit_broken{0};
  uint32_t workers;
  explicit Marks(size_t n, uint32_t w) : hits(n), workers(w) {}
};

void mark(void* user, uint64_t begin, uint64_t end, uint32_t worker) {
  auto& marks = *static_cast<Marks*>(user);
  if (worker >= marks.workers) ++marks.worker_limit_broken;
  for (uint64_t i = begin; i < end; ++i) marks.hits[i].fetch_add(1);
}

TEST(ThreadPool, every_item_runs_exactly_once) {
  for (uint32_t workers : {1u, 2u, 3u, 8u}) {
    ThreadPool pool(workers);
    for (uint64_t items : {0u, 1u, 2u, 7u, 64u, 1000u}) {
      for (uint64_t grain : {0u, 1u, 3u, 64u, 5000u}) {
        Marks marks(items, workers);
        pool.run(items, grain, mark, &marks);
        for (auto& hit : marks.hits) ASSERT_EQ(hit.load(), 1u);
        EXPECT_EQ(marks.worker_limit_broken, 0u);
      }
    }
  }
}

TEST(ThreadPool, many_short_jobs_from_several_callers_complete) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  std::atomic<uint64_t> total{0};
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      for (int i = 0; i < 3000; ++i) {
        Marks marks(17, 3);
        pool.run(17, 2, mark, &marks);
        for (auto& hit : marks.hits) total += hit.load();
      }
    });
  }
  for (auto& thread : callers) thread.join();
  EXPECT_EQ(total, 3u * 3000u * 17u);
}

TEST(ThreadPool, changing_the_worker_count_between_jobs_is_honoured) {
  ThreadPool pool(1);
  for (uint32_t workers : {4u, 2u, 1u, 5u}) {
    ASSERT_TRUE(pool.set_workers(workers).ok());
    EXPECT_EQ(pool.workers(), workers);
    for (int i = 0; i < 200; ++i) {
      Marks marks(100, workers);
      pool.run(100, 1, mark, &marks);
      for (auto& hit : marks.hits) ASSERT_EQ(hit.load(), 1u);
      ASSERT_EQ(marks.worker_limit_broken, 0u);
    }
  }
  EXPECT_EQ(pool.set_workers(0).code(), Code::kInvalidArgument);
  EXPECT_EQ(pool.set_workers(4000).code(), Code::kInvalidArgument);
}

TEST(ThreadPool, an_idle_pool_uses_no_processor_time) {
  ThreadPool pool(4);
  Marks marks(100, 4);
  pool.run(100, 1, mark, &marks);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // let the spinning end
  const auto used_us = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_sec * 1000000 + usage.ru_stime.tv_usec;
  };
  const auto before = used_us();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(used_us() - before, 100000);  // three spinning threads would use 1.5 s
}

}  // namespace
}  // namespace bp
