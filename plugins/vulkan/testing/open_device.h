// SPDX-License-Identifier: Apache-2.0
// What the plugin's tests share: a host, the tables, and a fixture with an opened device. The
// validation layer watches where it is installed, and not one of its errors is accepted.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

#include "plugins/vulkan/module.h"

extern "C" bp_status bp_plugin_query_1(const bp_host* host, bp_plugin_desc* out, bp_error* error);

namespace bp::vulkan {

using Words = std::vector<uint32_t>;

inline constexpr uint64_t kForever = UINT64_MAX;
inline constexpr uint64_t kLongNs = 1'000'000;  // for waits that must not be satisfied

// y = y · scale + x: the order of two of them shows in the result.
inline constexpr const char* kScaleAdd = R"(#version 450
layout(local_size_x = 64) in;
layout(std430, set = 0, binding = 0) readonly buffer X { uint x[]; };
layout(std430, set = 0, binding = 1) buffer Y { uint y[]; };
layout(push_constant) uniform P { uint scale; uint count; };
void main() {
  uint i = gl_GlobalInvocationID.x;
  if (i < count) y[i] = y[i] * scale + x[i];
}
)";

// The host that the plugin is given; lives as long as the process, as hosts do.
struct TestHost {
  std::mutex mutex;
  std::string messages;
  bp_host table{};
  TestHost() {
    table.size = sizeof table;
    table.user = this;
    table.log = [](void* user, int32_t level, const bp_string* message) {
      auto* const self = static_cast<TestHost*>(user);
      const std::lock_guard lock(self->mutex);
      if (level >= BP_LOG_ERROR) self->messages += std::string(glue::view(message)) + "\n";
    };
  }
};
inline TestHost& test_host() {
  static TestHost* const kHost = new TestHost;
  return *kHost;
}

inline const bp_plugin_api& plugin() {
  static const bp_plugin_api* const kApi = [] {
    setenv("BACKPLANE_VULKAN_VALIDATION", "1", 1);
    // An instance that is never destroyed keeps drivers and layers mapped: what they hold for good
    // would look lost, and nameless, to a leak checker once they were unmapped.
    static Driver* const kept = new Driver;
    kept->load({"libvulkan.so.1"}, {});
    bp_plugin_desc desc{};
    desc.size = sizeof desc;
    return bp_plugin_query_1(nullptr, &desc, nullptr) == BP_OK ? desc.api : nullptr;
  }();
  return *kApi;
}

template <class Table>
const Table& table(const char* id) {
  const bp_string name = glue::text(id);
  const void* out = nullptr;
  EXPECT_EQ(plugin().get_interface(&name, &out, nullptr), BP_OK);
  return *static_cast<const Table*>(out);
}
inline const bp_device_api& devices() {
  return table<bp_device_api>(BP_INTERFACE_DEVICE);
}
inline const bp_memory_api& memory() {
  return table<bp_memory_api>(BP_INTERFACE_MEMORY);
}
inline const bp_stream_api& streams() {
  return table<bp_stream_api>(BP_INTERFACE_STREAM);
}
inline const bp_module_api& modules() {
  return table<bp_module_api>(BP_INTERFACE_MODULE);
}

struct Compiled {
  bp_status status = BP_INTERNAL;
  std::string binary, log;
  bp_error error = BP_ERROR_INIT;
};

inline bp_module_source source_of(const char* text, uint32_t threads, uint32_t buffers,
                                  uint32_t params) {
  bp_module_source source{};
  source.size = sizeof source;
  source.text = glue::text(text);
  source.entry = glue::text("kernel");
  source.group_threads = threads;
  source.buffer_count = buffers;
  source.param_words = params;
  return source;
}

inline Compiled compile(bp_device* device, const bp_module_source& source) {
  Compiled out;
  const auto binary = [](void* user, const void* data, uint64_t bytes) {
    static_cast<Compiled*>(user)->binary.assign(static_cast<const char*>(data), bytes);
  };
  const auto log = [](void* user, const void* data, uint64_t bytes) {
    static_cast<Compiled*>(user)->log.assign(static_cast<const char*>(data), bytes);
  };
  out.status = modules().compile(device, &source, binary, log, &out, &out.error);
  return out;
}

// An opened device with a stream and a timeline; at the end everything is closed again, and the
// validation layer must have had nothing to say.
class Vulkan : public ::testing::Test {
 protected:
  void SetUp() override {
    bp_probe_result probe{};
    probe.size = sizeof probe;
    ASSERT_EQ(plugin().probe(&test_host().table, &probe, nullptr), BP_OK);
    if (probe.reason != BP_PROBE_USABLE) GTEST_SKIP() << "skipped: " << probe.detail;
    ASSERT_EQ(plugin().init(&test_host().table, nullptr), BP_OK);
    ASSERT_EQ(devices().open(0, &device_, nullptr), BP_OK);
    ASSERT_EQ(streams().create(device_, &stream_, nullptr), BP_OK);
    ASSERT_EQ(streams().timeline_create(device_, &timeline_, nullptr), BP_OK);
    caps_.size = sizeof caps_;
    ASSERT_EQ(devices().capabilities(0, &caps_, nullptr), BP_OK);
    errors_before_ = validation_errors();
  }
  void TearDown() override {
    if (device_ == nullptr) return;
    // First what may still use the others: an upload that nobody waited for.
    EXPECT_EQ(streams().destroy(stream_, nullptr), BP_OK);
    for (bp_buffer* buffer : buffers_) EXPECT_EQ(memory().free(buffer, nullptr), BP_OK);
    for (bp_module* module : modules_) EXPECT_EQ(modules().unload(module, nullptr), BP_OK);
    EXPECT_EQ(unwrap(device_)->pending_reads.load(), 0u);
    EXPECT_EQ(streams().timeline_destroy(timeline_, nullptr), BP_OK);
    EXPECT_EQ(devices().close(device_, nullptr), BP_OK);
    EXPECT_EQ(plugin().shutdown(nullptr), BP_OK);
    EXPECT_EQ(validation_errors(), errors_before_) << test_host().messages;
  }

  bp_buffer* alloc(uint64_t bytes, uint32_t heap = 0) {
    bp_buffer* out = nullptr;
    bp_error error = BP_ERROR_INIT;
    EXPECT_EQ(memory().alloc(device_, heap, bytes, &out, &error), BP_OK) << error.text;
    if (out != nullptr) buffers_.push_back(out);
    return out;
  }
  bp_buffer* buffer_of(const Words& words) {
    bp_buffer* const out = alloc(words.size() * 4);
    EXPECT_EQ(streams().write(stream_, out, 0, words.data(), words.size() * 4, nullptr), BP_OK);
    return out;
  }
  // Marks the buffer as used by commands, so that writes take the staged way.
  void use(bp_buffer* buffer) {
    EXPECT_EQ(streams().fill(stream_, buffer, 0, 4, 0, nullptr), BP_OK);
  }
  void finish() {
    ASSERT_EQ(streams().signal(stream_, timeline_, ++value_, nullptr), BP_OK);
    ASSERT_EQ(streams().host_wait(timeline_, value_, kForever, nullptr), BP_OK);
  }
  Words read(bp_buffer* buffer, uint64_t words, uint64_t offset = 0) {
    Words out(words);
    EXPECT_EQ(streams().read(stream_, out.data(), buffer, offset, words * 4, nullptr), BP_OK);
    finish();
    return out;
  }
  bp_function* load(const bp_module_source& source) {
    const Compiled compiled = compile(device_, source);
    EXPECT_EQ(compiled.status, BP_OK) << compiled.error.text;
    bp_module* module = nullptr;
    bp_error error = BP_ERROR_INIT;
    EXPECT_EQ(modules().load(device_, &source, compiled.binary.data(), compiled.binary.size(),
                             &module, &error),
              BP_OK)
        << error.text;
    if (module == nullptr) return nullptr;
    modules_.push_back(module);
    bp_function* out = nullptr;
    EXPECT_EQ(modules().function(module, &source.entry, &out, nullptr), BP_OK);
    return out;
  }
  bp_function* scale_add() { return load(source_of(kScaleAdd, 64, 2, 2)); }
  static bp_status launch_on(bp_stream* stream, bp_function* function, bp_launch_buffer x,
                             bp_launch_buffer y, uint32_t scale, uint32_t count,
                             bp_error* error = nullptr) {
    const bp_launch_buffer buffers[] = {x, y};
    const uint32_t params[] = {scale, count};
    bp_launch launch{};
    launch.size = sizeof launch;
    launch.buffer_count = launch.param_words = 2;
    launch.group_threads = 64;
    launch.grid[0] = (count + 63) / 64;
    launch.grid[1] = launch.grid[2] = 1;
    launch.buffers = buffers;
    launch.params = params;
    return modules().launch(stream, function, &launch, error);
  }

  bp_device* device_ = nullptr;
  bp_stream* stream_ = nullptr;
  bp_timeline* timeline_ = nullptr;
  uint64_t value_ = 0;
  bp_device_caps caps_{};
  std::vector<bp_buffer*> buffers_;
  std::vector<bp_module*> modules_;
  uint64_t errors_before_ = 0;
};

}  // namespace bp::vulkan
