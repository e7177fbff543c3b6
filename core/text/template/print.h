// SPDX-License-Identifier: Apache-2.0
// Values as text: Python's str() and repr(), and Hugging Face's `tojson`.
#pragma once

#include <optional>

#include "core/base/status.h"
#include "core/text/template/heap.h"
#include "core/text/template/value.h"

namespace bp::jinja {

// str(value), which is what {{ value }} prints. Undefined is nothing.
Status append_str(Heap& heap, const Value& value, Text* out);
Status append_repr(Heap& heap, const Value& value, Text* out);
// str(value) as a text of its own.
Result<Text> to_text(Heap& heap, const Value& value);
// repr() for error messages, cut to a sensible length.
std::string short_repr(const Value& value);
// repr() of a string.
void append_quoted(const Text& text, Text* out);

// Arguments of json.dumps() that the filter passes on.
struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<Text> indent;  // absent: everything on one line
  Text item_separator = Text(", ", false);
  Text key_separator = Text(": ", false);
  bool sort_keys = false;
};
Status append_json(Heap& heap, const Value& value, const JsonStyle& style, Text* out);

}  // namespace bp::jinja
