// SPDX-License-Identifier: Apache-2.0
// Streams: order, timelines between streams and threads, captures, reuse of what they need.
#include <thread>

#include "plugins/vulkan/testing/open_device.h"

namespace bp::vulkan {
namespace {

TEST_F(Vulkan, timelines_rise_wake_waiters_and_end_waits_in_time) {
  const bp_stream_api& api = streams();
  EXPECT_EQ(api.host_wait(timeline_, 1, kLongNs, nullptr), BP_DEADLINE);
  std::thread waiter([&] { EXPECT_EQ(api.host_wait(timeline_, 2, kForever, nullptr), BP_OK); });
  EXPECT_EQ(api.signal(stream_, timeline_, 1, nullptr), BP_OK);
  EXPECT_EQ(api.signal(stream_, timeline_, 1, nullptr), BP_INVALID_ARGUMENT);
  EXPECT_EQ(api.signal(stream_, timeline_, 2, nullptr), BP_OK);
  waiter.join();
  uint64_t value = 0;
  EXPECT_EQ(api.query(timeline_, &value, nullptr), BP_OK);
  EXPECT_EQ(value, 2u);
}

TEST_F(Vulkan, a_stream_waits_for_what_another_submits_later) {
  const bp_stream_api& api = streams();
  bp_stream* second = nullptr;
  bp_timeline* given = nullptr;
  ASSERT_EQ(api.create(device_, &second, nullptr), BP_OK);
  ASSERT_EQ(api.timeline_create(device_, &given, nullptr), BP_OK);
  bp_buffer* const buffer = buffer_of(Words(4, 1));
  // The second stream reads first in time and last in order, through one queue.
  Words seen(4);
  ASSERT_EQ(api.wait(second, given, 5, nullptr), BP_OK);
  ASSERT_EQ(api.read(second, seen.data(), buffer, 0, 16, nullptr), BP_OK);
  ASSERT_EQ(api.signal(second, timeline_, 1, nullptr), BP_OK);
  EXPECT_EQ(api.host_wait(timeline_, 1, kLongNs, nullptr), BP_DEADLINE);
  std::thread other([&] {
    EXPECT_EQ(api.fill(stream_, buffer, 0, 16, 42, nullptr), BP_OK);
    EXPECT_EQ(api.signal(stream_, given, 4, nullptr), BP_OK);
    EXPECT_EQ(api.fill(stream_, buffer, 0, 16, 43, nullptr), BP_OK);
    EXPECT_EQ(api.signal(stream_, given, 5, nullptr), BP_OK);
  });
  ASSERT_EQ(api.host_wait(timeline_, 1, kForever, nullptr), BP_OK);
  EXPECT_EQ(seen, Words(4, 43));
  other.join();
  EXPECT_EQ(api.timeline_destroy(given, nullptr), BP_OK);
  EXPECT_EQ(api.destroy(second, nullptr), BP_OK);
}

TEST_F(Vulkan, streams_of_two_threads_hand_a_buffer_to_and_fro) {
  const bp_stream_api& api = streams();
  constexpr uint32_t kRounds = 50;
  bp_stream* second = nullptr;
  ASSERT_EQ(api.create(device_, &second, nullptr), BP_OK);
  bp_function* const function = scale_add();
  bp_buffer* const x = buffer_of(Words(64, 1));
  bp_buffer* const y = buffer_of(Words(64, 0));
  // Odd values belong to one thread, even ones to the other.
  const auto turns = [&](bp_stream* stream, uint64_t first, uint32_t scale) {
    for (uint64_t value = first; value <= 2 * kRounds; value += 2) {
      EXPECT_EQ(api.wait(stream, timeline_, value - 1, nullptr), BP_OK);
      EXPECT_EQ(launch_on(stream, function, {x, 0, 256}, {y, 0, 256}, scale, 64), BP_OK);
      // Signals must rise, so the other thread's has to have been given before.
      while (value > 1 && api.host_wait(timeline_, value - 1, kForever, nullptr) != BP_OK) {
      }
      EXPECT_EQ(api.signal(stream, timeline_, value, nullptr), BP_OK);
    }
  };
  std::thread other([&] { turns(second, 2, 5); });
  turns(stream_, 1, 3);
  other.join();
  uint32_t want = 0;
  for (uint32_t i = 0; i < kRounds; ++i) want = (want * 3 + 1) * 5 + 1;
  value_ = 2 * kRounds;
  EXPECT_EQ(read(y, 64), Words(64, want));
  EXPECT_EQ(api.destroy(second, nullptr), BP_OK);
}

TEST_F(Vulkan, destroying_a_stream_waits_for_its_work) {
  bp_stream* second = nullptr;
  ASSERT_EQ(streams().create(device_, &second, nullptr), BP_OK);
  bp_buffer* const buffer = buffer_of(Words(4, 1));
  Words seen(4);
  ASSERT_EQ(streams().fill(second, buffer, 0, 16, 8, nullptr), BP_OK);
  ASSERT_EQ(streams().read(second, seen.data(), buffer, 0, 16, nullptr), BP_OK);
  ASSERT_EQ(streams().destroy(second, nullptr), BP_OK);
  EXPECT_EQ(seen, Words(4, 8));
}

// Counts calls of driver functions that create something.
std::atomic<uint64_t> created;
template <auto Member>
void count_calls(DeviceFunctions* vk) {
  static auto original = vk->*Member;
  original = vk->*Member;
  vk->*Member = [](VkDevice device, auto... arguments) {
    created.fetch_add(1);
    return original(device, arguments...);
  };
}

TEST_F(Vulkan, the_steady_state_creates_nothing) {
  DeviceFunctions& vk = unwrap(device_)->vk;
  count_calls<&DeviceFunctions::CreateDescriptorPool>(&vk);
  count_calls<&DeviceFunctions::CreateCommandPool>(&vk);
  count_calls<&DeviceFunctions::AllocateMemory>(&vk);
  bp_function* const function = scale_add();
  bp_buffer* const x = buffer_of(Words(64, 1));
  bp_buffer* const y = buffer_of(Words(64, 0));
  use(x);
  Words out(64);
  uint64_t after_start = 0;
  for (uint32_t token = 0; token < 40; ++token) {
    const Words input(64, token);
    ASSERT_EQ(streams().write(stream_, x, 0, input.data(), 256, nullptr), BP_OK);
    for (uint32_t i = 0; i < 300; ++i) {  // more than a pool of descriptors holds
      ASSERT_EQ(launch_on(stream_, function, {x, 0, 256}, {y, 0, 256}, 1, 64), BP_OK);
    }
    ASSERT_EQ(streams().read(stream_, out.data(), y, 0, 256, nullptr), BP_OK);
    finish();
    if (token == 3) after_start = created.load();
  }
  EXPECT_EQ(out, Words(64, 300 * 39 * 40 / 2));
  EXPECT_GT(after_start, 0u);
  EXPECT_EQ(created.load(), after_start);
}

TEST_F(Vulkan, captured_work_runs_again_on_what_the_buffers_hold_then) {
  const bp_stream_api& api = streams();
  bp_function* const function = scale_add();
  bp_buffer* const x = buffer_of(Words(64, 1));
  bp_buffer* const y = buffer_of(Words(64, 1));
  bp_buffer* const z = alloc(256);
  bp_recording* recording = nullptr;
  EXPECT_EQ(api.capture_end(stream_, &recording, nullptr), BP_FAILED_PRECONDITION);
  ASSERT_EQ(api.capture_begin(stream_, nullptr), BP_OK);
  EXPECT_EQ(api.capture_begin(stream_, nullptr), BP_FAILED_PRECONDITION);
  ASSERT_EQ(launch_on(stream_, function, {x, 0, 256}, {y, 0, 256}, 2, 64), BP_OK);
  ASSERT_EQ(launch_on(stream_, function, {x, 0, 256}, {y, 0, 256}, 10, 64), BP_OK);
  ASSERT_EQ(api.fill(stream_, z, 0, 256, 100, nullptr), BP_OK);
  ASSERT_EQ(api.copy(stream_, z, 0, y, 0, 128, nullptr), BP_OK);
  uint32_t word = 0;
  EXPECT_EQ(api.write(stream_, x, 0, &word, 4, nullptr), BP_FAILED_PRECONDITION);
  EXPECT_EQ(api.read(stream_, &word, x, 0, 4, nullptr), BP_FAILED_PRECONDITION);
  EXPECT_EQ(api.signal(stream_, timeline_, 99, nullptr), BP_FAILED_PRECONDITION);
  EXPECT_EQ(api.wait(stream_, timeline_, 99, nullptr), BP_FAILED_PRECONDITION);
  ASSERT_EQ(api.capture_end(stream_, &recording, nullptr), BP_OK);
  EXPECT_EQ(read(y, 64), Words(64, 1));  // nothing has run yet

  ASSERT_EQ(api.replay(stream_, recording, nullptr), BP_OK);
  ASSERT_EQ(api.replay(stream_, recording, nullptr), BP_OK);
  uint32_t want = 1;
  for (int i = 0; i < 2; ++i) want = (want * 2 + 1) * 10 + 1;
  EXPECT_EQ(read(y, 64), Words(64, want));
  Words both = Words(32, want);
  both.resize(64, 100);
  EXPECT_EQ(read(z, 64), both);

  const Words changed(64, 5);
  ASSERT_EQ(api.write(stream_, x, 0, changed.data(), 256, nullptr), BP_OK);
  ASSERT_EQ(api.replay(stream_, recording, nullptr), BP_OK);
  ASSERT_EQ(launch_on(stream_, function, {x, 0, 256}, {y, 0, 256}, 3, 64), BP_OK);
  want = ((want * 2 + 5) * 10 + 5) * 3 + 5;
  EXPECT_EQ(api.recording_destroy(recording, nullptr), BP_OK);  // its last replay is still open
  EXPECT_EQ(read(y, 64), Words(64, want));
}

TEST_F(Vulkan, one_capture_runs_on_two_streams) {
  const bp_stream_api& api = streams();
  bp_function* const function = scale_add();
  bp_buffer* const x = buffer_of(Words(64, 1));
  bp_buffer* const y = buffer_of(Words(64, 0));
  bp_stream* second = nullptr;
  ASSERT_EQ(api.create(device_, &second, nullptr), BP_OK);
  bp_recording* recording = nullptr;
  ASSERT_EQ(api.capture_begin(stream_, nullptr), BP_OK);
  ASSERT_EQ(launch_on(stream_, function, {x, 0, 256}, {y, 0, 256}, 1, 64), BP_OK);
  ASSERT_EQ(api.capture_end(stream_, &recording, nullptr), BP_OK);
  for (int i = 0; i < 20; ++i) {
    bp_stream* const stream = i % 2 == 0 ? stream_ : second;
    ASSERT_EQ(api.wait(stream, timeline_, value_, nullptr), BP_OK);
    ASSERT_EQ(api.replay(stream, recording, nullptr), BP_OK);
    ASSERT_EQ(api.signal(stream, timeline_, ++value_, nullptr), BP_OK);
  }
  ASSERT_EQ(api.wait(stream_, timeline_, value_, nullptr), BP_OK);
  EXPECT_EQ(read(y, 64), Words(64, 20));
  EXPECT_EQ(api.recording_destroy(recording, nullptr), BP_OK);
  EXPECT_EQ(api.destroy(second, nullptr), BP_OK);
}

}  // namespace
}  // namespace bp::vulkan
