// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/heap.h"

#include <algorithm>

#include "core/text/template/compare.h"

namespace bp::jinja {

Status Heap::too_many_steps() const {
  return error(Code::kExhausted, "the template needs more than max_steps = {} steps",
               limits_.max_steps);
}

Status Heap::iterate() {
  if (++iterations_ > limits_.max_loop_iterations) {
    return error(Code::kExhausted, "the template's loops run more than max_loop_iterations = {}",
                 limits_.max_loop_iterations);
  }
  return step();
}

Status Heap::reserve(uint64_t size_bytes) {
  if (size_bytes > limits_.max_work_bytes || work_bytes_ > limits_.max_work_bytes - size_bytes) {
    return error(Code::kExhausted, "the template allocates more than max_work_bytes = {}",
                 limits_.max_work_bytes);
  }
  work_bytes_ += size_bytes;
  return {};
}

Status Heap::reserve_string(uint64_t size_bytes) {
  if (size_bytes > limits_.max_string_bytes) {
    return error(Code::kExhausted, "a string of {} bytes is longer than max_string_bytes = {}",
                 size_bytes, limits_.max_string_bytes);
  }
  BP_TRY(reserve(size_bytes));
  return step(size_bytes / 64);
}

Result<Value> Heap::string(Text text, bool markup) {
  BP_TRY(reserve_string(text.footprint_bytes()));
  BP_TRY(reserve(sizeof(StringObject)));
  return Value::string(std::move(text), markup);
}

Result<uint32_t> Heap::height_over(uint32_t tallest) const {
  if (tallest >= kMaxValueDepth) {
    return error(Code::kExhausted, "values nest deeper than kMaxValueDepth = {}", kMaxValueDepth);
  }
  return tallest + 1;
}

Result<Value> Heap::sequence(Kind type, std::vector<Value> items, bool content,
                             const char* type_name) {
  BP_TRY(reserve(sizeof(SequenceObject) + items.size() * sizeof(Value)));
  BP_TRY(step(items.size() / 8));
  auto object = std::make_shared<SequenceObject>();
  uint32_t tallest = 0;
  for (const Value& item : items) tallest = std::max(tallest, item.height());
  object->height = BP_TRY(height_over(tallest));
  object->items = std::move(items);
  object->content = content;
  object->type_name = type_name != nullptr ? type_name : type == Kind::kTuple ? "tuple" : "list";
  return Value::object(type, std::move(object));
}

Result<Value> Heap::group(Value key, Value members) {
  const bool content = members.content();
  Value tuple = BP_TRY(sequence(Kind::kTuple, {std::move(key), std::move(members)}, content));
  auto object = std::make_shared<SequenceObject>(tuple.seq());
  object->group = true;
  object->type_name = "_GroupTuple";
  return Value::object(Kind::kTuple, std::move(object));
}

Result<Value> Heap::range(int64_t start, int64_t stop, int64_t step_size) {
  if (step_size == 0) return error(Code::kInvalidArgument, "range() arg 3 must not be zero");
  // Unsigned differences: exact for every pair of 64-bit bounds.
  const auto distance = [](int64_t from, int64_t to) {
    return static_cast<uint64_t>(to) - static_cast<uint64_t>(from);
  };
  uint64_t count = 0;
  if (step_size > 0 && start < stop) {
    count = (distance(start, stop) - 1) / static_cast<uint64_t>(step_size) + 1;
  } else if (step_size < 0 && start > stop) {
    count = (distance(stop, start) - 1) / (uint64_t{0} - static_cast<uint64_t>(step_size)) + 1;
  }
  if (count > kMaxRangeItems) {
    return error(Code::kExhausted,
                 "Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).",
                 kMaxRangeItems);
  }
  std::vector<Value> items;
  items.reserve(count);
  uint64_t value = static_cast<uint64_t>(start);
  for (uint64_t i = 0; i < count; ++i, value += static_cast<uint64_t>(step_size)) {
    items.push_back(Value::integer(static_cast<int64_t>(value)));
  }
  BP_TRY(reserve(sizeof(SequenceObject) + count * sizeof(Value)));
  BP_TRY(step(count / 4));
  auto object = std::make_shared<SequenceObject>();
  object->items = std::move(items);
  object->type_name = "range";
  object->range_start = start;
  object->range_stop = stop;
  object->range_step = step_size;
  return Value::object(Kind::kRange, std::move(object));
}

Result<Value> Heap::dict(std::vector<std::pair<Value, Value>> entries, bool content) {
  BP_TRY(reserve(sizeof(DictObject) + entries.size() * (2 * sizeof(Value) + sizeof(uint32_t))));
  BP_TRY(step(entries.size()));
  auto object = std::make_shared<DictObject>();
  uint32_t tallest = 0;
  size_t odd_keys = 0;
  for (auto& entry : entries) {
    tallest = std::max({tallest, entry.first.height(), entry.second.height()});
    if (!entry.first.is_string()) {
      ++odd_keys;
      BP_TRY(check_hashable(entry.first));
    }
  }
  object->height = BP_TRY(height_over(tallest));
  object->content = content;
  object->entries = std::move(entries);
  if (odd_keys > 1) {  // merge equal ones: 1, 1.0 and True are the same key
    std::vector<std::pair<Value, Value>> merged;
    std::vector<size_t> seen;
    for (auto& entry : object->entries) {
      bool known = false;
      for (const size_t i : seen) {
        if (entry.first.is_string()) break;
        BP_TRY(step());
        if (!BP_TRY(equal(*this, merged[i].first, entry.first))) continue;
        merged[i].second = entry.second;
        known = true;
        break;
      }
      if (known) continue;
      if (!entry.first.is_string()) seen.push_back(merged.size());
      merged.push_back(std::move(entry));
    }
    object->entries = std::move(merged);
  }
  object->finish();
  return Value::object(Kind::kDict, std::move(object));
}

Result<Value> Heap::bound_method(Value self, const Method* method) {
  BP_TRY(reserve(sizeof(BoundMethodObject)));
  // A list of methods of a list of methods … counts as nesting too.
  BP_TRY(height_over(self.height()));
  auto object = std::make_shared<BoundMethodObject>();
  object->self = std::move(self);
  object->method = method;
  return Value::object(Kind::kMethod, std::move(object));
}

}  // namespace bp::jinja
