// SPDX-License-Identifier: Apache-2.0
// Memory: heaps, budgets, limits, staging, memory of the host used in place.
#include <sys/mman.h>

#include <cstdio>
#include <numeric>
#include <utility>

#include "plugins/vulkan/testing/open_device.h"

namespace bp::vulkan {
namespace {

using ::testing::HasSubstr;

TEST_F(Vulkan, allocates_in_every_heap_and_refuses_nonsense) {
  bp_heap heaps[8] = {};
  for (bp_heap& heap : heaps) heap.size = sizeof heap;
  uint32_t count = 0;
  ASSERT_EQ(memory().heaps(device_, heaps, sizeof heaps[0], 8, &count, nullptr), BP_OK);
  ASSERT_GT(count, 0u);
  for (uint32_t i = 0; i < count; ++i) {
    bp_buffer* const buffer = alloc(12345, i);
    void* data = nullptr;
    const bp_status status = memory().map(buffer, &data, nullptr);
    if ((heaps[i].flags & BP_HEAP_HOST_VISIBLE) == 0) {
      EXPECT_EQ(status, BP_UNIMPLEMENTED);
      continue;
    }
    ASSERT_EQ(status, BP_OK);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % heaps[i].alignment, 0u);
    std::memset(data, 1, 12345);
    EXPECT_EQ(memory().flush(buffer, 0, 12345, nullptr), BP_OK);
    EXPECT_EQ(memory().invalidate(buffer, 1, 12345, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(memory().unmap(buffer, nullptr), BP_OK);
  }
  bp_buffer* buffer = nullptr;
  EXPECT_EQ(memory().alloc(device_, 0, 0, &buffer, nullptr), BP_INVALID_ARGUMENT);
  EXPECT_EQ(memory().alloc(device_, count, 8, &buffer, nullptr), BP_INVALID_ARGUMENT);
  for (const uint64_t bytes : {UINT64_MAX, UINT64_MAX / 2, uint64_t{1} << 50}) {
    EXPECT_EQ(memory().alloc(device_, 0, bytes, &buffer, nullptr), BP_EXHAUSTED);
  }
  EXPECT_EQ(memory().free(nullptr, nullptr), BP_OK);
  uint64_t free_before = 0, free_after = 0, total = 0;
  ASSERT_EQ(memory().budget(device_, &free_before, &total, nullptr), BP_OK);
  EXPECT_LE(free_before, total);
  alloc(64 << 20);
  ASSERT_EQ(memory().budget(device_, &free_after, &total, nullptr), BP_OK);
  EXPECT_LT(free_after, free_before);
}

TEST_F(Vulkan, stops_at_the_drivers_number_of_allocations) {
  const std::atomic<uint32_t>& count = unwrap(device_)->allocations;
  Adapter limited = *unwrap(device_)->adapter;
  limited.limits.maxMemoryAllocationCount = count.load() + 1;
  const Adapter* const adapter = std::exchange(unwrap(device_)->adapter, &limited);
  alloc(16);
  bp_buffer* buffer = nullptr;
  bp_error error = BP_ERROR_INIT;
  EXPECT_EQ(memory().alloc(device_, 0, 16, &buffer, &error), BP_EXHAUSTED);
  EXPECT_THAT(error.text, HasSubstr("maxMemoryAllocationCount"));
  unwrap(device_)->adapter = adapter;
}

TEST_F(Vulkan, moves_bytes_in_order_and_checks_every_range) {
  bp_buffer* const a = alloc(64);
  bp_buffer* const b = alloc(64);
  const bp_stream_api& api = streams();
  ASSERT_EQ(api.fill(stream_, a, 0, 64, 0x01020304, nullptr), BP_OK);
  ASSERT_EQ(api.fill(stream_, b, 0, 64, 9, nullptr), BP_OK);
  ASSERT_EQ(api.copy(stream_, b, 8, a, 0, 16, nullptr), BP_OK);
  uint32_t word = 5;
  ASSERT_EQ(api.write(stream_, b, 60, &word, 4, nullptr), BP_OK);
  word = 6;  // may be reused at once
  uint8_t odd[3] = {};
  ASSERT_EQ(api.read(stream_, odd, b, 9, 3, nullptr), BP_OK);
  const Words want = {9, 9, 0x01020304, 0x01020304, 0x01020304, 0x01020304, 9, 9,
                      9, 9, 9,          9,          9,          9,          9, 5};
  EXPECT_EQ(read(b, 16), want);
  EXPECT_EQ(odd[0], 3);
  EXPECT_EQ(odd[2], 1);
  ASSERT_EQ(api.copy(stream_, b, 0, b, 8, 8, nullptr), BP_OK);
  EXPECT_EQ(read(b, 2), (Words{0x01020304, 0x01020304}));
  EXPECT_EQ(api.copy(stream_, b, 4, b, 0, 8, nullptr), BP_INVALID_ARGUMENT);
  for (const uint64_t offset : {uint64_t{61}, uint64_t{64}, UINT64_MAX, UINT64_MAX - 2}) {
    EXPECT_EQ(api.write(stream_, b, offset, &word, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(api.read(stream_, &word, b, offset, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(api.copy(stream_, a, 0, b, offset, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(api.copy(stream_, a, offset, b, 0, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(api.fill(stream_, a, offset, 4, 0, nullptr), BP_INVALID_ARGUMENT);
  }
  EXPECT_EQ(api.fill(stream_, a, 2, 4, 0, nullptr), BP_INVALID_ARGUMENT);
  EXPECT_EQ(api.write(stream_, a, 64, nullptr, 0, nullptr), BP_OK);
}

TEST_F(Vulkan, stages_more_bytes_than_its_staging_memory) {
  Words words((80u << 20) / 4);
  std::iota(words.begin(), words.end(), 7u);
  bp_buffer* const buffer = alloc(words.size() * 4);
  use(buffer);
  ASSERT_EQ(streams().write(stream_, buffer, 0, words.data(), words.size() * 4, nullptr), BP_OK);
  EXPECT_TRUE(read(buffer, words.size()) == words);
  EXPECT_LE(unwrap(stream_)->block_count, 64u);
}

TEST_F(Vulkan, imports_the_hosts_memory_in_place) {
  const size_t bytes = 1 << 16;
  auto* const words = static_cast<uint32_t*>(std::aligned_alloc(1 << 16, bytes));
  std::fill_n(words, bytes / 4, 3u);
  bp_import what{};
  what.size = sizeof what;
  what.kind = BP_IMPORT_HOST_POINTER;
  what.pointer = words;
  what.length = bytes;
  bp_import_support support{};
  support.size = sizeof support;
  ASSERT_EQ(memory().query_import(device_, &what, &support, nullptr), BP_OK);
  bp_buffer* buffer = nullptr;
  if (support.verdict < BP_IMPORT_SLOW) {
    EXPECT_NE(memory().import(device_, &what, &buffer, nullptr), BP_OK);
    std::free(words);
    GTEST_SKIP() << "skipped: the driver does not import host memory";
  }
  ASSERT_EQ(memory().import(device_, &what, &buffer, nullptr), BP_OK);
  bp_function* const function = scale_add();
  bp_buffer* const x = buffer_of(Words(64, 1));
  ASSERT_EQ(launch_on(stream_, function, {x, 0, 256}, {buffer, 4096, 256}, 10, 64), BP_OK);
  finish();
  EXPECT_EQ(words[1023], 3u);
  EXPECT_EQ(words[1024], 31u);
  EXPECT_EQ(words[1087], 31u);
  EXPECT_EQ(words[1088], 3u);
  EXPECT_EQ(memory().free(buffer, nullptr), BP_OK);
  what.length = bytes - 4;
  EXPECT_EQ(memory().import(device_, &what, &buffer, nullptr), BP_INVALID_ARGUMENT);
  ASSERT_EQ(memory().query_import(device_, &what, &support, nullptr), BP_OK);
  EXPECT_EQ(support.verdict, BP_IMPORT_COPY);
  what.pointer = nullptr;
  EXPECT_EQ(memory().import(device_, &what, &buffer, nullptr), BP_INVALID_ARGUMENT);
  std::free(words);
}

TEST_F(Vulkan, reads_a_mapped_file_in_place_and_never_writes_it) {
  std::FILE* const file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  const Words words((1 << 16) / 4, 5);
  ASSERT_EQ(std::fwrite(words.data(), 4, words.size(), file), words.size());
  std::fflush(file);
  void* const mapped = mmap(nullptr, 1 << 16, PROT_READ, MAP_PRIVATE, fileno(file), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  bp_import what{};
  what.size = sizeof what;
  what.kind = BP_IMPORT_FILE_RANGE;
  what.flags = BP_IMPORT_READ_ONLY;
  what.fd = fileno(file);
  what.pointer = mapped;
  what.length = 1 << 16;
  bp_import_support support{};
  support.size = sizeof support;
  ASSERT_EQ(memory().query_import(device_, &what, &support, nullptr), BP_OK);
  bp_buffer* buffer = nullptr;
  if (support.verdict >= BP_IMPORT_SLOW) {
    ASSERT_EQ(memory().import(device_, &what, &buffer, nullptr), BP_OK);
    bp_function* const function = scale_add();
    bp_buffer* const y = buffer_of(Words(64, 2));
    ASSERT_EQ(launch_on(stream_, function, {buffer, 4096, 256}, {y, 0, 256}, 10, 64), BP_OK);
    EXPECT_EQ(read(y, 64), Words(64, 25));
    bp_error error = BP_ERROR_INIT;
    EXPECT_EQ(launch_on(stream_, function, {y, 0, 256}, {buffer, 0, 256}, 1, 64, &error),
              BP_INVALID_ARGUMENT);
    EXPECT_THAT(error.text, HasSubstr("read-only"));
    EXPECT_EQ(streams().fill(stream_, buffer, 0, 4, 0, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(memory().free(buffer, nullptr), BP_OK);
  } else {
    EXPECT_NE(memory().import(device_, &what, &buffer, nullptr), BP_OK);
  }
  munmap(mapped, 1 << 16);
  std::fclose(file);
}

}  // namespace
}  // namespace bp::vulkan
