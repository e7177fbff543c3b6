// SPDX-License-Identifier: Apache-2.0
// Methods of str.
#include <algorithm>

#include "core/text/template/arguments.h"
#include "core/text/template/methods.h"
#include "core/text/template/print.h"
#include "core/text/template/search.h"
#include "core/text/template/string_format.h"
#include "core/text/template/text_ops.h"

namespace bp::jinja {
namespace {

Result<Value> as_string(Machine& machine, const Value& self, Text text) {
  return machine.heap().string(std::move(text), self.str().markup);
}

Result<Value> strings(Machine& machine, const Value& self, std::vector<Text> parts, Kind kind) {
  std::vector<Value> out;
  out.reserve(parts.size());
  for (Text& part : parts) out.push_back(BP_TRY(as_string(machine, self, std::move(part))));
  return machine.heap().sequence(kind, std::move(out), self.content());
}

template <CaseChange kChange>
Result<Value> change(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("str method", arguments, 0, 0));
  return as_string(machine, self, BP_TRY(change_case(machine.heap(), self.text(), kChange)));
}

template <bool kLeft, bool kRight>
Result<Value> strip(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("strip", arguments, 0, 1));
  std::optional<std::string_view> chars;
  if (!arguments.positional.empty() && !arguments.positional[0].is_none()) {
    if (!arguments.positional[0].is_string()) {
      return error(Code::kInvalidArgument, "strip arg must be None or str");
    }
    chars = arguments.positional[0].bytes();
  }
  BP_TRY(machine.heap().step(self.text().size() / 16));
  return as_string(machine, self, strip_text(self.text(), chars, kLeft, kRight));
}

// The part of the string that optional start and stop arguments select, as byte offsets.
struct Window {
  size_t begin = 0, end = 0;
  int64_t first_char = 0;
  bool valid = true;  // start is not behind the end
};

Result<Window> window_of(Machine& machine, const Value& self, const Bound& bound, size_t at) {
  Window out;
  const auto count = static_cast<int64_t>(self.str().length_chars);
  const auto place = [count](int64_t i) { return i < 0 ? std::max<int64_t>(i + count, 0) : i; };
  const int64_t start = place(BP_TRY(bound.integer(at, 0)));
  const int64_t stop = std::min(place(BP_TRY(bound.integer(at + 1, count))), count);
  out.valid = start <= stop && start <= count;
  if (!out.valid) return out;
  out.first_char = start;
  if (!self.str().ascii) BP_TRY(machine.heap().step(self.text().size() / 16));
  const auto offset = [&self](int64_t i) {
    const auto index = static_cast<size_t>(i);
    return self.str().ascii ? index : char_offset(self.bytes(), index);
  };
  out.begin = offset(start);
  out.end = offset(stop);
  return out;
}

Result<int64_t> find_char_index(Machine& machine, const Value& self, Arguments& arguments,
                                std::string_view name, bool from_right) {
  BP_TRY(expect_positional(name, arguments, 1, 3));
  const Bound bound = BP_TRY(Bound::bind(name, arguments, {"sub", "start", "end"}, 1));
  const Text wanted = BP_TRY(bound.text(0, ""));
  const Window window = BP_TRY(window_of(machine, self, bound, 1));
  if (!window.valid) return int64_t{-1};
  BP_TRY(machine.heap().step(self.text().size() / 32));
  const std::string_view part = self.bytes().substr(window.begin, window.end - window.begin);
  const Needle needle(wanted.bytes());
  const size_t at = from_right ? needle.rfind_in(part, part.size()) : needle.find_in(part, 0);
  if (at == std::string_view::npos) return int64_t{-1};
  return window.first_char + static_cast<int64_t>(count_chars(part.substr(0, at)));
}

template <bool kFromRight>
Result<Value> find(Machine& machine, const Value& self, Arguments& arguments) {
  return Value::integer(
      BP_TRY(find_char_index(machine, self, arguments, kFromRight ? "rfind" : "find", kFromRight)));
}

template <bool kFromRight>
Result<Value> index(Machine& machine, const Value& self, Arguments& arguments) {
  const int64_t at = BP_TRY(
      find_char_index(machine, self, arguments, kFromRight ? "rindex" : "index", kFromRight));
  if (at < 0) return error(Code::kInvalidArgument, "substring not found");
  return Value::integer(at);
}

Result<Value> count(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("count", arguments, 1, 3));
  const Bound bound = BP_TRY(Bound::bind("count", arguments, {"sub", "start", "end"}, 1));
  const Text wanted = BP_TRY(bound.text(0, ""));
  const Window window = BP_TRY(window_of(machine, self, bound, 1));
  if (!window.valid) return Value::integer(0);
  BP_TRY(machine.heap().step(self.text().size() / 16));
  const std::string_view part = self.bytes().substr(window.begin, window.end - window.begin);
  if (wanted.empty()) return Value::integer(static_cast<int64_t>(count_chars(part)) + 1);
  const Needle needle(wanted.bytes());
  int64_t found = 0;
  for (size_t at = needle.find_in(part, 0); at != std::string_view::npos;
       at = needle.find_in(part, at + wanted.size())) {
    ++found;
  }
  return Value::integer(found);
}

template <bool kStart>
Result<Value> starts_or_ends_with(Machine& machine, const Value& self, Arguments& arguments) {
  const std::string_view name = kStart ? "startswith" : "endswith";
  BP_TRY(expect_positional(name, arguments, 1, 3));
  const Bound bound = BP_TRY(Bound::bind(name, arguments, {"prefix", "start", "end"}, 1));
  const Window window = BP_TRY(window_of(machine, self, bound, 1));
  std::vector<Value> options = {*bound[0]};
  if (bound[0]->is(Kind::kTuple)) options = bound[0]->seq().items;
  const std::string_view part =
      window.valid ? self.bytes().substr(window.begin, window.end - window.begin) : "";
  for (const Value& option : options) {
    if (!option.is_string()) {
      return error(Code::kInvalidArgument, "{} first arg must be str or a tuple of str, not {}",
                   name, type_name(option));
    }
    BP_TRY(machine.heap().step(1 + option.bytes().size() / 64));
    if (!window.valid) continue;
    if (kStart ? part.starts_with(option.bytes()) : part.ends_with(option.bytes())) {
      return Value::boolean(true);
    }
  }
  return Value::boolean(false);
}

template <bool kFromRight>
Result<Value> split(Machine& machine, const Value& self, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("split", arguments, {"sep", "maxsplit"}));
  std::optional<std::string_view> separator;
  if (bound.given(0) && !bound[0]->is_none()) {
    if (!bound[0]->is_string()) {
      return error(Code::kInvalidArgument, "must be str or None, not {}", type_name(*bound[0]));
    }
    separator = bound[0]->bytes();
  }
  const int64_t limit = BP_TRY(bound.integer(1, -1));
  auto parts = BP_TRY(split_text(machine.heap(), self.text(), separator, limit, kFromRight));
  return strings(machine, self, std::move(parts), Kind::kList);
}

Result<Value> splitlines(Machine& machine, const Value& self, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("splitlines", arguments, {"keepends"}));
  auto lines = BP_TRY(split_lines(machine.heap(), self.text(), bound.truthy(0, false)));
  return strings(machine, self, std::move(lines), Kind::kList);
}

template <bool kFromRight>
Result<Value> partition(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("partition", arguments, 1, 1));
  const Bound bound = BP_TRY(Bound::bind("partition", arguments, {"sep"}, 1));
  const Text separator = BP_TRY(bound.text(0, ""));
  if (separator.empty()) return error(Code::kInvalidArgument, "empty separator");
  const Text& text = self.text();
  BP_TRY(machine.heap().step(text.size() / 32));
  const Needle needle(separator.bytes());
  const size_t at =
      kFromRight ? needle.rfind_in(text.bytes(), text.size()) : needle.find_in(text.bytes(), 0);
  std::vector<Text> parts(3);
  if (at == std::string::npos) {
    parts[kFromRight ? 2 : 0] = text;
  } else {
    parts[0] = text.slice(0, at);
    parts[1] = text.slice(at, at + separator.size());
    parts[2] = text.slice(at + separator.size(), text.size());
  }
  return strings(machine, self, std::move(parts), Kind::kTuple);
}

Result<Value> replace(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("replace", arguments, 2, 3));
  const Bound bound = BP_TRY(Bound::bind("replace", arguments, {"old", "new", "count"}, 2));
  const Text old = BP_TRY(bound.text(0, "")), fresh = BP_TRY(bound.text(1, ""));
  const int64_t limit = BP_TRY(bound.integer(2, -1));
  return as_string(machine, self,
                   BP_TRY(replace_text(machine.heap(), self.text(), old, fresh, limit)));
}

Result<Value> join(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("join", arguments, 1, 1));
  const Value& source = arguments.positional[0];
  if (!source.is_sequence_object() && !source.is_dict() && !source.is_string() &&
      !source.is_undefined()) {
    return error(Code::kInvalidArgument, "can only join an iterable");
  }
  const std::vector<Value> items = BP_TRY(iterate(machine.heap(), source));
  Text out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string()) {
      return error(Code::kInvalidArgument, "sequence item {}: expected str instance, {} found", i,
                   type_name(items[i]));
    }
    BP_TRY(machine.heap().step());
    if (i > 0) out.append(self.text());
    out.append(items[i].text());
    if (out.size() > machine.heap().limits().max_string_bytes) break;  // string() says so
  }
  return as_string(machine, self, std::move(out));
}

template <char kAlignment>
Result<Value> pad(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("pad", arguments, 1, 2));
  const Bound bound = BP_TRY(Bound::bind("pad", arguments, {"width", "fillchar"}, 1));
  const int64_t width = BP_TRY(bound.integer(0, 0));
  const Text fill = BP_TRY(bound.text(1, " "));
  if (count_chars(fill.bytes()) != 1) {
    return error(Code::kInvalidArgument, "The fill character must be exactly one character long");
  }
  return as_string(machine, self,
                   BP_TRY(pad_text(machine.heap(), self.text(), width, fill.bytes(), kAlignment)));
}

Result<Value> zfill(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("zfill", arguments, 1, 1));
  const Bound bound = BP_TRY(Bound::bind("zfill", arguments, {"width"}, 1));
  const Text& text = self.text();
  const bool sign = !text.empty() && (text.bytes()[0] == '-' || text.bytes()[0] == '+');
  const int64_t width = BP_TRY(bound.integer(0, 0));
  const Text digits = text.slice(sign ? 1 : 0, text.size());
  const int64_t rest = sign && width > 0 ? width - 1 : width;
  Text out = text.slice(0, sign ? 1 : 0);
  out.append(BP_TRY(pad_text(machine.heap(), digits, rest, "0", '>')));
  return as_string(machine, self, std::move(out));
}

template <bool kPrefix>
Result<Value> remove_affix(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional(kPrefix ? "removeprefix" : "removesuffix", arguments, 1, 1));
  const Bound bound = BP_TRY(Bound::bind("removeprefix", arguments, {"affix"}, 1));
  const Text affix = BP_TRY(bound.text(0, ""));
  const Text& text = self.text();
  const std::string_view bytes = text.bytes();
  if (kPrefix && bytes.starts_with(affix.bytes())) {
    return as_string(machine, self, text.slice(affix.size(), text.size()));
  }
  if (!kPrefix && bytes.ends_with(affix.bytes())) {
    return as_string(machine, self, text.slice(0, text.size() - affix.size()));
  }
  return self;
}

Result<Value> expandtabs(Machine& machine, const Value& self, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("expandtabs", arguments, {"tabsize"}));
  const int64_t width = BP_TRY(bound.integer(0, 8));
  const Text& text = self.text();
  Text out;
  int64_t column = 0;
  for (size_t i = 0; i < text.size();) {
    const Char c = decode_char(text.bytes(), i);
    BP_TRY(machine.heap().step());
    if (c.code == '\t') {
      const int64_t spaces = width > 0 ? width - column % width : 0;
      BP_TRY(machine.heap().reserve_string(out.size() + static_cast<uint64_t>(spaces)));
      out.append(std::string(static_cast<size_t>(spaces), ' '), text.content_at(i));
      column += spaces;
    } else {
      out.append(text, i, i + c.size_bytes);
      column = c.code == '\n' || c.code == '\r' ? 0 : column + 1;
    }
    i += c.size_bytes;
  }
  return as_string(machine, self, std::move(out));
}

template <CharClass... kClasses>
Result<Value> is_all(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("is…", arguments, 0, 0));
  BP_TRY(machine.heap().step(self.text().size() / 8));
  const std::string_view bytes = self.bytes();
  for (size_t i = 0; i < bytes.size();) {
    const Char c = decode_char(bytes, i);
    if (!c.valid || !(is_class(c.code, kClasses) || ...)) return Value::boolean(false);
    i += c.size_bytes;
  }
  return Value::boolean(!bytes.empty());
}

Result<Value> isascii(Machine&, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("isascii", arguments, 0, 0));
  return Value::boolean(self.str().ascii);
}

Result<Value> isprintable(Machine&, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("isprintable", arguments, 0, 0));
  const std::string_view bytes = self.bytes();
  for (size_t i = 0; i < bytes.size();) {
    const Char c = decode_char(bytes, i);
    if (!c.valid || is_class(c.code, CharClass::kUnprintable)) return Value::boolean(false);
    i += c.size_bytes;
  }
  return Value::boolean(true);
}

Result<Value> istitle(Machine&, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("istitle", arguments, 0, 0));
  bool cased = false, after_cased = false;
  const std::string_view bytes = self.bytes();
  for (size_t i = 0; i < bytes.size();) {
    const Char c = decode_char(bytes, i);
    const bool upper =
        is_class(c.code, CharClass::kUppercase) || is_class(c.code, CharClass::kTitlecase);
    const bool lower = !upper && is_class(c.code, CharClass::kLowercase);
    if ((upper && after_cased) || (lower && !after_cased)) return Value::boolean(false);
    after_cased = upper || lower;
    cased |= after_cased;
    i += c.size_bytes;
  }
  return Value::boolean(cased);
}

Result<Value> format(Machine& machine, const Value& self, Arguments& arguments) {
  return format_braces(machine, self, arguments);
}

Result<Value> format_map(Machine& machine, const Value& self, Arguments& arguments) {
  if (!arguments.keyword.empty()) {
    return error(Code::kInvalidArgument, "format_map() takes no keyword arguments");
  }
  if (arguments.positional.size() != 1 || !arguments.positional[0].is_dict()) {
    return error(Code::kInvalidArgument, "format_map() takes exactly one argument ({} given)",
                 arguments.positional.size());
  }
  Arguments named;
  for (const auto& [key, value] : arguments.positional[0].dict().entries) {
    if (key.is_string()) named.keyword.emplace_back(std::string(key.bytes()), value);
  }
  BP_TRY(machine.heap().step(named.keyword.size()));
  return format_braces(machine, self, named);
}

Result<Value> not_supported(Machine&, const Value&, Arguments&) {
  return error(Code::kUnimplemented, "this method of str is not part of chat templates");
}

template <bool kUpper>
Result<Value> is_case(Machine&, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("is…", arguments, 0, 0));
  return Value::boolean(is_text_of_case(self.text(), kUpper));
}

using enum CharClass;
constexpr Method kStringMethods[] = {
    {"capitalize", change<CaseChange::kCapitalize>},
    {"casefold", not_supported},
    {"center", pad<'c'>},
    {"count", count},
    {"encode", not_supported},
    {"endswith", starts_or_ends_with<false>},
    {"expandtabs", expandtabs},
    {"find", find<false>},
    {"format", format},
    {"format_map", format_map},
    {"index", index<false>},
    {"isalnum", is_all<kAlphabetic, kDecimal, kDigit, kNumeric>},
    {"isalpha", is_all<kAlphabetic>},
    {"isascii", isascii},
    {"isdecimal", is_all<kDecimal>},
    {"isdigit", is_all<kDigit>},
    {"isidentifier", not_supported},
    {"islower", is_case<false>},
    {"isnumeric", is_all<kNumeric>},
    {"isprintable", isprintable},
    {"isspace", is_all<kSpace>},
    {"istitle", istitle},
    {"isupper", is_case<true>},
    {"join", join},
    {"ljust", pad<'<'>},
    {"lower", change<CaseChange::kLower>},
    {"lstrip", strip<true, false>},
    {"maketrans", not_supported},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<true>},
    {"removesuffix", remove_affix<false>},
    {"replace", replace},
    {"rfind", find<true>},
    {"rindex", index<true>},
    {"rjust", pad<'>'>},
    {"rpartition", partition<true>},
    {"rsplit", split<true>},
    {"rstrip", strip<false, true>},
    {"split", split<false>},
    {"splitlines", splitlines},
    {"startswith", starts_or_ends_with<true>},
    {"strip", strip<true, true>},
    {"swapcase", change<CaseChange::kSwap>},
    {"title", change<CaseChange::kTitle>},
    {"translate", not_supported},
    {"upper", change<CaseChange::kUpper>},
    {"zfill", zfill},
};

}  // namespace

const Method* find_string_method(std::string_view name) {
  return find_in(kStringMethods, name);
}

}  // namespace bp::jinja
