// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/number_format.h"

#include <cmath>

#include "core/text/template/number_text.h"
#include "core/text/template/text_ops.h"

namespace bp::jinja {
namespace {

std::string grouped(const std::string& digits, char separator, size_t size) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % size == 0) out.push_back(separator);
    out.push_back(digits[i]);
  }
  return out;
}

std::string sign_text(bool negative, char sign) {
  if (negative) return "-";
  return sign == '-' || sign == 0 ? std::string() : std::string(1, sign);
}

Result<NumberText> format_integer(int64_t value, const FormatSpec& spec) {
  NumberText out;
  out.sign = sign_text(value < 0, spec.sign);
  const char type = spec.type;
  const unsigned base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
  out.digits = unsigned_digits(magnitude(value), base, type == 'X');
  if (spec.grouping != 0) out.digits = grouped(out.digits, spec.grouping, base == 10 ? 3 : 4);
  if (spec.alternate && base != 10) {
    out.sign += '0';
    out.sign += type;
  }
  return out;
}

Result<NumberText> format_real(double value, const FormatSpec& spec) {
  NumberText out;
  char type = spec.type;
  const bool percent = type == '%';
  if (percent) {
    value *= 100;
    type = 'f';
  }
  std::string text;
  if (type == 0 && !spec.precision) {
    text = float_repr(value);
  } else {
    const int64_t precision = spec.precision.value_or(6);
    if (precision > kMaxFormatWidth) {
      return error(Code::kExhausted, "a precision is larger than kMaxFormatWidth = {}",
                   kMaxFormatWidth);
    }
    const int64_t used =
        (type == 'g' || type == 'G' || type == 0) && precision == 0 ? 1 : precision;
    text = float_format(value, type == 0 ? 'g' : type, static_cast<int>(used), spec.alternate);
    if (type == 0 && text.find_first_not_of("-0123456789") == std::string::npos) text += ".0";
  }
  const bool negative = !text.empty() && text[0] == '-';
  out.sign = sign_text(negative, spec.sign);
  out.digits = negative ? text.substr(1) : text;
  if (spec.grouping != 0) {
    const size_t whole = out.digits.find_first_not_of("0123456789");
    out.digits = grouped(out.digits.substr(0, whole), spec.grouping, 3) +
                 (whole == std::string::npos ? "" : out.digits.substr(whole));
  }
  if (percent) out.digits += '%';
  return out;
}

}  // namespace

Result<NumberText> format_number(const Value& value, const FormatSpec& spec) {
  constexpr std::string_view kIntegerTypes = "bodxXn", kRealTypes = "eEfFgG%";
  const bool known = spec.type == 0 || kIntegerTypes.find(spec.type) != std::string_view::npos ||
                     kRealTypes.find(spec.type) != std::string_view::npos;
  const bool integral = value.is_integral();
  const bool wants_real = kRealTypes.find(spec.type) != std::string_view::npos;
  if (!known || (!integral && spec.type != 0 && spec.type != 'n' && !wants_real)) {
    return error(Code::kInvalidArgument, "Unknown format code '{}' for object of type '{}'",
                 spec.type, type_name(value));
  }
  if (integral && !(wants_real && spec.type != 0)) {
    if (spec.precision) {
      return error(Code::kInvalidArgument, "Precision not allowed in integer format specifier");
    }
    return format_integer(value.as_int(), spec);
  }
  FormatSpec real = spec;
  if (real.type == 'n') real.type = 'g';
  return format_real(value.as_real(), real);
}

Result<Text> lay_out(Heap& heap, const Text& sign, const Text& body, const FormatSpec& spec,
                     bool is_number) {
  if (spec.width > kMaxFormatWidth) {
    return error(Code::kExhausted, "a field is wider than kMaxFormatWidth = {}", kMaxFormatWidth);
  }
  const char alignment = spec.alignment != 0 ? spec.alignment : is_number ? '>' : '<';
  Text whole = sign;
  if (alignment == '=') {
    const auto used = static_cast<int64_t>(count_chars(sign.bytes()));
    whole.append(BP_TRY(pad_text(heap, body, spec.width - used, spec.fill, '>')));
    return whole;
  }
  whole.append(body);
  return pad_text(heap, whole, spec.width, spec.fill, alignment);
}

}  // namespace bp::jinja
