// SPDX-License-Identifier: Apache-2.0
// The interpreter of one render: walks the Program's tree, holds scopes, counts what is spent.
//
// Scopes follow Jinja: loops, macros, call/filter/set blocks and `with` open one; `if` does not.
// An assignment goes to the innermost scope, a read walks outwards to the inputs and the globals.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/status.h"
#include "core/text/template/ast.h"
#include "core/text/template/heap.h"
#include "core/text/template/value.h"

namespace bp {
struct ChatInputs;
}

namespace bp::jinja {

// Trees inside calls inside trees: every level of evaluation costs native stack, this bounds it.
inline constexpr uint32_t kMaxEvaluationDepth = 900;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;

  const Value* find(std::string_view name) const;
};

struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<Symbol, Value>> variables;
  std::vector<Value> dense;  // the outermost scopes: by symbol, for speed
  std::vector<bool> present;

  const Value* find(Symbol symbol) const;
  void set(Symbol symbol, Value value);
};
using ScopePtr = std::shared_ptr<Scope>;

struct MacroObject : Object {
  const Function* function = nullptr;
  ScopePtr scope;  // where it was defined
};

// The items of a loop, pulled one by one, so that a filter's condition sees what the body did.
struct LoopObject : Object {
  const Stmt* stmt = nullptr;
  ScopePtr outer;
  Value iterable;                // keeps alive what `items` points to
  std::vector<Value> own_items;  // keys of a dictionary, characters of a string
  const std::vector<Value>* items = nullptr;
  const SequenceObject* iterator = nullptr;  // when it walks a generator: shared progress
  size_t position = 0;
  bool sized = true;  // has Python's len(): not a generator, no condition
  int64_t index0 = -1;
  int64_t depth0 = 0;
  std::optional<int64_t> length;
  Value current, before;
  bool has_before = false;
  std::optional<Value> after;
  std::vector<Value> pulled;  // read ahead for `length`
  size_t pulled_position = 0;
  std::optional<std::vector<Value>> last_changed;
};

class Machine {
 public:
  Machine(const Program& program, const ChatInputs& inputs);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  Heap& heap() { return heap_; }
  const ChatInputs& inputs() const { return inputs_; }
  uint32_t line() const { return line_; }

  // Makes an input visible to the template; later ones win.
  void define(std::string_view name, Value value);
  Result<Text> run();

  // For filters, methods and globals.
  Result<Value> call(const Value& callee, Arguments& arguments);
  Result<Value> attribute(const Value& object, const Value& name);  // object.name
  Result<Value> item(const Value& object, const Value& key);        // object[key]
  Result<Value> apply_filter(std::string_view name, const Value& value, Arguments& arguments);
  Result<bool> apply_test(std::string_view name, const Value& value, Arguments& arguments);
  Result<Value> make_namespace(std::vector<std::pair<std::string, Value>> attributes);
  Result<Value> loop_attribute(const Value& loop, std::string_view name, bool* known);
  Result<Value> loop_length(LoopObject& loop);
  Result<Value> slice(const Value& object, const Value& start, const Value& stop,
                      const Value& step);

 private:
  enum class Flow : uint8_t { kNormal, kBreak, kContinue };

  // machine.cc: statements
  Result<Flow> run_body(const Body& body, const ScopePtr& scope, Text* out);
  Result<Flow> run_stmt(const Stmt& stmt, const ScopePtr& scope, Text* out);
  Result<Flow> run_if(const Stmt& stmt, const ScopePtr& scope, Text* out);
  Result<Flow> run_for(const Stmt& stmt, const ScopePtr& scope, Text* out);
  Result<Flow> run_loop(const Stmt& stmt, const Value& iterable, const ScopePtr& scope,
                        int64_t depth0, Text* out);
  Result<Flow> run_set_block(const Stmt& stmt, const ScopePtr& scope);
  Result<Flow> run_filter_block(const Stmt& stmt, const ScopePtr& scope, Text* out);
  Result<Flow> run_with(const Stmt& stmt, const ScopePtr& scope, Text* out);
  Status run_call_block(const Stmt& stmt, const ScopePtr& scope, Text* out);
  Status define_macro(const Stmt& stmt, const ScopePtr& scope);
  Status assign(const Target& target, const Value& value, const ScopePtr& scope);
  Status unpack(const Target& target, const Value& value, const ScopePtr& scope);
  Status emit(const Value& value, Text* out);
  Status check_output(const Text& out) const;
  Result<Value> make_macro(const Function& function, const ScopePtr& scope);
  Result<ScopePtr> open_scope(const ScopePtr& parent);
  Status charge_lookup(const Scope& scope);

  // loop.cc
  Result<LoopObject*> make_loop(const Stmt& stmt, const Value& iterable, const ScopePtr& outer,
                                int64_t depth0);
  Result<std::optional<Value>> pull_source(LoopObject& loop);
  Result<std::optional<Value>> pull(LoopObject& loop);
  Status peek(LoopObject& loop);
  Result<bool> next(LoopObject& loop);
  Result<Value> call_loop(const Value& loop, Arguments& arguments);

  // evaluate.cc: expressions
  Result<Value> eval(const Expr& expr, const ScopePtr& scope);
  Result<Value> eval_node(const Expr& expr, const ScopePtr& scope);
  Result<Value> eval_name(const Expr& expr, const ScopePtr& scope);
  Result<Value> eval_list(const Expr& expr, const ScopePtr& scope);
  Result<Value> eval_dict(const Expr& expr, const ScopePtr& scope);
  Result<Value> eval_slice(const Expr& expr, const ScopePtr& scope);
  Result<Value> eval_call(const Expr& expr, const ScopePtr& scope, const Value* caller);
  Result<Value> eval_filter(const Expr& expr, const ScopePtr& scope, const Value* input);
  Result<Value> eval_test(const Expr& expr, const ScopePtr& scope);
  Result<Value> eval_conditional(const Expr& expr, const ScopePtr& scope);
  Result<Value> eval_compare(const Expr& expr, const ScopePtr& scope);
  Result<Value> eval_concat(const Expr& expr, const ScopePtr& scope);
  Result<bool> compare(Operator op, const Value& a, const Value& b);
  Result<Arguments> eval_arguments(const CallArguments& arguments, const ScopePtr& scope);
  Result<Value> call_macro(const Value& macro, Arguments& arguments);
  Status bind_parameters(const Function& function, Arguments& arguments, const ScopePtr& scope);

  const Program& program_;
  const ChatInputs& inputs_;
  Heap heap_;
  ScopePtr root_;
  uint32_t line_ = 1;
  uint32_t depth_ = 0;
  // Owned here until the render ends; values only point at them, so cycles cannot leak.
  std::deque<NamespaceObject> namespaces_;
  std::deque<MacroObject> macros_;
  std::deque<LoopObject> loops_;
};

// The items that Python's iter(value) yields; walks a generator to its end.
Result<std::vector<Value>> iterate(Heap& heap, const Value& value);
// The characters of a string as strings.
Result<std::vector<Value>> characters(Heap& heap, const Value& string);
// len(value).
Result<int64_t> length_of(Machine& machine, const Value& value);

// operators.cc
Result<Value> binary(Heap& heap, Operator op, const Value& a, const Value& b);
Result<Value> negate(const Value& value);
Result<Value> unary_plus(const Value& value);
Result<Value> power(const Value& a, const Value& b);

Status fail_undefined(const Value& value);
std::string describe_macro(const Value& macro);
std::string describe_loop(const Value& loop);

}  // namespace bp::jinja
