// SPDX-License-Identifier: Apache-2.0
// Numbers as Python writes and reads them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/status.h"

namespace bp::jinja {

// repr(float): the shortest text that reads back as the same number ("1.0", "1e+16", "inf").
std::string float_repr(double value);
// "%.<precision><kind>" for kind e, f, g, E, F, G; exact decimal rounding. `alternate` is '#'.
std::string float_format(double value, char kind, int precision, bool alternate = false);
// Digits of a number in base 2 to 16, without sign and prefix.
std::string unsigned_digits(uint64_t value, unsigned base, bool upper = false);
// |value| without overflow.
uint64_t magnitude(int64_t value) noexcept;

// int(text, base) with Python's spaces, signs, underscores and prefixes. Empty when the text is no
// integer; EXHAUSTED when it is one that 64 bits do not hold.
Result<std::optional<int64_t>> parse_integer(std::string_view text, int base = 10);
// float(text).
std::optional<double> parse_float(std::string_view text);

// A float that is to become an integer, truncated: fails like int(float).
Result<int64_t> float_to_integer(double value);

Status integer_overflow();

}  // namespace bp::jinja
