// SPDX-License-Identifier: Apache-2.0
// The expression grammar. Recursive descent; the one place that recurses per bracket is guarded by
// kMaxExpressionDepth, and chains of operators by kMaxExpressionHeight.
#include <algorithm>
#include <array>

#include "core/text/template/number_text.h"
#include "core/text/template/parser.h"

namespace bp::jinja {

Result<const Expr*> ExpressionParser::expression(bool with_conditional) {
  if (depth_ >= kMaxExpressionDepth) {
    return error(Code::kExhausted,
                 "chat template, line {}: expressions nest deeper than kMaxExpressionDepth = {}",
                 current().line, kMaxExpressionDepth);
  }
  ++depth_;
  auto result = with_conditional ? conditional() : logical_or();
  --depth_;
  return result;
}

Result<const Expr*> ExpressionParser::conditional() {
  const size_t unknown_before = unknown_.size();
  const Expr* value = BP_TRY(logical_or());
  while (current().is_name("if")) {
    Expr* expr = make(ExprKind::kConditional);
    next();
    expr->a = value;
    expr->b = BP_TRY(logical_or());
    if (skip_name("else")) expr->c = BP_TRY(expression());
    value = BP_TRY(finish(expr));
    unknown_.resize(unknown_before);
  }
  return value;
}

Result<const Expr*> ExpressionParser::logical_or() {
  const Expr* left = BP_TRY(logical_and());
  while (current().is_name("or")) {
    Expr* expr = make(ExprKind::kOr);
    next();
    expr->a = left;
    expr->b = BP_TRY(logical_and());
    left = BP_TRY(finish(expr));
  }
  return left;
}

Result<const Expr*> ExpressionParser::logical_and() {
  const Expr* left = BP_TRY(logical_not());
  while (current().is_name("and")) {
    Expr* expr = make(ExprKind::kAnd);
    next();
    expr->a = left;
    expr->b = BP_TRY(logical_not());
    left = BP_TRY(finish(expr));
  }
  return left;
}

Result<const Expr*> ExpressionParser::logical_not() {
  std::vector<Expr*> nots;
  while (current().is_name("not")) {
    nots.push_back(make(ExprKind::kNot));
    next();
  }
  const Expr* value = BP_TRY(comparison());
  for (auto it = nots.rbegin(); it != nots.rend(); ++it) {
    (*it)->a = value;
    value = BP_TRY(finish(*it));
  }
  return value;
}

Result<const Expr*> ExpressionParser::comparison() {
  static constexpr std::array<std::pair<std::string_view, Operator>, 6> kOperators = {{
      {"==", Operator::kEqual},
      {"!=", Operator::kNotEqual},
      {"<", Operator::kLess},
      {"<=", Operator::kLessEqual},
      {">", Operator::kGreater},
      {">=", Operator::kGreaterEqual},
  }};
  const Expr* first = BP_TRY(arithmetic(0));
  Expr* expr = nullptr;
  while (true) {
    const auto* known = std::find_if(kOperators.begin(), kOperators.end(), [this](const auto& o) {
      return current().is_operator(o.first);
    });
    const bool is_in = current().is_name("in");
    const bool is_not_in = current().is_name("not") && ahead().is_name("in");
    if (known == kOperators.end() && !is_in && !is_not_in) break;
    if (expr == nullptr) {
      expr = make(ExprKind::kCompare);
      expr->a = first;
    }
    next();
    if (is_not_in) next();
    expr->operators.push_back(is_in ? Operator::kIn : is_not_in ? Operator::kNotIn : known->second);
    expr->items.push_back(BP_TRY(arithmetic(0)));
  }
  if (expr == nullptr) return first;
  return finish(expr);
}

// Left-associative levels: 0 is + and -, 1 is * / // %, 2 is **. Between 0 and 1 stands ~.
Result<const Expr*> ExpressionParser::arithmetic(int level) {
  struct Entry {
    std::string_view text;
    Operator op;
    int level;
  };
  static constexpr std::array<Entry, 7> kOperators = {{
      {"+", Operator::kAdd, 0},
      {"-", Operator::kSubtract, 0},
      {"*", Operator::kMultiply, 1},
      {"/", Operator::kDivide, 1},
      {"//", Operator::kFloorDivide, 1},
      {"%", Operator::kModulo, 1},
      {"**", Operator::kPower, 2},
  }};
  const auto operand = [this, level] {
    return level == 0 ? concatenation() : level == 1 ? arithmetic(2) : unary(true);
  };
  const Expr* left = BP_TRY(operand());
  while (true) {
    const auto* known = std::find_if(kOperators.begin(), kOperators.end(), [&](const Entry& e) {
      return e.level == level && current().is_operator(e.text);
    });
    if (known == kOperators.end()) return left;
    Expr* expr = make(ExprKind::kBinary);
    next();
    expr->op = known->op;
    expr->a = left;
    expr->b = BP_TRY(operand());
    left = BP_TRY(finish(expr));
  }
}

Result<const Expr*> ExpressionParser::concatenation() {
  const Expr* first = BP_TRY(arithmetic(1));
  if (!current().is_operator("~")) return first;
  Expr* expr = make(ExprKind::kConcat);
  expr->items.push_back(first);
  while (skip_operator("~")) expr->items.push_back(BP_TRY(arithmetic(1)));
  return finish(expr);
}

Result<const Expr*> ExpressionParser::unary(bool with_filter) {
  const Expr* value = nullptr;
  if (current().is_operator("-") || current().is_operator("+")) {
    if (depth_ >= kMaxExpressionDepth) return expression();  // fails with the limit's name
    Expr* expr = make(current().is_operator("-") ? ExprKind::kNegate : ExprKind::kPlus);
    next();
    ++depth_;
    auto operand = unary(false);
    --depth_;
    expr->a = BP_TRY(std::move(operand));
    value = BP_TRY(finish(expr));
  } else {
    value = BP_TRY(primary());
  }
  value = BP_TRY(postfix(value));
  return with_filter ? filters_and_tests(value) : Result<const Expr*>(value);
}

Result<const Expr*> ExpressionParser::primary() {
  const Token& token = current();
  switch (token.kind) {
    case TokenKind::kName:
      return name_or_constant();
    case TokenKind::kString: {
      Expr* expr = make(ExprKind::kConstant);
      std::string joined;
      while (current().kind == TokenKind::kString) joined += next().text;
      expr->constant = Value::string(Text(std::move(joined), false));
      return finish(expr);
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return number();
    default:
      break;
  }
  if (skip_operator("(")) {
    const Expr* inner = BP_TRY(tuple(true, {}, true));
    BP_TRY(expect_operator(")"));
    return inner;
  }
  if (token.is_operator("[")) return list();
  if (token.is_operator("{")) return dict();
  return fail(fmt::format("unexpected '{}'", describe(token)));
}

Result<const Expr*> ExpressionParser::name_or_constant() {
  const std::string& name = current().text;
  Expr* expr = make(ExprKind::kConstant);
  if (name == "true" || name == "True") {
    expr->constant = Value::boolean(true);
  } else if (name == "false" || name == "False") {
    expr->constant = Value::boolean(false);
  } else if (name == "none" || name == "None") {
    expr->constant = Value::none();
  } else {
    if (name[0] >= '0' && name[0] <= '9') return fail("Invalid character in identifier");
    expr->kind = ExprKind::kName;
    expr->name = name;
    expr->symbol = BP_TRY(symbol(name));
    saw_caller_ |= name == "caller";
    saw_varargs_ |= name == "varargs";
    saw_kwargs_ |= name == "kwargs";
  }
  next();
  return finish(expr);
}

Result<const Expr*> ExpressionParser::number() {
  Expr* expr = make(ExprKind::kConstant);
  const Token& token = current();
  if (token.kind == TokenKind::kFloat) {
    const auto value = parse_float(token.text);
    if (!value) return fail("a number cannot be read");
    expr->constant = Value::real(*value);
  } else {
    const auto value =
        BP_TRY(parse_integer(token.text, 0).with_context("chat template, line {}", token.line));
    if (!value) return fail("a number cannot be read");
    expr->constant = Value::integer(*value);
  }
  next();
  return finish(expr);
}

Result<const Expr*> ExpressionParser::list() {
  Expr* expr = make(ExprKind::kList);
  next();
  while (!current().is_operator("]")) {
    if (!expr->items.empty()) BP_TRY(expect_operator(","));
    if (current().is_operator("]")) break;
    expr->items.push_back(BP_TRY(expression()));
  }
  BP_TRY(expect_operator("]"));
  return finish(expr);
}

Result<const Expr*> ExpressionParser::dict() {
  Expr* expr = make(ExprKind::kDict);
  next();
  while (!current().is_operator("}")) {
    if (!expr->items.empty()) BP_TRY(expect_operator(","));
    if (current().is_operator("}")) break;
    expr->items.push_back(BP_TRY(expression()));
    BP_TRY(expect_operator(":"));
    expr->items.push_back(BP_TRY(expression()));
  }
  BP_TRY(expect_operator("}"));
  return finish(expr);
}

bool ExpressionParser::at_tuple_end(std::string_view stop) const {
  const Token& token = current();
  return token.kind == TokenKind::kVariableEnd || token.kind == TokenKind::kBlockEnd ||
         token.is_operator(")") || (!stop.empty() && token.is_name(stop));
}

Result<const Expr*> ExpressionParser::tuple(bool with_conditional, std::string_view stop,
                                            bool in_parentheses) {
  Expr* expr = nullptr;
  const Expr* first = nullptr;
  while (!at_tuple_end(stop)) {
    const Expr* item = BP_TRY(expression(with_conditional));
    if (expr != nullptr) expr->items.push_back(item);
    if (first == nullptr) first = item;
    if (!current().is_operator(",")) break;
    if (expr == nullptr) {
      expr = make(ExprKind::kTuple);
      expr->items.push_back(first);
    }
    next();
  }
  if (expr != nullptr) return finish(expr);
  if (first != nullptr) return first;
  if (!in_parentheses) {
    return fail(fmt::format("Expected an expression, got '{}'", describe(current())));
  }
  return finish(make(ExprKind::kTuple));
}

}  // namespace bp::jinja
