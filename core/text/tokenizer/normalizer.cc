// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/base/limits.h"
#include "core/text/tokenizer/utf8.h"

namespace bp::text {
namespace {

// A replacement may lengthen a text (a blank becomes three bytes), but not without end.
constexpr size_t kMaxNormalizedBytes = 4 * limits::kMaxTextBytes;

// Text under construction together with its permissions.
class Builder {
 public:
  Builder(std::string_view source, const PermissionMap& permissions)
      : source_(source), permissions_(permissions) {
    text.reserve(source.size());
  }

  // Copies source bytes [begin, end).
  void copy(size_t begin, size_t end) {
    text.append(source_.substr(begin, end - begin));
    if (permissions_.empty()) return;
    map.insert(map.end(), permissions_.begin() + static_cast<ptrdiff_t>(begin),
               permissions_.begin() + static_cast<ptrdiff_t>(end));
  }
  // Appends text that stands for source bytes [begin, end).
  void put(std::string_view piece, size_t begin, size_t end) {
    text.append(piece);
    if (permissions_.empty()) return;
    const bool permitted = std::all_of(permissions_.begin() + static_cast<ptrdiff_t>(begin),
                                       permissions_.begin() + static_cast<ptrdiff_t>(end),
                                       [](uint8_t p) { return p != 0; });
    map.insert(map.end(), piece.size(), permitted ? 1 : 0);
  }
  Status check() const {
    if (text.size() <= kMaxNormalizedBytes) return {};
    return error(Code::kExhausted, "the normalized text has over {} bytes; split the text",
                 kMaxNormalizedBytes);
  }

  std::string text;
  PermissionMap map;

 private:
  std::string_view source_;
  const PermissionMap& permissions_;
};

Status replace_literal(std::string_view text, const NormalizerStep& step, Builder* out) {
  size_t done = 0;
  for (size_t at = text.find(step.pattern); at != std::string_view::npos;
       at = text.find(step.pattern, done)) {
    out->copy(done, at);
    done = at + step.pattern.size();
    out->put(step.text, at, done);
    BP_TRY(out->check());
  }
  out->copy(done, text.size());
  return out->check();
}

Status replace_regex(std::string_view text, const NormalizerStep& step, const Regex& regex,
                     MatchScratch* scratch, Builder* out) {
  size_t done = 0;
  while (done < text.size()) {
    const MatchRange match = BP_TRY(regex.find(text, done, scratch));
    if (!match.found) break;
    out->copy(done, match.begin);
    out->put(step.text, match.begin, match.end);
    done = match.end;
    BP_TRY(out->check());
  }
  out->copy(done, text.size());
  return out->check();
}

struct Form {
  bool compose;
  bool compatibility;
};

// utf8proc orders combining marks by swapping neighbours, which is quadratic in the length of a
// run of marks and thereby in the hands of whoever types the text. So: decompose character by
// character, sort the runs here, and leave only composition, which is linear, to the library.
Status decompose(std::string_view text, Form form, std::vector<utf8proc_int32_t>* out) {
  const int options =
      UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (form.compatibility ? UTF8PROC_COMPAT : 0);
  out->reserve(text.size() + 1);
  while (!text.empty()) {
    const utf8::Decoded character = utf8::decode(text);
    text.remove_prefix(character.length);
    utf8proc_int32_t parts[32];
    int last_boundary = 0;
    const utf8proc_ssize_t count = utf8proc_decompose_char(
        static_cast<utf8proc_int32_t>(character.code_point), parts, std::size(parts),
        static_cast<utf8proc_option_t>(options), &last_boundary);
    if (count < 0 || static_cast<size_t>(count) > std::size(parts)) {
      return error(Code::kInternal, "U+{:04X} cannot be decomposed", character.code_point);
    }
    out->insert(out->end(), parts, parts + count);
  }
  return {};
}

int combining_class(utf8proc_int32_t c) {
  return utf8proc_get_property(c)->combining_class;
}

void order_marks(std::vector<utf8proc_int32_t>* text) {
  auto at = text->begin();
  while (at != text->end()) {
    if (combining_class(*at) == 0) {
      ++at;
      continue;
    }
    auto end = std::find_if(at, text->end(), [](auto c) { return combining_class(c) == 0; });
    if (end - at > 1) {
      std::stable_sort(at, end,
                       [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    }
    at = end;
  }
}

// The normal form of one piece, appended.
Status append_form(std::string_view text, Form form, std::string* out) {
  // Below U+0300 nothing composes (NFC), and ASCII is stable under every form.
  const unsigned char stable_below = form.compose && !form.compatibility ? 0xCC : 0x80;
  if (std::all_of(text.begin(), text.end(), [&](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < stable_below && (byte < 0x80 || stable_below > 0x80);
      })) {
    out->append(text);
    return {};
  }
  std::vector<utf8proc_int32_t> code_points;
  BP_TRY(decompose(text, form, &code_points));
  order_marks(&code_points);
  if (form.compose) {
    const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    const utf8proc_ssize_t length = utf8proc_normalize_utf32(
        code_points.data(), static_cast<utf8proc_ssize_t>(code_points.size()), options);
    if (length < 0) return error(Code::kInternal, "Unicode composition failed");
    code_points.resize(static_cast<size_t>(length));
  }
  for (const utf8proc_int32_t c : code_points) utf8::append(static_cast<uint32_t>(c), out);
  return {};
}

// Runs of equal permission are normalized on their own: see the header.
Status normal_form(std::string_view text, const PermissionMap& permissions, Form form,
                   Builder* out) {
  if (permissions.empty()) {
    BP_TRY(append_form(text, form, &out->text));
    return out->check();
  }
  size_t begin = 0;
  std::string piece;
  while (begin < text.size()) {
    size_t end = begin + 1;
    while (end < text.size() && permissions[end] == permissions[begin]) ++end;
    piece.clear();
    BP_TRY(append_form(text.substr(begin, end - begin), form, &piece));
    out->put(piece, begin, end);
    begin = end;
  }
  return out->check();
}

template <typename Change>  // void(code_point, std::string* replacement)
void map_characters(std::string_view text, Builder* out, Change&& change) {
  std::string piece;
  for (size_t at = 0; at < text.size();) {
    const utf8::Decoded character = utf8::decode(text.substr(at));
    piece.clear();
    change(character.code_point, &piece);
    out->put(piece, at, at + character.length);
    at += character.length;
  }
}

void lowercase(uint32_t c, std::string* out) {
  if (c == 0x130) {  // the only character whose lower case is two characters
    out->append("i\xCC\x87");
    return;
  }
  utf8::append(static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
}

void without_accent(uint32_t c, std::string* out) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  if (category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
      category == UTF8PROC_CATEGORY_ME) {
    return;
  }
  utf8::append(c, out);
}

Status run_step(const NormalizerStep& step, const Regex* regex, std::string_view text,
                const PermissionMap& permissions, MatchScratch* scratch, Builder* out) {
  switch (step.kind) {
    case NormalizerKind::kPrepend:
      if (!text.empty()) out->put(step.text, 0, 1);
      out->copy(0, text.size());
      return out->check();
    case NormalizerKind::kReplaceLiteral:
      return replace_literal(text, step, out);
    case NormalizerKind::kReplaceRegex:
      return replace_regex(text, step, *regex, scratch, out);
    case NormalizerKind::kNfc:
      return normal_form(text, permissions, {true, false}, out);
    case NormalizerKind::kNfd:
      return normal_form(text, permissions, {false, false}, out);
    case NormalizerKind::kNfkc:
      return normal_form(text, permissions, {true, true}, out);
    case NormalizerKind::kNfkd:
      return normal_form(text, permissions, {false, true}, out);
    case NormalizerKind::kLowercase:
      map_characters(text, out, lowercase);
      return {};
    case NormalizerKind::kStripLeft:
      out->copy(utf8::leading_whitespace(text), text.size());
      return {};
    case NormalizerKind::kStripRight:
      out->copy(0, text.size() - utf8::trailing_whitespace(text));
      return {};
    case NormalizerKind::kStripAccents:
      map_characters(text, out, without_accent);
      return {};
  }
  return error(Code::kInternal, "unknown normalizer step");
}

}  // namespace

Result<Normalizer> Normalizer::create(const std::vector<NormalizerStep>& steps) {
  Normalizer result;
  for (const NormalizerStep& spec : steps) {
    Step step{spec, std::nullopt};
    if (spec.kind == NormalizerKind::kReplaceRegex) {
      step.regex = BP_TRY(Regex::compile(spec.pattern).with_context("normalizer"));
    }
    result.steps_.push_back(std::move(step));
  }
  return result;
}

Status Normalizer::apply(std::string* text, PermissionMap* permissions,
                         MatchScratch* scratch) const {
  for (const Step& step : steps_) {
    Builder out(*text, *permissions);
    BP_TRY(run_step(step.spec, step.regex ? &*step.regex : nullptr, *text, *permissions, scratch,
                    &out));
    *text = std::move(out.text);
    *permissions = std::move(out.map);
  }
  return {};
}

}  // namespace bp::text
