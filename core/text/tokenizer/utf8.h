// SPDX-License-Identifier: Apache-2.0
// UTF-8 by hand where the tokenizer needs it: strict decoding, repair, and character classes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bp::text::utf8 {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct Decoded {
  uint32_t code_point;  // meaningless unless well_formed
  uint32_t length;      // bytes of the character, or of the maximal ill-formed subpart; at least 1
  bool well_formed;
  bool truncated;  // ill-formed only because the text ends; more bytes could complete it
};

// The character at the start of a text that is not empty. Accepts exactly the well-formed
// sequences of the Unicode standard (no surrogates, no overlong forms, at most U+10FFFF).
Decoded decode(std::string_view text) noexcept;

bool is_valid(std::string_view text) noexcept;

// Appends the text, every maximal ill-formed subpart as U+FFFD.
void append_repaired(std::string_view text, std::string* out);

void append(uint32_t code_point, std::string* out);

// Bytes of the character that this byte begins, in text known to be valid.
constexpr uint32_t length_of_lead(unsigned char lead) noexcept {
  return lead < 0x80 ? 1u : lead < 0xE0 ? 2u : lead < 0xF0 ? 3u : 4u;
}

// The Unicode property White_Space.
bool is_whitespace(uint32_t code_point) noexcept;
// Letters, marks, digits, connectors and joiners: what a word is made of.
bool is_word(uint32_t code_point) noexcept;

// Length in bytes of the whitespace at the end and at the start of valid text.
size_t trailing_whitespace(std::string_view text) noexcept;
size_t leading_whitespace(std::string_view text) noexcept;
// Is the last (first) character of valid text one of a word? False for empty text.
bool ends_with_word(std::string_view text) noexcept;
bool starts_with_word(std::string_view text) noexcept;

}  // namespace bp::text::utf8
