// SPDX-License-Identifier: Apache-2.0
#include "tests/mockgpu/device_suite.h"

#include <dlfcn.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "kernels/builder/builder.h"
#include "kernels/legalize.h"
#include "kernels/render/render.h"

extern "C" bp_status bp_plugin_query_1(const bp_host* host, bp_plugin_desc* out, bp_error* error);

namespace bp::gpu_suite {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kForever = UINT64_MAX;

template <class Function>
Function* mock_symbol(const char* library, const char* name) {
  void* const handle = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
  return handle == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(handle, name));
}

void keep(void* user, const void* data, uint64_t bytes) {
  static_cast<std::string*>(user)->assign(static_cast<const char*>(data), bytes);
}

}  // namespace

bool Mock::present() {
  return mock_symbol<int(const char*, uint64_t)>(kSubject.driver, "bp_mock_set") != nullptr;
}
void Mock::set(const char* name, uint64_t value) {
  for (const char* const library : {kSubject.driver, kSubject.compiler}) {
    const auto set = mock_symbol<int(const char*, uint64_t)>(library, "bp_mock_set");
    if (set != nullptr && set(name, value) != 0) return;
  }
  ADD_FAILURE() << "the stand-in has no setting " << name;
}
uint64_t Mock::get(const char* name) {
  const std::string wanted = name;
  const bool compiler = wanted == "programs" || wanted == "compiled" || wanted == "fail_compile";
  const auto get = mock_symbol<uint64_t(const char*)>(
      compiler ? kSubject.compiler : kSubject.driver, "bp_mock_get");
  return get == nullptr ? 0 : get(name);
}
uint64_t Mock::live() {
  uint64_t sum = 0;
  for (const char* const name :
       {"allocations", "host_allocations", "registrations", "streams", "events", "graphs",
        "graph_execs", "modules", "contexts", "programs", "gemm_objects"}) {
    sum += get(name);
  }
  return sum;
}
void Mock::clear_faults() {
  for (const char* const name :
       {"fail_alloc", "fail_load", "fail_launch", "fail_call", "lose_at", "fail_compile", "hold"}) {
    set(name, 0);
  }
}

const Tables& tables() {
  static const Tables kTables = [] {
    Tables out;
    bp_plugin_desc desc{};
    desc.size = sizeof desc;
    bp_plugin_query_1(nullptr, &desc, nullptr);
    out.plugin = desc.api;
    bp_probe_result probe{};
    probe.size = sizeof probe;
    out.plugin->probe(nullptr, &probe, nullptr);
    out.detail = probe.detail;
    out.usable = probe.reason == BP_PROBE_USABLE;
    if (!out.usable) return out;
    bp_error error = BP_ERROR_INIT;
    out.usable = out.plugin->init(nullptr, &error) == BP_OK;
    const auto get = [&](const char* name) {
      const void* table = nullptr;
      const bp_string id = glue::text(name);
      out.plugin->get_interface(&id, &table, nullptr);
      return table;
    };
    out.device = static_cast<const bp_device_api*>(get(BP_INTERFACE_DEVICE));
    out.memory = static_cast<const bp_memory_api*>(get(BP_INTERFACE_MEMORY));
    out.stream = static_cast<const bp_stream_api*>(get(BP_INTERFACE_STREAM));
    out.module = static_cast<const bp_module_api*>(get(BP_INTERFACE_MODULE));
    out.gemm = static_cast<const bp_gemm_api*>(get(BP_INTERFACE_GEMM));
    return out;
  }();
  return kTables;
}

bp_module_source Text::source() const {
  bp_module_source out{};
  out.size = sizeof out;
  out.text = glue::text(text);
  out.entry = glue::text(entry);
  out.options = glue::text(options);
  out.group_threads = group_threads;
  out.buffer_count = buffer_count;
  out.param_words = param_words;
  out.shared_bytes = shared_bytes;
  return out;
}

Text text_of(const kernels::Kernel& kernel, const kernels::Caps& caps) {
  Text out;
  const auto text = kernels::render(kernel, caps);
  EXPECT_TRUE(text.ok()) << text.status().to_string();
  if (text.ok()) out.text = *text;
  out.entry = kernels::entry_point(kernel, caps);
  out.group_threads = kernel.threads;
  out.buffer_count = static_cast<uint32_t>(kernel.buffers.size());
  out.param_words = static_cast<uint32_t>(kernel.params.size());
  out.shared_bytes = static_cast<uint32_t>(kernels::shared_bytes(kernel));
  return out;
}

Text scale_text(const kernels::Caps& caps) {
  kernels::Builder k("scale", 64);
  kernels::Buf x = k.in("x"), y = k.out("y");
  const kernels::Val factor = k.param_u32("factor"), n = k.param_u32("n");
  const kernels::Val at = k.group_x() * 64u + k.tid();
  k.when(at < n, [&] { y.store(at, x.u32(at) * factor + at); });
  const auto kernel = k.finish();
  EXPECT_TRUE(kernel.ok()) << kernel.status().to_string();
  const auto legal = kernels::legalize(*kernel, caps);
  EXPECT_TRUE(legal.ok()) << legal.status().to_string();
  return text_of(*legal, caps);
}

Compiled compile(bp_device* device, const Text& text, bp_error* error) {
  struct Both {
    std::string binary, log;
  } both;
  const bp_module_source source = text.source();
  Compiled out;
  out.status = tables().module->compile(
      device, &source,
      [](void* user, const void* data, uint64_t bytes) {
        keep(&static_cast<Both*>(user)->binary, data, bytes);
      },
      [](void* user, const void* data, uint64_t bytes) {
        keep(&static_cast<Both*>(user)->log, data, bytes);
      },
      &both, error);
  out.binary = both.binary;
  out.log = both.log;
  return out;
}

std::string ask_child(const std::string& environment, const std::string& test,
                      const std::string& prefix) {
  char self[4096];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length <= 0) return "";
  self[length] = '\0';
  const std::string command = "env " + environment + " '" + self +
                              "' --gtest_also_run_disabled_tests --gtest_filter=" + test + " 2>&1";
  std::FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "";
  std::string out;
  char line[1024];
  while (std::fgets(line, sizeof line, pipe) != nullptr) {
    if (std::string(line).rfind(prefix, 0) == 0) out = line;
  }
  pclose(pipe);
  return out;
}

std::string probe_with(const std::string& environment) {
  return ask_child(environment, "ProbeChild.DISABLED_tells", "verdict ");
}

TEST(ProbeChild, DISABLED_tells) {
  const Tables& t = tables();
  bp_probe_result result{};
  result.size = sizeof result;
  ASSERT_EQ(t.plugin->probe(nullptr, &result, nullptr), BP_OK);
  bp_error error = BP_ERROR_INIT;
  bp_device_info info{};
  bp_device_caps caps{};
  info.size = sizeof info;
  caps.size = sizeof caps;
  if (result.reason == BP_PROBE_USABLE) {
    ASSERT_EQ(t.device->describe(0, &info, &error), BP_OK) << error.text;
    ASSERT_EQ(t.device->capabilities(0, &caps, &error), BP_OK) << error.text;
  } else {
    EXPECT_EQ(t.plugin->init(nullptr, &error), BP_UNAVAILABLE);
  }
  std::printf("verdict %d %s; %s dot %u matrix %u\n", result.reason, result.detail,
              info.architecture, caps.has_int8_dot, caps.has_matrix);
}

void ProbeOnMock::SetUp() {
  if (!tables().usable || !Mock::present()) GTEST_SKIP() << "skipped: not on the stand-in";
}

Loaded::Loaded(bp_device* device, Text what) : text(std::move(what)) {
  const Tables& t = tables();
  bp_error error = BP_ERROR_INIT;
  const Compiled compiled = compile(device, text, &error);
  EXPECT_EQ(compiled.status, BP_OK) << error.text << compiled.log << text.text;
  if (compiled.status != BP_OK) return;
  const bp_module_source source = text.source();
  const std::string& binary = compiled.binary;
  EXPECT_EQ(t.module->load(device, &source, binary.data(), binary.size(), &module, &error), BP_OK)
      << error.text;
  if (module == nullptr) return;
  const bp_string name = glue::text(text.entry);
  EXPECT_EQ(t.module->function(module, &name, &function, &error), BP_OK) << error.text;
}
Loaded::~Loaded() {
  EXPECT_EQ(tables().module->unload(module, nullptr), BP_OK);
}

bp_launch launch_of(const Text& text, const std::vector<bp_launch_buffer>& buffers,
                    const Words& params, uint64_t x, uint64_t y) {
  bp_launch launch{};
  launch.size = sizeof launch;
  launch.buffer_count = static_cast<uint32_t>(buffers.size());
  launch.param_words = static_cast<uint32_t>(params.size());
  launch.group_threads = text.group_threads;
  launch.grid[0] = x;
  launch.grid[1] = y;
  launch.grid[2] = 1;
  launch.buffers = buffers.data();
  launch.params = params.data();
  return launch;
}

void GpuTest::SetUp() {
  if (!t.usable) GTEST_SKIP() << "skipped: " << t.detail;
  if (Mock::present()) {
    Mock::clear_faults();
    live_before = Mock::live();
  }
  ASSERT_EQ(t.device->open(0, &device, &error), BP_OK) << error.text;
  info.size = sizeof info;
  caps.size = sizeof caps;
  ASSERT_EQ(t.device->describe(0, &info, &error), BP_OK) << error.text;
  ASSERT_EQ(t.device->capabilities(0, &caps, &error), BP_OK) << error.text;
  ASSERT_EQ(t.stream->create(device, &stream, &error), BP_OK) << error.text;
  ASSERT_EQ(t.stream->timeline_create(device, &timeline, &error), BP_OK) << error.text;
}

void GpuTest::TearDown() {
  if (device == nullptr) return;
  EXPECT_EQ(t.stream->timeline_destroy(timeline, nullptr), BP_OK);
  EXPECT_EQ(t.stream->destroy(stream, nullptr), BP_OK);
  EXPECT_EQ(t.device->close(device, &error), BP_OK) << error.text;
  if (!Mock::present()) return;
  EXPECT_EQ(Mock::live(), live_before) << "something leaked";
  EXPECT_EQ(Mock::get("misuse"), 0u) << "a handle was used that is not alive";
  EXPECT_EQ(Mock::get("overruns"), 0u) << "memory behind a buffer was written";
}

bp_buffer* GpuTest::alloc(uint64_t bytes, uint32_t heap) {
  bp_buffer* buffer = nullptr;
  EXPECT_EQ(t.memory->alloc(device, heap, bytes, &buffer, &error), BP_OK) << error.text;
  return buffer;
}
void GpuTest::free(bp_buffer* buffer) {
  EXPECT_EQ(t.memory->free(buffer, &error), BP_OK) << error.text;
}
void GpuTest::finish() {
  ASSERT_EQ(t.stream->signal(stream, timeline, ++ticks, &error), BP_OK) << error.text;
  ASSERT_EQ(t.stream->host_wait(timeline, ticks, kForever, &error), BP_OK) << error.text;
}
Words GpuTest::read(bp_buffer* buffer, uint64_t words) {
  Words out(words);
  EXPECT_EQ(t.stream->read(stream, out.data(), buffer, 0, words * 4, &error), BP_OK) << error.text;
  finish();
  return out;
}
void GpuTest::write(bp_buffer* buffer, const Words& words) {
  ASSERT_EQ(t.stream->write(stream, buffer, 0, words.data(), words.size() * 4, &error), BP_OK)
      << error.text;
}

namespace {

Words counted(uint64_t n) {
  Words out(n);
  for (uint64_t i = 0; i < n; ++i) out[i] = static_cast<uint32_t>(i * 2654435761u);
  return out;
}

class Device : public GpuTest {};
class Memory : public GpuTest {};
class Stream : public GpuTest {};
class Timeline : public GpuTest {};
class Capture : public GpuTest {};
class Module : public GpuTest {};

TEST_F(Device, says_what_it_is) {
  EXPECT_NE(info.name[0], '\0');
  EXPECT_NE(info.architecture[0], '\0');
  EXPECT_NE(info.driver[0], '\0');
  EXPECT_GT(info.memory_bytes, uint64_t{1} << 28);
  EXPECT_STREQ(caps.dialect, kSubject.dialect);
  EXPECT_GE(caps.max_group_threads, 256u);
  EXPECT_GE(caps.shared_bytes, 32u << 10);
  EXPECT_GE(caps.max_param_bytes, 128u);
  EXPECT_GE(caps.max_buffers, 16u);
  EXPECT_GE(caps.max_grid[0], 65535u);
  EXPECT_GE(caps.compute_units, 1u);
  uint32_t count = 0;
  ASSERT_EQ(t.device->enumerate(&count, nullptr), BP_OK);
  EXPECT_GE(count, 1u);
  EXPECT_EQ(t.device->describe(count, &info, &error), BP_NOT_FOUND);
  EXPECT_THAT(error.text, HasSubstr(std::to_string(count)));
  bp_device* none = nullptr;
  EXPECT_EQ(t.device->open(count, &none, &error), BP_NOT_FOUND);
  EXPECT_EQ(t.device->status(device, nullptr), BP_OK);
}

TEST_F(Device, several_opens_and_closing_too_early) {
  bp_device* second = nullptr;
  ASSERT_EQ(t.device->open(0, &second, &error), BP_OK) << error.text;
  bp_buffer* buffer = nullptr;
  ASSERT_EQ(t.memory->alloc(second, 0, 64, &buffer, &error), BP_OK) << error.text;
  EXPECT_EQ(t.device->close(second, &error), BP_FAILED_PRECONDITION);
  EXPECT_THAT(error.text, HasSubstr("alive"));
  free(buffer);
  EXPECT_EQ(t.device->close(second, &error), BP_OK);
  void* native = nullptr;
  const bp_string unknown = glue::text("telepathy.port");
  EXPECT_EQ(t.device->native(device, &unknown, &native, &error), BP_NOT_FOUND);
}

TEST_F(Memory, bytes_go_in_through_and_out) {
  bp_buffer* a = alloc(1 << 20);
  bp_buffer* b = alloc(1 << 20);
  const Words words = counted(1 << 18);
  write(a, words);
  ASSERT_EQ(t.stream->copy(stream, b, 0, a, 0, 1 << 20, &error), BP_OK) << error.text;
  ASSERT_EQ(t.stream->fill(stream, b, 400, 80, 0xabcd0123u, &error), BP_OK) << error.text;
  Words want = words;
  std::fill_n(want.begin() + 100, 20, 0xabcd0123u);
  EXPECT_EQ(read(b, 1 << 18), want);
  EXPECT_EQ(read(a, 1 << 18), words);
  free(a);
  free(b);
}

TEST_F(Memory, more_bytes_than_all_staging_holds) {
  constexpr uint64_t kWords = (uint64_t{45} << 20) / 4 + 3;
  bp_buffer* a = alloc(kWords * 4);
  const Words words = counted(kWords);
  write(a, words);
  EXPECT_EQ(read(a, kWords), words);
  free(a);
}

TEST_F(Memory, refuses_nonsense_and_survives_exhaustion) {
  bp_buffer* buffer = nullptr;
  EXPECT_EQ(t.memory->alloc(device, 0, 0, &buffer, &error), BP_INVALID_ARGUMENT);
  EXPECT_EQ(t.memory->alloc(device, 9, 64, &buffer, &error), BP_INVALID_ARGUMENT);
  for (const uint64_t bytes : {uint64_t{1} << 50, UINT64_MAX / 2, UINT64_MAX}) {
    EXPECT_EQ(t.memory->alloc(device, 0, bytes, &buffer, &error), BP_EXHAUSTED) << bytes;
    EXPECT_THAT(error.text, HasSubstr(std::to_string(bytes)));
    EXPECT_EQ(buffer, nullptr);
  }
  EXPECT_EQ(t.device->status(device, nullptr), BP_OK);
  bp_buffer* a = alloc(64);
  uint32_t word = 0;
  for (const uint64_t offset : {uint64_t{61}, uint64_t{64}, UINT64_MAX, UINT64_MAX - 2}) {
    EXPECT_EQ(t.stream->write(stream, a, offset, &word, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(t.stream->read(stream, &word, a, offset, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(t.stream->copy(stream, a, 0, a, offset, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(t.stream->copy(stream, a, offset, a, 0, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(t.stream->fill(stream, a, offset, 4, 0, nullptr), BP_INVALID_ARGUMENT);
  }
  EXPECT_EQ(t.stream->fill(stream, a, 2, 4, 0, &error), BP_INVALID_ARGUMENT);
  free(a);
  EXPECT_EQ(t.memory->free(nullptr, nullptr), BP_OK);
  uint64_t free_bytes = 0, total_bytes = 0;
  ASSERT_EQ(t.memory->budget(device, &free_bytes, &total_bytes, &error), BP_OK) << error.text;
  EXPECT_LE(free_bytes, total_bytes);
  EXPECT_GT(total_bytes, 0u);
}

TEST_F(Memory, host_visible_heap_is_seen_by_both) {
  uint32_t count = 0;
  bp_heap heaps[4] = {};
  for (bp_heap& heap : heaps) heap.size = sizeof heap;
  ASSERT_EQ(t.memory->heaps(device, heaps, sizeof heaps[0], 4, &count, &error), BP_OK);
  ASSERT_GE(count, 2u);
  EXPECT_NE(heaps[0].flags & BP_HEAP_DEVICE_LOCAL, 0u);
  ASSERT_NE(heaps[1].flags & BP_HEAP_HOST_VISIBLE, 0u);
  bp_buffer* pinned = alloc(4096, 1);
  void* data = nullptr;
  ASSERT_EQ(t.memory->map(pinned, &data, &error), BP_OK) << error.text;
  const Words words = counted(1024);
  std::memcpy(data, words.data(), 4096);
  bp_buffer* a = alloc(4096);
  ASSERT_EQ(t.stream->copy(stream, a, 0, pinned, 0, 4096, &error), BP_OK) << error.text;
  EXPECT_EQ(read(a, 1024), words);
  ASSERT_EQ(t.stream->fill(stream, pinned, 0, 4096, 7, &error), BP_OK) << error.text;
  finish();
  EXPECT_EQ(static_cast<uint32_t*>(data)[1023], 7u);
  EXPECT_EQ(t.memory->unmap(pinned, nullptr), BP_OK);
  if ((heaps[0].flags & BP_HEAP_HOST_VISIBLE) == 0) {
    EXPECT_EQ(t.memory->map(a, &data, &error), BP_UNIMPLEMENTED);
  }
  free(pinned);
  free(a);
}

TEST_F(Memory, memory_of_the_host_is_used_in_place) {
  void* memory = std::aligned_alloc(4096, 8192);
  ASSERT_NE(memory, nullptr);
  const Words words = counted(2048);
  std::memcpy(memory, words.data(), 8192);
  bp_import what{};
  what.size = sizeof what;
  what.kind = BP_IMPORT_HOST_POINTER;
  what.pointer = memory;
  what.length = 8192;
  bp_import_support support{};
  support.size = sizeof support;
  ASSERT_EQ(t.memory->query_import(device, &what, &support, &error), BP_OK);
  bp_buffer* imported = nullptr;
  if (support.verdict >= BP_IMPORT_SLOW) {
    ASSERT_EQ(t.memory->import(device, &what, &imported, &error), BP_OK) << error.text;
    EXPECT_EQ(read(imported, 2048), words);
    free(imported);
    what.flags = BP_IMPORT_READ_ONLY;
    ASSERT_EQ(t.memory->query_import(device, &what, &support, &error), BP_OK);
    if (support.verdict >= BP_IMPORT_SLOW) {
      ASSERT_EQ(t.memory->import(device, &what, &imported, &error), BP_OK) << error.text;
      EXPECT_EQ(t.stream->fill(stream, imported, 0, 4, 7, &error), BP_INVALID_ARGUMENT);
      EXPECT_THAT(error.text, HasSubstr("read-only"));
      free(imported);
    }
    what.flags = 0;
    what.pointer = static_cast<char*>(memory) + 1;
    EXPECT_EQ(t.memory->import(device, &what, &imported, &error), BP_INVALID_ARGUMENT);
  }
  what.pointer = nullptr;
  EXPECT_NE(t.memory->import(device, &what, &imported, &error), BP_OK);
  std::free(memory);
}

TEST_F(Timeline, rises_in_order_across_streams_and_threads) {
  bp_stream* second = nullptr;
  bp_timeline* other = nullptr;
  ASSERT_EQ(t.stream->create(device, &second, &error), BP_OK);
  ASSERT_EQ(t.stream->timeline_create(device, &other, &error), BP_OK);
  EXPECT_EQ(t.stream->host_wait(other, 1, 1000, &error), BP_DEADLINE);
  bp_buffer* a = alloc(4096);
  std::thread waiter([&] { EXPECT_EQ(t.stream->host_wait(other, 3, kForever, nullptr), BP_OK); });
  // The second stream waits for a value that this thread signals afterwards.
  std::thread follower([&] {
    EXPECT_EQ(t.stream->wait(second, timeline, 1, nullptr), BP_OK);
    EXPECT_EQ(t.stream->fill(second, a, 0, 4, 2, nullptr), BP_OK);
    EXPECT_EQ(t.stream->signal(second, other, 3, nullptr), BP_OK);
  });
  EXPECT_EQ(t.stream->fill(stream, a, 0, 4096, 1, nullptr), BP_OK);
  EXPECT_EQ(t.stream->signal(stream, timeline, 1, nullptr), BP_OK);
  follower.join();
  waiter.join();
  ticks = 1;
  uint64_t value = 0;
  EXPECT_EQ(t.stream->query(other, &value, nullptr), BP_OK);
  EXPECT_EQ(value, 3u);
  EXPECT_EQ(t.stream->signal(second, other, 3, &error), BP_INVALID_ARGUMENT);
  EXPECT_THAT(error.text, HasSubstr("3"));
  EXPECT_EQ(t.stream->wait(stream, other, 3, nullptr), BP_OK);
  const Words got = read(a, 1024);
  EXPECT_EQ(got[0], 2u);
  EXPECT_EQ(got[1], 1u);
  free(a);
  EXPECT_EQ(t.stream->timeline_destroy(other, nullptr), BP_OK);
  EXPECT_EQ(t.stream->destroy(second, nullptr), BP_OK);
}

TEST_F(Timeline, work_of_a_slow_device_is_waited_for) {
  if (!Mock::present()) GTEST_SKIP() << "skipped: only the stand-in can be held";
  bp_buffer* a = alloc(4096);
  const Words words = counted(1024);
  Mock::set("hold", 1);
  Words source = words, target(1024, 0);
  write(a, source);
  std::fill(source.begin(), source.end(), 0u);  // may be reused when write has returned
  ASSERT_EQ(t.stream->read(stream, target.data(), a, 0, 4096, &error), BP_OK) << error.text;
  ASSERT_EQ(t.stream->signal(stream, timeline, 1, &error), BP_OK) << error.text;
  bp_stream* second = nullptr;
  bp_timeline* other = nullptr;
  ASSERT_EQ(t.stream->create(device, &second, &error), BP_OK);
  ASSERT_EQ(t.stream->timeline_create(device, &other, &error), BP_OK);
  ASSERT_EQ(t.stream->wait(second, timeline, 1, &error), BP_OK) << error.text;
  ASSERT_EQ(t.stream->signal(second, other, 5, &error), BP_OK) << error.text;
  uint64_t value = 9;
  EXPECT_EQ(t.stream->query(other, &value, nullptr), BP_OK);
  EXPECT_EQ(value, 0u);
  EXPECT_EQ(t.stream->host_wait(other, 5, 2'000'000, &error), BP_DEADLINE);
  EXPECT_EQ(target, Words(1024, 0));
  std::thread waiter([&] {
    // Waiting for the second timeline alone must be enough: its stream waited for the first.
    EXPECT_EQ(t.stream->host_wait(other, 5, kForever, nullptr), BP_OK);
    EXPECT_EQ(target, words);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  Mock::set("hold", 0);
  waiter.join();
  EXPECT_EQ(t.stream->timeline_destroy(other, nullptr), BP_OK);
  EXPECT_EQ(t.stream->destroy(second, nullptr), BP_OK);
  free(a);
  ticks = 1;
}

// Whoever runs into an error frees the target and never signals.
TEST_F(Timeline, a_read_that_no_signal_follows_is_never_handed_over) {
  bp_buffer* a = alloc(4096);
  write(a, counted(1024));
  finish();
  bp_stream* second = nullptr;
  ASSERT_EQ(t.stream->create(device, &second, &error), BP_OK);
  Words target(1024, 7);
  ASSERT_EQ(t.stream->read(second, target.data(), a, 0, 4096, &error), BP_OK) << error.text;
  EXPECT_EQ(read(a, 1024), counted(1024));
  EXPECT_EQ(target, Words(1024, 7));
  EXPECT_EQ(t.stream->destroy(second, nullptr), BP_OK);
  EXPECT_EQ(read(a, 1024), counted(1024));
  EXPECT_EQ(target, Words(1024, 7));
  free(a);
}

TEST_F(Timeline, a_steady_state_creates_nothing) {
  bp_buffer* a = alloc(4096);
  const Words words = counted(16);
  const auto step = [&] {
    write(a, words);
    EXPECT_EQ(read(a, 16), words);
  };
  for (int i = 0; i < 4; ++i) step();
  const uint64_t live = Mock::live(), events = Mock::get("events_created");
  for (int i = 0; i < 50; ++i) step();
  EXPECT_EQ(Mock::live(), live);
  EXPECT_EQ(Mock::get("events_created"), events);
  free(a);
}

TEST_F(Timeline, quiescing_releases_every_waiter_with_the_failure) {
  bp_timeline* other = nullptr;
  ASSERT_EQ(t.stream->timeline_create(device, &other, &error), BP_OK);
  std::thread waiter(
      [&] { EXPECT_EQ(t.stream->host_wait(other, 9, kForever, nullptr), BP_CANCELLED); });
  std::thread queued([&] {
    bp_stream* second = nullptr;
    EXPECT_EQ(t.stream->create(device, &second, nullptr), BP_OK);
    EXPECT_EQ(t.stream->wait(second, other, 9, nullptr), BP_CANCELLED);
    EXPECT_EQ(t.stream->destroy(second, nullptr), BP_OK);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(t.plugin->quiesce(0, nullptr), BP_OK);
  waiter.join();
  queued.join();
  uint64_t value = 0;
  EXPECT_EQ(t.stream->query(other, &value, &error), BP_CANCELLED);
  EXPECT_EQ(t.stream->signal(stream, other, 9, &error), BP_CANCELLED);
  EXPECT_EQ(t.stream->timeline_destroy(other, nullptr), BP_OK);
}

TEST_F(Capture, replays_kernels_copies_and_fills) {
  const Loaded scale(device, scale_text(kSubject.profile(info, caps)));
  ASSERT_NE(scale.function, nullptr);
  bp_buffer* a = alloc(1024);
  bp_buffer* b = alloc(1024);
  const std::vector<bp_launch_buffer> buffers = {{a, 0, 1024}, {b, 0, 1024}};
  const Words params = {3, 256};
  const bp_launch launch = launch_of(scale.text, buffers, params, 4);
  ASSERT_EQ(t.stream->fill(stream, b, 0, 1024, 9, &error), BP_OK);
  finish();
  ASSERT_EQ(t.stream->capture_begin(stream, &error), BP_OK) << error.text;
  EXPECT_EQ(t.stream->fill(stream, a, 0, 1024, 5, &error), BP_OK) << error.text;
  EXPECT_EQ(t.module->launch(stream, scale.function, &launch, &error), BP_OK) << error.text;
  EXPECT_EQ(t.stream->copy(stream, a, 0, b, 0, 1024, &error), BP_OK) << error.text;
  EXPECT_EQ(t.module->launch(stream, scale.function, &launch, &error), BP_OK) << error.text;
  uint32_t word = 0;
  EXPECT_EQ(t.stream->write(stream, a, 0, &word, 4, &error), BP_FAILED_PRECONDITION);
  EXPECT_EQ(t.stream->read(stream, &word, a, 0, 4, &error), BP_FAILED_PRECONDITION);
  EXPECT_EQ(t.stream->signal(stream, timeline, 99, &error), BP_FAILED_PRECONDITION);
  EXPECT_EQ(t.stream->capture_begin(stream, &error), BP_FAILED_PRECONDITION);
  bp_recording* recording = nullptr;
  ASSERT_EQ(t.stream->capture_end(stream, &recording, &error), BP_OK) << error.text;
  bp_recording* empty = nullptr;
  EXPECT_EQ(t.stream->capture_end(stream, &empty, &error), BP_FAILED_PRECONDITION);
  ASSERT_EQ(t.stream->capture_begin(stream, &error), BP_OK);
  ASSERT_EQ(t.stream->capture_end(stream, &empty, &error), BP_OK) << error.text;
  EXPECT_EQ(t.stream->recording_destroy(empty, nullptr), BP_OK);
  ASSERT_NE(read(b, 1)[0], 45u) << "recorded work has run";
  Words want(256);
  for (uint32_t i = 0; i < 256; ++i) want[i] = (15 + i) * 3 + i;
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(t.stream->fill(stream, b, 0, 1024, 9, &error), BP_OK);
    ASSERT_EQ(t.stream->replay(stream, recording, &error), BP_OK) << error.text;
    EXPECT_EQ(read(b, 256), want);
  }
  EXPECT_EQ(t.stream->recording_destroy(recording, nullptr), BP_OK);
  free(a);
  free(b);
}

TEST_F(Capture, a_stream_may_be_destroyed_while_it_captures) {
  bp_stream* second = nullptr;
  ASSERT_EQ(t.stream->create(device, &second, &error), BP_OK);
  ASSERT_EQ(t.stream->capture_begin(second, &error), BP_OK);
  EXPECT_EQ(t.stream->destroy(second, &error), BP_OK) << error.text;
}

TEST_F(Module, text_that_does_not_compile_says_why) {
  Text text = scale_text(kSubject.profile(info, caps));
  const std::string good = text.text;
  text.text += "\nint broken = nonsense_everywhere;\n";
  Compiled compiled = compile(device, text, &error);
  EXPECT_EQ(compiled.status, BP_INVALID_ARGUMENT);
  EXPECT_THAT(compiled.log, HasSubstr("nonsense_everywhere"));
  EXPECT_THAT(error.text, HasSubstr(text.entry));
  EXPECT_TRUE(compiled.binary.empty());
  text.text = good;
  text.options = std::string("  ") + kSubject.bad_option + " ";
  compiled = compile(device, text, &error);
  EXPECT_EQ(compiled.status, BP_INVALID_ARGUMENT);
  EXPECT_THAT(error.text, HasSubstr(kSubject.bad_option));
  text.options = " -DWORD=1  -DOTHER=2 ";
  EXPECT_EQ(compile(device, text, &error).status, BP_OK) << error.text;
}

TEST_F(Module, binaries_round_trip_and_damaged_ones_are_refused) {
  const Text text = scale_text(kSubject.profile(info, caps));
  const Compiled compiled = compile(device, text, &error);
  ASSERT_EQ(compiled.status, BP_OK) << error.text << compiled.log;
  const bp_module_source source = text.source();
  const auto load = [&](const std::string& binary) {
    bp_module* module = nullptr;
    const bp_status status =
        t.module->load(device, &source, binary.data(), binary.size(), &module, &error);
    EXPECT_EQ(module != nullptr, status == BP_OK);
    t.module->unload(module, nullptr);
    return status;
  };
  EXPECT_EQ(load(compiled.binary), BP_OK) << error.text;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{65},
                             compiled.binary.size() / 2, compiled.binary.size() - 1}) {
    EXPECT_EQ(load(compiled.binary.substr(0, bytes)), BP_INCOMPATIBLE) << bytes;
  }
  // Every byte of what stands before the code, and some of the code.
  for (size_t at = 0; at < compiled.binary.size();
       at += at < 64 ? 1 : 1 + compiled.binary.size() / 97) {
    std::string damaged = compiled.binary;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    EXPECT_EQ(load(damaged), BP_INCOMPATIBLE) << at;
    EXPECT_THAT(error.text, HasSubstr("compile anew"));
  }
  EXPECT_EQ(load(compiled.binary + "x"), BP_INCOMPATIBLE);
  EXPECT_EQ(load(std::string(4096, '\0')), BP_INCOMPATIBLE);
  std::string id;
  ASSERT_EQ(t.module->compiler_id(device, keep, &id, &error), BP_OK);
  EXPECT_THAT(id, HasSubstr(info.architecture));
}

TEST_F(Module, launches_are_checked_before_the_driver_sees_them) {
  const Loaded scale(device, scale_text(kSubject.profile(info, caps)));
  ASSERT_NE(scale.function, nullptr);
  const bp_string unknown = glue::text("bp_nothing");
  bp_function* none = nullptr;
  EXPECT_EQ(t.module->function(scale.module, &unknown, &none, &error), BP_NOT_FOUND);
  EXPECT_THAT(error.text, HasSubstr("bp_nothing"));
  bp_buffer* a = alloc(1024);
  const std::vector<bp_launch_buffer> good = {{a, 0, 512}, {a, 512, 512}};
  const Words params = {3, 128};
  const auto refused = [&](bp_launch launch, const char* word) {
    EXPECT_EQ(t.module->launch(stream, scale.function, &launch, &error), BP_INVALID_ARGUMENT);
    EXPECT_THAT(error.text, HasSubstr(word));
    EXPECT_THAT(error.text, HasSubstr(scale.text.entry));
  };
  const bp_launch fine = launch_of(scale.text, good, params, 2);
  EXPECT_EQ(t.module->launch(stream, scale.function, &fine, &error), BP_OK) << error.text;
  bp_launch wrong = fine;
  wrong.buffer_count = 1;
  refused(wrong, "1 buffers");
  wrong = fine;
  wrong.param_words = 3;
  refused(wrong, "3 params");
  wrong = fine;
  wrong.group_threads = 32;
  refused(wrong, "32 threads");
  wrong = fine;
  wrong.grid[1] = 0;
  refused(wrong, "grid[1]");
  wrong.grid[1] = caps.max_grid[1] + 1;
  refused(wrong, "grid[1]");
  wrong = fine;
  wrong.shared_bytes = 1u << 20;
  refused(wrong, "shared memory");
  for (const bp_launch_buffer& bad : std::vector<bp_launch_buffer>{{nullptr, 0, 16},
                                                                   {a, 0, 1028},
                                                                   {a, 1040, 0},
                                                                   {a, 1008, 32},
                                                                   {a, 8, 16},
                                                                   {a, 16, ~0ull}}) {
    const std::vector<bp_launch_buffer> buffers = {good[0], bad};
    refused(launch_of(scale.text, buffers, params, 2), "buffer 1");
  }
  finish();
  free(a);
}

TEST_F(Module, many_threads_compile_and_launch_at_once) {
  const Text text = scale_text(kSubject.profile(info, caps));
  std::vector<std::thread> threads;
  for (uint32_t n = 0; n < 4; ++n) {
    threads.emplace_back([&, n] {
      bp_error why = BP_ERROR_INIT;
      const Loaded scale(device, text);
      bp_stream* own = nullptr;
      bp_timeline* done = nullptr;
      bp_buffer* x = nullptr;
      EXPECT_EQ(t.stream->create(device, &own, &why), BP_OK) << why.text;
      EXPECT_EQ(t.stream->timeline_create(device, &done, &why), BP_OK) << why.text;
      EXPECT_EQ(t.memory->alloc(device, 0, 8192, &x, &why), BP_OK) << why.text;
      Words got(1024);
      for (uint32_t round = 1; round <= 20; ++round) {
        const Words in(1024, n + round);
        EXPECT_EQ(t.stream->write(own, x, 0, in.data(), 4096, &why), BP_OK) << why.text;
        const Words params = {round, 1024};
        const std::vector<bp_launch_buffer> buffers = {{x, 0, 4096}, {x, 4096, 4096}};
        const bp_launch launch = launch_of(text, buffers, params, 16);
        EXPECT_EQ(t.module->launch(own, scale.function, &launch, &why), BP_OK) << why.text;
        EXPECT_EQ(t.stream->read(own, got.data(), x, 4096, 4096, &why), BP_OK) << why.text;
        EXPECT_EQ(t.stream->signal(own, done, round, &why), BP_OK) << why.text;
        EXPECT_EQ(t.stream->host_wait(done, round, kForever, &why), BP_OK) << why.text;
        EXPECT_EQ(got[1023], (n + round) * round + 1023);
      }
      EXPECT_EQ(t.memory->free(x, nullptr), BP_OK);
      EXPECT_EQ(t.stream->timeline_destroy(done, nullptr), BP_OK);
      EXPECT_EQ(t.stream->destroy(own, nullptr), BP_OK);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace bp::gpu_suite
