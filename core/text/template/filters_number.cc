// SPDX-License-Identifier: Apache-2.0
// Filters about numbers, and the small ones that suit any value.
#include <array>
#include <cmath>
#include <cstdlib>

#include "core/text/template/arguments.h"
#include "core/text/template/filters.h"
#include "core/text/template/number_text.h"
#include "core/text/template/print.h"

namespace bp::jinja {
namespace {

constexpr int64_t kMaxRoundDigits = 400;  // beyond every digit that a double has

// round(x, digits): exact on the decimal expansion, halves to even.
double round_real(double value, int64_t digits) {
  if (!std::isfinite(value) || digits > kMaxRoundDigits) return value;
  if (digits < -kMaxRoundDigits) return std::copysign(0.0, value);
  if (digits >= 0) {
    return std::strtod(float_format(value, 'f', static_cast<int>(digits)).c_str(), nullptr);
  }
  const double scale = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(value / scale) * scale;
}

Result<int64_t> round_integer(int64_t value, int64_t digits) {
  if (digits >= 0) return value;
  if (digits < -18) return int64_t{0};
  int64_t scale = 1;
  for (int64_t i = 0; i < -digits; ++i) scale *= 10;
  int64_t rest = value % scale;
  int64_t down = value - rest;
  if (rest < 0) {
    rest += scale;
    if (__builtin_sub_overflow(down, scale, &down)) return integer_overflow();
  }
  const bool odd = (down / scale) % 2 != 0;
  if (rest * 2 > scale || (rest * 2 == scale && odd)) {
    if (__builtin_add_overflow(down, scale, &down)) return integer_overflow();
  }
  return down;
}

}  // namespace

Result<Value> filter_abs(Machine&, const Value& value, Arguments& arguments) {
  BP_TRY(expect_positional("abs", arguments, 0, 0));
  if (value.is_integral()) {
    return value.as_int() < 0 ? negate(value) : Value::integer(value.as_int(), value.content());
  }
  if (value.is_number()) return Value::real(std::fabs(value.as_real()), value.content());
  return error(Code::kInvalidArgument, "bad operand type for abs(): '{}'", type_name(value));
}

Result<Value> filter_int(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_int", arguments, {"default", "base"}));
  const Value otherwise = bound.given(0) ? *bound[0] : Value::integer(0);
  if (value.is_undefined()) return fail_undefined(value);
  if (value.is_integral()) return Value::integer(value.as_int(), value.content());
  if (value.is_number()) {
    if (std::isnan(value.as_real())) return otherwise;
    return Value::integer(BP_TRY(float_to_integer(value.as_real())), value.content());
  }
  if (!value.is_string()) return otherwise;
  BP_TRY(machine.heap().step(value.bytes().size() / 16));
  const int64_t base = BP_TRY(bound.integer(1, 10));
  if (base != 0 && (base < 2 || base > 36)) return otherwise;
  const auto parsed = BP_TRY(parse_integer(value.bytes(), static_cast<int>(base)));
  if (parsed) return Value::integer(*parsed, value.content());
  const auto real = parse_float(value.bytes());
  if (!real || !std::isfinite(*real)) return otherwise;
  return Value::integer(BP_TRY(float_to_integer(*real)), value.content());
}

Result<Value> filter_float(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_float", arguments, {"default"}));
  if (value.is_undefined()) return fail_undefined(value);
  if (value.is_number()) return Value::real(value.as_real(), value.content());
  if (value.is_string()) {
    BP_TRY(machine.heap().step(value.bytes().size() / 16));
    if (const auto parsed = parse_float(value.bytes())) {
      return Value::real(*parsed, value.content());
    }
  }
  return bound.given(0) ? *bound[0] : Value::real(0.0);
}

Result<Value> filter_round(Machine&, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_round", arguments, {"precision", "method"}));
  const int64_t digits = BP_TRY(bound.integer(0, 0));
  const Text method = BP_TRY(bound.text(1, "common"));
  const bool ceil = method.bytes() == "ceil", floor = method.bytes() == "floor";
  if (!ceil && !floor && method.bytes() != "common") {
    return error(Code::kInvalidArgument, "method must be common, ceil or floor");
  }
  if (value.is_undefined()) return fail_undefined(value);
  if (!value.is_number()) {
    return error(Code::kInvalidArgument, "type {} doesn't define __round__ method",
                 type_name(value));
  }
  if (!ceil && !floor) {
    if (value.is_integral()) {
      return Value::integer(BP_TRY(round_integer(value.as_int(), digits)), value.content());
    }
    return Value::real(round_real(value.as_real(), digits), value.content());
  }
  if (digits > 300 || digits < -300) {
    return error(Code::kInvalidArgument, "int too large to convert to float");
  }
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = value.as_real() * scale;
  return Value::real((ceil ? std::ceil(scaled) : std::floor(scaled)) / scale, value.content());
}

Result<Value> filter_filesizeformat(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_filesizeformat", arguments, {"binary"}));
  const bool binary = bound.truthy(0, false);
  if (value.is_undefined()) return fail_undefined(value);
  std::optional<double> size;
  if (value.is_number()) size = value.as_real();
  if (value.is_string()) size = parse_float(value.bytes());
  if (!size) return error(Code::kInvalidArgument, "filesizeformat needs a number");
  const double base = binary ? 1024 : 1000;
  const bool content = value.content();
  if (*size == 1) return machine.heap().string("1 Byte", content);
  if (*size < base) {
    const int64_t whole = BP_TRY(float_to_integer(*size));
    return machine.heap().string(fmt::format("{} Bytes", whole), content);
  }
  constexpr std::string_view kPrefixes = "kMGTPEZY";
  double unit = base * base;
  size_t i = 0;
  while (i + 1 < kPrefixes.size() && *size >= unit) {
    unit *= base;
    ++i;
  }
  const char prefix = binary && i == 0 ? 'K' : kPrefixes[i];
  return machine.heap().string(fmt::format("{} {}{}", float_format(base * *size / unit, 'f', 1),
                                           prefix, binary ? "iB" : "B"),
                               content);
}

Result<Value> filter_default(Machine&, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_default", arguments, {"default_value", "boolean"}));
  const bool wanted = value.is_undefined() || (bound.truthy(1, false) && !value.truthy());
  if (!wanted) return value;
  return bound.given(0) ? *bound[0] : Value::string(Text());
}

Result<Value> filter_attr(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_attr", arguments, {"name"}, 1));
  if (!bound[0]->is_string()) {
    return error(Code::kInvalidArgument, "attribute name must be string, not '{}'",
                 type_name(*bound[0]));
  }
  if (value.is_undefined()) return fail_undefined(value);
  // Attributes only: the keys of a dictionary are none.
  if (value.is_dict() && value.dict().find(bound[0]->bytes()) != nullptr) {
    const Value found = BP_TRY(machine.attribute(value, *bound[0]));
    if (found.is(Kind::kMethod) || found.is_undefined()) return found;
    return Value::undefined(
        fmt::format("'{}' has no attribute {}", object_type_name(value), short_repr(*bound[0])));
  }
  return machine.attribute(value, *bound[0]);
}

}  // namespace bp::jinja
