// SPDX-License-Identifier: Apache-2.0
// Python's operations on strings, on texts that keep their origin.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/text/template/heap.h"
#include "core/text/template/origin_text.h"
#include "core/text/template/unicode.h"

namespace bp::jinja {

// strip(), lstrip(), rstrip(): of whitespace, or of the given characters.
Text strip_text(const Text& text, std::optional<std::string_view> chars, bool left, bool right);

// replace(); a negative count replaces all. An empty `old` matches between all characters.
Result<Text> replace_text(Heap& heap, const Text& text, const Text& old, const Text& fresh,
                          int64_t count);

enum class CaseChange : uint8_t { kUpper, kLower, kCapitalize, kTitle, kSwap };
Result<Text> change_case(Heap& heap, const Text& text, CaseChange change);

// split() and rsplit(): at a separator, or at runs of whitespace. A negative limit is none.
Result<std::vector<Text>> split_text(Heap& heap, const Text& text,
                                     std::optional<std::string_view> separator, int64_t max_splits,
                                     bool from_right);
Result<std::vector<Text>> split_lines(Heap& heap, const Text& text, bool keep_ends);

// Pads with copies of `fill` (one character) to a width in characters.
Result<Text> pad_text(Heap& heap, const Text& text, int64_t width_chars, std::string_view fill,
                      char alignment);

// str.isupper() and str.islower(): something is cased, and nothing is of the other case.
bool is_text_of_case(const Text& text, bool upper);

}  // namespace bp::jinja
