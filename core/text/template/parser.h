// SPDX-License-Identifier: Apache-2.0
// Tokens to a Program: Jinja's grammar as Hugging Face's templates use it.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/text/template/ast.h"
#include "core/text/template/lexer.h"

namespace bp::jinja {

inline constexpr uint32_t kMaxStatementDepth = 100;    // blocks inside blocks
inline constexpr uint32_t kMaxExpressionDepth = 100;   // brackets inside brackets, unary operators
inline constexpr uint32_t kMaxExpressionHeight = 400;  // of the tree: also a + b + c + …
inline constexpr uint32_t kMaxSymbols = 10'000;        // different variable names

// See ChatTemplate::parse for the errors.
Result<std::shared_ptr<const Program>> parse_program(std::string_view source);

// Shared state of the statement and the expression parser: the tokens and the nodes made so far.
class ParserBase {
 public:
  ParserBase(std::vector<Token> tokens, Program* program)
      : tokens_(std::move(tokens)), program_(program) {}

 protected:
  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  const Token& next() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }
  bool skip_operator(std::string_view op);
  bool skip_name(std::string_view name);
  Status expect_operator(std::string_view op);
  Status expect_name(std::string_view name);
  Status expect_kind(TokenKind kind, std::string_view what);
  Status fail(std::string_view message) const;
  Result<Symbol> symbol(std::string_view name) const;

  Expr* make(ExprKind kind) const;
  // Closes a node: its height follows from its children, and is limited.
  Result<const Expr*> finish(Expr* expr) const;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  Program* program_;
  // Filters and tests that are not known, by their nodes. Jinja forgives those inside conditions
  // (templates ask for a feature before they use it), so an `if` forgets the ones it holds: they
  // fail only when they are reached.
  std::vector<const Expr*> unknown_;
  bool saw_caller_ = false, saw_varargs_ = false, saw_kwargs_ = false;
};

class ExpressionParser : public ParserBase {
 public:
  using ParserBase::ParserBase;

  Result<const Expr*> expression(bool with_conditional = true);
  // One expression, or several with commas. `stop` is a name that ends the list ("in").
  Result<const Expr*> tuple(bool with_conditional, std::string_view stop = {},
                            bool in_parentheses = false);
  // A chain of filters without a value in front: for filter blocks and block assignments.
  Result<const Expr*> filter_chain(bool starts_with_name);
  Result<Target> target(std::string_view stop, bool with_attributes);

 private:
  Result<const Expr*> conditional();
  Result<const Expr*> logical_or();
  Result<const Expr*> logical_and();
  Result<const Expr*> logical_not();
  Result<const Expr*> comparison();
  Result<const Expr*> arithmetic(int level);
  Result<const Expr*> concatenation();
  Result<const Expr*> unary(bool with_filter);
  Result<const Expr*> primary();
  Result<const Expr*> name_or_constant();
  Result<const Expr*> number();
  Result<const Expr*> list();
  Result<const Expr*> dict();
  Result<const Expr*> postfix(const Expr* expr);
  Result<const Expr*> filters_and_tests(const Expr* expr);
  Result<const Expr*> filter(const Expr* expr);
  Result<const Expr*> test(const Expr* expr);
  Result<const Expr*> subscript(const Expr* expr);
  Result<const Expr*> slice_or_index(const Expr* object);
  Result<const Expr*> call(const Expr* expr);
  Result<CallArguments> call_arguments();
  Result<Target> single_target(bool with_attributes);
  bool at_tuple_end(std::string_view stop) const;
  bool at_test_argument() const;

  uint32_t depth_ = 0;
};

}  // namespace bp::jinja
