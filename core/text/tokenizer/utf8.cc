// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/utf8.h"

#include <utf8proc.h>

namespace bp::text::utf8 {
namespace {

// The range that the second byte must be in; tighter after E0, ED, F0 and F4 (table 3-7 of the
// Unicode standard), which is what excludes overlong forms, surrogates and too large values.
struct SecondByte {
  unsigned char low;
  unsigned char high;
};
constexpr SecondByte second_byte(unsigned char lead) {
  switch (lead) {
    case 0xE0:
      return {0xA0, 0xBF};
    case 0xED:
      return {0x80, 0x9F};
    case 0xF0:
      return {0x90, 0xBF};
    case 0xF4:
      return {0x80, 0x8F};
    default:
      return {0x80, 0xBF};
  }
}

// Start of the last character of valid text that is not empty.
size_t last_character(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

}  // namespace

Decoded decode(std::string_view text) noexcept {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, true, false};
  if (lead < 0xC2 || lead > 0xF4) return {0, 1, false, false};
  const uint32_t length = length_of_lead(lead);
  uint32_t code_point = lead & (0x7Fu >> length);
  for (uint32_t i = 1; i < length; ++i) {
    if (i >= text.size()) return {0, i, false, true};
    const SecondByte range = i == 1 ? second_byte(lead) : SecondByte{0x80, 0xBF};
    if (byte(i) < range.low || byte(i) > range.high) return {0, i, false, false};
    code_point = code_point << 6 | (byte(i) & 0x3Fu);
  }
  return {code_point, length, true, false};
}

bool is_valid(std::string_view text) noexcept {
  while (!text.empty()) {
    const Decoded character = decode(text);
    if (!character.well_formed) return false;
    text.remove_prefix(character.length);
  }
  return true;
}

void append_repaired(std::string_view text, std::string* out) {
  size_t good = 0;  // bytes of well-formed text not yet copied
  size_t at = 0;
  while (at < text.size()) {
    const Decoded character = decode(text.substr(at));
    if (!character.well_formed) {
      out->append(text.substr(good, at - good)).append(kReplacement);
      good = at + character.length;
    }
    at += character.length;
  }
  out->append(text.substr(good));
}

void append(uint32_t code_point, std::string* out) {
  const auto put = [&](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

bool is_whitespace(uint32_t c) noexcept {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_word(uint32_t c) noexcept {
  if (c < 0x80) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  }
  if (c == 0x200C || c == 0x200D) return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

size_t trailing_whitespace(std::string_view text) noexcept {
  const size_t all = text.size();
  while (!text.empty()) {
    const size_t at = last_character(text);
    if (!is_whitespace(decode(text.substr(at)).code_point)) break;
    text = text.substr(0, at);
  }
  return all - text.size();
}

size_t leading_whitespace(std::string_view text) noexcept {
  const size_t all = text.size();
  while (!text.empty()) {
    const Decoded character = decode(text);
    if (!is_whitespace(character.code_point)) break;
    text.remove_prefix(character.length);
  }
  return all - text.size();
}

bool ends_with_word(std::string_view text) noexcept {
  return !text.empty() && is_word(decode(text.substr(last_character(text))).code_point);
}

bool starts_with_word(std::string_view text) noexcept {
  return !text.empty() && is_word(decode(text).code_point);
}

}  // namespace bp::text::utf8
