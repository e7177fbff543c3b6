// SPDX-License-Identifier: Apache-2.0
// Every call of the driver fails once, and the device is lost at every call once: each time there
// is a named error, nothing leaks, and the other device goes on.
#include <algorithm>
#include <cstring>

#include "tests/mockgpu/device_suite.h"

namespace bp::gpu_suite {
namespace {

constexpr uint64_t kForever = UINT64_MAX;
constexpr uint64_t kMaxCalls = 2000;  // more than a scenario makes

struct Outcome {
  bp_status status = BP_OK;
  std::string text;
};

// One of everything on one device; what was made is released in any case.
class Scenario {
 public:
  explicit Scenario(const Text& text) : text_(text) {}

  Outcome run(uint32_t index) {
    index_ = index;
    error_ = BP_ERROR_INIT;
    const bp_status status = work();
    Outcome out{status, error_.text};
    // Releasing may fail as well; the first failure counts, and close must succeed.
    const auto also = [&](bp_status s, bp_error& error) {
      if (out.status == BP_OK && s != BP_OK) out = {s, error.text};
    };
    bp_error error = BP_ERROR_INIT;
    also(t.stream->recording_destroy(recording_, &error), error);
    also(t.module->unload(module_, &error), error);
    also(t.memory->free(pinned_, &error), error);
    also(t.memory->free(buffer_, &error), error);
    also(t.stream->timeline_destroy(timeline_, &error), error);
    also(t.stream->destroy(stream_, &error), error);
    EXPECT_EQ(t.device->close(device_, &error), BP_OK) << error.text;
    return out;
  }

 private:
  bp_status work() {
    bp_error* const e = &error_;
    device_ = nullptr;
    stream_ = nullptr;
    timeline_ = nullptr;
    buffer_ = pinned_ = nullptr;
    module_ = nullptr;
    recording_ = nullptr;
    if (bp_status s = t.device->open(index_, &device_, e)) return s;
    if (bp_status s = t.stream->create(device_, &stream_, e)) return s;
    if (bp_status s = t.stream->timeline_create(device_, &timeline_, e)) return s;
    if (bp_status s = t.memory->alloc(device_, 0, 2048, &buffer_, e)) return s;
    if (bp_status s = t.memory->alloc(device_, 1, 2048, &pinned_, e)) return s;
    const bp_module_source source = text_.source();
    const Compiled compiled = compile(device_, text_, e);
    if (compiled.status != BP_OK) return compiled.status;
    const std::string& binary = compiled.binary;
    if (bp_status s = t.module->load(device_, &source, binary.data(), binary.size(), &module_, e)) {
      return s;
    }
    bp_function* function = nullptr;
    const bp_string name = glue::text(text_.entry);
    if (bp_status s = t.module->function(module_, &name, &function, e)) return s;
    return compute(function);
  }

  bp_status compute(bp_function* function) {
    bp_error* const e = &error_;
    const Words in(256, 7);
    Words out(256, 0);
    if (bp_status s = t.stream->write(stream_, buffer_, 0, in.data(), 1024, e)) return s;
    const Words params = {3, 256};
    const std::vector<bp_launch_buffer> buffers = {{buffer_, 0, 1024}, {buffer_, 1024, 1024}};
    bp_launch launch{};
    launch.size = sizeof launch;
    launch.buffer_count = launch.param_words = 2;
    launch.group_threads = text_.group_threads;
    launch.grid[0] = 4;
    launch.grid[1] = launch.grid[2] = 1;
    launch.buffers = buffers.data();
    launch.params = params.data();
    if (bp_status s = t.module->launch(stream_, function, &launch, e)) return s;
    if (bp_status s = t.stream->copy(stream_, pinned_, 0, buffer_, 1024, 1024, e)) return s;
    if (bp_status s = t.stream->capture_begin(stream_, e)) return s;
    bp_status recorded = t.stream->fill(stream_, buffer_, 0, 1024, 2, e);
    if (recorded == BP_OK) recorded = t.module->launch(stream_, function, &launch, e);
    const bp_status ended =
        t.stream->capture_end(stream_, &recording_, recorded == BP_OK ? e : nullptr);
    if (recorded != BP_OK) return recorded;
    if (ended != BP_OK) return ended;
    if (bp_status s = t.stream->replay(stream_, recording_, e)) return s;
    if (bp_status s = t.stream->read(stream_, out.data(), buffer_, 1024, 1024, e)) return s;
    if (bp_status s = t.stream->signal(stream_, timeline_, 1, e)) return s;
    if (bp_status s = t.stream->host_wait(timeline_, 1, kForever, e)) return s;
    if (bp_status s = t.device->status(device_, e)) return s;
    void* mapped = nullptr;
    if (bp_status s = t.memory->map(pinned_, &mapped, e)) return s;
    // Whoever was told that all is well has got the right result.
    EXPECT_EQ(static_cast<uint32_t*>(mapped)[255], 7u * 3 + 255);
    EXPECT_EQ(out[255], 2u * 3 + 255);
    return BP_OK;
  }

  const Tables& t = tables();
  const Text& text_;
  uint32_t index_ = 0;
  bp_error error_ = BP_ERROR_INIT;
  bp_device* device_ = nullptr;
  bp_stream* stream_ = nullptr;
  bp_timeline* timeline_ = nullptr;
  bp_buffer* buffer_ = nullptr;
  bp_buffer* pinned_ = nullptr;
  bp_module* module_ = nullptr;
  bp_recording* recording_ = nullptr;
};

class Faults : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!tables().usable) GTEST_SKIP() << "skipped: " << tables().detail;
    if (!Mock::present()) GTEST_SKIP() << "skipped: only the stand-in fails on demand";
    Mock::clear_faults();
    bp_device_info info{};
    bp_device_caps caps{};
    info.size = sizeof info;
    caps.size = sizeof caps;
    ASSERT_EQ(tables().device->describe(0, &info, nullptr), BP_OK);
    ASSERT_EQ(tables().device->capabilities(0, &caps, nullptr), BP_OK);
    text_ = scale_text(kSubject.profile(info, caps));
    const Outcome warm = Scenario(text_).run(0);
    ASSERT_EQ(warm.status, BP_OK) << warm.text;
    live_ = Mock::live();
  }

  void expect_clean(uint64_t n) {
    EXPECT_EQ(Mock::live(), live_) << "leak after fault " << n;
    EXPECT_EQ(Mock::get("misuse"), 0u) << "dead handle after fault " << n;
    EXPECT_EQ(Mock::get("overruns"), 0u);
  }

  // Lets the fault strike at its first, second … call, until a run no longer reaches it. Returns
  // how many runs failed.
  uint64_t at_every_call(const char* fault, std::initializer_list<bp_status> expected) {
    uint64_t failed = 0;
    for (uint64_t n = 1; n < kMaxCalls; ++n) {
      Mock::set(fault, n);
      const Outcome out = Scenario(text_).run(0);
      const bool struck = Mock::get(fault) == 0;
      Mock::set(fault, 0);
      if (out.status != BP_OK) {
        ++failed;
        EXPECT_TRUE(std::find(expected.begin(), expected.end(), out.status) != expected.end())
            << fault << " " << n << ": " << out.status << " " << out.text;
        EXPECT_FALSE(out.text.empty()) << fault << " " << n;
      }
      expect_clean(n);
      const Outcome after = Scenario(text_).run(0);
      EXPECT_EQ(after.status, BP_OK) << "after " << fault << " " << n << ": " << after.text;
      if (!struck || HasFailure()) return failed;
    }
    ADD_FAILURE() << fault << " never ran out";
    return failed;
  }

  Text text_;
  uint64_t live_ = 0;
};

TEST_F(Faults, every_call_may_fail) {
  EXPECT_GE(at_every_call("fail_call", {BP_INTERNAL}), 20u);
}

TEST_F(Faults, every_allocation_may_fail) {
  EXPECT_EQ(at_every_call("fail_alloc", {BP_EXHAUSTED}), 3u);
}

TEST_F(Faults, every_load_and_compilation_may_fail) {
  EXPECT_EQ(at_every_call("fail_load", {BP_INCOMPATIBLE}), 1u);
  EXPECT_EQ(at_every_call("fail_compile", {BP_INVALID_ARGUMENT}), 1u);
}

TEST_F(Faults, every_launch_may_fail) {
  EXPECT_EQ(at_every_call("fail_launch", {BP_EXHAUSTED}), 3u);
}

TEST_F(Faults, the_device_may_be_lost_at_every_call) {
  uint32_t count = 0;
  ASSERT_EQ(tables().device->enumerate(&count, nullptr), BP_OK);
  ASSERT_GE(count, 2u) << "set BACKPLANE_MOCK_DEVICES=2";
  uint64_t lost = 0;
  for (uint64_t n = 1; n < kMaxCalls; ++n) {
    Mock::set("lose_at", n);
    const Outcome out = Scenario(text_).run(0);
    const bool struck = Mock::get("lose_at") == 0;
    Mock::set("lose_at", 0);
    if (out.status != BP_OK) {
      ++lost;
      EXPECT_EQ(out.status, BP_DEVICE_LOST) << n << ": " << out.text;
      EXPECT_FALSE(out.text.empty()) << n;
    }
    expect_clean(n);
    // Opened anew it works, and so does its neighbour.
    for (const uint32_t index : {1u, 0u}) {
      const Outcome after = Scenario(text_).run(index);
      EXPECT_EQ(after.status, BP_OK) << "device " << index << " after " << n << ": " << after.text;
    }
    if (!struck || HasFailure()) break;
  }
  EXPECT_GE(lost, 20u);
}

TEST_F(Faults, a_loss_is_for_ever_and_reaches_every_waiter) {
  const Tables& t = tables();
  bp_device *device = nullptr, *neighbour = nullptr;
  bp_stream *stream = nullptr, *other = nullptr;
  bp_timeline *timeline = nullptr, *never = nullptr;
  bp_buffer* buffer = nullptr;
  bp_error error = BP_ERROR_INIT;
  ASSERT_EQ(t.device->open(0, &device, &error), BP_OK) << error.text;
  ASSERT_EQ(t.device->open(1, &neighbour, &error), BP_OK) << error.text;
  ASSERT_EQ(t.stream->create(device, &stream, &error), BP_OK);
  ASSERT_EQ(t.stream->create(neighbour, &other, &error), BP_OK);
  ASSERT_EQ(t.stream->timeline_create(device, &timeline, &error), BP_OK);
  ASSERT_EQ(t.stream->timeline_create(device, &never, &error), BP_OK);
  ASSERT_EQ(t.memory->alloc(device, 0, 64, &buffer, &error), BP_OK);
  ASSERT_EQ(t.stream->signal(stream, timeline, 1, &error), BP_OK);
  Mock::set("lose_at", 1);
  EXPECT_EQ(t.stream->fill(stream, buffer, 0, 64, 1, &error), BP_DEVICE_LOST);
  EXPECT_NE(error.native, 0);
  EXPECT_EQ(t.device->status(device, &error), BP_DEVICE_LOST);
  EXPECT_THAT(error.text, ::testing::HasSubstr("open it anew"));
  EXPECT_EQ(t.stream->host_wait(timeline, 1, kForever, &error), BP_DEVICE_LOST);
  // Nobody ever signals this one.
  EXPECT_EQ(t.stream->host_wait(never, 1, kForever, &error), BP_DEVICE_LOST);
  EXPECT_EQ(t.stream->signal(stream, never, 1, &error), BP_DEVICE_LOST);
  bp_buffer* more = nullptr;
  EXPECT_EQ(t.memory->alloc(device, 0, 64, &more, &error), BP_DEVICE_LOST);
  uint64_t value = 0;
  EXPECT_EQ(t.stream->query(never, &value, &error), BP_DEVICE_LOST);
  EXPECT_EQ(t.device->status(neighbour, &error), BP_OK);
  ASSERT_EQ(t.memory->alloc(neighbour, 0, 64, &more, &error), BP_OK) << error.text;
  EXPECT_EQ(t.stream->fill(other, more, 0, 64, 1, &error), BP_OK) << error.text;
  EXPECT_EQ(t.memory->free(more, nullptr), BP_OK);
  EXPECT_EQ(t.memory->free(buffer, nullptr), BP_OK);
  EXPECT_EQ(t.stream->timeline_destroy(timeline, nullptr), BP_OK);
  EXPECT_EQ(t.stream->timeline_destroy(never, nullptr), BP_OK);
  EXPECT_EQ(t.stream->destroy(stream, nullptr), BP_DEVICE_LOST);
  EXPECT_EQ(t.stream->destroy(other, nullptr), BP_OK);
  EXPECT_EQ(t.device->close(device, &error), BP_OK) << error.text;
  EXPECT_EQ(t.device->close(neighbour, &error), BP_OK) << error.text;
  expect_clean(0);
}

}  // namespace
}  // namespace bp::gpu_suite
