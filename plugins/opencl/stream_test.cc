// SPDX-License-Identifier: Apache-2.0
// Streams and timelines, across threads, and what becomes of failures. Faults are put into the
// table of entry points, which is what the plugin calls through.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "plugins/opencl/testing/opened_device.h"

namespace bp::opencl::testing {
namespace {

using ::testing::HasSubstr;

// ---- streams --------------------------------------------------------------------------------

TEST_F(OpenClTest, commands_of_a_stream_run_in_order) {
  bp_buffer* const a = allocate(4096);
  bp_buffer* const b = allocate(4096);
  ASSERT_EQ(streams.fill(stream, a, 0, 4096, 0xAABBCCDD, nullptr), BP_OK);
  uint32_t word = 1;
  ASSERT_EQ(streams.write(stream, a, 8, &word, 4, nullptr), BP_OK);
  word = 2;  // may be reused at once
  ASSERT_EQ(streams.copy(stream, b, 16, a, 0, 64, nullptr), BP_OK);
  ASSERT_EQ(streams.fill(stream, b, 16, 4, 5, nullptr), BP_OK);
  ASSERT_EQ(streams.copy(stream, b, 1024, b, 16, 16, nullptr), BP_OK);
  const auto out = words(b, 1024);
  EXPECT_EQ(out[4], 5u);
  EXPECT_EQ(out[5], 0xAABBCCDDu);
  EXPECT_EQ(out[6], 1u);
  EXPECT_EQ(out[256], 5u);
  EXPECT_EQ(out[258], 1u);
}

TEST_F(OpenClTest, large_writes_may_be_reused_too) {
  constexpr size_t kWords = 1u << 20;
  bp_buffer* const a = allocate(kWords * 4);
  std::vector<uint32_t> host(kWords);
  for (size_t i = 0; i < kWords; ++i) host[i] = static_cast<uint32_t>(i * 7);
  ASSERT_EQ(streams.write(stream, a, 0, host.data(), kWords * 4, nullptr), BP_OK);
  std::fill(host.begin(), host.end(), 0u);
  const auto out = words(a, kWords);
  for (size_t i = 0; i < kWords; i += 997) ASSERT_EQ(out[i], static_cast<uint32_t>(i * 7));
}

TEST_F(OpenClTest, every_range_is_checked) {
  bp_buffer* const a = allocate(64);
  bp_buffer* const b = allocate(64);
  uint32_t word = 0;
  for (const uint64_t offset : {uint64_t{61}, uint64_t{64}, UINT64_MAX, UINT64_MAX - 2}) {
    EXPECT_EQ(streams.write(stream, b, offset, &word, 4, &error_), BP_INVALID_ARGUMENT);
    EXPECT_THAT(error_.text, HasSubstr("64 bytes"));
    EXPECT_EQ(streams.read(stream, &word, b, offset, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(streams.copy(stream, a, 0, b, offset, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(streams.copy(stream, a, offset, b, 0, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(streams.fill(stream, a, offset, 4, 0, nullptr), BP_INVALID_ARGUMENT);
  }
  EXPECT_EQ(streams.fill(stream, a, 2, 4, 0, nullptr), BP_INVALID_ARGUMENT);
  EXPECT_EQ(streams.copy(stream, a, 0, a, 4, 8, nullptr), BP_INVALID_ARGUMENT);
  EXPECT_EQ(streams.copy(stream, a, 0, nullptr, 0, 8, nullptr), BP_INVALID_ARGUMENT);
  // A wrong call is no failed command.
  EXPECT_EQ(streams.fill(stream, a, 0, 64, 9, nullptr), BP_OK);
  EXPECT_EQ(words(a, 16), std::vector<uint32_t>(16, 9));
}

TEST_F(OpenClTest, objects_of_two_devices_do_not_mix) {
  bp_device* other = nullptr;
  bp_buffer* theirs = nullptr;
  bp_timeline* their_timeline = nullptr;
  ASSERT_EQ(devices.open(0, &other, nullptr), BP_OK);
  ASSERT_EQ(memory.alloc(other, 0, 64, &theirs, nullptr), BP_OK);
  ASSERT_EQ(streams.timeline_create(other, &their_timeline, nullptr), BP_OK);
  EXPECT_EQ(streams.fill(stream, theirs, 0, 64, 0, &error_), BP_INVALID_ARGUMENT);
  EXPECT_THAT(error_.text, HasSubstr("another device"));
  EXPECT_EQ(streams.signal(stream, their_timeline, 1, nullptr), BP_INVALID_ARGUMENT);
  EXPECT_EQ(streams.wait(stream, their_timeline, 1, nullptr), BP_INVALID_ARGUMENT);
  EXPECT_EQ(streams.timeline_destroy(their_timeline, nullptr), BP_OK);
  EXPECT_EQ(memory.free(theirs, nullptr), BP_OK);
  EXPECT_EQ(devices.close(other, nullptr), BP_OK);
}

// ---- timelines ------------------------------------------------------------------------------

TEST_F(OpenClTest, a_timeline_only_rises_and_waits_end_in_time) {
  EXPECT_EQ(streams.host_wait(timeline, 1, 0, nullptr), BP_DEADLINE);
  EXPECT_EQ(streams.host_wait(timeline, 1, 1000, &error_), BP_DEADLINE);
  EXPECT_THAT(error_.text, HasSubstr("0 of 1"));
  std::thread waiter(
      [&] { EXPECT_EQ(streams.host_wait(timeline, 2, UINT64_MAX, nullptr), BP_OK); });
  EXPECT_EQ(streams.signal(stream, timeline, 1, nullptr), BP_OK);
  EXPECT_EQ(streams.signal(stream, timeline, 1, nullptr), BP_INVALID_ARGUMENT);
  EXPECT_EQ(streams.signal(stream, timeline, 2, nullptr), BP_OK);
  waiter.join();
  uint64_t value = 0;
  EXPECT_EQ(streams.query(timeline, &value, nullptr), BP_OK);
  EXPECT_EQ(value, 2u);
}

TEST_F(OpenClTest, two_streams_pass_a_buffer_to_and_fro) {
  constexpr uint32_t kRounds = 200;
  bp_buffer* const x = allocate(1024);
  bp_buffer* const y = allocate(1024);
  bp_stream* const other = another_stream();
  bp_function* const function = scale();
  ASSERT_EQ(streams.fill(stream, x, 0, 1024, 0, nullptr), BP_OK);
  ASSERT_EQ(streams.signal(stream, timeline, 1, nullptr), BP_OK);
  // Each turn adds i to word i, one way on this thread, the other way on another.
  const auto turns = [&](bp_stream* s, bp_buffer* from, bp_buffer* to, uint64_t first) {
    for (uint32_t round = 0; round < kRounds; ++round) {
      const uint64_t turn = first + 2 * round;
      ASSERT_EQ(streams.wait(s, timeline, turn, nullptr), BP_OK);
      ScaleLaunch launch(from, 0, to, 0, 256, 1);
      ASSERT_EQ(modules.launch(s, function, &launch.record, nullptr), BP_OK);
      ASSERT_EQ(streams.signal(s, timeline, turn + 1, nullptr), BP_OK);
    }
  };
  std::thread helper([&] { turns(other, y, x, 2); });
  turns(stream, x, y, 1);
  helper.join();
  reached = 1 + 2 * kRounds;
  ASSERT_EQ(streams.host_wait(timeline, reached, UINT64_MAX, &error_), BP_OK) << error_.text;
  const auto out = words(x, 256);
  for (uint32_t i = 0; i < 256; ++i) ASSERT_EQ(out[i], 2 * kRounds * i);
}

TEST_F(OpenClTest, many_signals_without_a_waiter_are_no_burden) {
  bp_buffer* const x = allocate(64);
  for (uint32_t i = 1; i <= 5000; ++i) {
    ASSERT_EQ(streams.fill(stream, x, 0, 64, i, nullptr), BP_OK);
    ASSERT_EQ(streams.signal(stream, timeline, ++reached, nullptr), BP_OK);
  }
  EXPECT_EQ(words(x, 16), std::vector<uint32_t>(16, 5000));
}

TEST_F(OpenClTest, many_commands_without_a_signal_are_no_burden) {
  bp_buffer* const x = allocate(64);
  for (uint32_t i = 1; i <= 5000; ++i) {
    ASSERT_EQ(streams.write(stream, x, 4 * (i % 16), &i, 4, nullptr), BP_OK);
  }
  const auto out = words(x, 16);
  for (uint32_t i = 0; i < 16; ++i) EXPECT_EQ(out[i] % 16, i);
}

class Faults : public OpenClTest {
 protected:
  void SetUp() override {
    OpenClTest::SetUp();
    if (IsSkipped()) return;
    Verdict verdict;
    table_ = const_cast<Driver*>(driver(&verdict));
    real_ = *table_;
    real = &real_;
  }
  void TearDown() override {
    if (table_ != nullptr) *table_ = real_;
    OpenClTest::TearDown();
  }
  static inline const Driver* real = nullptr;
  Driver* table_ = nullptr;
  Driver real_;
};

TEST_F(Faults, a_refused_command_poisons_what_the_stream_signals_later) {
  bp_buffer* const x = allocate(64);
  table_->enqueue_fill = [](cl_command_queue, cl_mem, const void*, size_t, size_t, size_t, cl_uint,
                            const cl_event*,
                            cl_event*) -> cl_int { return CL_MEM_OBJECT_ALLOCATION_FAILURE; };
  EXPECT_EQ(streams.signal(stream, timeline, 1, nullptr), BP_OK);
  EXPECT_EQ(streams.fill(stream, x, 0, 64, 1, &error_), BP_EXHAUSTED);
  EXPECT_EQ(error_.native, CL_MEM_OBJECT_ALLOCATION_FAILURE);
  EXPECT_THAT(error_.text, HasSubstr("CL_MEM_OBJECT_ALLOCATION_FAILURE"));
  EXPECT_EQ(streams.copy(stream, x, 0, x, 32, 4, nullptr), BP_EXHAUSTED);
  EXPECT_EQ(streams.signal(stream, timeline, 2, nullptr), BP_OK);
  EXPECT_EQ(streams.host_wait(timeline, 2, UINT64_MAX, &error_), BP_EXHAUSTED);
  EXPECT_EQ(streams.host_wait(timeline, 1, UINT64_MAX, nullptr), BP_OK);
  uint64_t value = 0;
  EXPECT_EQ(streams.query(timeline, &value, nullptr), BP_EXHAUSTED);
  EXPECT_EQ(value, 1u);
  EXPECT_EQ(streams.signal(stream, timeline, 3, nullptr), BP_EXHAUSTED);
  EXPECT_EQ(devices.status(device, nullptr), BP_OK);
  // Other streams go on.
  EXPECT_EQ(streams.copy(another_stream(), x, 0, x, 32, 4, nullptr), BP_OK);
}

// An event that a test lets end or fail, as a kernel that dies would let its own.
class UserEvent {
 public:
  explicit UserEvent(bp_device* device) {
    void* const library = dlopen("libOpenCL.so.1", RTLD_NOW);
    const auto create =
        reinterpret_cast<decltype(&clCreateUserEvent)>(dlsym(library, "clCreateUserEvent"));
    settle_ =
        reinterpret_cast<decltype(&clSetUserEventStatus)>(dlsym(library, "clSetUserEventStatus"));
    retain = reinterpret_cast<decltype(&clRetainEvent)>(dlsym(library, "clRetainEvent"));
    cl_int code = CL_SUCCESS;
    event = create(unwrap(device)->context, &code);
    EXPECT_EQ(code, CL_SUCCESS);
  }
  void set(cl_int code) { EXPECT_EQ(settle_(event, code), CL_SUCCESS); }

  static inline cl_event event = nullptr;
  static inline decltype(&clRetainEvent) retain = nullptr;

 private:
  decltype(&clSetUserEventStatus) settle_ = nullptr;
};

TEST_F(Faults, a_failure_that_the_driver_hands_on_reaches_every_waiter_and_stream) {
  bp_buffer* const x = allocate(64);
  bp_stream* const other = another_stream();
  bp_timeline* second = nullptr;
  ASSERT_EQ(streams.timeline_create(device, &second, nullptr), BP_OK);
  UserEvent late(device);
  table_->enqueue_fill = [](cl_command_queue queue, cl_mem, const void*, size_t, size_t, size_t,
                            cl_uint, const cl_event*, cl_event* event) -> cl_int {
    return real->enqueue_marker(queue, 1, &UserEvent::event, event);
  };
  ASSERT_EQ(streams.fill(stream, x, 0, 64, 1, nullptr), BP_OK);
  ASSERT_EQ(streams.signal(stream, timeline, 1, nullptr), BP_OK);
  ASSERT_EQ(streams.wait(other, timeline, 1, nullptr), BP_OK);
  ASSERT_EQ(streams.copy(other, x, 0, x, 32, 4, nullptr), BP_OK);
  ASSERT_EQ(streams.signal(other, second, 1, nullptr), BP_OK);
  std::thread waiter([&] { EXPECT_LT(streams.host_wait(second, 1, UINT64_MAX, nullptr), BP_OK); });
  EXPECT_EQ(streams.host_wait(timeline, 1, 1000, nullptr), BP_DEADLINE);
  late.set(-9999);
  EXPECT_LT(streams.host_wait(timeline, 1, UINT64_MAX, &error_), BP_OK);
  EXPECT_THAT(error_.text, HasSubstr("failed"));
  waiter.join();
  real->release_event(late.event);
  EXPECT_EQ(streams.timeline_destroy(second, nullptr), BP_OK);
}

TEST_F(Faults, a_failure_that_the_driver_keeps_to_one_command_reaches_them_too) {
  bp_buffer* const x = allocate(64);
  bp_stream* const other = another_stream();
  bp_timeline* second = nullptr;
  ASSERT_EQ(streams.timeline_create(device, &second, nullptr), BP_OK);
  UserEvent failed(device);
  failed.set(CL_OUT_OF_RESOURCES);
  // The queue knows nothing of this event; whatever comes behind it succeeds.
  table_->enqueue_fill = [](cl_command_queue, cl_mem, const void*, size_t, size_t, size_t, cl_uint,
                            const cl_event*, cl_event* event) -> cl_int {
    *event = UserEvent::event;
    return UserEvent::retain(*event);
  };
  ASSERT_EQ(streams.signal(stream, timeline, 1, nullptr), BP_OK);
  ASSERT_EQ(streams.fill(stream, x, 0, 64, 1, nullptr), BP_OK);
  ASSERT_EQ(streams.signal(stream, timeline, 2, nullptr), BP_OK);
  // The other stream learns of it only through what it waited for.
  const bp_status waited = streams.wait(other, timeline, 2, nullptr);
  const bp_status signalled = streams.signal(other, second, 1, nullptr);
  EXPECT_TRUE(waited == BP_OK || waited == BP_DEVICE_LOST);
  EXPECT_TRUE(signalled == BP_OK || signalled == BP_DEVICE_LOST);
  EXPECT_EQ(streams.host_wait(second, 1, UINT64_MAX, nullptr), BP_DEVICE_LOST);
  EXPECT_EQ(streams.host_wait(timeline, 2, UINT64_MAX, nullptr), BP_DEVICE_LOST);
  EXPECT_EQ(streams.host_wait(timeline, 1, UINT64_MAX, nullptr), BP_OK);
  EXPECT_EQ(streams.signal(stream, timeline, 3, nullptr), BP_DEVICE_LOST);
  EXPECT_EQ(devices.status(device, nullptr), BP_DEVICE_LOST);
  real->release_event(failed.event);
  EXPECT_EQ(streams.timeline_destroy(second, nullptr), BP_OK);
}

TEST_F(Faults, waiters_see_what_ends_late) {
  bp_buffer* const x = allocate(64);
  UserEvent late(device);
  table_->enqueue_fill = [](cl_command_queue queue, cl_mem, const void*, size_t, size_t, size_t,
                            cl_uint, const cl_event*, cl_event* event) -> cl_int {
    return real->enqueue_marker(queue, 1, &UserEvent::event, event);
  };
  ASSERT_EQ(streams.fill(stream, x, 0, 64, 1, nullptr), BP_OK);
  ASSERT_EQ(streams.signal(stream, timeline, 1, nullptr), BP_OK);
  EXPECT_EQ(streams.host_wait(timeline, 1, 1000, nullptr), BP_DEADLINE);
  std::thread waiter(
      [&] { EXPECT_EQ(streams.host_wait(timeline, 1, UINT64_MAX, nullptr), BP_OK); });
  late.set(CL_COMPLETE);
  waiter.join();
  real->release_event(late.event);
}

TEST_F(Faults, a_fault_of_the_device_is_a_loss_for_ever_and_closing_still_works) {
  bp_buffer* const x = allocate(1024);
  ScaleLaunch launch(x, 0, x, 512, 64, 1);
  bp_function* const function = scale();
  table_->enqueue_kernel = [](cl_command_queue, cl_kernel, cl_uint, const size_t*, const size_t*,
                              const size_t*, cl_uint, const cl_event*,
                              cl_event*) -> cl_int { return CL_OUT_OF_RESOURCES; };
  // Too large a launch looks the same, but the queue goes on working.
  bp_stream* const first = another_stream();
  EXPECT_EQ(modules.launch(first, function, &launch.record, nullptr), BP_EXHAUSTED);
  EXPECT_EQ(devices.status(device, nullptr), BP_OK);
  table_->finish = [](cl_command_queue) -> cl_int { return CL_INVALID_COMMAND_QUEUE; };
  EXPECT_EQ(modules.launch(stream, function, &launch.record, &error_), BP_DEVICE_LOST);
  *table_ = real_;
  EXPECT_EQ(devices.status(device, &error_), BP_DEVICE_LOST);
  EXPECT_THAT(error_.text, HasSubstr("lost"));
  EXPECT_EQ(streams.fill(another_stream(), x, 0, 64, 1, nullptr), BP_DEVICE_LOST);
  EXPECT_EQ(streams.signal(stream, timeline, 1, nullptr), BP_OK);
  EXPECT_EQ(streams.host_wait(timeline, 1, UINT64_MAX, nullptr), BP_DEVICE_LOST);
}

TEST_F(Faults, a_driver_without_room_refuses_the_allocation_and_nothing_leaks) {
  uint64_t before = 0, now = 0, total = 0;
  ASSERT_EQ(memory.budget(device, &before, &total, nullptr), BP_OK);
  bp_buffer* buffer = nullptr;
  table_->create_buffer = [](cl_context, cl_mem_flags, size_t, void*, cl_int* code) -> cl_mem {
    *code = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    return nullptr;
  };
  EXPECT_EQ(memory.alloc(device, 0, 4096, &buffer, nullptr), BP_EXHAUSTED);
  table_->svm_alloc = [](cl_context, cl_svm_mem_flags, size_t, cl_uint) -> void* {
    return nullptr;
  };
  EXPECT_EQ(memory.alloc(device, 0, 4096, &buffer, nullptr), BP_EXHAUSTED);
  EXPECT_EQ(buffer, nullptr);
  ASSERT_EQ(memory.budget(device, &now, &total, nullptr), BP_OK);
  EXPECT_EQ(now, before);
}

// What a card with memory of its own gets; PoCL runs that path just as well.
TEST_F(Faults, memory_that_is_not_shared_is_proven_at_allocation_and_works_through_streams) {
  Physical& physical = *unwrap(device)->physical;
  const bool shares_memory = physical.shares_memory;
  physical.shares_memory = false;
  bp_buffer* const x = allocate(1024);
  void* data = nullptr;
  EXPECT_EQ(memory.map(x, &data, &error_), BP_UNIMPLEMENTED);
  EXPECT_THAT(error_.text, HasSubstr("stream"));
  ASSERT_EQ(streams.fill(stream, x, 0, 1024, 77, nullptr), BP_OK);
  EXPECT_EQ(words(x, 256), std::vector<uint32_t>(256, 77));
  table_->finish = [](cl_command_queue) -> cl_int { return CL_MEM_OBJECT_ALLOCATION_FAILURE; };
  bp_buffer* buffer = nullptr;
  EXPECT_EQ(memory.alloc(device, 0, 4096, &buffer, nullptr), BP_EXHAUSTED);
  physical.shares_memory = shares_memory;
}

TEST_F(OpenClTest, quiescing_finishes_work_and_releases_every_waiter) {
  bp_buffer* const x = allocate(64);
  ASSERT_EQ(streams.fill(stream, x, 0, 64, 3, nullptr), BP_OK);
  ASSERT_EQ(streams.signal(stream, timeline, 1, nullptr), BP_OK);
  std::thread waiter(
      [&] { EXPECT_EQ(streams.host_wait(timeline, 9, UINT64_MAX, nullptr), BP_CANCELLED); });
  std::thread stream_waiter([&, other = another_stream()] {
    EXPECT_EQ(streams.wait(other, timeline, 9, nullptr), BP_CANCELLED);
  });
  EXPECT_EQ(plugin_api().quiesce(UINT64_MAX, nullptr), BP_OK);
  waiter.join();
  stream_waiter.join();
  EXPECT_EQ(streams.host_wait(timeline, 1, 0, nullptr), BP_OK);
}

TEST_F(OpenClTest, one_function_serves_streams_of_several_threads) {
  constexpr uint32_t kThreads = 4, kLaunches = 100;
  bp_function* const function = scale();
  struct Part {
    bp_stream* stream;
    bp_buffer* x;
    bp_buffer* y;
    bp_timeline* timeline = nullptr;
  };
  std::vector<Part> parts;
  for (uint32_t t = 0; t < kThreads; ++t) {
    parts.push_back({another_stream(), allocate(1024), allocate(256 * kLaunches)});
    ASSERT_EQ(streams.timeline_create(device, &parts[t].timeline, nullptr), BP_OK);
  }
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const Part& p = parts[t];
      ASSERT_EQ(streams.fill(p.stream, p.x, 0, 1024, t + 1, nullptr), BP_OK);
      // Every launch has arguments of its own; a mixed-up one shows in somebody's words.
      for (uint32_t n = 0; n < kLaunches; ++n) {
        ScaleLaunch launch(p.x, 16 * (n % 16), p.y, 256 * n, 64, n);
        ASSERT_EQ(modules.launch(p.stream, function, &launch.record, nullptr), BP_OK);
      }
      std::vector<uint32_t> out(64 * kLaunches);
      ASSERT_EQ(streams.read(p.stream, out.data(), p.y, 0, out.size() * 4, nullptr), BP_OK);
      ASSERT_EQ(streams.signal(p.stream, p.timeline, 1, nullptr), BP_OK);
      ASSERT_EQ(streams.host_wait(p.timeline, 1, UINT64_MAX, nullptr), BP_OK);
      for (uint32_t n = 0; n < kLaunches; ++n) {
        for (uint32_t i = 0; i < 64; ++i) ASSERT_EQ(out[64 * n + i], (t + 1) * n + i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Part& p : parts) EXPECT_EQ(streams.timeline_destroy(p.timeline, nullptr), BP_OK);
}

}  // namespace
}  // namespace bp::opencl::testing
