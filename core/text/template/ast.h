// SPDX-License-Identifier: Apache-2.0
// The parsed template. Nodes live in the Program's deques and point to each other; a Program never
// changes once parsed, so any number of renders may walk it at once.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/text/template/value.h"

namespace bp::jinja {

struct FilterEntry;  // filters.h
struct TestEntry;    // test_functions.h

// A variable name, numbered per program.
using Symbol = uint32_t;

enum class ExprKind : uint8_t {
  kConstant,
  kName,
  kTuple,
  kList,
  kDict,         // items: key, value, key, value, …
  kAttribute,    // a.name
  kItem,         // a[b]
  kSlice,        // a[b:c:d] with a = the object; absent parts are null
  kCall,         // a(arguments)
  kFilter,       // a | name(arguments); a is null in a block filter's first place
  kTest,         // a is name(arguments)
  kConditional,  // a if b else c
  kNot,
  kNegate,
  kPlus,
  kAnd,
  kOr,
  kBinary,
  kConcat,   // items joined by ~
  kCompare,  // a, then operators[i] with items[i]
};

enum class Operator : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

struct Expr;

// What stands between the parentheses of a call.
struct CallArguments {
  std::vector<const Expr*> positional;
  std::vector<std::pair<std::string, const Expr*>> keyword;
  const Expr* star = nullptr;         // *args
  const Expr* double_star = nullptr;  // **kwargs
};

struct Expr {
  ExprKind kind = ExprKind::kConstant;
  Operator op = Operator::kAdd;
  uint32_t line = 0;
  uint32_t height = 1;  // of the tree below; limited
  Symbol symbol = 0;
  const Expr* a = nullptr;
  const Expr* b = nullptr;
  const Expr* c = nullptr;
  const Expr* d = nullptr;
  Value constant;
  std::string name;
  Value name_value;  // kAttribute: the name as a string value
  std::vector<const Expr*> items;
  std::vector<Operator> operators;
  CallArguments arguments;
  const FilterEntry* filter = nullptr;  // null: unknown, and an error only when it is reached
  const TestEntry* test = nullptr;
};

enum class StmtKind : uint8_t {
  kData,
  kOutput,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCall,
  kFilter,
  kWith,
  kGeneration,
  kBreak,
  kContinue,
};

// Where an assignment goes: a name, an attribute of a namespace, or a tuple of targets.
struct Target {
  enum class Kind : uint8_t { kName, kAttribute, kTuple } kind = Kind::kName;
  Symbol symbol = 0;
  std::string attribute;
  std::vector<Target> parts;
};

struct Stmt;
using Body = std::vector<const Stmt*>;

struct Parameter {
  std::string name;
  Symbol symbol = 0;
  const Expr* fallback = nullptr;
};

// A macro, or the body of a call block.
struct Function {
  std::string name;
  std::vector<Parameter> parameters;
  Body body;
  bool uses_caller = false;
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

struct Stmt {
  StmtKind kind = StmtKind::kData;
  uint32_t line = 0;
  std::string data;
  const Expr* expr = nullptr;  // output; condition; what a loop walks; value; call; filter chain
  const Expr* filter_condition = nullptr;  // for … if this
  Target target;
  bool recursive = false;
  std::vector<std::pair<const Expr*, Body>> branches;  // if, elif …
  Body body;
  Body otherwise;
  Function function;
  Symbol symbol = 0;                                     // of a macro's name
  std::vector<std::pair<Target, const Expr*>> bindings;  // with
};

struct Program {
  std::deque<Expr> exprs;
  std::deque<Stmt> stmts;
  std::vector<std::string> symbols;
  std::unordered_map<std::string, Symbol> symbol_of;
  Body body;
  // Names with a meaning of their own.
  Symbol loop = 0, caller = 0, varargs = 0, kwargs = 0;

  Symbol intern(std::string_view name) {
    const auto [it, is_new] =
        symbol_of.emplace(std::string(name), static_cast<Symbol>(symbols.size()));
    if (is_new) symbols.emplace_back(name);
    return it->second;
  }
};

}  // namespace bp::jinja
