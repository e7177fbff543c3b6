// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/test_functions.h"

#include <algorithm>
#include <iterator>

#include "core/text/template/arguments.h"
#include "core/text/template/compare.h"
#include "core/text/template/filters.h"
#include "core/text/template/print.h"
#include "core/text/template/text_ops.h"

namespace bp::jinja {
namespace {

using Args = Arguments&;

// Tests of the kind alone.
template <bool (*kTest)(const Value&)>
Result<bool> plain(Machine&, const Value& value, Args arguments) {
  BP_TRY(expect_positional("test", arguments, 0, 0));
  return kTest(value);
}

bool is_defined(const Value& v) {
  return !v.is_undefined();
}
bool is_undefined(const Value& v) {
  return v.is_undefined();
}
bool is_none(const Value& v) {
  return v.is_none();
}
bool is_boolean(const Value& v) {
  return v.is(Kind::kBool);
}
bool is_true(const Value& v) {
  return v.is(Kind::kBool) && v.as_bool();
}
bool is_false(const Value& v) {
  return v.is(Kind::kBool) && !v.as_bool();
}
bool is_integer(const Value& v) {
  return v.is(Kind::kInt);
}
bool is_float(const Value& v) {
  return v.is(Kind::kFloat);
}
bool is_number(const Value& v) {
  return v.is_number();
}
bool is_string(const Value& v) {
  return v.is_string();
}
bool is_mapping(const Value& v) {
  return v.is_dict();
}
bool is_escaped(const Value& v) {
  return v.is_string() && v.str().markup;
}

bool is_sequence(const Value& v) {
  // What has a length and can be indexed; an undefined claims both.
  return v.is_undefined() || v.is_string() || v.is_dict() || v.is(Kind::kList) ||
         v.is(Kind::kTuple) || v.is(Kind::kRange);
}

bool is_iterable(const Value& v) {
  return is_sequence(v) || v.is_sequence_object() || v.is(Kind::kLoop);
}

bool is_callable(const Value& v) {
  // Python asks the type, and an undefined's type can be called, to fail.
  return v.is(Kind::kFunction) || v.is(Kind::kMethod) || v.is(Kind::kMacro) || v.is(Kind::kLoop) ||
         v.is_undefined();
}

Result<bool> remainder_is(Machine& machine, const Value& value, const Value& divisor,
                          int64_t rest) {
  const Value result = BP_TRY(binary(machine.heap(), Operator::kModulo, value, divisor));
  return equal(machine.heap(), result, Value::integer(rest));
}

Result<bool> odd(Machine& machine, const Value& value, Args arguments) {
  BP_TRY(expect_positional("test_odd", arguments, 0, 0));
  return remainder_is(machine, value, Value::integer(2), 1);
}
Result<bool> even(Machine& machine, const Value& value, Args arguments) {
  BP_TRY(expect_positional("test_even", arguments, 0, 0));
  return remainder_is(machine, value, Value::integer(2), 0);
}
Result<bool> divisible_by(Machine& machine, const Value& value, Args arguments) {
  const Bound bound = BP_TRY(Bound::bind("test_divisibleby", arguments, {"num"}, 1));
  return remainder_is(machine, value, *bound[0], 0);
}

template <bool kUpper>
Result<bool> of_case(Machine& machine, const Value& value, Args arguments) {
  BP_TRY(expect_positional("test", arguments, 0, 0));
  const Text text = BP_TRY(to_text(machine.heap(), value));
  return is_text_of_case(text, kUpper);
}

Result<bool> same_as(Machine&, const Value& value, Args arguments) {
  const Bound bound = BP_TRY(Bound::bind("test_sameas", arguments, {"other"}, 1));
  return value.identical(*bound[0]);
}

Result<bool> in(Machine& machine, const Value& value, Args arguments) {
  const Bound bound = BP_TRY(Bound::bind("test_in", arguments, {"seq"}, 1));
  return contains(machine.heap(), *bound[0], value);
}

template <bool kNegate>
Result<bool> equal_to(Machine& machine, const Value& value, Args arguments) {
  BP_TRY(expect_positional("eq", arguments, 1, 1));
  return BP_TRY(equal(machine.heap(), value, arguments.positional[0])) != kNegate;
}

template <Ordering kOrdering>
Result<bool> order(Machine& machine, const Value& value, Args arguments) {
  BP_TRY(expect_positional("test", arguments, 1, 1));
  return ordered(machine.heap(), kOrdering, value, arguments.positional[0]);
}

Result<bool> is_filter(Machine&, const Value& value, Args) {
  return value.is_string() && find_filter(value.bytes()) != nullptr;
}
Result<bool> is_test(Machine&, const Value& value, Args) {
  return value.is_string() && find_test(value.bytes()) != nullptr;
}

constexpr TestEntry kTests[] = {
    {"!=", equal_to<true>},
    {"<", order<Ordering::kLess>},
    {"<=", order<Ordering::kLessEqual>},
    {"==", equal_to<false>},
    {">", order<Ordering::kGreater>},
    {">=", order<Ordering::kGreaterEqual>},
    {"boolean", plain<is_boolean>},
    {"callable", plain<is_callable>},
    {"defined", plain<is_defined>},
    {"divisibleby", divisible_by},
    {"eq", equal_to<false>},
    {"equalto", equal_to<false>},
    {"escaped", plain<is_escaped>},
    {"even", even},
    {"false", plain<is_false>},
    {"filter", is_filter},
    {"float", plain<is_float>},
    {"ge", order<Ordering::kGreaterEqual>},
    {"greaterthan", order<Ordering::kGreater>},
    {"gt", order<Ordering::kGreater>},
    {"in", in},
    {"integer", plain<is_integer>},
    {"iterable", plain<is_iterable>},
    {"le", order<Ordering::kLessEqual>},
    {"lessthan", order<Ordering::kLess>},
    {"lower", of_case<false>},
    {"lt", order<Ordering::kLess>},
    {"mapping", plain<is_mapping>},
    {"ne", equal_to<true>},
    {"none", plain<is_none>},
    {"number", plain<is_number>},
    {"odd", odd},
    {"sameas", same_as},
    {"sequence", plain<is_sequence>},
    {"string", plain<is_string>},
    {"test", is_test},
    {"true", plain<is_true>},
    {"undefined", plain<is_undefined>},
    {"upper", of_case<true>},
};

}  // namespace

const TestEntry* find_test(std::string_view name) {
  const auto* found =
      std::lower_bound(std::begin(kTests), std::end(kTests), name,
                       [](const TestEntry& e, std::string_view n) { return e.name < n; });
  return found != std::end(kTests) && found->name == name ? found : nullptr;
}

}  // namespace bp::jinja
