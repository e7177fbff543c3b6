// SPDX-License-Identifier: Apache-2.0
// The plugin's tables on whatever OpenCL device there is (Debian: pocl-opencl-icd makes one of the
// processor), and its answers where there is none.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "plugins/opencl/device.h"
#include "plugins/opencl/memory.h"
#include "plugins/opencl/module.h"
#include "plugins/opencl/stream.h"

extern "C" bp_status bp_plugin_query_1(const bp_host* host, bp_plugin_desc* out, bp_error* error);

namespace bp::opencl {
namespace {

using ::testing::HasSubstr;

template <class T>
T sized() {
  T out{};
  out.size = sizeof out;
  return out;
}

const bp_plugin_api& plugin_api() {
  bp_plugin_desc desc = sized<bp_plugin_desc>();
  bp_plugin_query_1(nullptr, &desc, nullptr);
  return *desc.api;
}

bp_probe_result probed() {
  bp_probe_result probe = sized<bp_probe_result>();
  EXPECT_EQ(plugin_api().probe(nullptr, &probe, nullptr), BP_OK);
  return probe;
}

// y[i] = x[i] * factor + i, each group 64 threads; offsets as the renderer's text has them.
constexpr char kScale[] = R"(
__kernel __attribute__((reqd_work_group_size(64, 1, 1)))
void scale(__global const uint* restrict a_x, const uint o_x,
           __global uint* restrict a_y, const uint o_y, const uint factor, const float unused) {
  __global const uint* restrict x = a_x + 4 * (size_t)o_x;
  __global uint* restrict y = a_y + 4 * (size_t)o_y;
  uint i = (uint)get_global_id(0) + 64u * (uint)get_num_groups(0) * (uint)get_group_id(1);
  y[i] = x[i] * factor + i;
}
)";

bp_module_source scale_source(const char* text = kScale) {
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
void take_binary(void* user, const void* data, uint64_t bytes) {
  static_cast<Output*>(user)->binary.assign(static_cast<const char*>(data), bytes);
}
void take_log(void* user, const void* data, uint64_t bytes) {
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

// ---- without a device -----------------------------------------------------------------------

// What a fresh process with the given environment probes: "reason detail".
std::string probe_of_child(const std::string& environment) {
  const std::string command = "env " + environment + " " + ::testing::internal::GetArgvs()[0] +
                              " --gtest_also_run_disabled_tests"
                              " --gtest_filter=Probe.DISABLED_prints_its_answer 2>&1";
  std::string out;
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return out;
  char line[512];
  while (fgets(line, sizeof line, pipe) != nullptr) {
    if (std::string(line).rfind("answer ", 0) == 0) out = line + 7;
  }
  EXPECT_EQ(pclose(pipe), 0);
  return out;
}

TEST(Probe, DISABLED_prints_its_answer) {
  const bp_probe_result probe = probed();
  std::printf("answer %d %s\n", probe.reason, probe.detail);
  // Everything answers where nothing is there.
  uint32_t count = 7;
  ASSERT_EQ(kDeviceApi.enumerate(&count, nullptr), BP_OK);
  EXPECT_EQ(count == 0, probe.reason != BP_PROBE_USABLE);
  bp_device* device = nullptr;
  EXPECT_EQ(kDeviceApi.open(count, &device, nullptr), BP_NOT_FOUND);
}

TEST(Probe, names_the_loader_that_is_absent) {
  const std::string answer = probe_of_child("BACKPLANE_OPENCL_LIBRARY=libNoSuchCl.so.1");
  EXPECT_EQ(answer.substr(0, 2), "1 ");
  EXPECT_THAT(answer, HasSubstr("libNoSuchCl.so.1"));
  EXPECT_THAT(answer, HasSubstr("ocl-icd-libopencl1"));
}

TEST(Probe, names_the_entry_point_that_a_loader_lacks) {
  const std::string answer = probe_of_child("BACKPLANE_OPENCL_LIBRARY=libm.so.6");
  EXPECT_EQ(answer.substr(0, 2), "2 ");
  EXPECT_THAT(answer, HasSubstr("clGetPlatformIDs"));
}

TEST(Probe, tells_a_loader_without_drivers) {
  Verdict verdict;
  if (driver(&verdict) == nullptr) GTEST_SKIP() << verdict.detail;
  // Both spellings, of the two loaders that are in use.
  const std::string answer = probe_of_child("OCL_ICD_VENDORS=/nowhere OCL_ICD_FILENAMES=");
  EXPECT_EQ(answer.substr(0, 2), "1 ");
  EXPECT_THAT(answer, HasSubstr(".icd"));
}

TEST(Plugin, says_who_it_is_and_what_it_offers) {
  bp_plugin_desc desc = sized<bp_plugin_desc>();
  ASSERT_EQ(bp_plugin_query_1(nullptr, &desc, nullptr), BP_OK);
  EXPECT_EQ(glue::view(desc.id), "opencl");
  for (const char* id : {BP_INTERFACE_DEVICE, BP_INTERFACE_MEMORY, BP_INTERFACE_STREAM,
                         BP_INTERFACE_MODULE, BP_INTERFACE_KERNEL, "bp.telepathy/1"}) {
    const bp_string name = glue::text(id);
    const void* table = nullptr;
    ASSERT_EQ(plugin_api().get_interface(&name, &table, nullptr), BP_OK);
    const bool is_offered =
        std::string(id) != BP_INTERFACE_KERNEL && std::string(id) != "bp.telepathy/1";
    EXPECT_EQ(table != nullptr, is_offered) << id;
  }
}

// ---- device ---------------------------------------------------------------------------------

TEST_F(OpenClTest, describes_every_device_with_sane_limits) {
  uint32_t count = 0;
  ASSERT_EQ(devices.enumerate(&count, nullptr), BP_OK);
  ASSERT_GT(count, 0u);
  for (uint32_t i = 0; i < count; ++i) {
    bp_device_info info = sized<bp_device_info>();
    bp_device_caps caps = sized<bp_device_caps>();
    ASSERT_EQ(devices.describe(i, &info, nullptr), BP_OK);
    ASSERT_EQ(devices.capabilities(i, &caps, nullptr), BP_OK);
    EXPECT_GT(std::strlen(info.name), 0u);
    EXPECT_GT(std::strlen(info.driver), 0u);
    EXPECT_GE(info.kind, BP_DEVICE_CPU);
    EXPECT_GT(info.memory_bytes, 1u << 20);
    EXPECT_STREQ(caps.dialect, "opencl");
    EXPECT_GE(caps.max_group_threads, 64u);
    EXPECT_GE(caps.shared_bytes, 32u << 10);
    EXPECT_GE(caps.max_param_bytes, 64u);
    EXPECT_LE(caps.max_buffer_range, 16ull << 30);
    EXPECT_EQ(caps.max_buffers, 16u);
    EXPECT_EQ(caps.buffer_offset_alignment, 16u);
    EXPECT_EQ(caps.subgroup_required != 0, caps.subgroup_max != 0);
  }
  bp_device_info info = sized<bp_device_info>();
  EXPECT_EQ(devices.describe(count, &info, &error_), BP_NOT_FOUND);
  EXPECT_THAT(error_.text, HasSubstr(std::to_string(count)));
}

TEST_F(OpenClTest, gives_native_handles_by_name) {
  for (const char* name : {"opencl.context", "opencl.device", "opencl.queue", "opencl.platform"}) {
    const bp_string text = glue::text(name);
    void* handle = nullptr;
    EXPECT_EQ(devices.native(device, &text, &handle, nullptr), BP_OK);
    EXPECT_NE(handle, nullptr);
  }
  const bp_string text = glue::text("cuda.context");
  void* handle = device;
  EXPECT_EQ(devices.native(device, &text, &handle, nullptr), BP_NOT_FOUND);
  EXPECT_EQ(handle, nullptr);
}

TEST_F(OpenClTest, closing_with_live_objects_is_refused) {
  EXPECT_EQ(devices.close(device, &error_), BP_FAILED_PRECONDITION);
  EXPECT_THAT(error_.text, HasSubstr("2 objects"));
}

// ---- memory ---------------------------------------------------------------------------------

TEST_F(OpenClTest, shared_memory_is_seen_from_both_sides_without_mapping_anew) {
  bp_heap heap = sized<bp_heap>();
  uint32_t count = 0;
  ASSERT_EQ(memory.heaps(device, &heap, sizeof heap, 1, &count, nullptr), BP_OK);
  ASSERT_EQ(count, 1u);
  bp_buffer* const x = allocate(1024);
  bp_buffer* const y = allocate(1024);
  void* x_data = nullptr;
  void* y_data = nullptr;
  if ((heap.flags & BP_HEAP_HOST_VISIBLE) == 0) {
    EXPECT_EQ(memory.map(x, &x_data, nullptr), BP_UNIMPLEMENTED);
    GTEST_SKIP() << "the device's memory is not visible to the host";
  }
  ASSERT_EQ(memory.map(x, &x_data, nullptr), BP_OK);
  ASSERT_EQ(memory.map(y, &y_data, nullptr), BP_OK);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(x_data) % heap.alignment, 0u);
  bp_function* const function = scale();
  for (uint32_t round = 1; round < 4; ++round) {
    for (uint32_t i = 0; i < 256; ++i) static_cast<uint32_t*>(x_data)[i] = i * round;
    ScaleLaunch launch(x, 0, y, 0, 256, 3);
    ASSERT_EQ(modules.launch(stream, function, &launch.record, &error_), BP_OK) << error_.text;
    finish(stream);
    for (uint32_t i = 0; i < 256; ++i) {
      ASSERT_EQ(static_cast<uint32_t*>(y_data)[i], i * round * 3 + i);
    }
  }
  EXPECT_EQ(memory.unmap(x, nullptr), BP_OK);
}

TEST_F(OpenClTest, too_much_memory_is_refused_when_it_is_asked_for) {
  bp_heap heap = sized<bp_heap>();
  uint32_t count = 0;
  ASSERT_EQ(memory.heaps(device, &heap, sizeof heap, 1, &count, nullptr), BP_OK);
  bp_buffer* buffer = nullptr;
  EXPECT_EQ(memory.alloc(device, 0, 0, &buffer, nullptr), BP_INVALID_ARGUMENT);
  EXPECT_EQ(memory.alloc(device, 1, 64, &buffer, nullptr), BP_INVALID_ARGUMENT);
  for (const uint64_t bytes : {heap.max_allocation_bytes + 1, UINT64_MAX, UINT64_MAX - 15}) {
    EXPECT_EQ(memory.alloc(device, 0, bytes, &buffer, &error_), BP_EXHAUSTED);
    EXPECT_THAT(error_.text, HasSubstr(std::to_string(heap.max_allocation_bytes)));
  }
  // Every byte is counted and given back; the device stays usable after a refusal.
  uint64_t before = 0, now = 0, total = 0;
  ASSERT_EQ(memory.budget(device, &before, &total, nullptr), BP_OK);
  EXPECT_LE(before, total);
  bp_status status = BP_OK;
  std::vector<bp_buffer*> taken;
  while (taken.size() < 64) {
    status = memory.alloc(device, 0, heap.max_allocation_bytes / 16 * 16, &buffer, &error_);
    if (status != BP_OK) break;
    taken.push_back(buffer);
  }
  EXPECT_EQ(status, BP_EXHAUSTED);
  for (bp_buffer* b : taken) EXPECT_EQ(memory.free(b, nullptr), BP_OK);
  ASSERT_EQ(memory.budget(device, &now, &total, nullptr), BP_OK);
  EXPECT_EQ(now, before);
  EXPECT_EQ(devices.status(device, nullptr), BP_OK);
  EXPECT_NE(allocate(64), nullptr);
  EXPECT_EQ(memory.free(nullptr, nullptr), BP_OK);
}

TEST_F(OpenClTest, host_memory_is_used_in_place_where_that_is_promised) {
  alignas(4096) static uint32_t source[1024], target[1024];
  for (uint32_t i = 0; i < 1024; ++i) source[i] = 1000 + i;
  bp_import what = sized<bp_import>();
  what.kind = BP_IMPORT_HOST_POINTER;
  what.pointer = source;
  what.length = sizeof source;
  what.flags = BP_IMPORT_READ_ONLY;
  bp_import_support support = sized<bp_import_support>();
  ASSERT_EQ(memory.query_import(device, &what, &support, nullptr), BP_OK);
  bp_buffer* x = nullptr;
  bp_buffer* y = nullptr;
  if (support.verdict != BP_IMPORT_NATIVE) {
    EXPECT_EQ(support.verdict, BP_IMPORT_COPY);
    EXPECT_EQ(memory.import(device, &what, &x, nullptr), BP_INVALID_ARGUMENT);
    GTEST_SKIP() << "the device copies host memory";
  }
  ASSERT_EQ(memory.import(device, &what, &x, &error_), BP_OK) << error_.text;
  buffers.push_back(x);
  what.pointer = target;
  what.flags = 0;
  ASSERT_EQ(memory.import(device, &what, &y, &error_), BP_OK) << error_.text;
  buffers.push_back(y);
  ScaleLaunch launch(x, 64, y, 128, 512, 2);
  ASSERT_EQ(modules.launch(stream, scale(), &launch.record, &error_), BP_OK) << error_.text;
  finish(stream);
  ASSERT_EQ(memory.invalidate(y, 0, sizeof target, &error_), BP_OK) << error_.text;
  for (uint32_t i = 0; i < 512; ++i) ASSERT_EQ(target[32 + i], (1016 + i) * 2 + i);
  target[0] = 99;
  ASSERT_EQ(memory.flush(y, 0, 4, &error_), BP_OK) << error_.text;
  EXPECT_EQ(words(y, 1)[0], 99u);
  EXPECT_EQ(streams.fill(stream, x, 0, 4, 0, &error_), BP_INVALID_ARGUMENT);
  EXPECT_THAT(error_.text, HasSubstr("read-only"));
  what.pointer = reinterpret_cast<std::byte*>(target) + 4;
  what.length = 64;
  EXPECT_EQ(memory.import(device, &what, &y, &error_), BP_INVALID_ARGUMENT);
  EXPECT_THAT(error_.text, HasSubstr("aligned"));
}

TEST_F(OpenClTest, memory_without_write_permission_is_read_in_place) {
  void* const pages =
      mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(pages, MAP_FAILED);
  std::memset(pages, 7, 8192);
  ASSERT_EQ(mprotect(pages, 8192, PROT_READ), 0);
  bp_import what = sized<bp_import>();
  what.kind = BP_IMPORT_FILE_RANGE;
  what.flags = BP_IMPORT_READ_ONLY;
  what.pointer = pages;
  what.length = 8192;
  bp_import_support support = sized<bp_import_support>();
  ASSERT_EQ(memory.query_import(device, &what, &support, nullptr), BP_OK);
  if (support.verdict == BP_IMPORT_NATIVE) {
    bp_buffer* x = nullptr;
    ASSERT_EQ(memory.import(device, &what, &x, &error_), BP_OK) << error_.text;
    EXPECT_EQ(words(x, 2048), std::vector<uint32_t>(2048, 0x07070707));
    ASSERT_EQ(memory.free(x, nullptr), BP_OK);
  }
  munmap(pages, 8192);
}

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

// Faults are put into the table of entry points, which is what the plugin calls through.
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

TEST_F(Faults, a_command_that_fails_while_it_runs_reaches_every_waiter_and_stream) {
  bp_buffer* const x = allocate(64);
  bp_stream* const other = another_stream();
  bp_timeline* second = nullptr;
  ASSERT_EQ(streams.timeline_create(device, &second, nullptr), BP_OK);
  static cl_event late;
  cl_int code = CL_SUCCESS;
  const auto library = dlopen("libOpenCL.so.1", RTLD_NOW);
  const auto create =
      reinterpret_cast<decltype(&clCreateUserEvent)>(dlsym(library, "clCreateUserEvent"));
  const auto settle =
      reinterpret_cast<decltype(&clSetUserEventStatus)>(dlsym(library, "clSetUserEventStatus"));
  late = create(unwrap(device)->context, &code);
  ASSERT_EQ(code, CL_SUCCESS);
  // A fill that waits for something which will fail.
  table_->enqueue_fill = [](cl_command_queue queue, cl_mem, const void*, size_t, size_t, size_t,
                            cl_uint, const cl_event*, cl_event* event) -> cl_int {
    return real->enqueue_marker(queue, 1, &late, event);
  };
  ASSERT_EQ(streams.fill(stream, x, 0, 64, 1, nullptr), BP_OK);
  ASSERT_EQ(streams.signal(stream, timeline, 1, nullptr), BP_OK);
  ASSERT_EQ(streams.wait(other, timeline, 1, nullptr), BP_OK);
  ASSERT_EQ(streams.copy(other, x, 0, x, 32, 4, nullptr), BP_OK);
  ASSERT_EQ(streams.signal(other, second, 1, nullptr), BP_OK);
  std::thread waiter([&] { EXPECT_LT(streams.host_wait(second, 1, UINT64_MAX, nullptr), BP_OK); });
  EXPECT_EQ(streams.host_wait(timeline, 1, 1000, nullptr), BP_DEADLINE);
  ASSERT_EQ(settle(late, -9999), CL_SUCCESS);
  EXPECT_LT(streams.host_wait(timeline, 1, UINT64_MAX, &error_), BP_OK);
  waiter.join();
  EXPECT_LT(streams.signal(stream, timeline, 2, nullptr), BP_OK);
  real->release_event(late);
  EXPECT_EQ(streams.timeline_destroy(second, nullptr), BP_OK);
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

// ---- modules --------------------------------------------------------------------------------

TEST_F(OpenClTest, names_compiler_and_driver) {
  Output id;
  ASSERT_EQ(modules.compiler_id(device, take_binary, &id, nullptr), BP_OK);
  bp_device_info info = sized<bp_device_info>();
  ASSERT_EQ(devices.describe(0, &info, nullptr), BP_OK);
  EXPECT_THAT(id.binary, HasSubstr(info.name));
  EXPECT_THAT(id.binary, HasSubstr("OpenCL"));
}

TEST_F(OpenClTest, text_that_does_not_compile_is_told_with_the_compilers_words) {
  Output out;
  bp_module_source source = scale_source("__kernel void scale( { nonsense_word }");
  EXPECT_EQ(modules.compile(device, &source, take_binary, take_log, &out, &error_),
            BP_INVALID_ARGUMENT);
  EXPECT_TRUE(out.binary.empty());
  EXPECT_THAT(out.log, HasSubstr("error"));
  EXPECT_EQ(modules.compile(device, &source, take_binary, nullptr, &out, nullptr),
            BP_INVALID_ARGUMENT);
  source = scale_source("");
  EXPECT_EQ(modules.compile(device, &source, take_binary, take_log, &out, nullptr),
            BP_INVALID_ARGUMENT);
  source = scale_source();
  source.entry = glue::text("scales");
  EXPECT_EQ(modules.compile(device, &source, take_binary, take_log, &out, &error_),
            BP_INVALID_ARGUMENT);
  EXPECT_THAT(error_.text, HasSubstr("'scales'"));
}

TEST_F(OpenClTest, options_reach_the_compiler) {
  bp_module_source source = scale_source(
      "#if WANTED != 5\n#error unwanted\n#endif\n"
      "__kernel void scale() {}");
  source.buffer_count = source.param_words = 0;
  Output out;
  EXPECT_EQ(modules.compile(device, &source, take_binary, take_log, &out, nullptr),
            BP_INVALID_ARGUMENT);
  source.options = glue::text("-DWANTED=5 -cl-std=CL1.2");
  EXPECT_FALSE(compiled(source).binary.empty());
}

TEST_F(OpenClTest, a_record_that_contradicts_the_text_or_the_device_is_refused) {
  Output out;
  const auto refused = [&](const bp_module_source& source, const char* word) {
    EXPECT_EQ(modules.compile(device, &source, take_binary, take_log, &out, &error_),
              BP_INVALID_ARGUMENT);
    EXPECT_THAT(error_.text, HasSubstr(word));
  };
  bp_module_source source = scale_source();
  source.param_words = 3;
  refused(source, "6 arguments");
  source = scale_source();
  source.buffer_count = 17;
  refused(source, "17 buffers");
  source = scale_source();
  source.param_words = 1u << 30;
  refused(source, "bytes of parameters");
  source = scale_source();
  source.group_threads = 1u << 20;
  refused(source, "threads in a group");
  source.group_threads = 0;
  refused(source, "group_threads");
  source = scale_source();
  source.shared_bytes = UINT32_MAX;
  refused(source, "shared bytes");
}

TEST_F(OpenClTest, binaries_make_modules_again_and_damaged_ones_are_refused) {
  const bp_module_source source = scale_source();
  const std::string binary = compiled(source).binary;
  ASSERT_GT(binary.size(), 64u);
  bp_module* loaded = nullptr;
  const auto load = [&](const std::string& bytes) {
    return modules.load(device, &source, bytes.data(), bytes.size(), &loaded, &error_);
  };
  for (const size_t length : {size_t{0}, size_t{7}, size_t{24}, binary.size() - 1}) {
    EXPECT_EQ(load(binary.substr(0, length)), BP_INCOMPATIBLE) << length;
  }
  std::string damaged = binary;
  damaged[binary.size() / 2] = static_cast<char>(damaged[binary.size() / 2] ^ 1);
  EXPECT_EQ(load(damaged), BP_INCOMPATIBLE);
  EXPECT_THAT(error_.text, HasSubstr("compile anew"));
  EXPECT_EQ(load(binary + "x"), BP_INCOMPATIBLE);
  ASSERT_EQ(load(binary), BP_OK) << error_.text;
  bp_function* first = nullptr;
  bp_function* again = nullptr;
  ASSERT_EQ(modules.function(loaded, &source.entry, &first, nullptr), BP_OK);
  ASSERT_EQ(modules.function(loaded, &source.entry, &again, nullptr), BP_OK);
  EXPECT_EQ(first, again);
  const bp_string unknown = glue::text("nothing");
  EXPECT_EQ(modules.function(loaded, &unknown, &again, &error_), BP_NOT_FOUND);
  EXPECT_EQ(again, nullptr);
  EXPECT_EQ(modules.unload(loaded, nullptr), BP_OK);
  EXPECT_EQ(modules.unload(nullptr, nullptr), BP_OK);
}

TEST_F(OpenClTest, kernels_reach_into_the_middle_of_buffers_and_nothing_else) {
  bp_buffer* const x = allocate(8192);
  std::vector<uint32_t> host(2048);
  for (uint32_t i = 0; i < 2048; ++i) host[i] = i;
  ASSERT_EQ(streams.write(stream, x, 0, host.data(), 8192, nullptr), BP_OK);
  // 128 words from word 12 to word 1028, in two rows of one group.
  ScaleLaunch launch(x, 48, x, 4112, 128, 5);
  launch.record.grid[0] = 1;
  launch.record.grid[1] = 2;
  ASSERT_EQ(modules.launch(stream, scale(), &launch.record, &error_), BP_OK) << error_.text;
  for (uint32_t i = 0; i < 128; ++i) host[1028 + i] = (12 + i) * 5 + i;
  EXPECT_EQ(words(x, 2048), host);
}

TEST_F(OpenClTest, wrong_launches_are_told_what_is_wrong) {
  bp_buffer* const x = allocate(1024);
  bp_function* const function = scale();
  const auto refused = [&](const auto& change, const char* word) {
    ScaleLaunch launch(x, 0, x, 512, 64, 1);
    change(launch);
    EXPECT_EQ(modules.launch(stream, function, &launch.record, &error_), BP_INVALID_ARGUMENT);
    EXPECT_THAT(error_.text, HasSubstr(word));
    EXPECT_THAT(error_.text, HasSubstr("scale"));
  };
  refused([](ScaleLaunch& l) { l.record.buffer_count = 1; }, "1 buffers");
  refused([](ScaleLaunch& l) { l.record.param_words = 3; }, "3 scalars");
  refused([](ScaleLaunch& l) { l.record.group_threads = 32; }, "32 threads");
  refused([](ScaleLaunch& l) { l.record.shared_bytes = 4; }, "4 further shared");
  refused([](ScaleLaunch& l) { l.record.grid[1] = 0; }, "grid[1] is 0");
  refused([](ScaleLaunch& l) { l.record.grid[0] = UINT64_MAX / 64; }, "grid[0]");
  refused([](ScaleLaunch& l) { l.buffers[1].offset = 8; }, "buffer 1 at 8");
  refused([](ScaleLaunch& l) { l.buffers[1].bytes = 513; }, "buffer 1: 513 bytes at 512");
  refused([](ScaleLaunch& l) { l.buffers[0].offset = UINT64_MAX - 15; }, "buffer 0");
  refused([](ScaleLaunch& l) { l.buffers[0].buffer = nullptr; }, "buffer 0");
  // None of this was a command.
  ScaleLaunch good(x, 0, x, 512, 64, 1);
  EXPECT_EQ(modules.launch(stream, function, &good.record, nullptr), BP_OK);
  finish(stream);
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
}  // namespace bp::opencl
