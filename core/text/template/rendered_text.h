// SPDX-License-Identifier: Apache-2.0
// What a chat template gives, and what it may spend. Apart from chat_template.h so that the
// interpreter's files need not read the JSON library, which would be half of compiling them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bp {

// What one render may spend. Crossing a limit is EXHAUSTED, and the message names the limit.
struct RenderLimits {
  uint64_t max_steps = 20'000'000;           // nodes evaluated, plus work inside filters
  uint64_t max_loop_iterations = 2'000'000;  // of all loops together
  uint64_t max_string_bytes = 16u << 20;     // of any one string
  uint64_t max_output_bytes = 16u << 20;     // of the result
  uint64_t max_work_bytes = 512u << 20;      // allocated for all values together, dead or alive
};

enum class TextOrigin : uint8_t {
  kScaffold,  // literals of the template, special_tokens, known roles, numbers it computed
  kContent,   // values given by the caller, and text derived from them
};

// Bytes [offset, offset + length) of a rendered text. Segments are in order, not empty, cover the
// text exactly, and neighbours differ in origin. A segment may end inside a UTF-8 sequence only if
// an input string was not valid UTF-8.
struct TextSegment {
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;
  TextOrigin origin = TextOrigin::kScaffold;

  friend bool operator==(const TextSegment&, const TextSegment&) = default;
};

struct RenderedPrompt {
  std::string text;
  std::vector<TextSegment> segments;
};

}  // namespace bp
