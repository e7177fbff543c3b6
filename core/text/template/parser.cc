// SPDX-License-Identifier: Apache-2.0
// The statement grammar.
#include "core/text/template/parser.h"

#include <array>
#include <initializer_list>

#include "core/base/limits.h"

namespace bp::jinja {
namespace {

class StatementParser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Result<Body> run() {
    Body body = BP_TRY(body_until({}));
    if (!unknown_.empty()) {
      const Expr& first = *unknown_.front();
      return error(Code::kUnimplemented, "chat template, line {}: No {} named '{}'.", first.line,
                   first.kind == ExprKind::kFilter ? "filter" : "test", first.name);
    }
    return body;
  }

 private:
  using Names = std::initializer_list<std::string_view>;

  Stmt* make_stmt(StmtKind kind) {
    Stmt& stmt = program_->stmts.emplace_back();
    stmt.kind = kind;
    stmt.line = current().line;
    return &stmt;
  }

  // Statements up to a tag that starts with one of `ends`; the name is not consumed. Without ends:
  // up to the end of the source.
  Result<Body> body_until(Names ends) {
    if (block_depth_ >= kMaxStatementDepth) {
      return error(Code::kExhausted,
                   "chat template, line {}: blocks nest deeper than kMaxStatementDepth = {}",
                   current().line, kMaxStatementDepth);
    }
    ++block_depth_;
    auto result = statements(ends);
    --block_depth_;
    return result;
  }

  Result<Body> statements(Names ends) {
    Body body;
    while (true) {
      switch (current().kind) {
        case TokenKind::kEnd:
          if (ends.size() == 0) return body;
          return fail(fmt::format("Unexpected end of template. Jinja was looking for '{}'.",
                                  *(ends.end() - 1)));
        case TokenKind::kData: {
          Stmt* stmt = make_stmt(StmtKind::kData);
          stmt->data = next().text;
          body.push_back(stmt);
          break;
        }
        case TokenKind::kVariableBegin: {
          next();
          Stmt* stmt = make_stmt(StmtKind::kOutput);
          stmt->expr = BP_TRY(tuple(true));
          BP_TRY(expect_kind(TokenKind::kVariableEnd, "end of print statement"));
          body.push_back(stmt);
          break;
        }
        default: {
          BP_TRY(expect_kind(TokenKind::kBlockBegin, "begin of statement block"));
          for (const std::string_view end : ends) {
            if (current().is_name(end)) return body;
          }
          body.push_back(BP_TRY(statement()));
          BP_TRY(expect_kind(TokenKind::kBlockEnd, "end of statement block"));
        }
      }
    }
  }

  // The block of a statement whose head was read: from the end of its tag to one of `ends`.
  Result<Body> block(Names ends) {
    skip_operator(":");
    BP_TRY(expect_kind(TokenKind::kBlockEnd, "end of statement block"));
    return body_until(ends);
  }

  Result<const Stmt*> statement() {
    if (current().kind != TokenKind::kName) return fail("tag name expected");
    const std::string name = current().text;
    if (name == "if") return if_statement();
    if (name == "for") return for_statement();
    if (name == "set") return set_statement();
    if (name == "macro") return macro_statement();
    if (name == "call") return call_statement();
    if (name == "filter") return filter_statement();
    if (name == "with") return with_statement();
    if (name == "generation") return generation_statement();
    if (name == "break" || name == "continue") return loop_control(name == "break");
    for (const std::string_view other : {"block", "extends", "include", "import", "from", "print",
                                         "autoescape", "do", "trans", "debug"}) {
      if (name == other) {
        return error(Code::kUnimplemented,
                     "chat template, line {}: the statement '{}' is not part of chat templates",
                     current().line, name);
      }
    }
    return fail(fmt::format("Encountered unknown tag '{}'.", name));
  }

  Result<const Stmt*> if_statement() {
    const size_t unknown_before = unknown_.size();
    Stmt* stmt = make_stmt(StmtKind::kIf);
    do {
      next();  // if, elif
      const Expr* condition = BP_TRY(tuple(false));
      stmt->branches.emplace_back(condition, BP_TRY(block({"elif", "else", "endif"})));
    } while (current().is_name("elif"));
    if (skip_name("else")) stmt->otherwise = BP_TRY(block({"endif"}));
    next();
    unknown_.resize(unknown_before);
    return static_cast<const Stmt*>(stmt);
  }

  Result<const Stmt*> for_statement() {
    Stmt* stmt = make_stmt(StmtKind::kFor);
    next();
    stmt->target = BP_TRY(target("in", false));
    if (stmt->target.kind == Target::Kind::kName && stmt->target.symbol == program_->loop) {
      return fail("Can't assign to special loop variable in for-loop target");
    }
    BP_TRY(expect_name("in"));
    stmt->expr = BP_TRY(tuple(false, "recursive"));
    if (skip_name("if")) stmt->filter_condition = BP_TRY(expression());
    stmt->recursive = skip_name("recursive");
    ++loops_;
    auto body = block({"endfor", "else"});
    --loops_;
    stmt->body = BP_TRY(std::move(body));
    if (skip_name("else")) stmt->otherwise = BP_TRY(block({"endfor"}));
    next();
    return static_cast<const Stmt*>(stmt);
  }

  Result<const Stmt*> set_statement() {
    Stmt* stmt = make_stmt(StmtKind::kSet);
    next();
    stmt->target = BP_TRY(target({}, true));
    if (skip_operator("=")) {
      stmt->expr = BP_TRY(tuple(true));
      return static_cast<const Stmt*>(stmt);
    }
    stmt->kind = StmtKind::kSetBlock;
    stmt->expr = BP_TRY(filter_chain(false));
    stmt->body = BP_TRY(block({"endset"}));
    next();
    return static_cast<const Stmt*>(stmt);
  }

  Status signature(Function* function) {
    BP_TRY(expect_operator("("));
    while (!current().is_operator(")")) {
      if (!function->parameters.empty()) BP_TRY(expect_operator(","));
      if (current().kind != TokenKind::kName) return expect_kind(TokenKind::kName, "name");
      Parameter parameter;
      parameter.name = current().text;
      parameter.symbol = BP_TRY(symbol(parameter.name));
      next();
      if (skip_operator("=")) {
        parameter.fallback = BP_TRY(expression());
      } else if (parameter.name == "caller") {
        return fail(
            "When defining macros or call blocks the special \"caller\" argument must be omitted "
            "or "
            "be given a default.");
      } else if (!function->parameters.empty() && function->parameters.back().fallback != nullptr) {
        return fail("non-default argument follows default argument");
      }
      function->parameters.push_back(std::move(parameter));
    }
    return expect_operator(")");
  }

  // The body of a macro or call block: a function, where a loop outside cannot be left.
  Status function_body(Function* function, std::string_view end) {
    const auto outer = std::array{saw_caller_, saw_varargs_, saw_kwargs_};
    saw_caller_ = saw_varargs_ = saw_kwargs_ = false;
    const uint32_t outer_loops = std::exchange(loops_, 0);
    function->body = BP_TRY(block({end}));
    loops_ = outer_loops;
    function->uses_caller = saw_caller_;
    function->uses_varargs = saw_varargs_;
    function->uses_kwargs = saw_kwargs_;
    saw_caller_ |= outer[0];
    saw_varargs_ |= outer[1];
    saw_kwargs_ |= outer[2];
    next();
    return {};
  }

  Result<const Stmt*> macro_statement() {
    Stmt* stmt = make_stmt(StmtKind::kMacro);
    next();
    if (current().kind != TokenKind::kName) return expect_kind(TokenKind::kName, "name");
    stmt->function.name = current().text;
    stmt->symbol = BP_TRY(symbol(current().text));
    next();
    BP_TRY(signature(&stmt->function));
    BP_TRY(function_body(&stmt->function, "endmacro"));
    return static_cast<const Stmt*>(stmt);
  }

  Result<const Stmt*> call_statement() {
    Stmt* stmt = make_stmt(StmtKind::kCall);
    next();
    if (current().is_operator("(")) BP_TRY(signature(&stmt->function));
    stmt->expr = BP_TRY(expression());
    if (stmt->expr->kind != ExprKind::kCall) return fail("expected call");
    stmt->function.name = "caller";
    BP_TRY(function_body(&stmt->function, "endcall"));
    return static_cast<const Stmt*>(stmt);
  }

  Result<const Stmt*> generation_statement() {
    Stmt* stmt = make_stmt(StmtKind::kGeneration);
    next();
    const uint32_t outer_loops = std::exchange(loops_, 0);
    stmt->body = BP_TRY(block({"endgeneration"}));
    loops_ = outer_loops;
    next();
    return static_cast<const Stmt*>(stmt);
  }

  Result<const Stmt*> filter_statement() {
    Stmt* stmt = make_stmt(StmtKind::kFilter);
    next();
    stmt->expr = BP_TRY(filter_chain(true));
    stmt->body = BP_TRY(block({"endfilter"}));
    next();
    return static_cast<const Stmt*>(stmt);
  }

  Result<const Stmt*> with_statement() {
    Stmt* stmt = make_stmt(StmtKind::kWith);
    next();
    while (current().kind != TokenKind::kBlockEnd) {
      if (!stmt->bindings.empty()) BP_TRY(expect_operator(","));
      Target to = BP_TRY(target("=", false));
      BP_TRY(expect_operator("="));
      stmt->bindings.emplace_back(std::move(to), BP_TRY(expression()));
    }
    stmt->body = BP_TRY(block({"endwith"}));
    next();
    return static_cast<const Stmt*>(stmt);
  }

  Result<const Stmt*> loop_control(bool is_break) {
    if (loops_ == 0) {
      return fail(is_break ? "'break' outside loop" : "'continue' not properly in loop");
    }
    Stmt* stmt = make_stmt(is_break ? StmtKind::kBreak : StmtKind::kContinue);
    next();
    return static_cast<const Stmt*>(stmt);
  }

  uint32_t block_depth_ = 0;
  uint32_t loops_ = 0;  // around the current statement, within its function
};

}  // namespace

Result<std::shared_ptr<const Program>> parse_program(std::string_view source) {
  if (source.size() > limits::kMaxTemplateBytes) {
    return error(Code::kExhausted, "a template of {} bytes is longer than kMaxTemplateBytes = {}",
                 source.size(), limits::kMaxTemplateBytes);
  }
  auto program = std::make_shared<Program>();
  program->loop = program->intern("loop");
  program->caller = program->intern("caller");
  program->varargs = program->intern("varargs");
  program->kwargs = program->intern("kwargs");
  auto tokens = BP_TRY(tokenize_template(source));
  program->body = BP_TRY(StatementParser(std::move(tokens), program.get()).run());
  return std::shared_ptr<const Program>(std::move(program));
}

}  // namespace bp::jinja
