// SPDX-License-Identifier: Apache-2.0
// Methods of list, tuple and dict, and of `loop`.
#include "core/text/template/arguments.h"
#include "core/text/template/compare.h"
#include "core/text/template/methods.h"
#include "core/text/template/print.h"

namespace bp::jinja {
namespace {

Result<Value> count(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("count", arguments, 1, 1));
  int64_t found = 0;
  for (const Value& item : self.seq().items) {
    if (BP_TRY(equal(machine.heap(), item, arguments.positional[0]))) ++found;
  }
  return Value::integer(found);
}

Result<Value> index(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("index", arguments, 1, 3));
  const Bound bound = BP_TRY(Bound::bind("index", arguments, {"value", "start", "stop"}, 1));
  const auto& items = self.seq().items;
  const auto size = static_cast<int64_t>(items.size());
  const auto place = [size](int64_t i) { return i < 0 ? std::max<int64_t>(i + size, 0) : i; };
  const int64_t start = place(BP_TRY(bound.integer(1, 0)));
  const int64_t stop = std::min(place(BP_TRY(bound.integer(2, size))), size);
  for (int64_t i = start; i < stop; ++i) {
    if (BP_TRY(equal(machine.heap(), items[static_cast<size_t>(i)], *bound[0]))) {
      return Value::integer(i);
    }
  }
  if (self.is(Kind::kTuple)) {
    return error(Code::kInvalidArgument, "tuple.index(x): x not in tuple");
  }
  return error(Code::kInvalidArgument, "{} is not in list", short_repr(*bound[0]));
}

Result<Value> copy(Machine&, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("copy", arguments, 0, 0));
  return self;  // immutable here, so a copy is not to be told from the original
}

Result<Value> dict_get(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("get", arguments, 1, 2));
  const Value* found = BP_TRY(find_key(machine.heap(), self, arguments.positional[0]));
  if (found != nullptr) return *found;
  return arguments.positional.size() == 2 ? arguments.positional[1] : Value::none();
}

Result<Value> dict_items(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("items", arguments, 0, 0));
  std::vector<Value> items;
  BP_TRY(machine.heap().reserve(self.dict().entries.size() * sizeof(Value)));
  for (const auto& [key, value] : self.dict().entries) {
    items.push_back(BP_TRY(machine.heap().tuple({key, value}, self.content())));
  }
  return machine.heap().sequence(Kind::kView, std::move(items), self.content(), "dict_items");
}

Result<Value> dict_keys(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("keys", arguments, 0, 0));
  std::vector<Value> items = BP_TRY(iterate(machine.heap(), self));
  return machine.heap().sequence(Kind::kView, std::move(items), self.content(), "dict_keys");
}

Result<Value> dict_values(Machine& machine, const Value& self, Arguments& arguments) {
  BP_TRY(expect_positional("values", arguments, 0, 0));
  std::vector<Value> items;
  BP_TRY(machine.heap().reserve(self.dict().entries.size() * sizeof(Value)));
  for (const auto& entry : self.dict().entries) items.push_back(entry.second);
  return machine.heap().sequence(Kind::kView, std::move(items), self.content(), "dict_values");
}

Result<Value> loop_cycle(Machine& machine, const Value& self, Arguments& arguments) {
  if (arguments.positional.empty()) {
    return error(Code::kInvalidArgument, "no items for cycling given");
  }
  bool known = false;
  const Value at = BP_TRY(machine.loop_attribute(self, "index0", &known));
  const auto count = static_cast<int64_t>(arguments.positional.size());
  return arguments.positional[static_cast<size_t>(std::max<int64_t>(at.as_int(), 0) % count)];
}

Result<Value> loop_changed(Machine& machine, const Value& self, Arguments& arguments) {
  auto& loop = const_cast<LoopObject&>(static_cast<const LoopObject&>(*self.object()));
  bool same = loop.last_changed && loop.last_changed->size() == arguments.positional.size();
  for (size_t i = 0; same && i < arguments.positional.size(); ++i) {
    same = BP_TRY(equal(machine.heap(), (*loop.last_changed)[i], arguments.positional[i]));
  }
  if (!same) loop.last_changed = arguments.positional;
  return Value::boolean(!same);
}

constexpr Method kListMethods[] = {
    {"append", nullptr, true},  {"clear", nullptr, true},  {"copy", copy},
    {"count", count},           {"extend", nullptr, true}, {"index", index},
    {"insert", nullptr, true},  {"pop", nullptr, true},    {"remove", nullptr, true},
    {"reverse", nullptr, true}, {"sort", nullptr, true},
};
constexpr Method kTupleMethods[] = {{"count", count}, {"index", index}};
constexpr Method kDictMethods[] = {
    {"clear", nullptr, true},   {"copy", copy},
    {"get", dict_get},          {"items", dict_items},
    {"keys", dict_keys},        {"pop", nullptr, true},
    {"popitem", nullptr, true}, {"setdefault", nullptr, true},
    {"update", nullptr, true},  {"values", dict_values},
};
constexpr Method kLoopMethods[] = {{"changed", loop_changed}, {"cycle", loop_cycle}};

}  // namespace

const Method* find_method(Kind kind, std::string_view name) {
  switch (kind) {
    case Kind::kString:
      return find_string_method(name);
    case Kind::kList:
      return find_in(kListMethods, name);
    case Kind::kTuple:
    case Kind::kRange:
      return find_in(kTupleMethods, name);
    case Kind::kDict:
      return find_in(kDictMethods, name);
    case Kind::kLoop:
      return find_in(kLoopMethods, name);
    default:
      return nullptr;
  }
}

}  // namespace bp::jinja
