// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/number_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "core/text/template/unicode.h"

namespace bp::jinja {
namespace {

constexpr int kMaxFloatPrecision = 1000;  // longer than any exact decimal expansion that matters

std::string_view strip(std::string_view text) {
  const size_t begin = skip_space(text, 0);
  return text.substr(begin, skip_space_back(text, begin, text.size()) - begin);
}

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

// Removes underscores between digits; false when one stands anywhere else.
bool drop_underscores(std::string_view text, std::string* out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out->push_back(text[i]);
      continue;
    }
    if (i == 0 || i + 1 == text.size() || digit_value(text[i - 1]) == 99 ||
        digit_value(text[i + 1]) == 99) {
      return false;
    }
  }
  return true;
}

}  // namespace

Status integer_overflow() {
  return error(Code::kExhausted, "an integer does not fit into 64 bits");
}

uint64_t magnitude(int64_t value) noexcept {
  return value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<size_t>(end.ptr - buffer.data()));
  const size_t e = text.find('e');
  std::string sign, digits;
  for (const char c : text.substr(0, e)) {
    if (c == '-') sign.assign(1, c);
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    return fmt::format("{}{}{}{}e{}{:02}", sign, digits.substr(0, 1), count > 1 ? "." : "",
                       digits.substr(1), exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  const auto zeros = [](int n) { return std::string(static_cast<size_t>(n), '0'); };
  if (exponent < 0) return fmt::format("{}0.{}{}", sign, zeros(-exponent - 1), digits);
  if (count <= exponent + 1) {
    return fmt::format("{}{}{}.0", sign, digits, zeros(exponent + 1 - count));
  }
  const auto point = static_cast<size_t>(exponent + 1);
  return fmt::format("{}{}.{}", sign, digits.substr(0, point), digits.substr(point));
}

std::string float_format(double value, char kind, int precision, bool alternate) {
  const bool upper = kind >= 'A' && kind <= 'Z';
  if (std::isnan(value)) return upper ? "NAN" : "nan";
  if (std::isinf(value)) return fmt::format("{}{}", value < 0 ? "-" : "", upper ? "INF" : "inf");
  precision = std::clamp(precision, 0, kMaxFloatPrecision);
  const std::string spec = fmt::format("%{}.*{}", alternate ? "#" : "", kind);
  // The format is built from a checked letter, so the arguments always match it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  const int size = std::snprintf(nullptr, 0, spec.c_str(), precision, value);
  if (size < 0) return {};
  std::string out(static_cast<size_t>(size) + 1, '\0');
  std::snprintf(out.data(), out.size(), spec.c_str(), precision, value);
#pragma GCC diagnostic pop
  out.pop_back();
  return out;
}

std::string unsigned_digits(uint64_t value, unsigned base, bool upper) {
  std::array<char, 64> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, static_cast<int>(base));
  std::string out(buffer.data(), end.ptr);
  if (upper) {
    for (char& c : out) {
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
  }
  return out;
}

Result<std::optional<int64_t>> parse_integer(std::string_view text, int base) {
  text = strip(text);
  bool negative = false;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.size() > 1 && text[0] == '0') {
    const char letter = static_cast<char>(text[1] | 0x20);
    const int prefix = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefix != 0 && (base == prefix || base == 0)) {
      base = prefix;
      text.remove_prefix(2);
      if (!text.empty() && text[0] == '_') text.remove_prefix(1);
    } else if (base == 0 && text.find_first_not_of("0_") != std::string_view::npos) {
      return std::optional<int64_t>();  // 010 is ambiguous to Python
    }
  }
  if (base == 0) base = 10;
  std::string digits;
  if (text.empty() || base < 2 || base > 36 || !drop_underscores(text, &digits)) {
    return std::optional<int64_t>();
  }
  for (const char c : digits) {
    if (digit_value(c) >= base) return std::optional<int64_t>();
  }
  uint64_t value = 0;
  const uint64_t most = uint64_t{1} << 63;
  for (const char c : digits) {
    if (__builtin_mul_overflow(value, static_cast<uint64_t>(base), &value) ||
        __builtin_add_overflow(value, static_cast<uint64_t>(digit_value(c)), &value) ||
        value > most) {
      return integer_overflow();
    }
  }
  if (!negative && value == most) return integer_overflow();
  return std::optional<int64_t>(static_cast<int64_t>(negative ? uint64_t{0} - value : value));
}

std::optional<double> parse_float(std::string_view text) {
  text = strip(text);
  std::string clean;
  if (text.empty() || !drop_underscores(text, &clean)) return std::nullopt;
  bool negative = false;
  std::string_view rest = clean;
  if (!rest.empty() && (rest[0] == '+' || rest[0] == '-')) {
    negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  std::string lower(rest);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  double value = 0;
  if (lower == "inf" || lower == "infinity") {
    value = std::numeric_limits<double>::infinity();
  } else if (lower == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (lower.empty() || (lower[0] != '.' && (lower[0] < '0' || lower[0] > '9'))) {
      return std::nullopt;
    }
    const auto end = std::from_chars(lower.data(), lower.data() + lower.size(), value);
    if (end.ptr != lower.data() + lower.size()) return std::nullopt;
    if (end.ec == std::errc::result_out_of_range) {
      // Too small becomes 0, too large infinity; the exponent's sign tells which.
      value = lower.find("e-") != std::string::npos ? 0.0 : std::numeric_limits<double>::infinity();
    } else if (end.ec != std::errc()) {
      return std::nullopt;
    }
  }
  return negative ? -value : value;
}

Result<int64_t> float_to_integer(double value) {
  if (std::isnan(value)) {
    return error(Code::kInvalidArgument, "cannot convert float NaN to integer");
  }
  if (std::isinf(value)) {
    return error(Code::kInvalidArgument, "cannot convert float infinity to integer");
  }
  if (value >= 9223372036854775808.0 || value < -9223372036854775808.0) return integer_overflow();
  return static_cast<int64_t>(value);
}

}  // namespace bp::jinja
