// SPDX-License-Identifier: Apache-2.0
// Entry, devices, memory and modules on whatever OpenCL device there is (Debian: pocl-opencl-icd
// makes one of the processor), and the plugin's answers where there is none.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdio>
#include <string>
#include <vector>

#include "plugins/opencl/testing/opened_device.h"

namespace bp::opencl::testing {
namespace {

using ::testing::HasSubstr;

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
  refused(source, "bytes of params");
  source = scale_source();
  source.group_threads = 1u << 20;
  refused(source, "threads in a group");
  source.group_threads = 0;
  refused(source, "no threads");
  source = scale_source();
  source.shared_bytes = UINT32_MAX;
  refused(source, "bytes of shared memory");
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
  refused([](ScaleLaunch& l) { l.record.param_words = 3; }, "3 params");
  refused([](ScaleLaunch& l) { l.record.group_threads = 32; }, "32 threads");
  refused([](ScaleLaunch& l) { l.record.shared_bytes = 4; }, "4 more bytes of shared");
  refused([](ScaleLaunch& l) { l.record.grid[1] = 0; }, "grid[1] is 0");
  refused([](ScaleLaunch& l) { l.record.grid[0] = UINT64_MAX / 64; }, "grid[0]");
  refused([](ScaleLaunch& l) { l.buffers[1].offset = 8; }, "offset 8 of buffer 1");
  refused([](ScaleLaunch& l) { l.buffers[1].bytes = 513; }, "not 513 at 512");
  refused([](ScaleLaunch& l) { l.buffers[0].offset = UINT64_MAX - 15; }, "buffer 0");
  refused([](ScaleLaunch& l) { l.buffers[0].buffer = nullptr; }, "buffer 0 is NULL");
  // None of this was a command.
  ScaleLaunch good(x, 0, x, 512, 64, 1);
  EXPECT_EQ(modules.launch(stream, function, &good.record, nullptr), BP_OK);
  finish(stream);
}

}  // namespace
}  // namespace bp::opencl::testing
