// SPDX-License-Identifier: Apache-2.0
// Reaching into values: object.name, object[key], slices, iteration and length.
#include <algorithm>
#include <array>

#include "core/text/template/compare.h"
#include "core/text/template/machine.h"
#include "core/text/template/methods.h"
#include "core/text/template/number_text.h"
#include "core/text/template/print.h"
#include "core/text/template/unicode.h"

namespace bp::jinja {
namespace {

// Attributes that every Python object has. The sandbox hides them; to reach for one gives an
// undefined that says so when it is used.
bool is_hidden_attribute(std::string_view name) {
  static constexpr std::array<std::string_view, 24> kNames = {
      "__class__",   "__delattr__", "__dir__",           "__doc__",         "__eq__",
      "__format__",  "__ge__",      "__getattribute__",  "__getstate__",    "__gt__",
      "__hash__",    "__init__",    "__init_subclass__", "__le__",          "__lt__",
      "__ne__",      "__new__",     "__reduce__",        "__reduce_ex__",   "__repr__",
      "__setattr__", "__sizeof__",  "__str__",           "__subclasshook__"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

Value unsafe_attribute(const Value& object, std::string_view name) {
  return Value::undefined(
      fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(object)),
      true);
}

Value no_attribute(const Value& object, const Value& name) {
  if (!name.is_string()) {
    return Value::undefined(
        fmt::format("{} has no element {}", object_type_name(object), short_repr(name)));
  }
  // Jinja quotes the type's name here and not above.
  return Value::undefined(
      fmt::format("'{}' has no attribute {}", object_type_name(object), short_repr(name)));
}

Result<std::optional<Value>> special_attribute(Machine& machine, const Value& object,
                                               std::string_view name) {
  switch (object.kind()) {
    case Kind::kNamespace: {
      const auto* found =
          const_cast<NamespaceObject*>(static_cast<const NamespaceObject*>(object.object()))
              ->find(name);
      if (found != nullptr) return std::optional<Value>(*found);
      break;
    }
    case Kind::kTuple:
      if (!object.seq().group) break;
      if (name == "grouper") return std::optional<Value>(object.seq().items[0]);
      if (name == "list") return std::optional<Value>(object.seq().items[1]);
      break;
    case Kind::kLoop: {
      if (name == "cycle" || name == "changed") {
        const Method* method = find_method(Kind::kLoop, name);
        return std::optional<Value>(BP_TRY(machine.heap().bound_method(object, method)));
      }
      bool known = false;
      Value value = BP_TRY(machine.loop_attribute(object, name, &known));
      if (known) return std::optional<Value>(std::move(value));
      break;
    }
    case Kind::kMacro:
      if (name == "name") {
        const auto* macro = static_cast<const MacroObject*>(object.object());
        return std::optional<Value>(BP_TRY(machine.heap().string(macro->function->name, false)));
      }
      break;
    default:
      break;
  }
  return std::optional<Value>();
}

// Python's getattr(): methods and the few real attributes. Nothing when there is none.
Result<std::optional<Value>> python_attribute(Machine& machine, const Value& object,
                                              std::string_view name) {
  if (const Method* method = find_method(object.kind(), name)) {
    if (method->mutates) return std::optional<Value>(unsafe_attribute(object, name));
    return std::optional<Value>(BP_TRY(machine.heap().bound_method(object, method)));
  }
  if (name.starts_with("__") && is_hidden_attribute(name)) {
    return std::optional<Value>(unsafe_attribute(object, name));
  }
  return special_attribute(machine, object, name);
}

// object[key] of Python where it exists; nothing stands for TypeError, IndexError and KeyError.
Result<std::optional<Value>> subscript(Heap& heap, const Value& object, const Value& key) {
  if (object.is_dict()) {
    if (!check_hashable(key).ok()) return std::optional<Value>();
    const Value* found = BP_TRY(find_key(heap, object, key));
    return found != nullptr ? std::optional<Value>(*found) : std::optional<Value>();
  }
  if (!key.is_integral()) return std::optional<Value>();
  const bool indexed = object.is(Kind::kList) || object.is(Kind::kTuple) || object.is(Kind::kRange);
  if (!indexed && !object.is_string()) return std::optional<Value>();
  const auto count = static_cast<int64_t>(object.is_string() ? object.str().length_chars
                                                             : object.seq().items.size());
  const int64_t index = key.as_int() < 0 ? key.as_int() + count : key.as_int();
  if (index < 0 || index >= count) return std::optional<Value>();
  const auto i = static_cast<size_t>(index);
  if (indexed) return std::optional<Value>(object.seq().items[i]);
  size_t offset = i;
  if (!object.str().ascii) {
    BP_TRY(heap.step(i / 16));
    offset = char_offset(object.bytes(), i);
  }
  const size_t end = offset + decode_char(object.bytes(), offset).size_bytes;
  return std::optional<Value>(BP_TRY(heap.string(object.text().slice(offset, end))));
}

// One bound of a slice, cut to [low, high] after negative ones count from the end.
Result<int64_t> slice_bound(const Value& bound, int64_t count, int64_t otherwise, int64_t low,
                            int64_t high) {
  if (bound.is_none()) return otherwise;
  if (!bound.is_integral()) {
    return error(Code::kInvalidArgument,
                 "slice indices must be integers or None or have an __index__ method");
  }
  int64_t value = bound.as_int();
  if (value < 0) value += count;  // cannot overflow: count is at least 0
  return std::clamp(value, low, high);
}

Result<Value> slice_string(Heap& heap, const Value& object, int64_t start, int64_t stop,
                           int64_t step) {
  const Text& text = object.text();
  const bool markup = object.str().markup;
  if (step == 1) {
    if (start >= stop) return heap.string(Text(), markup);
    size_t begin = static_cast<size_t>(start), end = static_cast<size_t>(stop);
    if (!object.str().ascii) {
      BP_TRY(heap.step(text.size() / 16));
      const size_t count = end - begin;
      begin = char_offset(text.bytes(), begin);
      end = begin + char_offset(std::string_view(text.bytes()).substr(begin), count);
    }
    return heap.string(text.slice(begin, end), markup);
  }
  std::vector<size_t> offsets;
  BP_TRY(heap.reserve(object.str().length_chars * sizeof(size_t)));
  BP_TRY(heap.step(object.str().length_chars / 4));
  for (size_t i = 0; i < text.size(); i += decode_char(text.bytes(), i).size_bytes) {
    offsets.push_back(i);
  }
  Text out;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    const size_t at = offsets[static_cast<size_t>(i)];
    out.append(text, at, at + decode_char(text.bytes(), at).size_bytes);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return heap.string(std::move(out), markup);
}

// A part of a range is a range again.
Result<Value> slice_range(Heap& heap, const SequenceObject& range, int64_t first, int64_t last,
                          int64_t by) {
  int64_t step = 0, start = 0, stop = 0;
  const bool fits = !__builtin_mul_overflow(range.range_step, by, &step) &&
                    !__builtin_mul_overflow(range.range_step, first, &start) &&
                    !__builtin_mul_overflow(range.range_step, last, &stop) &&
                    !__builtin_add_overflow(range.range_start, start, &start) &&
                    !__builtin_add_overflow(range.range_start, stop, &stop);
  if (!fits) return integer_overflow();
  return heap.range(start, stop, step);
}

}  // namespace

Result<Value> Machine::attribute(const Value& object, const Value& name) {
  if (object.is_undefined()) return fail_undefined(object);
  auto found = BP_TRY(python_attribute(*this, object, name.bytes()));
  if (!found) found = BP_TRY(subscript(heap_, object, name));
  if (found) return std::move(*found);
  return no_attribute(object, name);
}

Result<Value> Machine::item(const Value& object, const Value& key) {
  if (object.is_undefined()) return fail_undefined(object);
  auto found = BP_TRY(subscript(heap_, object, key));
  if (!found && key.is_string()) found = BP_TRY(python_attribute(*this, object, key.bytes()));
  if (found) return std::move(*found);
  return no_attribute(object, key);
}

Result<Value> Machine::slice(const Value& object, const Value& start, const Value& stop,
                             const Value& step) {
  if (object.is_undefined()) return fail_undefined(object);
  const bool indexed = object.is(Kind::kList) || object.is(Kind::kTuple) || object.is(Kind::kRange);
  if (object.is_dict()) return error(Code::kInvalidArgument, "unhashable type: 'slice'");
  if (!indexed && !object.is_string()) {
    return error(Code::kInvalidArgument, "'{}' object is not subscriptable", type_name(object));
  }
  for (const Value* part : {&start, &stop, &step}) {
    if (!part->is_none() && !part->is_integral()) {
      return error(Code::kInvalidArgument,
                   "slice indices must be integers or None or have an __index__ method");
    }
  }
  const int64_t by = step.is_none() ? 1 : step.as_int();
  if (by == 0) return error(Code::kInvalidArgument, "slice step cannot be zero");
  const auto count = static_cast<int64_t>(object.is_string() ? object.str().length_chars
                                                             : object.seq().items.size());
  const int64_t low = by > 0 ? 0 : -1, high = by > 0 ? count : count - 1;
  const int64_t first = BP_TRY(slice_bound(start, count, by > 0 ? 0 : count - 1, low, high));
  const int64_t last = BP_TRY(slice_bound(stop, count, by > 0 ? count : -1, low, high));
  if (object.is_string()) return slice_string(heap_, object, first, last, by);
  if (object.is(Kind::kRange)) return slice_range(heap_, object.seq(), first, last, by);
  std::vector<Value> items;
  for (int64_t i = first; by > 0 ? i < last : i > last;) {
    items.push_back(object.seq().items[static_cast<size_t>(i)]);
    BP_TRY(heap_.reserve(sizeof(Value)));
    if (__builtin_add_overflow(i, by, &i)) break;
  }
  const Kind kind = object.is(Kind::kTuple) ? Kind::kTuple : Kind::kList;
  return heap_.sequence(kind, std::move(items), object.content());
}

Result<std::vector<Value>> characters(Heap& heap, const Value& string) {
  const Text& text = string.text();
  std::vector<Value> out;
  BP_TRY(heap.step(string.str().length_chars));
  BP_TRY(heap.reserve(string.str().length_chars * (sizeof(Value) + sizeof(StringObject))));
  for (size_t i = 0; i < text.size();) {
    const size_t next = i + decode_char(text.bytes(), i).size_bytes;
    out.push_back(Value::string(text.slice(i, next)));
    i = next;
  }
  return out;
}

Result<std::vector<Value>> iterate(Heap& heap, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return std::vector<Value>();
    case Kind::kString:
      return characters(heap, value);
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
    case Kind::kIterator: {
      const SequenceObject& sequence = value.seq();
      const size_t from = value.is(Kind::kIterator) ? sequence.taken : 0;
      BP_TRY(heap.reserve((sequence.items.size() - from) * sizeof(Value)));
      BP_TRY(heap.step((sequence.items.size() - from) / 8));
      if (value.is(Kind::kIterator)) sequence.taken = sequence.items.size();
      return std::vector<Value>(sequence.items.begin() + static_cast<ptrdiff_t>(from),
                                sequence.items.end());
    }
    case Kind::kDict: {
      std::vector<Value> keys;
      BP_TRY(heap.reserve(value.dict().entries.size() * sizeof(Value)));
      BP_TRY(heap.step(value.dict().entries.size() / 8));
      for (const auto& entry : value.dict().entries) keys.push_back(entry.first);
      return keys;
    }
    default:
      return error(Code::kInvalidArgument, "'{}' object is not iterable", type_name(value));
  }
}

Result<int64_t> length_of(Machine& machine, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return int64_t{0};
    case Kind::kString:
      return static_cast<int64_t>(value.str().length_chars);
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
      return static_cast<int64_t>(value.seq().items.size());
    case Kind::kDict:
      return static_cast<int64_t>(value.dict().entries.size());
    case Kind::kLoop: {
      bool known = false;
      return BP_TRY(machine.loop_attribute(value, "length", &known)).as_int();
    }
    default:
      return error(Code::kInvalidArgument, "object of type '{}' has no len()", type_name(value));
  }
}

}  // namespace bp::jinja
