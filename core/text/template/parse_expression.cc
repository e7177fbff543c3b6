// SPDX-License-Identifier: Apache-2.0
// The expression grammar. Recursive descent; the one place that recurses per bracket is guarded by
// kMaxExpressionDepth, and chains of operators by kMaxExpressionHeight.
#include <algorithm>
#include <array>

#include "core/text/template/filters.h"
#include "core/text/template/number_text.h"
#include "core/text/template/parser.h"
#include "core/text/template/test_functions.h"

namespace bp::jinja {

bool ParserBase::skip_operator(std::string_view op) {
  if (!current().is_operator(op)) return false;
  next();
  return true;
}

bool ParserBase::skip_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  next();
  return true;
}

Status ParserBase::fail(std::string_view message) const {
  return error(Code::kCorrupt, "chat template, line {}: {}", current().line, message);
}

Status ParserBase::expect_operator(std::string_view op) {
  if (skip_operator(op)) return {};
  return fail(fmt::format("expected token '{}', got '{}'", op, describe(current())));
}

Status ParserBase::expect_name(std::string_view name) {
  if (skip_name(name)) return {};
  return fail(fmt::format("expected token '{}', got '{}'", name, describe(current())));
}

Status ParserBase::expect_kind(TokenKind kind, std::string_view what) {
  if (current().kind == kind) {
    next();
    return {};
  }
  return fail(fmt::format("expected token '{}', got '{}'", what, describe(current())));
}

Result<Symbol> ParserBase::symbol(std::string_view name) const {
  if (program_->symbols.size() >= kMaxSymbols && !program_->symbol_of.contains(std::string(name))) {
    return error(Code::kExhausted, "the template has more than kMaxSymbols = {} variable names",
                 kMaxSymbols);
  }
  return program_->intern(name);
}

Expr* ParserBase::make(ExprKind kind) const {
  Expr& expr = program_->exprs.emplace_back();
  expr.kind = kind;
  expr.line = current().line;
  return &expr;
}

Result<const Expr*> ParserBase::finish(Expr* expr) const {
  uint32_t tallest = 0;
  const auto over = [&tallest](const Expr* child) {
    if (child != nullptr) tallest = std::max(tallest, child->height);
  };
  for (const Expr* child : {expr->a, expr->b, expr->c, expr->d, expr->arguments.star,
                            expr->arguments.double_star}) {
    over(child);
  }
  for (const Expr* child : expr->items) over(child);
  for (const Expr* child : expr->arguments.positional) over(child);
  for (const auto& [name, child] : expr->arguments.keyword) over(child);
  expr->height = tallest + 1;
  if (expr->height > kMaxExpressionHeight) {
    return error(Code::kExhausted,
                 "chat template, line {}: an expression is taller than kMaxExpressionHeight = {} operators",
                 expr->line, kMaxExpressionHeight);
  }
  return static_cast<const Expr*>(expr);
}

Result<const Expr*> ExpressionParser::expression(bool with_conditional) {
  if (depth_ >= kMaxExpressionDepth) {
    return error(Code::kExhausted,
                 "chat template, line {}: expressions nest deeper than kMaxExpressionDepth = {}", current().line,
                 kMaxExpressionDepth);
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
    expr->operators.push_back(is_in       ? Operator::kIn
                              : is_not_in ? Operator::kNotIn
                                          : known->second);
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
    case TokenKind::kName: return name_or_constant();
    case TokenKind::kString: {
      Expr* expr = make(ExprKind::kConstant);
      std::string joined;
      while (current().kind == TokenKind::kString) joined += next().text;
      expr->constant = Value::string(Text(std::move(joined), false));
      return finish(expr);
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat: return number();
    default: break;
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
    case TokenKind::kFloat: return true;
    default: return token.is_operator("[") || token.is_operator("{");
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
