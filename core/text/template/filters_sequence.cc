// SPDX-License-Identifier: Apache-2.0
// Filters over lists, dictionaries and strings as sequences.
#include <algorithm>
#include <unordered_set>

#include "core/text/template/arguments.h"
#include "core/text/template/compare.h"
#include "core/text/template/filters.h"
#include "core/text/template/print.h"

namespace bp::jinja {
namespace {

bool is_reversible(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_dict() ||
         (value.is_sequence_object() && !value.is(Kind::kIterator));
}

// A value for "fill_with", where None means none.
const Value* fill_of(const Bound& bound, size_t i) {
  return bound.given(i) && !bound[i]->is_none() ? bound[i] : nullptr;
}

Result<std::vector<Value>> sort_keys(Machine& machine, const std::vector<Value>& items,
                                     const Value& attribute, bool case_sensitive) {
  Heap& heap = machine.heap();
  std::vector<AttributePath> paths;
  if (attribute.is_string()) {
    std::string_view rest = attribute.bytes();
    while (true) {
      const size_t comma = std::min(rest.find(','), rest.size());
      paths.push_back(BP_TRY(AttributePath::parse(
          heap, Value::string(Text(std::string(rest.substr(0, comma)), false)))));
      if (comma == rest.size()) break;
      rest.remove_prefix(comma + 1);
    }
  } else {
    paths.push_back(BP_TRY(AttributePath::parse(heap, attribute)));
  }
  std::vector<Value> keys;
  for (const Value& item : items) {
    std::vector<Value> key;
    for (const AttributePath& path : paths) {
      const Value value = BP_TRY(path.get(machine, item));
      key.push_back(BP_TRY(comparison_key(machine, value, case_sensitive)));
    }
    if (key.size() == 1) {
      keys.push_back(std::move(key[0]));
    } else {
      keys.push_back(BP_TRY(heap.list(std::move(key), false)));
    }
  }
  return keys;
}

Result<Value> extreme(Machine& machine, const Value& value, Arguments& arguments, bool smallest) {
  const Bound bound = BP_TRY(
      Bound::bind(smallest ? "do_min" : "do_max", arguments, {"case_sensitive", "attribute"}));
  const std::vector<Value> items = BP_TRY(iterate(machine.heap(), value));
  if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const AttributePath path =
      BP_TRY(AttributePath::parse(machine.heap(), bound.given(1) ? *bound[1] : Value::none()));
  size_t best = 0;
  Value best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    const Value key = BP_TRY(
        comparison_key(machine, BP_TRY(path.get(machine, items[i])), bound.truthy(0, false)));
    const Ordering ordering = smallest ? Ordering::kLess : Ordering::kGreater;
    if (i == 0 || BP_TRY(ordered(machine.heap(), ordering, key, best_key))) {
      best = i;
      best_key = key;
    }
  }
  return items[best];
}

}  // namespace

Result<Value> filter_min(Machine& m, const Value& value, Arguments& arguments) {
  return extreme(m, value, arguments, true);
}
Result<Value> filter_max(Machine& m, const Value& value, Arguments& arguments) {
  return extreme(m, value, arguments, false);
}

Result<Value> filter_length(Machine& machine, const Value& value, Arguments& arguments) {
  BP_TRY(expect_positional("len", arguments, 0, 0));
  return Value::integer(BP_TRY(length_of(machine, value)));
}

Result<Value> filter_list(Machine& machine, const Value& value, Arguments& arguments) {
  BP_TRY(expect_positional("do_list", arguments, 0, 0));
  return machine.heap().list(BP_TRY(iterate(machine.heap(), value)),
                             !value.is_string() && value.content());
}

Result<Value> filter_items(Machine& machine, const Value& value, Arguments& arguments) {
  BP_TRY(expect_positional("do_items", arguments, 0, 0));
  if (value.is_undefined()) return machine.heap().generator({}, false);
  if (!value.is_dict()) {
    return error(Code::kInvalidArgument, "Can only get item pairs from a mapping.");
  }
  std::vector<Value> items;
  BP_TRY(machine.heap().reserve(value.dict().entries.size() * sizeof(Value)));
  for (const auto& [key, item] : value.dict().entries) {
    items.push_back(BP_TRY(machine.heap().tuple({key, item}, value.content())));
  }
  return machine.heap().generator(std::move(items), value.content());
}

Result<Value> filter_first(Machine& machine, const Value& value, Arguments& arguments) {
  BP_TRY(expect_positional("do_first", arguments, 0, 0));
  if (value.is(Kind::kIterator)) {
    const SequenceObject& sequence = value.seq();
    if (sequence.taken < sequence.items.size()) return sequence.items[sequence.taken++];
  } else if (value.is_sequence_object()) {
    if (!value.seq().items.empty()) return value.seq().items.front();
  } else {
    std::vector<Value> items = BP_TRY(iterate(machine.heap(), value));
    if (!items.empty()) return std::move(items.front());
  }
  return Value::undefined("No first item, sequence was empty.");
}

Result<Value> filter_last(Machine& machine, const Value& value, Arguments& arguments) {
  BP_TRY(expect_positional("do_last", arguments, 0, 0));
  if (!is_reversible(value)) {
    return error(Code::kInvalidArgument, "'{}' object is not reversible", type_name(value));
  }
  std::vector<Value> items = BP_TRY(iterate(machine.heap(), value));
  if (items.empty()) return Value::undefined("No last item, sequence was empty.");
  return std::move(items.back());
}

Result<Value> filter_reverse(Machine& machine, const Value& value, Arguments& arguments) {
  BP_TRY(expect_positional("do_reverse", arguments, 0, 0));
  if (value.is_string()) {
    return machine.slice(value, Value::none(), Value::none(), Value::integer(-1));
  }
  if (!value.is_sequence_object() && !value.is_dict() && !value.is_undefined()) {
    return error(Code::kInvalidArgument, "argument must be iterable");
  }
  std::vector<Value> items = BP_TRY(iterate(machine.heap(), value));
  std::reverse(items.begin(), items.end());
  if (value.is(Kind::kIterator)) return machine.heap().list(std::move(items), value.content());
  return machine.heap().sequence(Kind::kIterator, std::move(items), value.content(),
                                 "list_reverseiterator");
}

Result<Value> filter_join(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_join", arguments, {"d", "attribute"}));
  Heap& heap = machine.heap();
  const Text separator = bound.given(0) ? BP_TRY(to_text(heap, *bound[0])) : Text();
  const AttributePath path =
      BP_TRY(AttributePath::parse(heap, bound.given(1) ? *bound[1] : Value::none()));
  Text out;
  bool first = true;
  for (const Value& item : BP_TRY(iterate(heap, value))) {
    if (!first) out.append(separator);
    first = false;
    BP_TRY(append_str(heap, BP_TRY(path.get(machine, item)), &out));
    if (out.size() > heap.limits().max_string_bytes) return heap.reserve_string(out.size());
  }
  return heap.string(std::move(out));
}

Result<Value> filter_sum(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_sum", arguments, {"attribute", "start"}));
  Value total = bound.given(1) ? *bound[1] : Value::integer(0);
  if (total.is_string()) {
    return error(Code::kInvalidArgument, "sum() can't sum strings [use ''.join(seq) instead]");
  }
  const AttributePath path =
      BP_TRY(AttributePath::parse(machine.heap(), bound.given(0) ? *bound[0] : Value::none()));
  for (const Value& item : BP_TRY(iterate(machine.heap(), value))) {
    const Value part = BP_TRY(path.get(machine, item));
    total = BP_TRY(binary(machine.heap(), Operator::kAdd, total, part));
  }
  return total;
}

Result<Value> filter_sort(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound =
      BP_TRY(Bound::bind("do_sort", arguments, {"reverse", "case_sensitive", "attribute"}));
  const std::vector<Value> items = BP_TRY(iterate(machine.heap(), value));
  const std::vector<Value> keys = BP_TRY(sort_keys(
      machine, items, bound.given(2) ? *bound[2] : Value::none(), bound.truthy(1, false)));
  std::vector<Value> sorted;
  for (const uint32_t i :
       BP_TRY(stable_order(machine.heap(), keys, bound.truthy(0, false), true))) {
    sorted.push_back(items[i]);
  }
  return machine.heap().list(std::move(sorted), !value.is_string() && value.content());
}

Result<Value> filter_dictsort(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound =
      BP_TRY(Bound::bind("do_dictsort", arguments, {"case_sensitive", "by", "reverse"}));
  const Text by = BP_TRY(bound.text(1, "key"));
  if (by.bytes() != "key" && by.bytes() != "value") {
    return error(Code::kInvalidArgument, "You can only sort by either \"key\" or \"value\"");
  }
  if (value.is_undefined()) return fail_undefined(value);
  if (!value.is_dict()) {
    return error(Code::kInvalidArgument, "'{}' object has no attribute 'items'", type_name(value));
  }
  const auto& entries = value.dict().entries;
  std::vector<Value> keys;
  for (const auto& [key, item] : entries) {
    keys.push_back(
        BP_TRY(comparison_key(machine, by.bytes() == "key" ? key : item, bound.truthy(0, false))));
  }
  std::vector<Value> sorted;
  for (const uint32_t i : BP_TRY(stable_order(machine.heap(), keys, bound.truthy(2, false)))) {
    sorted.push_back(
        BP_TRY(machine.heap().tuple({entries[i].first, entries[i].second}, value.content())));
  }
  return machine.heap().list(std::move(sorted), value.content());
}

Result<Value> filter_unique(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_unique", arguments, {"case_sensitive", "attribute"}));
  const AttributePath path =
      BP_TRY(AttributePath::parse(machine.heap(), bound.given(1) ? *bound[1] : Value::none()));
  std::unordered_set<std::string> names;
  std::vector<Value> others, kept;
  for (const Value& item : BP_TRY(iterate(machine.heap(), value))) {
    const Value key =
        BP_TRY(comparison_key(machine, BP_TRY(path.get(machine, item)), bound.truthy(0, false)));
    BP_TRY(machine.heap().step());
    bool seen = false;
    if (key.is_string()) {
      seen = !names.emplace(key.bytes()).second;
    } else {
      BP_TRY(check_hashable(key));
      for (size_t i = 0; !seen && i < others.size(); ++i) {
        seen = BP_TRY(equal(machine.heap(), others[i], key));
      }
      if (!seen) others.push_back(key);
    }
    if (!seen) kept.push_back(item);
  }
  return machine.heap().generator(std::move(kept), value.content());
}

Result<Value> filter_groupby(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound =
      BP_TRY(Bound::bind("do_groupby", arguments, {"attribute", "default", "case_sensitive"}, 1));
  Heap& heap = machine.heap();
  const AttributePath path = BP_TRY(AttributePath::parse(heap, *bound[0]));
  const std::vector<Value> items = BP_TRY(iterate(heap, value));
  std::vector<Value> plain, keys;
  for (const Value& item : items) {
    plain.push_back(BP_TRY(path.get(machine, item, bound[1])));
    keys.push_back(BP_TRY(comparison_key(machine, plain.back(), bound.truthy(2, false))));
  }
  const std::vector<uint32_t> order = BP_TRY(stable_order(heap, keys, false));
  std::vector<Value> groups;
  for (size_t begin = 0; begin < order.size();) {
    std::vector<Value> members;
    size_t end = begin;
    while (end < order.size() && BP_TRY(equal(heap, keys[order[begin]], keys[order[end]]))) {
      members.push_back(items[order[end++]]);
    }
    if (end == begin)
      members.push_back(items[order[end++]]);  // NaN equals nothing, not even itself
    const Value list = BP_TRY(heap.list(std::move(members), value.content()));
    groups.push_back(BP_TRY(heap.group(plain[order[begin]], list)));
    begin = end;
  }
  return heap.list(std::move(groups), value.content());
}

Result<Value> filter_batch(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_batch", arguments, {"linecount", "fill_with"}, 1));
  const int64_t size = BP_TRY(bound.integer(0, 1));
  Heap& heap = machine.heap();
  std::vector<Value> rows, row;
  for (const Value& item : BP_TRY(iterate(heap, value))) {
    if (static_cast<int64_t>(row.size()) == size) {
      rows.push_back(BP_TRY(heap.list(std::move(row), value.content())));
      row.clear();
    }
    row.push_back(item);
  }
  if (!row.empty()) {
    if (const Value* fill = fill_of(bound, 1)) {
      const int64_t missing = std::max<int64_t>(size - static_cast<int64_t>(row.size()), 0);
      uint64_t bytes = 0;
      if (__builtin_mul_overflow(static_cast<uint64_t>(missing), sizeof(Value), &bytes)) {
        bytes = UINT64_MAX;
      }
      BP_TRY(heap.reserve(bytes));
      row.insert(row.end(), static_cast<size_t>(missing), *fill);
    }
    rows.push_back(BP_TRY(heap.list(std::move(row), value.content())));
  }
  return heap.generator(std::move(rows), value.content());
}

Result<Value> filter_slice(Machine& machine, const Value& value, Arguments& arguments) {
  const Bound bound = BP_TRY(Bound::bind("do_slice", arguments, {"slices", "fill_with"}, 1));
  const int64_t slices = BP_TRY(bound.integer(0, 1));
  if (slices == 0) return error(Code::kInvalidArgument, "integer division or modulo by zero");
  Heap& heap = machine.heap();
  const std::vector<Value> items = BP_TRY(iterate(heap, value));
  const auto count = static_cast<int64_t>(items.size());
  std::vector<Value> columns;
  int64_t begin = 0;
  for (int64_t i = 0; i < slices; ++i) {
    BP_TRY(heap.step());
    const bool longer = i < count % slices;
    const int64_t end = begin + count / slices + (longer ? 1 : 0);
    std::vector<Value> column(items.begin() + begin, items.begin() + end);
    const Value* fill = fill_of(bound, 1);
    if (fill != nullptr && !longer) column.push_back(*fill);
    columns.push_back(BP_TRY(heap.list(std::move(column), value.content())));
    begin = end;
  }
  return heap.generator(std::move(columns), value.content());
}

}  // namespace bp::jinja
