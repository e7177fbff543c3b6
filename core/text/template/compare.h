// SPDX-License-Identifier: Apache-2.0
// Equality, order and membership, as Python defines them for the types of value.h.
#pragma once

#include <vector>

#include "core/base/status.h"
#include "core/text/template/heap.h"
#include "core/text/template/value.h"

namespace bp::jinja {

// a == b. Fails only when max_steps is crossed: structures can be huge when they share parts.
Result<bool> equal(Heap& heap, const Value& a, const Value& b);

// Which of <, <=, >, >= to name when the types have no order.
enum class Ordering : uint8_t { kLess, kLessEqual, kGreater, kGreaterEqual };
// a < b and so on. INVALID_ARGUMENT with Python's words when the types have no order.
Result<bool> ordered(Heap& heap, Ordering ordering, const Value& a, const Value& b);

// The order that Python's sorted() puts these keys in: stable, also when reversed. `equal_first` is
// for keys that stand for one-element lists: those compare their items with == before they ask for
// an order, so equal items need none.
Result<std::vector<uint32_t>> stable_order(Heap& heap, const std::vector<Value>& keys, bool reverse,
                                           bool equal_first = false);

// needle in haystack.
Result<bool> contains(Heap& heap, const Value& haystack, const Value& needle);

// The value of a key, or null. The key may be anything; unhashable ones are an error.
Result<const Value*> find_key(Heap& heap, const Value& dict, const Value& key);

// INVALID_ARGUMENT for values that cannot be keys of a dictionary.
Status check_hashable(const Value& key);

// Exact comparison of an integer with a floating-point number: -1, 0, 1, or 2 for NaN.
int compare_numbers(const Value& a, const Value& b) noexcept;

}  // namespace bp::jinja
