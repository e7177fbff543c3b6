// SPDX-License-Identifier: Apache-2.0
// bp.gemm/1 through a plugin: products against plain C++, passes shorter than prepared, recording,
// refusals, a missing library, and a failure at every call.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "backplane/float16.h"
#include "tests/mockgpu/device_suite.h"

namespace bp::gpu_suite {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kForever = UINT64_MAX;
constexpr uint64_t kMaxCalls = 400;  // more than a scenario makes

bp_gemm_shape shape_of(uint64_t tokens, uint64_t rows, uint64_t columns) {
  bp_gemm_shape shape{};
  shape.size = sizeof shape;
  shape.y_type = BP_GEMM_F32;
  shape.tokens = tokens;
  shape.rows = shape.y_stride = rows;
  shape.columns = shape.x_stride = shape.w_stride = columns;
  shape.workspace_bytes = 1u << 20;
  return shape;
}

// Halves between −1 and 1 in eighths, whose products are exact in f32.
std::vector<uint16_t> halves(uint64_t count, uint32_t seed) {
  std::vector<uint16_t> out(count);
  uint32_t state = seed;
  for (uint16_t& half : out) {
    state = state * 1664525u + 1013904223u;
    half = f32_to_f16(static_cast<float>(static_cast<int>(state >> 24) % 9 - 4) * 0.25f);
  }
  return out;
}

Words words_of(const std::vector<uint16_t>& values) {
  Words out((values.size() + 1) / 2);
  for (size_t i = 0; i < values.size(); ++i) out[i / 2] |= uint32_t{values[i]} << 16 * (i % 2);
  return out;
}

// Operands of a product on the device, each behind 64 bytes that are not its own.
class GemmTest : public GpuTest {
 protected:
  static constexpr uint64_t kBefore = 64;

  void SetUp() override {
    GpuTest::SetUp();
    if (device == nullptr) return;
    ASSERT_NE(t.gemm, nullptr);
    bp_gemm_info gemm{};
    gemm.size = sizeof gemm;
    if (t.gemm->describe(device, &gemm, &error) != BP_OK) {
      GTEST_SKIP() << "skipped: " << error.text;
    }
  }

  bp_buffer* place(const Words& words) {
    Words all(kBefore / 4);
    all.insert(all.end(), words.begin(), words.end());
    bp_buffer* const buffer = alloc(all.size() * 4);
    write(buffer, all);
    return buffer;
  }

  // Prepares and runs; fills *y, [tokens, y_stride], as floats of its type. The status of prepare.
  bp_status multiply(const bp_gemm_shape& shape, uint64_t tokens, std::vector<float>* y,
                     bool captured = false) {
    bp_gemm* gemm = nullptr;
    if (const bp_status s = t.gemm->prepare(device, &shape, &gemm, &error)) return s;
    uint64_t workspace_bytes = 0;
    EXPECT_EQ(t.gemm->workspace(gemm, &workspace_bytes, &error), BP_OK);
    EXPECT_LE(workspace_bytes, shape.workspace_bytes);
    x_ = halves(tokens * shape.x_stride, 1);
    w_ = halves(shape.rows * shape.w_stride, 2);
    const bool half = shape.y_type == BP_GEMM_F16;
    const Words before = half ? words_of(std::vector<uint16_t>(y->size(), f32_to_f16(0.5f)))
                              : Words(y->size(), 0x3f000000u);
    bp_gemm_launch launch{};
    launch.size = sizeof launch;
    launch.tokens = tokens;
    launch.x = {place(words_of(x_)), kBefore, words_of(x_).size() * 4};
    launch.w = {place(words_of(w_)), kBefore, words_of(w_).size() * 4};
    launch.y = {place(before), kBefore, before.size() * 4};
    launch.workspace = {alloc(workspace_bytes + 16), 0, workspace_bytes};
    bp_recording* recording = nullptr;
    if (captured) {
      EXPECT_EQ(t.stream->capture_begin(stream, &error), BP_OK) << error.text;
    }
    EXPECT_EQ(t.gemm->enqueue(gemm, stream, &launch, &error), BP_OK) << error.text;
    if (captured) {
      EXPECT_EQ(t.stream->capture_end(stream, &recording, &error), BP_OK) << error.text;
      EXPECT_EQ(t.stream->replay(stream, recording, &error), BP_OK) << error.text;
    }
    const Words got = read(launch.y.buffer, kBefore / 4 + before.size());
    for (size_t i = 0; i < y->size(); ++i) {
      const uint32_t word = got[kBefore / 4 + (half ? i / 2 : i)];
      float value = 0;
      std::memcpy(&value, &word, 4);
      (*y)[i] = half ? f16_to_f32(static_cast<uint16_t>(word >> 16 * (i % 2))) : value;
    }
    EXPECT_EQ(t.stream->recording_destroy(recording, nullptr), BP_OK);
    for (const bp_launch_buffer& at : {launch.x, launch.w, launch.y, launch.workspace}) {
      free(at.buffer);
    }
    EXPECT_EQ(t.gemm->release(gemm, &error), BP_OK) << error.text;
    return BP_OK;
  }

  void expect_product(const bp_gemm_shape& shape, uint64_t tokens, bool captured = false) {
    std::vector<float> y(tokens * shape.y_stride);
    const bp_status status = multiply(shape, tokens, &y, captured);
    if (status == BP_UNIMPLEMENTED && !Mock::present()) return;  // a library may lack odd shapes
    ASSERT_EQ(status, BP_OK) << error.text;
    for (uint64_t i = 0; i < y.size(); ++i) {
      const uint64_t token = i / shape.y_stride, row = i % shape.y_stride;
      float want = 0.5f;
      if (row < shape.rows) {
        if (shape.accumulate == 0) want = 0;
        for (uint64_t k = 0; k < shape.columns; ++k) {
          want +=
              f16_to_f32(x_[token * shape.x_stride + k]) * f16_to_f32(w_[row * shape.w_stride + k]);
        }
      }
      const float bound = shape.y_type == BP_GEMM_F16 ? 1e-3f * std::abs(want) : 1e-5f;
      ASSERT_NEAR(y[i], want, bound + 1e-5f) << shape.tokens << " x " << shape.rows << " x "
                                             << shape.columns << " at " << token << ", " << row;
    }
  }

  std::vector<uint16_t> x_, w_;
};

struct Extents {
  uint64_t tokens, rows, columns;
};

TEST_F(GemmTest, products_of_odd_shapes) {
  for (const Extents& e : {Extents{1, 1, 1},
                           {3, 7, 5},
                           {17, 31, 33},
                           {64, 64, 64},
                           {65, 127, 129},
                           {13, 128, 96},
                           {128, 1, 72},
                           {1, 257, 40}}) {
    for (const int32_t y_type : {BP_GEMM_F32, BP_GEMM_F16}) {
      for (const uint32_t accumulate : {0u, 1u}) {
        bp_gemm_shape shape = shape_of(e.tokens, e.rows, e.columns);
        shape.y_type = y_type;
        shape.accumulate = accumulate;
        expect_product(shape, e.tokens);
        shape.x_stride += 8;
        shape.w_stride += 16;
        shape.y_stride += 24;
        expect_product(shape, e.tokens);
      }
    }
  }
}

TEST_F(GemmTest, passes_shorter_than_prepared) {
  // A library may refuse its own choice for another size; then it is asked again.
  for (const char* const picky : {"0", "1"}) {
    setenv("BACKPLANE_MOCK_GEMM_PICKY", picky, 1);
    for (const uint64_t tokens : {1u, 63u, 99u, 100u}) {
      expect_product(shape_of(100, 48, 64), tokens);
    }
  }
  unsetenv("BACKPLANE_MOCK_GEMM_PICKY");
}

TEST_F(GemmTest, recorded_products_run_when_replayed) {
  bp_gemm_info gemm{};
  gemm.size = sizeof gemm;
  ASSERT_EQ(t.gemm->describe(device, &gemm, &error), BP_OK) << error.text;
  ASSERT_NE(gemm.flags & BP_GEMM_CAPTURE_SAFE, 0u);
  EXPECT_THAT(gemm.library, HasSubstr(kSubject.library));
  expect_product(shape_of(70, 64, 64), 70);  // loads what loads lazily
  expect_product(shape_of(70, 64, 64), 70, true);
}

TEST_F(GemmTest, impossible_shapes_are_refused) {
  const auto refused = [&](void (*change)(bp_gemm_shape&)) {
    bp_gemm_shape shape = shape_of(64, 64, 64);
    change(shape);
    bp_gemm* gemm = nullptr;
    EXPECT_EQ(t.gemm->prepare(device, &shape, &gemm, &error), BP_INVALID_ARGUMENT);
    EXPECT_EQ(gemm, nullptr);
    EXPECT_NE(error.text[0], '\0');
  };
  refused([](bp_gemm_shape& s) { s.tokens = 0; });
  refused([](bp_gemm_shape& s) { s.rows = 0; });
  refused([](bp_gemm_shape& s) { s.columns = 0; });
  refused([](bp_gemm_shape& s) { s.columns = uint64_t{1} << 40; });
  refused([](bp_gemm_shape& s) { s.x_stride = 63; });
  refused([](bp_gemm_shape& s) { s.w_stride = 63; });
  refused([](bp_gemm_shape& s) { s.y_stride = 63; });
  refused([](bp_gemm_shape& s) { s.y_type = 7; });
  refused([](bp_gemm_shape& s) { s.accumulate = 2; });
  EXPECT_EQ(t.gemm->release(nullptr, nullptr), BP_OK);
}

TEST_F(GemmTest, launches_that_do_not_fit_are_refused) {
  const bp_gemm_shape shape = shape_of(64, 64, 64);
  bp_gemm* gemm = nullptr;
  ASSERT_EQ(t.gemm->prepare(device, &shape, &gemm, &error), BP_OK) << error.text;
  uint64_t workspace_bytes = 0;
  EXPECT_EQ(t.gemm->workspace(gemm, &workspace_bytes, &error), BP_OK);
  bp_buffer* const x = alloc(8192);
  bp_buffer* const y = alloc(16384);
  bp_buffer* const workspace = alloc(workspace_bytes + 16);
  const bp_gemm_launch good{
      sizeof(bp_gemm_launch),         0, 64, {x, 0, 8192}, {x, 0, 8192}, {y, 0, 16384},
      {workspace, 0, workspace_bytes}};
  const auto refused = [&](const std::function<void(bp_gemm_launch&)>& change) {
    bp_gemm_launch launch = good;
    change(launch);
    EXPECT_EQ(t.gemm->enqueue(gemm, stream, &launch, &error), BP_INVALID_ARGUMENT);
    EXPECT_NE(error.text[0], '\0');
  };
  refused([](bp_gemm_launch& l) { l.tokens = 65; });
  refused([](bp_gemm_launch& l) { l.x.buffer = nullptr; });
  refused([](bp_gemm_launch& l) { l.x.bytes -= 2; });
  refused([](bp_gemm_launch& l) { l.w.offset = 16; });
  refused([](bp_gemm_launch& l) { l.y.bytes = 16380; });
  refused([](bp_gemm_launch& l) { l.y.offset = UINT64_MAX - 15; });
  refused([](bp_gemm_launch& l) { l.tokens = 32, l.x.offset = 4, l.x.bytes = 4096; });
  if (workspace_bytes != 0) refused([](bp_gemm_launch& l) { l.workspace.buffer = nullptr; });
  EXPECT_EQ(t.gemm->enqueue(gemm, stream, &good, &error), BP_OK) << error.text;
  bp_gemm_launch none = good;
  none.tokens = 0;
  EXPECT_EQ(t.gemm->enqueue(gemm, stream, &none, &error), BP_OK) << error.text;
  finish();
  for (bp_buffer* const buffer : {x, y, workspace}) free(buffer);
  EXPECT_EQ(t.gemm->release(gemm, &error), BP_OK) << error.text;
}

TEST_F(GemmTest, no_algorithm_is_no_failure_of_the_device) {
  if (!Mock::present()) GTEST_SKIP() << "skipped: only the stand-in lacks one on demand";
  setenv("BACKPLANE_MOCK_GEMM_NONE", "1", 1);
  const bp_gemm_shape shape = shape_of(64, 64, 64);
  bp_gemm* gemm = nullptr;
  EXPECT_EQ(t.gemm->prepare(device, &shape, &gemm, &error), BP_UNIMPLEMENTED);
  EXPECT_THAT(error.text, HasSubstr(kSubject.library));
  unsetenv("BACKPLANE_MOCK_GEMM_NONE");
  EXPECT_EQ(t.device->status(device, &error), BP_OK);
}

// ---- the library itself ---------------------------------------------------------------------

TEST(GemmChild, DISABLED_tells) {
  const Tables& t = tables();
  ASSERT_TRUE(t.usable) << t.detail;
  bp_device* device = nullptr;
  bp_error error = BP_ERROR_INIT;
  ASSERT_EQ(t.device->open(0, &device, &error), BP_OK) << error.text;
  bp_gemm_info info{};
  info.size = sizeof info;
  const bp_status status = t.gemm->describe(device, &info, &error);
  bp_gemm* gemm = nullptr;
  const bp_gemm_shape shape = shape_of(64, 64, 64);
  EXPECT_EQ(t.gemm->prepare(device, &shape, &gemm, nullptr), status);
  EXPECT_EQ(t.gemm->release(gemm, nullptr), BP_OK);
  // Whatever the library is, the device works.
  bp_buffer* buffer = nullptr;
  EXPECT_EQ(t.memory->alloc(device, 0, 64, &buffer, &error), BP_OK) << error.text;
  EXPECT_EQ(t.memory->free(buffer, &error), BP_OK) << error.text;
  EXPECT_EQ(t.device->close(device, &error), BP_OK) << error.text;
  std::printf("gemm %d %s\n", status, status == BP_OK ? info.library : error.text);
}

class GemmLibrary : public ProbeOnMock {
 protected:
  static std::string ask(const std::string& environment) {
    return ask_child(environment, "GemmChild.DISABLED_tells", "gemm ");
  }
};

TEST_F(GemmLibrary, what_is_missing_is_told_by_name) {
  EXPECT_THAT(ask("A=B"), HasSubstr(std::string("gemm 0 ") + kSubject.library));
  const std::string variable = kSubject.library_variable;
  std::string out = ask(variable + "=/nowhere/libnone.so");
  EXPECT_THAT(out, HasSubstr("gemm -9 "));  // BP_UNAVAILABLE
  EXPECT_THAT(out, HasSubstr("/nowhere/libnone.so"));
  EXPECT_THAT(out, HasSubstr(variable));
  out = ask(variable + "=libc.so.6");  // a library of something else
  EXPECT_THAT(out, HasSubstr("gemm -9 "));
  EXPECT_THAT(out, HasSubstr("LtCreate"));
  out = ask("BACKPLANE_MOCK_GEMM_VERSION=600");  // older than what is known
  EXPECT_THAT(out, HasSubstr("gemm -9 "));
  EXPECT_THAT(out, HasSubstr("0.6.0"));
}

// ---- faults ---------------------------------------------------------------------------------

// A product from opening the device to closing it; what was made is released in any case.
bp_status run_scenario(std::string* text) {
  const Tables& t = tables();
  bp_error error = BP_ERROR_INIT;
  bp_device* device = nullptr;
  bp_stream* stream = nullptr;
  bp_timeline* timeline = nullptr;
  bp_buffer* buffer = nullptr;
  bp_gemm* gemm = nullptr;
  const auto work = [&]() -> bp_status {
    bp_error* const e = &error;
    if (bp_status s = t.device->open(0, &device, e)) return s;
    if (bp_status s = t.stream->create(device, &stream, e)) return s;
    if (bp_status s = t.stream->timeline_create(device, &timeline, e)) return s;
    if (bp_status s = t.memory->alloc(device, 0, 16384, &buffer, e)) return s;
    const bp_gemm_shape shape = shape_of(16, 16, 16);
    if (bp_status s = t.gemm->prepare(device, &shape, &gemm, e)) return s;
    if (bp_status s = t.stream->fill(stream, buffer, 0, 16384, 0x3c003c00, e)) return s;
    bp_gemm_launch launch{};
    launch.size = sizeof launch;
    launch.x = launch.w = {buffer, 0, 512};
    launch.y = {buffer, 1024, 1024};
    launch.workspace = {buffer, 8192, 8192};
    for (const uint64_t tokens : {16u, 9u}) {
      launch.tokens = tokens;
      if (bp_status s = t.gemm->enqueue(gemm, stream, &launch, e)) return s;
    }
    float y = 0;
    if (bp_status s = t.stream->read(stream, &y, buffer, 1024, 4, e)) return s;
    if (bp_status s = t.stream->signal(stream, timeline, 1, e)) return s;
    if (bp_status s = t.stream->host_wait(timeline, 1, kForever, e)) return s;
    EXPECT_EQ(y, 16.0f);
    return t.device->status(device, e);
  };
  bp_status status = work();
  *text = error.text;
  const auto also = [&](bp_status s) {
    if (status == BP_OK && s != BP_OK) status = s, *text = error.text;
  };
  // Losing the device may end the stream only after its work is known to be lost.
  also(t.stream->destroy(stream, &error));
  also(t.gemm->release(gemm, &error));
  also(t.memory->free(buffer, &error));
  also(t.stream->timeline_destroy(timeline, &error));
  EXPECT_EQ(t.device->close(device, &error), BP_OK) << error.text;
  return status;
}

class GemmFaults : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!tables().usable) GTEST_SKIP() << "skipped: " << tables().detail;
    if (!Mock::present()) GTEST_SKIP() << "skipped: only the stand-in fails on demand";
    Mock::clear_faults();
    std::string text;
    ASSERT_EQ(run_scenario(&text), BP_OK) << text;
    live_ = Mock::live();
  }

  // How many runs failed, one for each call that there is.
  uint64_t at_every_call(const char* fault, bp_status expected) {
    uint64_t failed = 0;
    for (uint64_t n = 1; n < kMaxCalls; ++n) {
      std::string text;
      Mock::set(fault, n);
      const bp_status status = run_scenario(&text);
      const bool struck = Mock::get(fault) == 0;
      Mock::set(fault, 0);
      if (status != BP_OK) {
        ++failed;
        EXPECT_EQ(status, expected) << fault << " " << n << ": " << text;
        EXPECT_FALSE(text.empty()) << fault << " " << n;
      }
      EXPECT_EQ(Mock::live(), live_) << "leak after " << fault << " " << n;
      EXPECT_EQ(Mock::get("misuse"), 0u) << "dead handle after " << fault << " " << n;
      EXPECT_EQ(run_scenario(&text), BP_OK) << "after " << fault << " " << n << ": " << text;
      if (!struck || HasFailure()) return failed;
    }
    ADD_FAILURE() << fault << " never ran out";
    return failed;
  }

  uint64_t live_ = 0;
};

TEST_F(GemmFaults, every_call_may_fail) {
  EXPECT_GE(at_every_call("fail_call", BP_INTERNAL), 20u);
}

TEST_F(GemmFaults, every_launch_may_fail) {
  EXPECT_EQ(at_every_call("fail_launch", BP_EXHAUSTED), 2u);
}

TEST_F(GemmFaults, the_device_may_be_lost_at_every_call) {
  EXPECT_GE(at_every_call("lose_at", BP_DEVICE_LOST), 20u);
}

}  // namespace
}  // namespace bp::gpu_suite
