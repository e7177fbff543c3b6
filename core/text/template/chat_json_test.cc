// SPDX-License-Identifier: Apache-2.0
// JSON of conversations: order, duplicates, limits, and memory that runs out at any moment and does
// not come back. Replaces operator new, hence a program of its own.
#include "core/text/template/chat_json.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "core/base/json_read.h"
#include "core/base/limits.h"
#include "core/text/template/chat_template.h"

namespace {

constexpr int64_t kNever = -1;
// Allocations of this thread that still succeed; after them, none does.
thread_local int64_t left = kNever;
thread_local int64_t made = 0, freed = 0;

void* allocate(std::size_t bytes) {
  if (left == 0) return nullptr;
  if (left > 0) --left;
  ++made;
  return std::malloc(bytes == 0 ? 1 : bytes);
}

// Not inlined: GCC would take free() for the wrong partner of operator new.
__attribute__((noinline)) void release(void* memory) {
  if (memory != nullptr) ++freed;
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t bytes) {
  void* memory = allocate(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new[](std::size_t bytes) {
  return operator new(bytes);
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return allocate(bytes);
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return allocate(bytes);
}
void operator delete(void* memory) noexcept {
  release(memory);
}
void operator delete[](void* memory) noexcept {
  release(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  release(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  release(memory);
}

namespace bp {
namespace {

constexpr std::string_view kConversation = R"([
  {"role": "user", "content": [{"type": "text", "text": "what is the weather in the far north?"}]},
  {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function",
    "function": {"name": "weather", "arguments": {"place": {"lat": 78.2, "lon": -15}, "days": 3,
    "units": ["C", "mm"], "detailed": true}}}]},
  {"role": "tool", "tool_call_id": "c1", "content": {"days": [[1, 2], [3, 4], []], "place": {}}}])";

TEST(ChatJson, members_keep_their_order_and_the_last_of_equal_keys_counts) {
  const auto json =
      parse_chat_json(R"({"z": 1, "a": {"y": [2], "b": 3}, "z": {"c": 4}, "m": null})");
  ASSERT_TRUE(json.ok()) << json.status().to_string();
  EXPECT_EQ(json->dump(), R"({"z":{"c":4},"a":{"y":[2],"b":3},"m":null})");
  EXPECT_EQ(json->at("a").at("b"), 3);
  EXPECT_EQ(json->find("none"), json->end());
}

TEST(ChatJson, every_kind_of_value_is_read_like_the_library_reads_it) {
  for (const std::string_view text :
       {"null", "true", "-3", "18446744073709551615", "1.5e300", "\"\\u00e4\\n\"", "[]", "{}",
        " [1, [2, {\"a\": [false]}], \"x\"] ", "{\"\": {\"\": \"\"}}"}) {
    const auto json = parse_chat_json(text);
    ASSERT_TRUE(json.ok()) << text << ": " << json.status().to_string();
    EXPECT_EQ(json->dump(), nlohmann::json::parse(text).dump()) << text;
  }
}

TEST(ChatJson, what_is_not_json_is_corrupt_and_names_the_place) {
  for (const std::string_view text : {"", "[1,", "{\"a\" 1}", "[1] 2", "nul", "\"\xff\"", "1e999",
                                      "{\"a\": {\"b\": [}}", "[\"\\ud800\"]"}) {
    const auto json = parse_chat_json(text);
    ASSERT_FALSE(json.ok()) << text;
    EXPECT_EQ(json.status().code(), Code::kCorrupt) << text;
    EXPECT_NE(json.status().message().find("not JSON"), std::string_view::npos) << text;
  }
}

TEST(ChatJson, nesting_is_limited_exactly) {
  const auto nested = [](uint64_t depth) {
    return parse_chat_json(std::string(depth, '[') + std::string(depth, ']')).status().code();
  };
  EXPECT_EQ(nested(limits::kMaxJsonDepth), Code::kOk);
  EXPECT_EQ(nested(limits::kMaxJsonDepth + 1), Code::kExhausted);
  // Brackets in strings are no nesting, and those that are never closed are refused as they come.
  EXPECT_TRUE(parse_chat_json('"' + std::string(100000, '[') + '"').ok());
  EXPECT_EQ(parse_chat_json(std::string(1'000'000, '[')).status().code(), Code::kExhausted);
}

TEST(ChatJson, objects_with_many_members_are_read_in_linear_time) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += '"' + std::to_string(i % 150'000) + "\":{},";
  text.back() = '}';
  const auto json = parse_chat_json(text);
  ASSERT_TRUE(json.ok()) << json.status().to_string();
  EXPECT_EQ(json->size(), 150'000u);
}

// `body` with 0, 1, 2, … allocations, then none until it returns: never anything but EXHAUSTED,
// everything is given back. Returns how many it takes to succeed.
template <typename Body>
int64_t starve(Body body) {
  for (int64_t n = 0; n < 1'000'000; ++n) {
    const int64_t before = made - freed;
    left = n;
    const Code code = body();
    left = kNever;
    EXPECT_EQ(made - freed, before) << "with " << n << " allocations";
    if (code == Code::kOk) return n;
    EXPECT_EQ(code, Code::kExhausted) << "with " << n << " allocations";
  }
  return -1;
}

TEST(ChatJson, reading_survives_memory_that_runs_out_and_stays_out) {
  EXPECT_GT(starve([] {
              const auto read = [](ChatInputs* inputs) -> Status {
                inputs->messages = BP_TRY(parse_chat_json(kConversation));
                inputs->tools = BP_TRY(parse_chat_json(kConversation).with_context("tools"));
                return {};
              };
              try {
                ChatInputs inputs;
                return read(&inputs).code();
              } catch (const std::bad_alloc&) {  // of the empty list that inputs begin with
                return Code::kExhausted;
              }
            }),
            100);
  const auto sorted = [] {
    ScopedJson<nlohmann::json> json;
    return read_json(kConversation, limits::kMaxJsonDepth, &*json).code();
  };
  EXPECT_GT(starve(sorted), 50);
}

TEST(ChatJson, rendering_survives_memory_that_runs_out_and_stays_out) {
  const auto chat_template = ChatTemplate::parse(
      "{% for m in messages %}{{ m.role }}: {{ m | tojson }}{% if m.tool_calls %}"
      "{{ m.tool_calls | map(attribute='function') | list }}{% endif %}{% endfor %}");
  ASSERT_TRUE(chat_template.ok()) << chat_template.status().to_string();
  ChatInputs inputs;
  auto messages = parse_chat_json(kConversation);
  ASSERT_TRUE(messages.ok());
  inputs.messages = std::move(messages).value();
  EXPECT_GT(starve([&] { return chat_template->render(inputs).status().code(); }), 100);
}

}  // namespace
}  // namespace bp
