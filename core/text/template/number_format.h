// SPDX-License-Identifier: Apache-2.0
// Laying out one value under a format: sign, padding, precision, digit grouping.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/base/status.h"
#include "core/text/template/heap.h"

namespace bp::jinja {

inline constexpr int64_t kMaxFormatWidth = 1 << 16;  // of one field, in characters

struct FormatSpec {
  std::string fill = " ";
  char alignment = 0;  // < > ^ = or 0 for the type's own
  char sign = 0;       // - + space, or 0 when not said: as -
  bool alternate = false;
  char grouping = 0;  // , or _
  int64_t width = 0;
  std::optional<int64_t> precision;
  char type = 0;
};

// A number's sign and prefix, and its digits: what '=' alignment parts.
struct NumberText {
  std::string sign;
  std::string digits;
};

// Types b o x X d n c e E f F g G %, or 0 for what str() gives. Fails for others.
Result<NumberText> format_number(const Value& value, const FormatSpec& spec);

// Text under width, alignment and fill; numbers go to the right unless told otherwise.
Result<Text> lay_out(Heap& heap, const Text& sign, const Text& body, const FormatSpec& spec,
                     bool is_number);

}  // namespace bp::jinja
