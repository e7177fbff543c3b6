// SPDX-License-Identifier: Apache-2.0
// Arithmetic as Python does it, on 64-bit integers whose overflow is an error.
#include <cmath>
#include <limits>

#include "core/text/template/escape_html.h"
#include "core/text/template/machine.h"
#include "core/text/template/number_text.h"
#include "core/text/template/print.h"
#include "core/text/template/string_format.h"

namespace bp::jinja {
namespace {

constexpr std::string_view symbol_of(Operator op) {
  switch (op) {
    case Operator::kAdd:
      return "+";
    case Operator::kSubtract:
      return "-";
    case Operator::kMultiply:
      return "*";
    case Operator::kDivide:
      return "/";
    case Operator::kFloorDivide:
      return "//";
    case Operator::kModulo:
      return "%";
    case Operator::kPower:
      return "** or pow()";
    default:
      return "?";
  }
}

Status unsupported(Operator op, const Value& a, const Value& b) {
  return error(Code::kInvalidArgument, "unsupported operand type(s) for {}: '{}' and '{}'",
               symbol_of(op), type_name(a), type_name(b));
}

Result<Value> integers(Operator op, int64_t a, int64_t b, bool content) {
  int64_t out = 0;
  bool overflow = false;
  switch (op) {
    case Operator::kAdd:
      overflow = __builtin_add_overflow(a, b, &out);
      break;
    case Operator::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &out);
      break;
    case Operator::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &out);
      break;
    case Operator::kDivide:
      if (b == 0) return error(Code::kInvalidArgument, "division by zero");
      return Value::real(static_cast<double>(a) / static_cast<double>(b), content);
    case Operator::kFloorDivide:
      if (b == 0) return error(Code::kInvalidArgument, "integer division or modulo by zero");
      if (b == -1) {
        overflow = __builtin_sub_overflow(int64_t{0}, a, &out);
      } else {
        out = a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
      }
      break;
    case Operator::kModulo:
      if (b == 0) return error(Code::kInvalidArgument, "integer modulo by zero");
      if (b != -1) out = a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0);
      break;
    default:
      return error(Code::kInternal, "not an integer operation");
  }
  if (overflow) return integer_overflow();
  return Value::integer(out, content);
}

double python_modulo(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest != 0) {
    if ((b < 0) != (rest < 0)) rest += b;
  } else {
    rest = std::copysign(0.0, b);
  }
  return rest;
}

double python_floor_divide(double a, double b) {
  const double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  double whole = std::floor(quotient);
  if (quotient - whole > 0.5) whole += 1;
  return whole;
}

Result<Value> reals(Operator op, double a, double b, bool content) {
  switch (op) {
    case Operator::kAdd:
      return Value::real(a + b, content);
    case Operator::kSubtract:
      return Value::real(a - b, content);
    case Operator::kMultiply:
      return Value::real(a * b, content);
    case Operator::kDivide:
      if (b == 0) return error(Code::kInvalidArgument, "float division by zero");
      return Value::real(a / b, content);
    case Operator::kFloorDivide:
      if (b == 0) return error(Code::kInvalidArgument, "float floor division by zero");
      return Value::real(python_floor_divide(a, b), content);
    case Operator::kModulo:
      if (b == 0) return error(Code::kInvalidArgument, "float modulo");
      return Value::real(python_modulo(a, b), content);
    default:
      return error(Code::kInternal, "not a float operation");
  }
}

Result<Value> join_strings(Heap& heap, const Value& a, const Value& b) {
  const bool markup = a.str().markup || b.str().markup;
  BP_TRY(heap.reserve_string(a.text().size() + b.text().size()));
  Text text;
  text.reserve(a.text().size() + b.text().size());
  for (const Value* side : {&a, &b}) {
    text.append(markup && !side->str().markup ? escape_html(side->text()) : side->text());
  }
  return heap.string(std::move(text), markup);
}

Result<Value> join_sequences(Heap& heap, const Value& a, const Value& b) {
  const auto& left = a.seq().items;
  const auto& right = b.seq().items;
  BP_TRY(heap.reserve((left.size() + right.size()) * sizeof(Value)));
  std::vector<Value> items;
  items.reserve(left.size() + right.size());
  items.insert(items.end(), left.begin(), left.end());
  items.insert(items.end(), right.begin(), right.end());
  return heap.sequence(a.kind(), std::move(items), a.content() || b.content());
}

Result<Value> add(Heap& heap, const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) return join_strings(heap, a, b);
  if (a.is_string()) {
    return error(Code::kInvalidArgument, "can only concatenate str (not \"{}\") to str",
                 type_name(b));
  }
  const bool is_list = a.is(Kind::kList);
  if (is_list || a.is(Kind::kTuple)) {
    if (a.kind() == b.kind()) return join_sequences(heap, a, b);
    const std::string_view name = is_list ? "list" : "tuple";
    return error(Code::kInvalidArgument, "can only concatenate {} (not \"{}\") to {}", name,
                 type_name(b), name);
  }
  return unsupported(Operator::kAdd, a, b);
}

Result<Value> repeat(Heap& heap, const Value& value, int64_t times, bool content) {
  const uint64_t count = times > 0 ? static_cast<uint64_t>(times) : 0;
  if (value.is_string()) {
    uint64_t size = 0;
    if (__builtin_mul_overflow(value.text().footprint_bytes(), count, &size)) size = UINT64_MAX;
    BP_TRY(heap.reserve_string(size));
    Text text;
    if (!value.text().empty()) {
      for (uint64_t i = 0; i < count; ++i) text.append(value.text());
    }
    return heap.string(std::move(text), value.str().markup);
  }
  const auto& items = value.seq().items;
  uint64_t size = 0;
  if (__builtin_mul_overflow(items.size() * sizeof(Value), count, &size)) size = UINT64_MAX;
  BP_TRY(heap.reserve(size));
  std::vector<Value> out;
  if (!items.empty()) {
    out.reserve(items.size() * count);
    for (uint64_t i = 0; i < count; ++i) out.insert(out.end(), items.begin(), items.end());
  }
  return heap.sequence(value.kind(), std::move(out), value.content() || content);
}

Result<Value> multiply(Heap& heap, const Value& a, const Value& b) {
  const auto repeatable = [](const Value& v) {
    return v.is_string() || v.is(Kind::kList) || v.is(Kind::kTuple);
  };
  for (const auto& [value, times] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    if (!repeatable(*value)) continue;
    if (times->is_integral()) return repeat(heap, *value, times->as_int(), times->content());
    return error(Code::kInvalidArgument, "can't multiply sequence by non-int of type '{}'",
                 type_name(*times));
  }
  return unsupported(Operator::kMultiply, a, b);
}

Result<Value> integer_power(int64_t base, int64_t exponent, bool content) {
  int64_t result = 1;
  while (exponent > 0) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(result, base, &result)) {
      return integer_overflow();
    }
    exponent /= 2;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return integer_overflow();
  }
  return Value::integer(result, content);
}

}  // namespace

Result<Value> power(const Value& a, const Value& b) {
  for (const Value* side : {&a, &b}) {
    if (side->is_undefined()) return fail_undefined(*side);
  }
  if (!a.is_number() || !b.is_number()) return unsupported(Operator::kPower, a, b);
  const bool content = a.content() || b.content();
  if (a.is_integral() && b.is_integral() && b.as_int() >= 0) {
    return integer_power(a.as_int(), b.as_int(), content);
  }
  const double base = a.as_real(), exponent = b.as_real();
  if (base == 0 && exponent < 0) {
    return error(Code::kInvalidArgument, "0.0 cannot be raised to a negative power");
  }
  if (base < 0 && std::isfinite(exponent) && std::floor(exponent) != exponent) {
    return error(Code::kUnimplemented, "complex numbers are not part of chat templates");
  }
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent)) {
    return error(Code::kInvalidArgument, "(34, 'Numerical result out of range')");
  }
  return Value::real(result, content);
}

Result<Value> binary(Heap& heap, Operator op, const Value& a, const Value& b) {
  if (op == Operator::kModulo && a.is_string()) return format_percent(heap, a, b);
  for (const Value* side : {&a, &b}) {
    if (side->is_undefined()) return fail_undefined(*side);
  }
  if (op == Operator::kPower) return power(a, b);
  if (a.is_number() && b.is_number()) {
    const bool content = a.content() || b.content();
    if (a.is_integral() && b.is_integral()) return integers(op, a.as_int(), b.as_int(), content);
    return reals(op, a.as_real(), b.as_real(), content);
  }
  if (op == Operator::kAdd) return add(heap, a, b);
  if (op == Operator::kMultiply) return multiply(heap, a, b);
  return unsupported(op, a, b);
}

Result<Value> negate(const Value& value) {
  if (value.is_undefined()) return fail_undefined(value);
  if (value.is_integral()) return integers(Operator::kSubtract, 0, value.as_int(), value.content());
  if (value.is_number()) return Value::real(-value.as_real(), value.content());
  return error(Code::kInvalidArgument, "bad operand type for unary -: '{}'", type_name(value));
}

Result<Value> unary_plus(const Value& value) {
  if (value.is_undefined()) return fail_undefined(value);
  if (value.is_integral()) return Value::integer(value.as_int(), value.content());
  if (value.is_number()) return value;
  return error(Code::kInvalidArgument, "bad operand type for unary +: '{}'", type_name(value));
}

}  // namespace bp::jinja
