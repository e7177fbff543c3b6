// SPDX-License-Identifier: Apache-2.0
// Statements, scopes and assignments.
#include "core/text/template/machine.h"

#include "core/text/template/chat_template.h"
#include "core/text/template/globals.h"
#include "core/text/template/print.h"

namespace bp::jinja {
namespace {

// A value that points to an object which its Machine owns.
template <typename T>
Value borrowed(Kind kind, const T& object) {
  return Value::object(kind,
                       std::shared_ptr<const Object>(std::shared_ptr<const Object>(), &object));
}

}  // namespace

const Value* Arguments::find(std::string_view name) const {
  for (const auto& [key, value] : keyword) {
    if (key == name) return &value;
  }
  return nullptr;
}

const Value* Scope::find(Symbol symbol) const {
  if (symbol < dense.size()) return present[symbol] ? &dense[symbol] : nullptr;
  for (const auto& [key, value] : variables) {
    if (key == symbol) return &value;
  }
  return nullptr;
}

void Scope::set(Symbol symbol, Value value) {
  if (symbol < dense.size()) {
    dense[symbol] = std::move(value);
    present[symbol] = true;
    return;
  }
  for (auto& [key, old] : variables) {
    if (key == symbol) {
      old = std::move(value);
      return;
    }
  }
  variables.emplace_back(symbol, std::move(value));
}

Machine::Machine(const Program& program, const ChatInputs& inputs)
    : program_(program), inputs_(inputs), heap_(inputs.limits), root_(std::make_shared<Scope>()) {
  root_->dense.resize(program.symbols.size());
  root_->present.resize(program.symbols.size());
  for (const FunctionEntry& entry : global_functions()) define(entry.name, global_value(entry));
}

Machine::~Machine() = default;

void Machine::define(std::string_view name, Value value) {
  const auto it = program_.symbol_of.find(std::string(name));
  if (it != program_.symbol_of.end()) root_->set(it->second, std::move(value));
}

Result<Text> Machine::run() {
  Text out;
  auto scope = std::make_shared<Scope>();
  scope->dense.resize(program_.symbols.size());
  scope->present.resize(program_.symbols.size());
  scope->parent = root_;
  BP_TRY(run_body(program_.body, scope, &out));
  return out;
}

Result<ScopePtr> Machine::open_scope(const ScopePtr& parent) {
  BP_TRY(heap_.reserve(sizeof(Scope)));
  auto scope = std::make_shared<Scope>();
  scope->parent = parent;
  return scope;
}

// A scope with very many variables is searched linearly; that has its price.
Status Machine::charge_lookup(const Scope& scope) {
  return heap_.step(scope.variables.size() / 16);
}

Result<Value> Machine::make_namespace(std::vector<std::pair<std::string, Value>> attributes) {
  BP_TRY(heap_.reserve(sizeof(NamespaceObject) + attributes.size() * sizeof(attributes[0])));
  NamespaceObject& object = namespaces_.emplace_back();
  object.attributes = std::move(attributes);
  return borrowed(Kind::kNamespace, object);
}

Result<Value> Machine::make_macro(const Function& function, const ScopePtr& scope) {
  BP_TRY(heap_.reserve(sizeof(MacroObject)));
  MacroObject& object = macros_.emplace_back();
  object.function = &function;
  object.scope = scope;
  return borrowed(Kind::kMacro, object);
}

Status Machine::check_output(const Text& out) const {
  if (out.size() <= heap_.limits().max_output_bytes) return {};
  return error(Code::kExhausted, "the output is longer than max_output_bytes = {}",
               heap_.limits().max_output_bytes);
}

Status Machine::emit(const Value& value, Text* out) {
  BP_TRY(append_str(heap_, value, out));
  return check_output(*out);
}

Result<Machine::Flow> Machine::run_body(const Body& body, const ScopePtr& scope, Text* out) {
  if (depth_ >= kMaxEvaluationDepth) {
    return error(Code::kExhausted, "the template recurses deeper than kMaxEvaluationDepth = {}",
                 kMaxEvaluationDepth);
  }
  ++depth_;
  Result<Flow> flow = Flow::kNormal;
  for (const Stmt* stmt : body) {
    line_ = stmt->line;
    flow = run_stmt(*stmt, scope, out);
    if (!flow.ok() || flow.value() != Flow::kNormal) break;
  }
  --depth_;
  return flow;
}

Result<Machine::Flow> Machine::run_stmt(const Stmt& stmt, const ScopePtr& scope, Text* out) {
  BP_TRY(heap_.step());
  switch (stmt.kind) {
    case StmtKind::kData:
      BP_TRY(heap_.reserve(stmt.data.size()));
      out->append(stmt.data, false);
      BP_TRY(check_output(*out));
      return Flow::kNormal;
    case StmtKind::kOutput: {
      const Value value = BP_TRY(eval(*stmt.expr, scope));
      BP_TRY(emit(value, out));
      return Flow::kNormal;
    }
    case StmtKind::kIf:
      return run_if(stmt, scope, out);
    case StmtKind::kFor:
      return run_for(stmt, scope, out);
    case StmtKind::kSet: {
      const Value value = BP_TRY(eval(*stmt.expr, scope));
      BP_TRY(assign(stmt.target, value, scope));
      return Flow::kNormal;
    }
    case StmtKind::kSetBlock:
      return run_set_block(stmt, scope);
    case StmtKind::kMacro:
      BP_TRY(define_macro(stmt, scope));
      return Flow::kNormal;
    case StmtKind::kCall:
      BP_TRY(run_call_block(stmt, scope, out));
      return Flow::kNormal;
    case StmtKind::kFilter:
      return run_filter_block(stmt, scope, out);
    case StmtKind::kWith:
      return run_with(stmt, scope, out);
    case StmtKind::kGeneration: {
      const ScopePtr inner = BP_TRY(open_scope(scope));
      return run_body(stmt.body, inner, out);
    }
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNormal;
}

Result<Machine::Flow> Machine::run_if(const Stmt& stmt, const ScopePtr& scope, Text* out) {
  for (const auto& [condition, body] : stmt.branches) {
    const Value value = BP_TRY(eval(*condition, scope));
    if (value.truthy()) return run_body(body, scope, out);
  }
  return run_body(stmt.otherwise, scope, out);
}

Result<Machine::Flow> Machine::run_for(const Stmt& stmt, const ScopePtr& scope, Text* out) {
  const Value iterable = BP_TRY(eval(*stmt.expr, scope));
  return run_loop(stmt, iterable, scope, 0, out);
}

Result<Machine::Flow> Machine::run_loop(const Stmt& stmt, const Value& iterable,
                                        const ScopePtr& scope, int64_t depth0, Text* out) {
  LoopObject* loop = BP_TRY(make_loop(stmt, iterable, scope, depth0));
  const Value loop_value = borrowed(Kind::kLoop, *loop);
  ScopePtr inner;
  bool completed = false;  // break and continue do not count: Jinja's else runs after them, too
  while (BP_TRY(next(*loop))) {
    BP_TRY(heap_.iterate());
    if (inner != nullptr && inner.use_count() == 1) {
      inner->variables.clear();  // nobody kept the last iteration's scope
    } else {
      inner = BP_TRY(open_scope(scope));
    }
    inner->set(program_.loop, loop_value);
    BP_TRY(assign(stmt.target, loop->current, inner));
    const Flow flow = BP_TRY(run_body(stmt.body, inner, out));
    if (flow == Flow::kBreak) break;
    completed |= flow == Flow::kNormal;
  }
  if (!completed && !stmt.otherwise.empty()) {
    const ScopePtr other = BP_TRY(open_scope(scope));
    return run_body(stmt.otherwise, other, out);
  }
  return Flow::kNormal;
}

Result<Machine::Flow> Machine::run_set_block(const Stmt& stmt, const ScopePtr& scope) {
  const ScopePtr inner = BP_TRY(open_scope(scope));
  Text text;
  const Flow flow = BP_TRY(run_body(stmt.body, inner, &text));
  if (flow != Flow::kNormal) return flow;
  Value value = BP_TRY(heap_.string(std::move(text)));
  if (stmt.expr != nullptr) value = BP_TRY(eval_filter(*stmt.expr, inner, &value));
  BP_TRY(assign(stmt.target, value, scope));
  return Flow::kNormal;
}

Result<Machine::Flow> Machine::run_filter_block(const Stmt& stmt, const ScopePtr& scope,
                                                Text* out) {
  const ScopePtr inner = BP_TRY(open_scope(scope));
  Text text;
  const Flow flow = BP_TRY(run_body(stmt.body, inner, &text));
  if (flow != Flow::kNormal) return flow;
  const Value input = BP_TRY(heap_.string(std::move(text)));
  const Value value = BP_TRY(eval_filter(*stmt.expr, inner, &input));
  BP_TRY(emit(value, out));
  return Flow::kNormal;
}

Result<Machine::Flow> Machine::run_with(const Stmt& stmt, const ScopePtr& scope, Text* out) {
  const ScopePtr inner = BP_TRY(open_scope(scope));
  std::vector<Value> values;
  for (const auto& binding : stmt.bindings) values.push_back(BP_TRY(eval(*binding.second, scope)));
  for (size_t i = 0; i < values.size(); ++i) {
    BP_TRY(assign(stmt.bindings[i].first, values[i], inner));
  }
  return run_body(stmt.body, inner, out);
}

Status Machine::run_call_block(const Stmt& stmt, const ScopePtr& scope, Text* out) {
  const Value caller = BP_TRY(make_macro(stmt.function, scope));
  const Value value = BP_TRY(eval_call(*stmt.expr, scope, &caller));
  return emit(value, out);
}

Status Machine::define_macro(const Stmt& stmt, const ScopePtr& scope) {
  const Value macro = BP_TRY(make_macro(stmt.function, scope));
  BP_TRY(charge_lookup(*scope));
  scope->set(stmt.symbol, macro);
  return {};
}

Status Machine::assign(const Target& target, const Value& value, const ScopePtr& scope) {
  switch (target.kind) {
    case Target::Kind::kName:
      BP_TRY(charge_lookup(*scope));
      scope->set(target.symbol, value);
      return {};
    case Target::Kind::kTuple:
      return unpack(target, value, scope);
    case Target::Kind::kAttribute:
      break;
  }
  const Value* found = nullptr;
  for (const Scope* at = scope.get(); at != nullptr && found == nullptr; at = at->parent.get()) {
    BP_TRY(charge_lookup(*at));
    found = at->find(target.symbol);
  }
  if (found == nullptr || !found->is(Kind::kNamespace)) {
    return error(Code::kInvalidArgument, "cannot assign attribute on non-namespace object");
  }
  // Namespaces are made by this render and are the one thing that it may change.
  auto* object = const_cast<NamespaceObject*>(static_cast<const NamespaceObject*>(found->object()));
  BP_TRY(heap_.step(object->attributes.size() / 16));
  if (Value* attribute = object->find(target.attribute)) {
    *attribute = value;
  } else {
    BP_TRY(heap_.reserve(sizeof(object->attributes[0])));
    object->attributes.emplace_back(target.attribute, value);
  }
  return {};
}

Status Machine::unpack(const Target& target, const Value& value, const ScopePtr& scope) {
  if (!value.is_sequence_object() && !value.is_dict() && !value.is_string() &&
      !value.is_undefined()) {
    return error(Code::kInvalidArgument, "cannot unpack non-iterable {} object", type_name(value));
  }
  const std::vector<Value> items = BP_TRY(iterate(heap_, value));
  const size_t wanted = target.parts.size();
  if (items.size() < wanted) {
    return error(Code::kInvalidArgument, "not enough values to unpack (expected {}, got {})",
                 wanted, items.size());
  }
  if (items.size() > wanted) {
    return error(Code::kInvalidArgument, "too many values to unpack (expected {})", wanted);
  }
  for (size_t i = 0; i < wanted; ++i) BP_TRY(assign(target.parts[i], items[i], scope));
  return {};
}

}  // namespace bp::jinja
