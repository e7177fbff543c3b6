// SPDX-License-Identifier: Apache-2.0
// The plugin's border: entry, device, memory, streams, and the glue that guards its slots.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "plugins/cpu/isa.h"
#include "plugins/cpu/kernels/tuned/tuned.h"
#include "plugins/cpu/testing/op_runner.h"

extern "C" bp_status bp_plugin_query_1(const bp_host* host, bp_plugin_desc* out, bp_error* error);

namespace bp::cpu::testing {
namespace {

using ::testing::HasSubstr;

TEST(Glue, exceptions_become_statuses_with_a_text) {
  bp_error error = BP_ERROR_INIT;
  EXPECT_EQ(glue::fenced(&error, []() -> bp_status { throw std::bad_alloc(); }), BP_EXHAUSTED);
  EXPECT_EQ(glue::fenced(&error, []() -> bp_status { throw std::runtime_error("odd"); }),
            BP_INTERNAL);
  EXPECT_THAT(error.text, HasSubstr("odd"));
  EXPECT_EQ(error.status, BP_INTERNAL);
  EXPECT_EQ(glue::fenced(nullptr, []() -> bp_status { throw 7; }), BP_INTERNAL);
}

TEST(Glue, long_texts_are_cut_at_a_character) {
  // Three-byte characters never fit the array exactly.
  std::string text;
  for (int i = 0; i < 400; ++i) text += "\xe2\x82\xac";
  for (size_t capacity = 1; capacity < 20; ++capacity) {
    char out[20];
    glue::copy_text(out, capacity, text);
    const size_t length = std::strlen(out);
    EXPECT_EQ(length % 3, 0u);
    EXPECT_LT(length, capacity);
    EXPECT_GT(length + 4, capacity - 1);
  }
  char none = 'x';
  glue::copy_text(&none, 0, text);
  EXPECT_EQ(none, 'x');
}

TEST(Glue, only_the_bytes_that_the_caller_knows_are_written) {
  bp_error error = BP_ERROR_INIT;
  std::memset(error.text, 'x', sizeof error.text);
  error.size = offsetof(bp_error, text) + 4;
  EXPECT_EQ(glue::fail(&error, BP_NOT_FOUND, "%s", "abcdefgh"), BP_NOT_FOUND);
  EXPECT_STREQ(error.text, "abc");
  EXPECT_EQ(error.text[4], 'x');
  error.size = 0;
  error.status = BP_OK;
  glue::fail(&error, BP_NOT_FOUND, "no");
  EXPECT_EQ(error.status, BP_OK);

  bp_heap small{};
  small.size = offsetof(bp_heap, bytes);
  bp_heap full{};
  full.size = sizeof full;
  full.flags = 7;
  full.bytes = 99;
  glue::write_struct(&small, full);
  EXPECT_EQ(small.flags, 7u);
  EXPECT_EQ(small.bytes, 0u);
  EXPECT_EQ(small.size, offsetof(bp_heap, bytes));
  EXPECT_EQ(glue::read_struct(&small).alignment, 0u);
}

TEST(Plugin, says_who_it_is_and_what_it_offers) {
  bp_plugin_desc desc{};
  desc.size = sizeof desc;
  ASSERT_EQ(bp_plugin_query_1(nullptr, &desc, nullptr), BP_OK);
  EXPECT_EQ(glue::view(desc.id), "cpu");
  OpenPlugin plugin;
  bp_probe_result probe{};
  probe.size = sizeof probe;
  ASSERT_EQ(plugin.plugin_api->probe(nullptr, &probe, nullptr), BP_OK);
  EXPECT_EQ(probe.reason, BP_PROBE_USABLE);
  const bp_string unknown = glue::text("bp.telepathy/1");
  const void* table = &plugin;
  ASSERT_EQ(plugin.plugin_api->get_interface(&unknown, &table, nullptr), BP_OK);
  EXPECT_EQ(table, nullptr);
}

TEST(Plugin, the_environment_lowers_the_instructions_and_never_raises_them) {
  for (const char* level : {"reference", "avx2", "avx512", "amx", "neon"}) {
    OpenPlugin plugin(level);
    EXPECT_LE(static_cast<int>(active_isa()), static_cast<int>(best_isa()));
  }
  OpenPlugin plugin("quantum");
  EXPECT_EQ(active_isa(), best_isa());
}

TEST(Plugin, every_level_but_the_reference_has_instructions_of_its_own) {
  EXPECT_EQ(tuned::instructions_for(Isa::kReference), nullptr);
#if defined(__x86_64__)
  const Isa levels[] = {Isa::kAvx2, Isa::kAvx512, Isa::kAmx};
#elif defined(__aarch64__)
  const Isa levels[] = {Isa::kNeon};
#else
  const Isa levels[] = {Isa::kReference};
  GTEST_SKIP() << "no tuned instructions for this processor";
#endif
  for (const Isa level : levels) {
    const auto* const set = tuned::instructions_for(level);
    ASSERT_NE(set, nullptr) << isa_name(level);
    EXPECT_EQ(std::string_view(set->name).substr(0, 3),
              std::string_view(isa_name(level)).substr(0, 3));
    for (const DotSet& dot : set->dot) EXPECT_NE(dot.dot, nullptr) << isa_name(level);
  }
}

TEST(Device, describes_the_machine) {
  OpenPlugin plugin;
  uint32_t count = 0;
  ASSERT_EQ(plugin.device_api->enumerate(&count, nullptr), BP_OK);
  EXPECT_EQ(count, 1u);
  bp_device_info info{};
  info.size = sizeof info;
  ASSERT_EQ(plugin.device_api->describe(0, &info, nullptr), BP_OK);
  EXPECT_EQ(info.kind, BP_DEVICE_CPU);
  EXPECT_GT(info.memory_bytes, 1u << 20);
  EXPECT_NE(info.name[0], '\0');
  EXPECT_EQ(plugin.device_api->describe(1, &info, nullptr), BP_NOT_FOUND);
}

TEST(Device, cannot_be_closed_while_its_objects_live) {
  OpenPlugin plugin;
  bp_device* device = nullptr;
  bp_buffer* buffer = nullptr;
  ASSERT_EQ(plugin.device_api->open(0, &device, nullptr), BP_OK);
  ASSERT_EQ(plugin.memory_api->alloc(device, 0, 100, &buffer, nullptr), BP_OK);
  bp_error error = BP_ERROR_INIT;
  EXPECT_EQ(plugin.device_api->close(device, &error), BP_FAILED_PRECONDITION);
  EXPECT_THAT(error.text, HasSubstr("alive"));
  EXPECT_EQ(plugin.memory_api->free(buffer, nullptr), BP_OK);
  EXPECT_EQ(plugin.device_api->close(device, nullptr), BP_OK);
}

TEST(Memory, gives_mapped_zeroable_memory_and_refuses_nonsense) {
  OpenPlugin plugin;
  bp_buffer* buffer = nullptr;
  ASSERT_EQ(plugin.memory_api->alloc(plugin.device, 0, 12345, &buffer, nullptr), BP_OK);
  void* data = nullptr;
  ASSERT_EQ(plugin.memory_api->map(buffer, &data, nullptr), BP_OK);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 4096, 0u);
  std::memset(data, 1, 12345);
  plugin.memory_api->free(buffer, nullptr);
  EXPECT_EQ(plugin.memory_api->free(nullptr, nullptr), BP_OK);
  EXPECT_EQ(plugin.memory_api->alloc(plugin.device, 0, 0, &buffer, nullptr), BP_INVALID_ARGUMENT);
  EXPECT_EQ(plugin.memory_api->alloc(plugin.device, 1, 8, &buffer, nullptr), BP_INVALID_ARGUMENT);
  for (const uint64_t bytes : {UINT64_MAX, UINT64_MAX / 2, uint64_t{1} << 60}) {
    EXPECT_EQ(plugin.memory_api->alloc(plugin.device, 0, bytes, &buffer, nullptr), BP_EXHAUSTED);
  }
  uint64_t free_bytes = 0, total_bytes = 0;
  ASSERT_EQ(plugin.memory_api->budget(plugin.device, &free_bytes, &total_bytes, nullptr), BP_OK);
  EXPECT_LE(free_bytes, total_bytes);
}

TEST(Memory, imports_in_place_and_keeps_read_only_memory_unwritten) {
  OpenPlugin plugin;
  alignas(64) uint32_t words[16] = {};
  bp_import what{};
  what.size = sizeof what;
  what.kind = BP_IMPORT_HOST_POINTER;
  what.flags = BP_IMPORT_READ_ONLY;
  what.pointer = words;
  what.length = sizeof words;
  bp_import_support support{};
  support.size = sizeof support;
  ASSERT_EQ(plugin.memory_api->query_import(plugin.device, &what, &support, nullptr), BP_OK);
  EXPECT_EQ(support.verdict, BP_IMPORT_NATIVE);
  bp_buffer* buffer = nullptr;
  ASSERT_EQ(plugin.memory_api->import(plugin.device, &what, &buffer, nullptr), BP_OK);
  EXPECT_EQ(plugin.stream_api->fill(plugin.stream, buffer, 0, 4, 7, nullptr), BP_INVALID_ARGUMENT);
  EXPECT_EQ(words[0], 0u);
  plugin.memory_api->free(buffer, nullptr);
  what.pointer = reinterpret_cast<std::byte*>(words) + 1;
  EXPECT_EQ(plugin.memory_api->import(plugin.device, &what, &buffer, nullptr), BP_INVALID_ARGUMENT);
  what.pointer = nullptr;
  EXPECT_EQ(plugin.memory_api->import(plugin.device, &what, &buffer, nullptr), BP_INVALID_ARGUMENT);
}

TEST(Stream, moves_bytes_and_checks_every_range) {
  OpenPlugin plugin;
  bp_buffer* a = nullptr;
  bp_buffer* b = nullptr;
  ASSERT_EQ(plugin.memory_api->alloc(plugin.device, 0, 64, &a, nullptr), BP_OK);
  ASSERT_EQ(plugin.memory_api->alloc(plugin.device, 0, 64, &b, nullptr), BP_OK);
  const bp_stream_api& api = *plugin.stream_api;
  ASSERT_EQ(api.fill(plugin.stream, a, 0, 64, 0x01020304, nullptr), BP_OK);
  ASSERT_EQ(api.copy(plugin.stream, b, 8, a, 0, 16, nullptr), BP_OK);
  uint32_t word = 0;
  ASSERT_EQ(api.read(plugin.stream, &word, b, 20, 4, nullptr), BP_OK);
  EXPECT_EQ(word, 0x01020304u);
  word = 5;
  ASSERT_EQ(api.write(plugin.stream, b, 60, &word, 4, nullptr), BP_OK);
  for (const uint64_t offset : {uint64_t{61}, uint64_t{64}, UINT64_MAX, UINT64_MAX - 2}) {
    EXPECT_EQ(api.write(plugin.stream, b, offset, &word, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(api.read(plugin.stream, &word, b, offset, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(api.copy(plugin.stream, a, 0, b, offset, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(api.copy(plugin.stream, a, offset, b, 0, 4, nullptr), BP_INVALID_ARGUMENT);
    EXPECT_EQ(api.fill(plugin.stream, a, offset, 4, 0, nullptr), BP_INVALID_ARGUMENT);
  }
  EXPECT_EQ(api.fill(plugin.stream, a, 2, 4, 0, nullptr), BP_INVALID_ARGUMENT);
  plugin.memory_api->free(a, nullptr);
  plugin.memory_api->free(b, nullptr);
}

TEST(Timeline, rises_wakes_waiters_and_ends_waits_in_time) {
  OpenPlugin plugin;
  const bp_stream_api& api = *plugin.stream_api;
  bp_timeline* timeline = nullptr;
  ASSERT_EQ(api.timeline_create(plugin.device, &timeline, nullptr), BP_OK);
  EXPECT_EQ(api.host_wait(timeline, 1, 1000, nullptr), BP_DEADLINE);
  std::thread waiter([&] { EXPECT_EQ(api.host_wait(timeline, 2, UINT64_MAX, nullptr), BP_OK); });
  EXPECT_EQ(api.signal(plugin.stream, timeline, 1, nullptr), BP_OK);
  EXPECT_EQ(api.signal(plugin.stream, timeline, 1, nullptr), BP_INVALID_ARGUMENT);
  EXPECT_EQ(api.signal(plugin.stream, timeline, 2, nullptr), BP_OK);
  waiter.join();
  uint64_t value = 0;
  EXPECT_EQ(api.query(timeline, &value, nullptr), BP_OK);
  EXPECT_EQ(value, 2u);
  EXPECT_EQ(api.wait(plugin.stream, timeline, 2, nullptr), BP_OK);
  EXPECT_EQ(api.timeline_destroy(timeline, nullptr), BP_OK);
}

TEST(Timeline, quiescing_releases_every_waiter_with_the_failure) {
  OpenPlugin plugin;
  const bp_stream_api& api = *plugin.stream_api;
  bp_timeline* timeline = nullptr;
  ASSERT_EQ(api.timeline_create(plugin.device, &timeline, nullptr), BP_OK);
  std::thread waiter(
      [&] { EXPECT_EQ(api.host_wait(timeline, 9, UINT64_MAX, nullptr), BP_CANCELLED); });
  EXPECT_EQ(plugin.plugin_api->quiesce(0, nullptr), BP_OK);
  waiter.join();
  uint64_t value = 0;
  EXPECT_EQ(api.query(timeline, &value, nullptr), BP_CANCELLED);
  EXPECT_EQ(api.signal(plugin.stream, timeline, 9, nullptr), BP_CANCELLED);
  EXPECT_EQ(api.timeline_destroy(timeline, nullptr), BP_OK);
}

TEST(Kernel, a_device_of_another_plugin_is_not_bound) {
  OpenPlugin plugin;
  bp_bind_info info{};
  info.size = sizeof info;
  info.plugin_id = glue::text("cuda");
  info.device = plugin.device;
  bp_target* target = nullptr;
  EXPECT_EQ(plugin.kernel_api->bind(&info, &target, nullptr), BP_INCOMPATIBLE);
}

}  // namespace
}  // namespace bp::cpu::testing
