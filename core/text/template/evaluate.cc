// SPDX-License-Identifier: Apache-2.0
// Expressions and calls.
#include <algorithm>

#include "core/text/template/compare.h"
#include "core/text/template/filters.h"
#include "core/text/template/globals.h"
#include "core/text/template/machine.h"
#include "core/text/template/methods.h"
#include "core/text/template/print.h"
#include "core/text/template/test_functions.h"

namespace bp::jinja {

Status fail_undefined(const Value& value) {
  return error(Code::kInvalidArgument, "{}", value.undefined_message());
}

std::string describe_macro(const Value& macro) {
  return fmt::format("<Macro '{}'>",
                     static_cast<const MacroObject*>(macro.object())->function->name);
}

Result<Value> Machine::eval(const Expr& expr, const ScopePtr& scope) {
  BP_TRY(heap_.step());
  if (expr.kind == ExprKind::kConstant) return expr.constant;
  line_ = expr.line;
  if (expr.kind == ExprKind::kName) return eval_name(expr, scope);
  if (depth_ >= kMaxEvaluationDepth) {
    return error(Code::kExhausted, "the template recurses deeper than kMaxEvaluationDepth = {}",
                 kMaxEvaluationDepth);
  }
  ++depth_;
  auto result = eval_node(expr, scope);
  --depth_;
  return result;
}

Result<Value> Machine::eval_node(const Expr& expr, const ScopePtr& scope) {
  switch (expr.kind) {
    case ExprKind::kTuple:
    case ExprKind::kList:
      return eval_list(expr, scope);
    case ExprKind::kDict:
      return eval_dict(expr, scope);
    case ExprKind::kAttribute: {
      const Value object = BP_TRY(eval(*expr.a, scope));
      line_ = expr.line;
      return attribute(object, expr.name_value);
    }
    case ExprKind::kItem: {
      const Value object = BP_TRY(eval(*expr.a, scope));
      const Value key = BP_TRY(eval(*expr.b, scope));
      line_ = expr.line;
      return item(object, key);
    }
    case ExprKind::kSlice:
      return eval_slice(expr, scope);
    case ExprKind::kCall:
      return eval_call(expr, scope, nullptr);
    case ExprKind::kFilter:
      return eval_filter(expr, scope, nullptr);
    case ExprKind::kTest:
      return eval_test(expr, scope);
    case ExprKind::kConditional:
      return eval_conditional(expr, scope);
    case ExprKind::kNot:
      return Value::boolean(!BP_TRY(eval(*expr.a, scope)).truthy());
    case ExprKind::kNegate:
      return negate(BP_TRY(eval(*expr.a, scope)));
    case ExprKind::kPlus:
      return unary_plus(BP_TRY(eval(*expr.a, scope)));
    case ExprKind::kAnd:
    case ExprKind::kOr: {
      Value left = BP_TRY(eval(*expr.a, scope));
      if (left.truthy() == (expr.kind == ExprKind::kOr)) return left;
      return eval(*expr.b, scope);
    }
    case ExprKind::kBinary: {
      const Value left = BP_TRY(eval(*expr.a, scope));
      const Value right = BP_TRY(eval(*expr.b, scope));
      line_ = expr.line;
      return binary(heap_, expr.op, left, right);
    }
    case ExprKind::kConcat:
      return eval_concat(expr, scope);
    case ExprKind::kCompare:
      return eval_compare(expr, scope);
    case ExprKind::kConstant:
      return expr.constant;
    case ExprKind::kName:
      return eval_name(expr, scope);
  }
  return error(Code::kInternal, "an expression of unknown kind");
}

Result<Value> Machine::eval_name(const Expr& expr, const ScopePtr& scope) {
  for (const Scope* at = scope.get(); at != nullptr; at = at->parent.get()) {
    if (at->variables.size() > 16) BP_TRY(charge_lookup(*at));
    if (const Value* value = at->find(expr.symbol)) return *value;
  }
  return Value::undefined(fmt::format("'{}' is undefined", expr.name));
}

Result<Value> Machine::eval_list(const Expr& expr, const ScopePtr& scope) {
  std::vector<Value> items;
  items.reserve(expr.items.size());
  for (const Expr* item : expr.items) items.push_back(BP_TRY(eval(*item, scope)));
  const Kind kind = expr.kind == ExprKind::kList ? Kind::kList : Kind::kTuple;
  return heap_.sequence(kind, std::move(items), false);
}

Result<Value> Machine::eval_dict(const Expr& expr, const ScopePtr& scope) {
  std::vector<std::pair<Value, Value>> entries;
  entries.reserve(expr.items.size() / 2);
  for (size_t i = 0; i + 1 < expr.items.size(); i += 2) {
    Value key = BP_TRY(eval(*expr.items[i], scope));
    entries.emplace_back(std::move(key), BP_TRY(eval(*expr.items[i + 1], scope)));
  }
  return heap_.dict(std::move(entries), false);
}

Result<Value> Machine::eval_slice(const Expr& expr, const ScopePtr& scope) {
  const Value object = BP_TRY(eval(*expr.a, scope));
  Value parts[3] = {Value::none(), Value::none(), Value::none()};
  const Expr* exprs[3] = {expr.b, expr.c, expr.d};
  for (int i = 0; i < 3; ++i) {
    if (exprs[i] != nullptr) parts[i] = BP_TRY(eval(*exprs[i], scope));
  }
  line_ = expr.line;
  return slice(object, parts[0], parts[1], parts[2]);
}

Result<Value> Machine::eval_conditional(const Expr& expr, const ScopePtr& scope) {
  if (BP_TRY(eval(*expr.b, scope)).truthy()) return eval(*expr.a, scope);
  if (expr.c != nullptr) return eval(*expr.c, scope);
  return Value::undefined(
      fmt::format("the inline if-expression on line {} evaluated to false and no else section was "
                  "defined.",
                  expr.line));
}

Result<Value> Machine::eval_concat(const Expr& expr, const ScopePtr& scope) {
  Text text;
  for (const Expr* item : expr.items) {
    const Value value = BP_TRY(eval(*item, scope));
    BP_TRY(append_str(heap_, value, &text));
    if (text.size() > heap_.limits().max_string_bytes) break;  // string() names the limit
  }
  return heap_.string(std::move(text));
}

Result<bool> Machine::compare(Operator op, const Value& a, const Value& b) {
  switch (op) {
    case Operator::kEqual:
      return equal(heap_, a, b);
    case Operator::kNotEqual:
      return !BP_TRY(equal(heap_, a, b));
    case Operator::kLess:
      return ordered(heap_, Ordering::kLess, a, b);
    case Operator::kLessEqual:
      return ordered(heap_, Ordering::kLessEqual, a, b);
    case Operator::kGreater:
      return ordered(heap_, Ordering::kGreater, a, b);
    case Operator::kGreaterEqual:
      return ordered(heap_, Ordering::kGreaterEqual, a, b);
    case Operator::kIn:
      return contains(heap_, b, a);
    case Operator::kNotIn:
      return !BP_TRY(contains(heap_, b, a));
    default:
      return error(Code::kInternal, "not a comparison");
  }
}

// a < b < c: every operand once, stopping at the first that does not hold.
Result<Value> Machine::eval_compare(const Expr& expr, const ScopePtr& scope) {
  Value left = BP_TRY(eval(*expr.a, scope));
  for (size_t i = 0; i < expr.items.size(); ++i) {
    Value right = BP_TRY(eval(*expr.items[i], scope));
    line_ = expr.line;
    if (!BP_TRY(compare(expr.operators[i], left, right))) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Result<Arguments> Machine::eval_arguments(const CallArguments& arguments, const ScopePtr& scope) {
  Arguments out;
  out.positional.reserve(arguments.positional.size());
  for (const Expr* argument : arguments.positional) {
    out.positional.push_back(BP_TRY(eval(*argument, scope)));
  }
  for (const auto& [name, argument] : arguments.keyword) {
    out.keyword.emplace_back(name, BP_TRY(eval(*argument, scope)));
  }
  if (arguments.star != nullptr) {
    const Value star = BP_TRY(eval(*arguments.star, scope));
    for (Value& item : BP_TRY(iterate(heap_, star))) out.positional.push_back(std::move(item));
  }
  if (arguments.double_star != nullptr) {
    const Value star = BP_TRY(eval(*arguments.double_star, scope));
    if (!star.is_dict()) {
      return error(Code::kInvalidArgument, "argument after ** must be a mapping, not {}",
                   type_name(star));
    }
    for (const auto& [key, value] : star.dict().entries) {
      if (!key.is_string()) return error(Code::kInvalidArgument, "keywords must be strings");
      BP_TRY(heap_.step(1 + out.keyword.size() / 16));
      if (out.find(key.bytes()) != nullptr) {
        return error(Code::kInvalidArgument, "got multiple values for keyword argument '{}'",
                     key.bytes());
      }
      out.keyword.emplace_back(std::string(key.bytes()), value);
    }
  }
  BP_TRY(heap_.reserve((out.positional.size() + out.keyword.size()) * sizeof(Value)));
  return out;
}

Result<Value> Machine::eval_call(const Expr& expr, const ScopePtr& scope, const Value* caller) {
  const Value callee = BP_TRY(eval(*expr.a, scope));
  Arguments arguments = BP_TRY(eval_arguments(expr.arguments, scope));
  if (caller != nullptr) arguments.keyword.emplace_back("caller", *caller);
  line_ = expr.line;
  auto result = call(callee, arguments);
  if (result.ok()) line_ = expr.line;
  return result;
}

Result<Value> Machine::call(const Value& callee, Arguments& arguments) {
  switch (callee.kind()) {
    case Kind::kFunction:
      return static_cast<const FunctionObject*>(callee.object())->entry->call(*this, arguments);
    case Kind::kMethod: {
      const auto& bound = static_cast<const BoundMethodObject&>(*callee.object());
      return call_method(*this, bound.self, *bound.method, arguments);
    }
    case Kind::kMacro:
      return call_macro(callee, arguments);
    case Kind::kLoop:
      return call_loop(callee, arguments);
    case Kind::kUndefined:
      return fail_undefined(callee);
    default:
      return error(Code::kInvalidArgument, "'{}' object is not callable", type_name(callee));
  }
}

Result<Value> Machine::eval_filter(const Expr& expr, const ScopePtr& scope, const Value* input) {
  // In a chain without a value in front, the innermost filter takes the given input.
  Value value;
  if (expr.a == nullptr) {
    value = *input;
  } else if (input != nullptr && expr.a->kind == ExprKind::kFilter) {
    value = BP_TRY(eval_filter(*expr.a, scope, input));
  } else {
    value = BP_TRY(eval(*expr.a, scope));
  }
  if (expr.filter == nullptr) {
    return error(Code::kUnimplemented, "No filter named '{}' found.", expr.name);
  }
  Arguments arguments = BP_TRY(eval_arguments(expr.arguments, scope));
  line_ = expr.line;
  return expr.filter->call(*this, value, arguments);
}

Result<Value> Machine::eval_test(const Expr& expr, const ScopePtr& scope) {
  const Value value = BP_TRY(eval(*expr.a, scope));
  if (expr.test == nullptr)
    return error(Code::kUnimplemented, "No test named '{}' found.", expr.name);
  Arguments arguments = BP_TRY(eval_arguments(expr.arguments, scope));
  line_ = expr.line;
  return Value::boolean(BP_TRY(expr.test->call(*this, value, arguments)));
}

Result<Value> Machine::apply_filter(std::string_view name, const Value& value,
                                    Arguments& arguments) {
  const FilterEntry* filter = find_filter(name);
  if (filter == nullptr) return error(Code::kUnimplemented, "No filter named '{}'.", name);
  // A filter may name filters (map); the name of map itself as an argument must not recurse.
  if (depth_ >= kMaxEvaluationDepth) {
    return error(Code::kExhausted, "the template recurses deeper than kMaxEvaluationDepth = {}",
                 kMaxEvaluationDepth);
  }
  ++depth_;
  auto result = filter->call(*this, value, arguments);
  --depth_;
  return result;
}

Result<bool> Machine::apply_test(std::string_view name, const Value& value, Arguments& arguments) {
  const TestEntry* test = find_test(name);
  if (test == nullptr) return error(Code::kUnimplemented, "No test named '{}'.", name);
  return test->call(*this, value, arguments);
}

Result<Value> Machine::call_macro(const Value& macro, Arguments& arguments) {
  const auto& object = static_cast<const MacroObject&>(*macro.object());
  const ScopePtr scope = BP_TRY(open_scope(object.scope));
  BP_TRY(bind_parameters(*object.function, arguments, scope));
  Text text;
  BP_TRY(run_body(object.function->body, scope, &text));
  return heap_.string(std::move(text));
}

// Jinja's rules: positional, then keywords, then defaults, which may use earlier parameters;
// leftovers go to varargs and kwargs if the body mentions them, and are errors otherwise.
Status Machine::bind_parameters(const Function& function, Arguments& arguments,
                                const ScopePtr& scope) {
  const size_t count = function.parameters.size();
  std::vector<bool> used(arguments.keyword.size());
  bool caller_is_parameter = false;
  for (size_t i = 0; i < count; ++i) {
    const Parameter& parameter = function.parameters[i];
    BP_TRY(heap_.step(1 + (arguments.keyword.size() + scope->variables.size()) / 16));
    caller_is_parameter |= parameter.name == "caller";
    std::optional<Value> value;
    if (i < arguments.positional.size()) value = arguments.positional[i];
    for (size_t k = 0; !value && k < arguments.keyword.size(); ++k) {
      if (arguments.keyword[k].first != parameter.name) continue;
      value = arguments.keyword[k].second;
      used[k] = true;
    }
    if (!value && parameter.fallback != nullptr) value = BP_TRY(eval(*parameter.fallback, scope));
    if (!value) {
      value = Value::undefined(fmt::format("parameter '{}' was not provided", parameter.name));
    }
    scope->set(parameter.symbol, std::move(*value));
  }
  std::vector<std::pair<Value, Value>> rest;
  Value caller = Value::undefined("No caller defined");
  for (size_t k = 0; k < arguments.keyword.size(); ++k) {
    const auto& [name, value] = arguments.keyword[k];
    if (used[k]) continue;
    if (name == "caller" && function.uses_caller && !caller_is_parameter) {
      caller = value;
      continue;
    }
    if (!function.uses_kwargs && name == "caller") {
      return error(
          Code::kInvalidArgument,
          "macro '{}' was invoked with two values for the special caller argument. This is "
          "most likely a bug.",
          function.name);
    }
    if (!function.uses_kwargs) {
      return error(Code::kInvalidArgument, "macro '{}' takes no keyword argument '{}'",
                   function.name, name);
    }
    rest.emplace_back(Value::string(Text(name, false)), value);
  }
  if (function.uses_caller && !caller_is_parameter) scope->set(program_.caller, caller);
  if (function.uses_kwargs) {
    scope->set(program_.kwargs, BP_TRY(heap_.dict(std::move(rest), false)));
  }
  if (arguments.positional.size() > count && !function.uses_varargs) {
    return error(Code::kInvalidArgument, "macro '{}' takes not more than {} argument(s)",
                 function.name, count);
  }
  if (function.uses_varargs) {
    std::vector<Value> extra;
    for (size_t i = count; i < arguments.positional.size(); ++i) {
      extra.push_back(arguments.positional[i]);
    }
    scope->set(program_.varargs, BP_TRY(heap_.tuple(std::move(extra), false)));
  }
  return {};
}

}  // namespace bp::jinja
