// SPDX-License-Identifier: Apache-2.0
// Walking the tokens and making nodes: what both halves of the grammar stand on.
#include <algorithm>

#include "core/text/template/parser.h"

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
  for (const Expr* child :
       {expr->a, expr->b, expr->c, expr->d, expr->arguments.star, expr->arguments.double_star}) {
    over(child);
  }
  for (const Expr* child : expr->items) over(child);
  for (const Expr* child : expr->arguments.positional) over(child);
  for (const auto& [name, child] : expr->arguments.keyword) over(child);
  expr->height = tallest + 1;
  if (expr->height > kMaxExpressionHeight) {
    return error(
        Code::kExhausted,
        "chat template, line {}: an expression is taller than kMaxExpressionHeight = {} operators",
        expr->line, kMaxExpressionHeight);
  }
  return static_cast<const Expr*>(expr);
}

}  // namespace bp::jinja
