// SPDX-License-Identifier: Apache-2.0
// What follows a value: subscripts, calls, filters, tests; and the targets of assignments.
#include "core/text/template/filters.h"
#include "core/text/template/parser.h"
#include "core/text/template/test_functions.h"

namespace bp::jinja {

Result<const Expr*> ExpressionParser::postfix(const Expr* expr) {
  while (true) {
    if (current().is_operator(".") || current().is_operator("[")) {
      expr = BP_TRY(subscript(expr));
    } else if (current().is_operator("(")) {
      expr = BP_TRY(call(expr));
    } else {
      return expr;
    }
  }
}

Result<const Expr*> ExpressionParser::filters_and_tests(const Expr* expr) {
  while (true) {
    if (current().is_operator("|")) {
      next();
      expr = BP_TRY(filter(expr));
    } else if (current().is_name("is")) {
      expr = BP_TRY(test(expr));
    } else if (current().is_operator("(")) {
      expr = BP_TRY(call(expr));
    } else {
      return expr;
    }
  }
}

Result<const Expr*> ExpressionParser::filter_chain(bool starts_with_name) {
  const Expr* chain = nullptr;
  while (starts_with_name || current().is_operator("|")) {
    if (!starts_with_name) next();
    starts_with_name = false;
    chain = BP_TRY(filter(chain));
  }
  return chain;
}

Result<const Expr*> ExpressionParser::filter(const Expr* value) {
  Expr* expr = make(ExprKind::kFilter);
  if (current().kind != TokenKind::kName) return expect_kind(TokenKind::kName, "name");
  expr->name = next().text;
  while (skip_operator(".")) {
    if (current().kind != TokenKind::kName) return expect_kind(TokenKind::kName, "name");
    expr->name += "." + next().text;
  }
  expr->a = value;
  expr->filter = find_filter(expr->name);
  if (expr->filter == nullptr) unknown_.push_back(expr);
  if (current().is_operator("(")) expr->arguments = BP_TRY(call_arguments());
  return finish(expr);
}

bool ExpressionParser::at_test_argument() const {
  const Token& token = current();
  switch (token.kind) {
    case TokenKind::kName:
      return token.text != "else" && token.text != "or" && token.text != "and";
    case TokenKind::kString:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return true;
    default:
      return token.is_operator("[") || token.is_operator("{");
  }
}

Result<const Expr*> ExpressionParser::test(const Expr* value) {
  Expr* expr = make(ExprKind::kTest);
  next();
  const bool negated = skip_name("not");
  if (current().kind != TokenKind::kName) return expect_kind(TokenKind::kName, "name");
  expr->name = next().text;
  while (skip_operator(".")) {
    if (current().kind != TokenKind::kName) return expect_kind(TokenKind::kName, "name");
    expr->name += "." + next().text;
  }
  expr->a = value;
  expr->test = find_test(expr->name);
  if (expr->test == nullptr) unknown_.push_back(expr);
  if (current().is_operator("(")) {
    expr->arguments = BP_TRY(call_arguments());
  } else if (at_test_argument()) {
    if (current().is_name("is")) return fail("You cannot chain multiple tests with is");
    const Expr* argument = BP_TRY(primary());
    expr->arguments.positional.push_back(BP_TRY(postfix(argument)));
  }
  const Expr* result = BP_TRY(finish(expr));
  if (!negated) return result;
  Expr* negation = make(ExprKind::kNot);
  negation->a = result;
  return finish(negation);
}

Result<const Expr*> ExpressionParser::subscript(const Expr* object) {
  if (skip_operator(".")) {
    const Token& token = current();
    if (token.kind == TokenKind::kName) {
      Expr* expr = make(ExprKind::kAttribute);
      expr->a = object;
      expr->name = next().text;
      expr->name_value = Value::string(Text(expr->name, false));
      return finish(expr);
    }
    if (token.kind != TokenKind::kInteger) return fail("expected name or number");
    Expr* expr = make(ExprKind::kItem);
    expr->a = object;
    expr->b = BP_TRY(number());
    return finish(expr);
  }
  next();  // [
  std::vector<const Expr*> indexes;
  bool sliced = false;
  while (!current().is_operator("]")) {
    if (!indexes.empty()) BP_TRY(expect_operator(","));
    indexes.push_back(BP_TRY(slice_or_index(object)));
    sliced |= indexes.back()->kind == ExprKind::kSlice && indexes.back()->a == object;
  }
  BP_TRY(expect_operator("]"));
  if (sliced && indexes.size() == 1) return indexes[0];
  if (sliced) return fail("slices of several dimensions are not known");
  Expr* expr = make(ExprKind::kItem);
  expr->a = object;
  if (indexes.size() == 1) {
    expr->b = indexes[0];
  } else {
    Expr* several = make(ExprKind::kTuple);
    several->items = std::move(indexes);
    expr->b = BP_TRY(finish(several));
  }
  return finish(expr);
}

Result<const Expr*> ExpressionParser::slice_or_index(const Expr* object) {
  Expr* expr = make(ExprKind::kSlice);
  const auto at_part_end = [this] {
    return current().is_operator(":") || current().is_operator("]") || current().is_operator(",");
  };
  if (!current().is_operator(":")) {
    const Expr* index = BP_TRY(expression());
    if (!current().is_operator(":")) return index;
    expr->b = index;
  }
  next();
  if (!at_part_end()) expr->c = BP_TRY(expression());
  if (skip_operator(":") && !at_part_end()) expr->d = BP_TRY(expression());
  expr->a = object;
  return finish(expr);
}

Result<const Expr*> ExpressionParser::call(const Expr* callee) {
  Expr* expr = make(ExprKind::kCall);
  expr->a = callee;
  expr->arguments = BP_TRY(call_arguments());
  return finish(expr);
}

Result<CallArguments> ExpressionParser::call_arguments() {
  CallArguments out;
  BP_TRY(expect_operator("("));
  bool first = true;
  while (!current().is_operator(")")) {
    if (!first) {
      BP_TRY(expect_operator(","));
      if (current().is_operator(")")) break;
    }
    first = false;
    const bool no_stars = out.star == nullptr && out.double_star == nullptr;
    if (current().is_operator("*") && no_stars) {
      next();
      out.star = BP_TRY(expression());
    } else if (current().is_operator("**") && out.double_star == nullptr) {
      next();
      out.double_star = BP_TRY(expression());
    } else if (current().kind == TokenKind::kName && ahead().is_operator("=") &&
               out.double_star == nullptr) {
      std::string key = next().text;
      next();
      out.keyword.emplace_back(std::move(key), BP_TRY(expression()));
    } else if (no_stars && out.keyword.empty()) {
      out.positional.push_back(BP_TRY(expression()));
    } else {
      return fail("invalid syntax for function call expression");
    }
  }
  BP_TRY(expect_operator(")"));
  return out;
}

Result<Target> ExpressionParser::single_target(bool with_attributes) {
  Target out;
  if (skip_operator("(")) {
    if (depth_ >= kMaxExpressionDepth) return expression().status();
    ++depth_;
    auto inner = target({}, with_attributes);
    --depth_;
    out = BP_TRY(std::move(inner));
    BP_TRY(expect_operator(")"));
    return out;
  }
  if (current().kind != TokenKind::kName) return fail("can't assign to 'const'");
  const std::string& name = current().text;
  for (const std::string_view reserved : {"true", "True", "false", "False", "none", "None"}) {
    if (name == reserved) return fail("can't assign to 'const'");
  }
  if (name[0] >= '0' && name[0] <= '9') return fail("Invalid character in identifier");
  out.symbol = BP_TRY(symbol(name));
  next();
  if (with_attributes && skip_operator(".")) {
    if (current().kind != TokenKind::kName) return expect_kind(TokenKind::kName, "name");
    out.kind = Target::Kind::kAttribute;
    out.attribute = next().text;
  }
  return out;
}

Result<Target> ExpressionParser::target(std::string_view stop, bool with_attributes) {
  Target tuple;
  tuple.kind = Target::Kind::kTuple;
  bool is_tuple = false;
  while (!at_tuple_end(stop)) {
    tuple.parts.push_back(BP_TRY(single_target(with_attributes)));
    if (!skip_operator(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return tuple;
  if (tuple.parts.empty()) {
    return fail(fmt::format("Expected an expression, got '{}'", describe(current())));
  }
  return std::move(tuple.parts[0]);
}

}  // namespace bp::jinja
