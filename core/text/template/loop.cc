// SPDX-License-Identifier: Apache-2.0
// What a loop walks, and the variable `loop`.
#include "core/text/template/machine.h"
#include "core/text/template/print.h"

namespace bp::jinja {
namespace {

LoopObject& loop_of(const Value& value) {
  // Loops are owned by the machine and change as they run.
  return const_cast<LoopObject&>(static_cast<const LoopObject&>(*value.object()));
}

}  // namespace

std::string describe_loop(const Value& loop) {
  const LoopObject& object = loop_of(loop);
  const int64_t length = object.length             ? *object.length
                         : object.items != nullptr ? static_cast<int64_t>(object.items->size())
                                                   : 0;
  return fmt::format("<LoopContext {}/{}>", object.index0 + 1, length);
}

Result<LoopObject*> Machine::make_loop(const Stmt& stmt, const Value& iterable,
                                       const ScopePtr& outer, int64_t depth0) {
  BP_TRY(heap_.reserve(sizeof(LoopObject)));
  LoopObject& loop = loops_.emplace_back();
  loop.stmt = &stmt;
  loop.outer = outer;
  loop.iterable = iterable;
  loop.depth0 = depth0;
  loop.sized = stmt.filter_condition == nullptr && !iterable.is(Kind::kIterator);
  loop.items = &loop.own_items;
  if (iterable.is(Kind::kIterator)) {
    loop.iterator = &iterable.seq();
    loop.items = &iterable.seq().items;
  } else if (iterable.is_sequence_object()) {
    loop.items = &iterable.seq().items;
  } else {
    loop.own_items = BP_TRY(iterate(heap_, iterable));
  }
  return &loop;
}

// The next item whatever the condition, or nothing at the end.
Result<std::optional<Value>> Machine::pull_source(LoopObject& loop) {
  size_t& position = loop.iterator != nullptr ? loop.iterator->taken : loop.position;
  if (position >= loop.items->size()) return std::optional<Value>();
  return std::optional<Value>((*loop.items)[position++]);
}

Result<std::optional<Value>> Machine::pull(LoopObject& loop) {
  if (loop.pulled_position < loop.pulled.size()) {
    return std::optional<Value>(loop.pulled[loop.pulled_position++]);
  }
  while (true) {
    std::optional<Value> item = BP_TRY(pull_source(loop));
    if (!item || loop.stmt->filter_condition == nullptr) return item;
    BP_TRY(heap_.iterate());
    const ScopePtr scope = BP_TRY(open_scope(loop.outer));
    BP_TRY(assign(loop.stmt->target, *item, scope));
    const Value keep = BP_TRY(eval(*loop.stmt->filter_condition, scope));
    if (keep.truthy()) return item;
  }
}

Status Machine::peek(LoopObject& loop) {
  if (!loop.after) loop.after = BP_TRY(pull(loop));
  return {};
}

Result<bool> Machine::next(LoopObject& loop) {
  std::optional<Value> item;
  if (loop.after) {
    item = std::move(loop.after);
    loop.after.reset();
  } else {
    item = BP_TRY(pull(loop));
  }
  if (!item) return false;
  ++loop.index0;
  loop.has_before = loop.index0 > 0;
  loop.before = std::move(loop.current);
  loop.current = std::move(*item);
  return true;
}

Result<Value> Machine::loop_length(LoopObject& loop) {
  if (!loop.length) {
    if (loop.sized) {
      loop.length = static_cast<int64_t>(loop.items->size());
    } else {
      std::vector<Value> rest;
      while (std::optional<Value> item = BP_TRY(pull(loop))) {
        BP_TRY(heap_.reserve(sizeof(Value)));
        rest.push_back(std::move(*item));
      }
      loop.pulled = std::move(rest);
      loop.pulled_position = 0;
      loop.length = static_cast<int64_t>(loop.pulled.size()) + loop.index0 + 1 +
                    (loop.after.has_value() ? 1 : 0);
    }
  }
  return Value::integer(*loop.length);
}

Result<Value> Machine::loop_attribute(const Value& value, std::string_view name, bool* known) {
  LoopObject& loop = loop_of(value);
  *known = true;
  if (name == "index0") return Value::integer(loop.index0);
  if (name == "index") return Value::integer(loop.index0 + 1);
  if (name == "first") return Value::boolean(loop.index0 == 0);
  if (name == "depth0") return Value::integer(loop.depth0);
  if (name == "depth") return Value::integer(loop.depth0 + 1);
  if (name == "length") return loop_length(loop);
  if (name == "revindex" || name == "revindex0") {
    const Value length = BP_TRY(loop_length(loop));
    return Value::integer(length.as_int() - loop.index0 - (name == "revindex0" ? 1 : 0));
  }
  if (name == "last") {
    BP_TRY(peek(loop));
    return Value::boolean(!loop.after.has_value());
  }
  if (name == "previtem") {
    if (!loop.has_before) return Value::undefined("there is no previous item");
    return loop.before;
  }
  if (name == "nextitem") {
    BP_TRY(peek(loop));
    if (!loop.after) return Value::undefined("there is no next item");
    return *loop.after;
  }
  *known = false;
  return Value();
}

// loop(children) of a recursive loop.
Result<Value> Machine::call_loop(const Value& value, Arguments& arguments) {
  LoopObject& loop = loop_of(value);
  if (!loop.stmt->recursive) {
    return error(Code::kInvalidArgument,
                 "The loop must have the 'recursive' marker to be called recursively.");
  }
  if (arguments.positional.size() != 1 || !arguments.keyword.empty()) {
    return error(Code::kInvalidArgument, "loop() takes exactly one argument");
  }
  Text text;
  BP_TRY(run_loop(*loop.stmt, arguments.positional[0], loop.outer, loop.depth0 + 1, &text));
  return heap_.string(std::move(text));
}

}  // namespace bp::jinja
