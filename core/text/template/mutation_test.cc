// SPDX-License-Identifier: Apache-2.0
// Damaged templates: every truncation and a great many edits of templates that use the whole
// language. Each must give an error or a result; under the sanitizers also a clean one.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "core/text/template/chat_template.h"

namespace bp {
namespace {

using Json = ChatJson;

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::filesystem::path goldens() {
  return std::filesystem::path(BP_SOURCE_DIR) / "tests/golden/template";
}

std::vector<std::string> templates() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(goldens() / "language")) {
    out.push_back(read_text(entry.path()));
  }
  return out;
}

ChatInputs inputs() {
  ChatInputs out;
  const auto golden = parse_chat_json(read_text(goldens() / "language.json"));
  EXPECT_TRUE(golden.ok());
  if (!golden.ok()) return out;
  // A conversation with tools, calls and results.
  const Json& conversation = golden.value().at("conversations").at(13);
  out.messages = conversation.at("messages");
  out.tools = conversation.at("tools");
  out.special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  out.now_local_seconds = 0;
  // Mutants may loop; they are to be cut soon.
  out.limits.max_steps = 50'000;
  out.limits.max_loop_iterations = 5'000;
  out.limits.max_string_bytes = out.limits.max_output_bytes = 1u << 20;
  out.limits.max_work_bytes = 16u << 20;
  return out;
}

// True when it rendered. Any crash, leak or hang is the test's failure.
bool survives(const std::string& source, const ChatInputs& given) {
  const auto parsed = ChatTemplate::parse(source);
  if (!parsed.ok()) {
    EXPECT_NE(parsed.status().code(), Code::kInternal) << parsed.status().message();
    return false;
  }
  const auto prompt = parsed.value().render(given);
  if (prompt.ok()) return true;
  EXPECT_NE(prompt.status().code(), Code::kInternal) << prompt.status().message();
  return false;
}

TEST(Mutation, every_truncation_is_an_error_or_a_result) {
  const ChatInputs given = inputs();
  size_t rendered = 0;
  for (const std::string& source : templates()) {
    for (size_t size = 0; size <= source.size(); ++size) {
      rendered += survives(source.substr(0, size), given) ? 1 : 0;
    }
  }
  EXPECT_GT(rendered, 0u);
}

TEST(Mutation, one_byte_edits_are_errors_or_results) {
  const ChatInputs given = inputs();
  constexpr std::string_view kBytes = "{}%#-|.\"([:1 \n\\\xff";
  size_t rendered = 0, tried = 0;
  for (const std::string& source : templates()) {
    for (size_t at = 0; at < source.size(); ++at) {
      // All of them at every third place, which edit it is changes with the place.
      for (size_t i = at % 3; i < kBytes.size(); i += 3) {
        std::string edited = source;
        edited[at] = kBytes[i];
        rendered += survives(edited, given) ? 1 : 0;
        ++tried;
      }
      std::string shorter = source;
      shorter.erase(at, 1);
      rendered += survives(shorter, given) ? 1 : 0;
      ++tried;
    }
  }
  EXPECT_GT(rendered, tried / 20);
}

TEST(Mutation, spliced_expressions_are_errors_or_results) {
  // Pieces of all golden expressions put behind each other: nonsense that still has structure.
  const ChatInputs given = inputs();
  const auto golden = parse_chat_json(read_text(goldens() / "expressions.json"));
  ASSERT_TRUE(golden.ok());
  ChatInputs with_variables = inputs();
  with_variables.variables = golden.value().at("variables");
  std::vector<std::string> sources;
  for (const Json& one : golden.value().at("cases")) sources.push_back(one.at("source"));
  uint64_t random = 12345;
  const auto draw = [&random](size_t below) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return static_cast<size_t>((random >> 33) % below);
  };
  for (int i = 0; i < 20'000; ++i) {
    const std::string& a = sources[draw(sources.size())];
    const std::string& b = sources[draw(sources.size())];
    survives(a.substr(0, draw(a.size() + 1)) + b.substr(draw(b.size() + 1)), with_variables);
  }
}

}  // namespace
}  // namespace bp
