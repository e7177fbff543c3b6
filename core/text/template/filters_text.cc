// SPDX-License-Identifier: Apache-2.0
// Filters that make or change strings.
#include <algorithm>

#include "core/text/template/arguments.h"
#include "core/text/template/escape_html.h"
#include "core/text/template/filters.h"
#include "core/text/template/print.h"
#include "core/text/template/string_format.h"
#include "core/text/template/text_ops.h"

namespace bp::jinja {
namespace {

bool is_markup(const Value& value) {
  return value.is_string() && value.str().markup;
}

Result<Value> changed(Machine& machine, const Value& value, Arguments& arguments,
                      CaseChange change) {
  BP_TRY(expect_positional("filter", arguments, 0, 0));
  const Text text = BP_TRY(to_text(machine.heap(), value));
  return machine.heap().string(BP_TRY(change_case(machine.heap(), text, change)), is_markup(value));
}

bool separates_words(char c) {
  return c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
}

// Appends a word with its first character in upper case and the rest in lower case.
Status append_titled(Heap& heap, const Text& word, Text* out) {
  const size_t first = word.empty() ? 0 : decode_char(word.bytes(), 0).size_bytes;
  out->append(BP_TRY(change_case(heap, word.slice(0, first), CaseChange::kUpper)));
  out->append(BP_TRY(change_case(heap, word.slice(first, word.size()), CaseChange::kLower)));
  return {};
}

}  // namespace

Result<Value> filter_upper(Machine& m, const Value& value, Arguments& arguments) {
  return changed(m, value, arguments, CaseChange::kUpper);
}
Result<Value> filter_lower(Machine& m, const Value& value, Arguments& arguments) {
  return changed(m, value, arguments, CaseChange::kLower);
}
Result<Value> filter_capitalize(Machine& m, const Value& value, Arguments& arguments) {
  return changed(m, value, arguments, CaseChange::kCapitalize);
}

Result<Value> filter_title(Machine& machine, const Value& value, Arguments& arguments) {
  BP_TRY(expect_positional("title", arguments, 0, 0));
  const Text text = BP_TRY(to_text(machine.heap(), value));
  const std::string_view bytes = text.bytes();
  Text out;
  size_t word = 0;
  for (size_t i = 0; i < bytes.size();) {
    const Char c = decode_char(bytes, i);
    const bool separator = c.valid && (is_class(c.code, CharClass::kSpace) ||
                                       (c.code < 0x80 && separates_words(bytes[i])));
    const size_t next = i + c.size_bytes;
    if (separator) {
      BP_TRY(append_titled(machine.heap(), text.slice(word, i), &out));
      out.append(text, i, next);
      word = next;
    }
    i = next;
  }
  BP_TRY(append_titled(machine.heap(), text.slice(word, bytes.size()), &out));
  return machine.heap().string(std::move(out));
}

Result<Value> filter_trim(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_trim", arguments, {"chars"}));
  const Text text = BP_TRY(to_text(machine.heap(), value));
  std::optional<std::string_view> chars;
  if (bound.given(0) && !bound[0]->is_none()) {
    if (!bound[0]->is_string()) {
      return error(Code::kInvalidArgument, "strip arg must be None or str");
    }
    chars = bound[0]->bytes();
  }
  return machine.heap().string(strip_text(text, chars, true, true), is_markup(value));
}

Result<Value> filter_replace(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_replace", arguments, {"old", "new", "count"}, 2));
  const Text text = BP_TRY(to_text(machine.heap(), value));
  const Text old = BP_TRY(to_text(machine.heap(), *bound[0]));
  const Text fresh = BP_TRY(to_text(machine.heap(), *bound[1]));
  const int64_t count = BP_TRY(bound.integer(2, -1));
  return machine.heap().string(BP_TRY(replace_text(machine.heap(), text, old, fresh, count)));
}

Result<Value> filter_string(Machine& machine, const Value& value, Arguments& arguments) {
  BP_TRY(expect_positional("string", arguments, 0, 0));
  if (value.is_string()) return value;
  return machine.heap().string(BP_TRY(to_text(machine.heap(), value)));
}

Result<Value> filter_escape(Machine& machine, const Value& value, Arguments& arguments) {
  BP_TRY(expect_positional("escape", arguments, 0, 0));
  if (is_markup(value)) return value;
  return filter_forceescape(machine, value, arguments);
}

Result<Value> filter_forceescape(Machine& machine, const Value& value, Arguments& arguments) {
  BP_TRY(expect_positional("forceescape", arguments, 0, 0));
  const Text text = BP_TRY(to_text(machine.heap(), value));
  BP_TRY(machine.heap().reserve_string(text.size()));
  return machine.heap().string(escape_html(text), true);
}

Result<Value> filter_safe(Machine& machine, const Value& value, Arguments& arguments) {
  BP_TRY(expect_positional("safe", arguments, 0, 0));
  return machine.heap().string(BP_TRY(to_text(machine.heap(), value)), true);
}

Result<Value> filter_format(Machine& machine, const Value& value, Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.keyword.empty()) {
    return error(Code::kInvalidArgument,
                 "can't handle positional and keyword arguments at the same time");
  }
  Heap& heap = machine.heap();
  const Value format =
      value.is_string() ? value : BP_TRY(heap.string(BP_TRY(to_text(heap, value))));
  if (arguments.keyword.empty()) {
    return format_percent(heap, format, BP_TRY(heap.tuple(std::move(arguments.positional), false)));
  }
  std::vector<std::pair<Value, Value>> entries;
  for (const auto& [name, item] : arguments.keyword) {
    entries.emplace_back(Value::string(Text(name, false)), item);
  }
  return format_percent(heap, format, BP_TRY(heap.dict(std::move(entries), false)));
}

Result<Value> filter_indent(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_indent", arguments, {"width", "first", "blank"}));
  if (!value.is_string()) {
    if (value.is_undefined()) return fail_undefined(value);
    return error(Code::kInvalidArgument, "unsupported operand type(s) for +=: '{}' and 'str'",
                 type_name(value));
  }
  Heap& heap = machine.heap();
  Text indention;
  if (bound.given(0) && bound[0]->is_string()) {
    indention = bound[0]->text();
  } else {
    const int64_t width = BP_TRY(bound.integer(0, 4));
    indention = BP_TRY(pad_text(heap, Text(), width, " ", '<'));
  }
  const bool blank = bound.truthy(2, false);
  Text whole = value.text();
  whole.append("\n", false);
  const std::vector<Text> lines = BP_TRY(split_lines(heap, whole, false));
  Text out;
  if (bound.truthy(1, false)) out.append(indention);
  for (size_t i = 0; i < lines.size(); ++i) {
    BP_TRY(heap.step());
    if (i > 0) {
      out.append("\n", value.text().has_content());
      if (blank || !lines[i].empty()) out.append(indention);
    }
    out.append(lines[i]);
    if (out.size() > heap.limits().max_string_bytes) return heap.reserve_string(out.size());
  }
  return heap.string(std::move(out), is_markup(value));
}

Result<Value> filter_center(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_center", arguments, {"width"}));
  const Text text = BP_TRY(to_text(machine.heap(), value));
  return machine.heap().string(
      BP_TRY(pad_text(machine.heap(), text, BP_TRY(bound.integer(0, 80)), " ", 'c')));
}

Result<Value> filter_wordcount(Machine& machine, const Value& value, Arguments& arguments) {
  BP_TRY(expect_positional("wordcount", arguments, 0, 0));
  const Text text = BP_TRY(to_text(machine.heap(), value));
  BP_TRY(machine.heap().step(text.size() / 8));
  int64_t words = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size();) {
    const Char c = decode_char(text.bytes(), i);
    const bool word = c.valid && (c.code == '_' || is_class(c.code, CharClass::kAlphabetic) ||
                                  is_class(c.code, CharClass::kNumeric));
    if (word && !inside) ++words;
    inside = word;
    i += c.size_bytes;
  }
  return Value::integer(words);
}

Result<Value> filter_truncate(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound =
      BP_TRY(Bound::bind("do_truncate", arguments, {"length", "killwords", "end", "leeway"}));
  const int64_t length = BP_TRY(bound.integer(0, 255));
  const Text end = BP_TRY(bound.text(2, "..."));
  const int64_t leeway = BP_TRY(bound.integer(3, 5));
  const auto end_chars = static_cast<int64_t>(count_chars(end.bytes()));
  if (length < end_chars) {
    return error(Code::kInvalidArgument, "expected length >= {}, got {}", end_chars, length);
  }
  if (leeway < 0) return error(Code::kInvalidArgument, "expected leeway >= 0, got {}", leeway);
  if (BP_TRY(length_of(machine, value)) - length <= leeway) return value;
  if (!value.is_string()) return error(Code::kInvalidArgument, "truncate needs a string");
  const Text& text = value.text();
  Text out = text.slice(0, char_offset(text.bytes(), static_cast<size_t>(length - end_chars)));
  if (!bound.truthy(1, false)) {
    const size_t space = out.bytes().rfind(' ');
    if (space != std::string::npos) out = out.slice(0, space);
  }
  out.append(end);
  return machine.heap().string(std::move(out), is_markup(value));
}

Result<Value> filter_tojson(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(
      Bound::bind("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style;
  style.ensure_ascii = bound.truthy(0, false);
  style.sort_keys = bound.truthy(3, false);
  if (bound.given(1) && !bound[1]->is_none()) {
    style.item_separator = Text(",", false);
    if (bound[1]->is_string()) {
      style.indent = bound[1]->text();
    } else {
      const int64_t width = std::max<int64_t>(BP_TRY(bound.integer(1, 0)), 0);
      style.indent = BP_TRY(pad_text(machine.heap(), Text(), width, " ", '<'));
    }
  }
  if (bound.given(2) && !bound[2]->is_none()) {
    const std::vector<Value> parts = BP_TRY(iterate(machine.heap(), *bound[2]));
    if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string()) {
      return error(Code::kInvalidArgument, "separators must be two strings");
    }
    style.item_separator = parts[0].text();
    style.key_separator = parts[1].text();
  }
  Text out;
  BP_TRY(append_json(machine.heap(), value, style, &out));
  return machine.heap().string(std::move(out));
}

}  // namespace bp::jinja
