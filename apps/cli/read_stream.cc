// SPDX-License-Identifier: Apache-2.0
#include "apps/cli/read_stream.h"

#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace bp::cli {
namespace {

constexpr uint64_t kBytes = uint64_t{1} << 30;  // larger than most last-level caches

using Wide __attribute__((vector_size(64))) = uint64_t;

// Independent sums, so that loads and not additions are the limit. __restrict is not needed: the
// buffer is only read.
uint64_t sum(const Wide* data, uint64_t count) {
  Wide a{}, b{}, c{}, d{};
  for (uint64_t i = 0; i + 4 <= count; i += 4) {
    a += data[i];
    b += data[i + 1];
    c += data[i + 2];
    d += data[i + 3];
  }
  a += b + c + d;
  uint64_t total = 0;
  for (int i = 0; i < 8; ++i) total += a[i];
  return total;
}

}  // namespace

double measure_read_stream(uint32_t threads) {
  // Kept between calls: filling a fresh gigabyte each time would disturb what is measured.
  static void* buffer = [] {
    void* mapped =
        ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return static_cast<void*>(nullptr);
    std::memset(mapped, 1, kBytes);
    return mapped;
  }();
  if (buffer == nullptr) return 0;
  threads = threads == 0 ? 1 : threads;
  std::atomic<uint64_t> sink{0};
  std::vector<std::thread> workers;
  const uint64_t part = kBytes / sizeof(Wide) / threads;
  const auto start = std::chrono::steady_clock::now();
  for (uint32_t i = 0; i < threads; ++i) {
    workers.emplace_back(
        [&, i] { sink += sum(static_cast<const Wide*>(buffer) + i * part, part); });
  }
  for (auto& worker : workers) worker.join();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return static_cast<double>(part * threads * sizeof(Wide)) / 1e9 / seconds;
}

}  // namespace bp::cli
