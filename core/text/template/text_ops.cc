// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/text_ops.h"

#include <algorithm>

#include "core/text/template/search.h"

namespace bp::jinja {
namespace {

std::vector<uint32_t> sorted_codes(std::string_view chars) {
  std::vector<uint32_t> codes;
  for (size_t i = 0; i < chars.size();) {
    const Char c = decode_char(chars, i);
    codes.push_back(c.code);
    i += c.size_bytes;
  }
  std::sort(codes.begin(), codes.end());
  return codes;
}

void append_mapped(const std::array<uint32_t, 3>& codes, std::string* out) {
  encode_char(codes[0], out);
  for (size_t i = 1; i < 3 && codes[i] != 0; ++i) encode_char(codes[i], out);
}

// A capital sigma is written ς at the end of a word: after a cased letter, before none.
bool is_final_sigma(std::string_view bytes, size_t at, size_t size) {
  const auto ignorable = [](const Char& c) {
    return c.valid && is_class(c.code, CharClass::kCaseIgnorable);
  };
  size_t before = at;
  bool after_cased = false;
  while (before > 0) {
    const Char c = decode_char_before(bytes, before);
    before -= c.size_bytes;
    if (ignorable(c)) continue;
    after_cased = c.valid && is_cased(c.code);
    break;
  }
  if (!after_cased) return false;
  for (size_t next = at + size; next < bytes.size();) {
    const Char c = decode_char(bytes, next);
    next += c.size_bytes;
    if (!ignorable(c)) return !(c.valid && is_cased(c.code));
  }
  return true;
}

CaseKind kind_at(CaseChange change, uint32_t code, bool first, bool after_cased) {
  switch (change) {
    case CaseChange::kUpper:
      return CaseKind::kUpper;
    case CaseChange::kLower:
      return CaseKind::kLower;
    case CaseChange::kCapitalize:
      return first ? CaseKind::kTitle : CaseKind::kLower;
    case CaseChange::kTitle:
      return after_cased ? CaseKind::kLower : CaseKind::kTitle;
    case CaseChange::kSwap:
      return is_class(code, CharClass::kUppercase) ? CaseKind::kLower : CaseKind::kUpper;
  }
  return CaseKind::kLower;
}

Status check_parts(Heap& heap, size_t count) {
  // Called once per part: charges it, so that a million empty parts cost what they are.
  BP_TRY(heap.reserve(sizeof(Text)));
  return heap.step(count > 0 ? 1 : 0);
}

}  // namespace

Text strip_text(const Text& text, std::optional<std::string_view> chars, bool left, bool right) {
  const std::string_view bytes = text.bytes();
  size_t begin = 0, end = bytes.size();
  if (!chars) {
    if (left) begin = skip_space(bytes, 0);
    if (right) end = skip_space_back(bytes, begin, end);
    return text.slice(begin, end);
  }
  const std::vector<uint32_t> codes = sorted_codes(*chars);
  const auto listed = [&codes](const Char& c) {
    return std::binary_search(codes.begin(), codes.end(), c.code);
  };
  while (left && begin < end) {
    const Char c = decode_char(bytes, begin);
    if (!listed(c)) break;
    begin += c.size_bytes;
  }
  while (right && end > begin) {
    const Char c = decode_char_before(bytes.substr(begin), end - begin);
    if (!listed(c)) break;
    end -= c.size_bytes;
  }
  return text.slice(begin, end);
}

Result<Text> replace_text(Heap& heap, const Text& text, const Text& old, const Text& fresh,
                          int64_t count) {
  const std::string_view bytes = text.bytes();
  const Needle needle(old.bytes());
  BP_TRY(heap.step(bytes.size() / 32));
  Text out;
  size_t plain = 0, from = 0;
  while (count != 0) {
    const size_t at = old.empty() ? from : needle.find_in(bytes, from);
    if (at == std::string_view::npos || at > bytes.size()) break;
    BP_TRY(heap.step());
    out.append(text, plain, at);
    out.append(fresh);
    if (out.size() > heap.limits().max_string_bytes) return heap.reserve_string(out.size());
    plain = at + old.size();
    from = plain;
    if (count > 0) --count;
    if (old.empty()) {
      if (at == bytes.size()) break;
      from += decode_char(bytes, from).size_bytes;
    }
  }
  out.append(text, plain, bytes.size());
  return out;
}

Result<Text> change_case(Heap& heap, const Text& text, CaseChange change) {
  const std::string_view bytes = text.bytes();
  BP_TRY(heap.step(bytes.size() / 8));
  BP_TRY(heap.reserve(bytes.size()));
  Text out;
  std::string run;
  bool run_content = false, after_cased = false;
  for (size_t i = 0; i < bytes.size();) {
    const Char c = decode_char(bytes, i);
    const bool content = text.has_content() && text.content_at(i);
    if (content != run_content) {
      out.append(run, run_content);
      run.clear();
      run_content = content;
    }
    const CaseKind kind = kind_at(change, c.code, i == 0, after_cased);
    if (!c.valid) {
      run.push_back(bytes[i]);
    } else if (c.code < 0x80 && kind == CaseKind::kLower) {
      run.push_back(static_cast<char>(c.code >= 'A' && c.code <= 'Z' ? c.code | 0x20 : c.code));
    } else if (c.code == 0x3a3 && kind == CaseKind::kLower) {
      encode_char(is_final_sigma(bytes, i, c.size_bytes) ? 0x3c2 : 0x3c3, &run);
    } else {
      append_mapped(map_case(c.code, kind), &run);
    }
    if (change == CaseChange::kTitle) after_cased = c.valid && is_cased(c.code);
    i += c.size_bytes;
  }
  out.append(run, run_content);
  return out;
}

namespace {

Result<std::vector<Text>> split_at(Heap& heap, const Text& text, std::string_view separator,
                                   int64_t max_splits, bool from_right) {
  const std::string_view bytes = text.bytes();
  const Needle needle(separator);
  BP_TRY(heap.step(bytes.size() / 32));
  std::vector<size_t> cuts;
  for (size_t from = 0; cuts.size() < static_cast<size_t>(max_splits) || from_right;) {
    const size_t at = needle.find_in(bytes, from);
    if (at == std::string_view::npos) break;
    BP_TRY(check_parts(heap, 1));
    cuts.push_back(at);
    from = at + separator.size();
  }
  if (from_right && cuts.size() > static_cast<size_t>(max_splits)) {
    // Matches from the right may overlap those from the left, so they are found anew.
    cuts.clear();
    size_t end = bytes.size();
    while (cuts.size() < static_cast<size_t>(max_splits) && end >= separator.size()) {
      BP_TRY(heap.step(1 + end / 32));
      const size_t at = needle.rfind_in(bytes.substr(0, end), end);
      if (at == std::string_view::npos) break;
      cuts.push_back(at);
      end = at;
    }
    std::reverse(cuts.begin(), cuts.end());
  }
  std::vector<Text> out;
  size_t begin = 0;
  for (const size_t cut : cuts) {
    out.push_back(text.slice(begin, cut));
    begin = cut + separator.size();
  }
  out.push_back(text.slice(begin, bytes.size()));
  return out;
}

Result<std::vector<Text>> split_at_spaces(Heap& heap, const Text& text, int64_t max_splits,
                                          bool from_right) {
  const std::string_view bytes = text.bytes();
  BP_TRY(heap.step(bytes.size() / 16));
  const auto is_space_at = [&bytes](size_t i) { return skip_space(bytes, i) != i; };
  std::vector<Text> out;
  if (from_right) {
    size_t end = skip_space_back(bytes, 0, bytes.size());
    while (end > 0) {
      size_t begin = end;
      const bool last = static_cast<uint64_t>(out.size()) >= static_cast<uint64_t>(max_splits);
      if (last) {
        begin = 0;
      } else {
        while (begin > 0 && skip_space_back(bytes, 0, begin) == begin) {
          begin -= decode_char_before(bytes, begin).size_bytes;
        }
      }
      BP_TRY(check_parts(heap, 1));
      out.push_back(text.slice(begin, end));
      end = skip_space_back(bytes, 0, begin);
    }
    std::reverse(out.begin(), out.end());
    return out;
  }
  size_t at = skip_space(bytes, 0);
  while (at < bytes.size()) {
    BP_TRY(check_parts(heap, 1));
    if (static_cast<uint64_t>(out.size()) >= static_cast<uint64_t>(max_splits)) {
      out.push_back(text.slice(at, bytes.size()));
      break;
    }
    size_t end = at;
    while (end < bytes.size() && !is_space_at(end)) end += decode_char(bytes, end).size_bytes;
    out.push_back(text.slice(at, end));
    at = skip_space(bytes, end);
  }
  return out;
}

}  // namespace

Result<std::vector<Text>> split_text(Heap& heap, const Text& text,
                                     std::optional<std::string_view> separator, int64_t max_splits,
                                     bool from_right) {
  if (max_splits < 0) max_splits = INT64_MAX;
  BP_TRY(heap.reserve(text.footprint_bytes()));
  if (!separator) return split_at_spaces(heap, text, max_splits, from_right);
  if (separator->empty()) return error(Code::kInvalidArgument, "empty separator");
  return split_at(heap, text, *separator, max_splits, from_right);
}

Result<std::vector<Text>> split_lines(Heap& heap, const Text& text, bool keep_ends) {
  const std::string_view bytes = text.bytes();
  BP_TRY(heap.step(bytes.size() / 16));
  BP_TRY(heap.reserve(text.footprint_bytes()));
  std::vector<Text> out;
  size_t begin = 0;
  for (size_t i = 0; i < bytes.size();) {
    const Char c = decode_char(bytes, i);
    size_t next = i + c.size_bytes;
    if (c.valid && is_line_end(c.code)) {
      if (c.code == '\r' && next < bytes.size() && bytes[next] == '\n') ++next;
      BP_TRY(check_parts(heap, 1));
      out.push_back(text.slice(begin, keep_ends ? next : i));
      begin = next;
    }
    i = next;
  }
  if (begin < bytes.size()) out.push_back(text.slice(begin, bytes.size()));
  return out;
}

Result<Text> pad_text(Heap& heap, const Text& text, int64_t width_chars, std::string_view fill,
                      char alignment) {
  const auto length = static_cast<int64_t>(count_chars(text.bytes()));
  if (width_chars <= length) return text;
  const auto missing = static_cast<uint64_t>(width_chars - length);
  if (missing > heap.limits().max_string_bytes / 4) return heap.reserve_string(UINT64_MAX);
  BP_TRY(heap.reserve_string(missing * fill.size()));
  uint64_t left = alignment == '<' ? 0 : alignment == '>' ? missing : missing / 2;
  // str.center() puts the odd one on the left when the width is odd.
  if (alignment == 'c') left = missing / 2 + (missing & static_cast<uint64_t>(width_chars) & 1);
  Text out;
  for (uint64_t i = 0; i < left; ++i) out.append(fill, false);
  out.append(text);
  for (uint64_t i = left; i < missing; ++i) out.append(fill, false);
  return out;
}

bool is_text_of_case(const Text& text, bool upper) {
  const std::string_view bytes = text.bytes();
  bool cased = false;
  for (size_t i = 0; i < bytes.size();) {
    const Char c = decode_char(bytes, i);
    i += c.size_bytes;
    if (!c.valid) continue;
    const bool is_upper = is_class(c.code, CharClass::kUppercase);
    const bool is_lower = is_class(c.code, CharClass::kLowercase);
    if (is_class(c.code, CharClass::kTitlecase) || (upper ? is_lower : is_upper)) return false;
    cased |= upper ? is_upper : is_lower;
  }
  return cased;
}

}  // namespace bp::jinja
