// SPDX-License-Identifier: Apache-2.0
// What the plugin's tests share: its tables on the first device, and a kernel with offsets. Tests
// skip with one line where there is no OpenCL device.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "plugins/opencl/device.h"
#include "plugins/opencl/memory.h"
#include "plugins/opencl/module.h"
#include "plugins/opencl/stream.h"

extern "C" bp_status bp_plugin_query_1(const bp_host* host, bp_plugin_desc* out, bp_error* error);

namespace bp::opencl::testing {

template <class T>
T sized() {
  T out{};
  out.size = sizeof out;
  return out;
}

inline const bp_plugin_api& plugin_api() {
  bp_plugin_desc desc = sized<bp_plugin_desc>();
  bp_plugin_query_1(nullptr, &desc, nullptr);
  return *desc.api;
}

inline bp_probe_result probed() {
  bp_probe_result probe = sized<bp_probe_result>();
  EXPECT_EQ(plugin_api().probe(nullptr, &probe, nullptr), BP_OK);
  return probe;
}

// y[i] = x[i] * factor + i, each group 64 threads; offsets as the renderer's text has them.
inline constexpr char kScale[] = R"(
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void scale(__global const uint* restrict a_x, const uint o_x,
           __global uint* restrict a_y, const uint o_y, const uint factor, const float unused) {
  __global const uint* restrict x = a_x + 4 * (size_t)o_x;
  __global uint* restrict y = a_y + 4 * (size_t)o_y;
  uint i = (uint)get_global_id(0) + 64u * (uint)get_num_groups(0) * (uint)get_group_id(1);
  y[i] = x[i] * factor + i;
}
)";

inline bp_module_source scale_source(const char* text = kScale) {
  bp_module_source source = sized<bp_module_source>();
  source.text = glue::text(text);
  source.entry = glue::text("scale");
  source.group_threads = 64;
  source.buffer_count = 2;
  source.param_words = 2;
  return source;
}

struct Output {
  std::string binary, log;
};
inline void take_binary(void* user, const void* data, uint64_t bytes) {
  static_cast<Output*>(user)->binary.assign(static_cast<const char*>(data), bytes);
}
inline void take_log(void* user, const void* data, uint64_t bytes) {
  static_cast<Output*>(user)->log.assign(static_cast<const char*>(data), bytes);
}

class OpenClTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const bp_probe_result probe = probed(); probe.reason != BP_PROBE_USABLE) {
      GTEST_SKIP() << "no OpenCL device (Debian: pocl-opencl-icd): " << probe.detail;
    }
    ASSERT_EQ(devices.open(0, &device, nullptr), BP_OK);
    ASSERT_EQ(streams.create(device, &stream, nullptr), BP_OK);
    ASSERT_EQ(streams.timeline_create(device, &timeline, nullptr), BP_OK);
  }
  void TearDown() override {
    if (device == nullptr) return;
    // Streams first: their work may use the buffers.
    EXPECT_EQ(streams.destroy(stream, nullptr), BP_OK);
    for (bp_stream* s : more_streams) EXPECT_EQ(streams.destroy(s, nullptr), BP_OK);
    EXPECT_EQ(streams.timeline_destroy(timeline, nullptr), BP_OK);
    for (bp_buffer* b : buffers) EXPECT_EQ(memory.free(b, nullptr), BP_OK);
    EXPECT_EQ(modules.unload(module, nullptr), BP_OK);
    bp_error error = BP_ERROR_INIT;
    EXPECT_EQ(devices.close(device, &error), BP_OK) << error.text;
  }

  bp_buffer* allocate(uint64_t bytes) {
    bp_buffer* out = nullptr;
    EXPECT_EQ(memory.alloc(device, 0, bytes, &out, &error_), BP_OK) << error_.text;
    buffers.push_back(out);
    return out;
  }
  bp_stream* another_stream() {
    bp_stream* out = nullptr;
    EXPECT_EQ(streams.create(device, &out, nullptr), BP_OK);
    more_streams.push_back(out);
    return out;
  }
  void finish(bp_stream* s) {
    ASSERT_EQ(streams.signal(s, timeline, ++reached, &error_), BP_OK) << error_.text;
    ASSERT_EQ(streams.host_wait(timeline, reached, UINT64_MAX, &error_), BP_OK) << error_.text;
  }
  std::vector<uint32_t> words(bp_buffer* buffer, size_t count) {
    std::vector<uint32_t> out(count);
    EXPECT_EQ(streams.read(stream, out.data(), buffer, 0, count * 4, nullptr), BP_OK);
    finish(stream);
    return out;
  }
  Output compiled(const bp_module_source& source) {
    Output out;
    EXPECT_EQ(modules.compile(device, &source, take_binary, take_log, &out, &error_), BP_OK)
        << error_.text << out.log;
    return out;
  }
  bp_function* scale() {
    const bp_module_source source = scale_source();
    const Output out = compiled(source);
    bp_function* function = nullptr;
    EXPECT_EQ(modules.load(device, &source, out.binary.data(), out.binary.size(), &module, &error_),
              BP_OK)
        << error_.text;
    if (module == nullptr) return nullptr;
    EXPECT_EQ(modules.function(module, &source.entry, &function, &error_), BP_OK) << error_.text;
    return function;
  }

  const bp_device_api& devices = kDeviceApi;
  const bp_memory_api& memory = kMemoryApi;
  const bp_stream_api& streams = kStreamApi;
  const bp_module_api& modules = kModuleApi;
  bp_device* device = nullptr;
  bp_stream* stream = nullptr;
  bp_timeline* timeline = nullptr;
  bp_module* module = nullptr;
  std::vector<bp_stream*> more_streams;
  std::vector<bp_buffer*> buffers;
  uint64_t reached = 0;
  bp_error error_ = BP_ERROR_INIT;
};

// A launch of scale over `count` words.
struct ScaleLaunch {
  std::array<bp_launch_buffer, 2> buffers{};
  std::array<uint32_t, 2> params{};
  bp_launch record = sized<bp_launch>();
  ScaleLaunch(bp_buffer* x, uint64_t x_offset, bp_buffer* y, uint64_t y_offset, uint64_t count,
              uint32_t factor) {
    buffers = {bp_launch_buffer{x, x_offset, count * 4}, bp_launch_buffer{y, y_offset, count * 4}};
    params = {factor, 0};
    record.buffer_count = record.param_words = 2;
    record.group_threads = 64;
    record.grid[0] = count / 64;
    record.grid[1] = record.grid[2] = 1;
    record.buffers = buffers.data();
    record.params = params.data();
  }
};

}  // namespace bp::opencl::testing
