// SPDX-License-Identifier: Apache-2.0
// What Python's str knows about characters: case, classes, whitespace; and walking UTF-8.
//
// Strings here are meant to be UTF-8, but may come from anybody: a byte that does not belong to a
// valid sequence counts as one character of its own, keeps its value, and is changed by nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bp::jinja {

// One decoded character. `valid` is false for a stray byte, which is then in `code` as it is.
struct Char {
  uint32_t code = 0;
  uint32_t size_bytes = 0;  // 1 to 4
  bool valid = true;
};

// The character that starts at `position`, which must be inside the string.
Char decode_char(std::string_view text, size_t position) noexcept;
// The character that ends right before `end` (> 0).
Char decode_char_before(std::string_view text, size_t end) noexcept;
// Appends UTF-8; code points that are not scalar values become U+FFFD.
void encode_char(uint32_t code, std::string* out);

size_t count_chars(std::string_view text) noexcept;
bool is_ascii(std::string_view text) noexcept;
// Byte offset of the character with this index, or size() beyond the end. Linear.
size_t char_offset(std::string_view text, size_t index) noexcept;

enum class CharClass : uint8_t {
  kSpace,
  kUppercase,
  kLowercase,
  kTitlecase,
  kCaseIgnorable,
  kAlphabetic,
  kDecimal,
  kDigit,
  kNumeric,
  kUnprintable,
};
bool is_class(uint32_t code, CharClass char_class) noexcept;
// Has the character case at all?
bool is_cased(uint32_t code) noexcept;
// One of the characters that str.splitlines() takes for a line's end.
bool is_line_end(uint32_t code) noexcept;

enum class CaseKind : uint8_t { kUpper, kLower, kTitle };
// Full case mapping: up to three code points, the unused ones 0.
std::array<uint32_t, 3> map_case(uint32_t code, CaseKind kind) noexcept;

// Offsets of the text that is left when Unicode whitespace is cut from both ends.
size_t skip_space(std::string_view text, size_t position) noexcept;
size_t skip_space_back(std::string_view text, size_t begin, size_t end) noexcept;

}  // namespace bp::jinja
