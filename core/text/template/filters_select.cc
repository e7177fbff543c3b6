// SPDX-License-Identifier: Apache-2.0
// map, select, reject and their attribute forms: filters that run filters and tests.
#include "core/text/template/arguments.h"
#include "core/text/template/filters.h"
#include "core/text/template/print.h"

namespace bp::jinja {
namespace {

// The name that the argument at `index` gives, which is then removed from the arguments.
Result<std::string> take_name(Arguments& arguments, size_t index, std::string_view missing) {
  if (arguments.positional.size() <= index) return error(Code::kInvalidArgument, "{}", missing);
  const Value name = arguments.positional[index];
  arguments.positional.erase(arguments.positional.begin() + static_cast<ptrdiff_t>(index));
  if (name.is_string()) return std::string(name.bytes());
  return error(Code::kInvalidArgument, "No filter or test named {}.", short_repr(name));
}

Result<Value> select_items(Machine& machine, const Value& value, Arguments& arguments, bool keep,
                           bool by_attribute) {
  Heap& heap = machine.heap();
  if (!value.truthy()) return heap.generator({}, value.content());
  AttributePath path;
  if (by_attribute) {
    if (arguments.positional.empty()) {
      return error(Code::kInvalidArgument, "Missing parameter for attribute name");
    }
    path = BP_TRY(AttributePath::parse(heap, arguments.positional[0]));
    arguments.positional.erase(arguments.positional.begin());
  }
  std::string test;
  if (!arguments.positional.empty()) test = BP_TRY(take_name(arguments, 0, ""));
  std::vector<Value> kept;
  for (const Value& item : BP_TRY(iterate(heap, value))) {
    BP_TRY(heap.iterate());
    const Value subject = BP_TRY(path.get(machine, item));
    const bool holds =
        test.empty() ? subject.truthy() : BP_TRY(machine.apply_test(test, subject, arguments));
    if (holds == keep) kept.push_back(item);
  }
  return heap.generator(std::move(kept), value.content());
}

}  // namespace

Result<Value> filter_select(Machine& m, const Value& value, Arguments& arguments) {
  return select_items(m, value, arguments, true, false);
}
Result<Value> filter_reject(Machine& m, const Value& value, Arguments& arguments) {
  return select_items(m, value, arguments, false, false);
}
Result<Value> filter_selectattr(Machine& m, const Value& value, Arguments& arguments) {
  return select_items(m, value, arguments, true, true);
}
Result<Value> filter_rejectattr(Machine& m, const Value& value, Arguments& arguments) {
  return select_items(m, value, arguments, false, true);
}

Result<Value> filter_map(Machine& machine, const Value& value, Arguments& arguments) {
  Heap& heap = machine.heap();
  if (!value.truthy()) return heap.generator({}, value.content());
  std::vector<Value> mapped;
  const Value* attribute = arguments.find("attribute");
  if (arguments.positional.empty() && attribute != nullptr) {
    for (const auto& [name, unused] : arguments.keyword) {
      if (name != "attribute" && name != "default") {
        return error(Code::kInvalidArgument, "Unexpected keyword argument '{}'", name);
      }
    }
    const AttributePath path = BP_TRY(AttributePath::parse(heap, *attribute));
    const Value* fallback = arguments.find("default");
    for (const Value& item : BP_TRY(iterate(heap, value))) {
      BP_TRY(heap.iterate());
      mapped.push_back(BP_TRY(path.get(machine, item, fallback)));
    }
  } else {
    const std::string filter = BP_TRY(take_name(arguments, 0, "map requires a filter argument"));
    for (const Value& item : BP_TRY(iterate(heap, value))) {
      BP_TRY(heap.iterate());
      Arguments copy = arguments;  // filters may take theirs apart
      mapped.push_back(BP_TRY(machine.apply_filter(filter, item, copy)));
    }
  }
  return heap.generator(std::move(mapped), value.content());
}

}  // namespace bp::jinja
