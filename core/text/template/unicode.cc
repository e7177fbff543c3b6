// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/unicode.h"

#include <algorithm>
#include <iterator>

namespace bp::jinja {
namespace {

struct CharRange {
  uint32_t first, last, step;
};
struct CaseRange {
  uint32_t first, last, step;
  int32_t delta;
};
struct CaseSpecial {
  uint32_t code;
  std::array<uint32_t, 3> to;
};
#include "core/text/template/unicode_tables.inc"

template <typename Range, size_t kCount>
const Range* find_range(const Range (&ranges)[kCount], uint32_t code) noexcept {
  const auto* after = std::upper_bound(std::begin(ranges), std::end(ranges), code,
                                       [](uint32_t c, const Range& r) { return c < r.first; });
  if (after == std::begin(ranges)) return nullptr;
  --after;  // ranges do not interleave, so only this one can hold the character
  return code <= after->last && (code - after->first) % after->step == 0 ? after : nullptr;
}

template <size_t kRanges, size_t kSpecials>
std::array<uint32_t, 3> map_with(const CaseRange (&ranges)[kRanges],
                                 const CaseSpecial (&specials)[kSpecials], uint32_t code) noexcept {
  if (const CaseRange* range = find_range(ranges, code)) {
    return {static_cast<uint32_t>(static_cast<int64_t>(code) + range->delta), 0, 0};
  }
  const auto* special =
      std::lower_bound(std::begin(specials), std::end(specials), code,
                       [](const CaseSpecial& s, uint32_t c) { return s.code < c; });
  if (special != std::end(specials) && special->code == code) return special->to;
  return {code, 0, 0};
}

bool is_space(uint32_t c) noexcept {
  if (c < 0x80) return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20);
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

}  // namespace

Char decode_char(std::string_view text, size_t position) noexcept {
  const auto byte = [&](size_t i) -> uint32_t { return static_cast<unsigned char>(text[i]); };
  const uint32_t lead = byte(position);
  const Char stray{lead, 1, false};
  if (lead < 0x80) return {lead, 1, true};
  const uint32_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || position + size > text.size()) return stray;
  uint32_t code = lead & (0xffu >> (size + 1));
  for (uint32_t i = 1; i < size; ++i) {
    if ((byte(position + i) & 0xc0) != 0x80) return stray;
    code = code << 6 | (byte(position + i) & 0x3f);
  }
  const uint32_t least = size == 4 ? 0x10000 : size == 3 ? 0x800 : 0x80;
  if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return stray;
  return {code, size, true};
}

Char decode_char_before(std::string_view text, size_t end) noexcept {
  for (size_t size = 1; size <= 4 && size <= end; ++size) {
    const Char c = decode_char(text, end - size);
    if (c.valid && c.size_bytes == size) return c;
  }
  return {static_cast<unsigned char>(text[end - 1]), 1, false};
}

void encode_char(uint32_t code, std::string* out) {
  if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) code = 0xfffd;
  const auto push = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    push(code);
  } else if (code < 0x800) {
    push(0xc0 | code >> 6);
    push(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    push(0xe0 | code >> 12);
    push(0x80 | (code >> 6 & 0x3f));
    push(0x80 | (code & 0x3f));
  } else {
    push(0xf0 | code >> 18);
    push(0x80 | (code >> 12 & 0x3f));
    push(0x80 | (code >> 6 & 0x3f));
    push(0x80 | (code & 0x3f));
  }
}

size_t count_chars(std::string_view text) noexcept {
  if (is_ascii(text)) return text.size();
  size_t count = 0;
  for (size_t i = 0; i < text.size(); i += decode_char(text, i).size_bytes) ++count;
  return count;
}

bool is_ascii(std::string_view text) noexcept {
  unsigned char all = 0;
  for (const char c : text) all = static_cast<unsigned char>(all | static_cast<unsigned char>(c));
  return all < 0x80;
}

size_t char_offset(std::string_view text, size_t index) noexcept {
  size_t position = 0;
  while (index > 0 && position < text.size()) {
    position += decode_char(text, position).size_bytes;
    --index;
  }
  return position;
}

bool is_class(uint32_t code, CharClass char_class) noexcept {
  switch (char_class) {
    case CharClass::kSpace:
      return is_space(code);
    case CharClass::kUppercase:
      return find_range(kUppercase, code) != nullptr;
    case CharClass::kLowercase:
      return find_range(kLowercase, code) != nullptr;
    case CharClass::kTitlecase:
      return find_range(kTitlecase, code) != nullptr;
    case CharClass::kCaseIgnorable:
      return find_range(kCaseIgnorable, code) != nullptr;
    case CharClass::kAlphabetic:
      return find_range(kAlphabetic, code) != nullptr;
    case CharClass::kDecimal:
      return find_range(kDecimal, code) != nullptr;
    case CharClass::kDigit:
      return find_range(kDigit, code) != nullptr;
    case CharClass::kNumeric:
      return find_range(kNumeric, code) != nullptr;
    case CharClass::kUnprintable:
      return find_range(kUnprintable, code) != nullptr;
  }
  return false;
}

bool is_cased(uint32_t code) noexcept {
  return is_class(code, CharClass::kUppercase) || is_class(code, CharClass::kLowercase) ||
         is_class(code, CharClass::kTitlecase);
}

bool is_line_end(uint32_t code) noexcept {
  return (code >= 0x0a && code <= 0x0d) || (code >= 0x1c && code <= 0x1e) || code == 0x85 ||
         code == 0x2028 || code == 0x2029;
}

std::array<uint32_t, 3> map_case(uint32_t code, CaseKind kind) noexcept {
  switch (kind) {
    case CaseKind::kUpper:
      return map_with(kUpper, kUpperSpecial, code);
    case CaseKind::kLower:
      return map_with(kLower, kLowerSpecial, code);
    case CaseKind::kTitle:
      return map_with(kTitle, kTitleSpecial, code);
  }
  return {code, 0, 0};
}

size_t skip_space(std::string_view text, size_t position) noexcept {
  while (position < text.size()) {
    const Char c = decode_char(text, position);
    if (!c.valid || !is_space(c.code)) break;
    position += c.size_bytes;
  }
  return position;
}

size_t skip_space_back(std::string_view text, size_t begin, size_t end) noexcept {
  while (end > begin) {
    const Char c = decode_char_before(text.substr(begin), end - begin);
    if (!c.valid || !is_space(c.code)) break;
    end -= c.size_bytes;
  }
  return end;
}

}  // namespace bp::jinja
