// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/compare.h"

#include <algorithm>
#include <cmath>

#include "core/text/template/search.h"

namespace bp::jinja {
namespace {

int sign_of(auto a, auto b) noexcept {
  return a < b ? -1 : a > b ? 1 : 0;
}

int compare_int_real(int64_t a, double b) noexcept {
  if (std::isnan(b)) return 2;
  if (b >= 9223372036854775808.0) return -1;
  if (b < -9223372036854775808.0) return 1;
  const double whole = std::trunc(b);
  const auto whole_int = static_cast<int64_t>(whole);
  if (a != whole_int) return sign_of(a, whole_int);
  return sign_of(whole, b);
}

bool holds(Ordering ordering, int sign) noexcept {
  switch (ordering) {
    case Ordering::kLess:
      return sign < 0;
    case Ordering::kLessEqual:
      return sign <= 0;
    case Ordering::kGreater:
      return sign > 0;
    case Ordering::kGreaterEqual:
      return sign >= 0;
  }
  return false;
}

constexpr std::string_view kOrderingNames[] = {"<", "<=", ">", ">="};

Result<bool> equal_items(Heap& heap, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!BP_TRY(equal(heap, a[i], b[i]))) return false;
  }
  return true;
}

Result<bool> equal_dicts(Heap& heap, const Value& a, const Value& b) {
  if (a.dict().entries.size() != b.dict().entries.size()) return false;
  for (const auto& [key, value] : a.dict().entries) {
    const Value* other = BP_TRY(find_key(heap, b, key));
    if (other == nullptr || !BP_TRY(equal(heap, value, *other))) return false;
  }
  return true;
}

}  // namespace

int compare_numbers(const Value& a, const Value& b) noexcept {
  if (a.is_integral() && b.is_integral()) return sign_of(a.as_int(), b.as_int());
  if (a.is_integral()) return compare_int_real(a.as_int(), b.as_real());
  if (b.is_integral()) {
    const int sign = compare_int_real(b.as_int(), a.as_real());
    return sign == 2 ? 2 : -sign;
  }
  if (std::isnan(a.as_real()) || std::isnan(b.as_real())) return 2;
  return sign_of(a.as_real(), b.as_real());
}

Result<bool> equal(Heap& heap, const Value& a, const Value& b) {
  BP_TRY(heap.step());
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.is_undefined() && b.is_undefined()) return true;
  if (a.kind() != b.kind()) return false;
  if (a.is_string()) {
    BP_TRY(heap.step(a.bytes().size() / 64));
    return a.bytes() == b.bytes();
  }
  if (a.identical(b)) return true;
  switch (a.kind()) {
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
      return equal_items(heap, a.seq().items, b.seq().items);
    case Kind::kDict:
      return equal_dicts(heap, a, b);
    default:
      return false;
  }
}

Result<bool> ordered(Heap& heap, Ordering ordering, const Value& a, const Value& b) {
  BP_TRY(heap.step());
  for (const Value* side : {&a, &b}) {
    if (side->is_undefined()) return error(Code::kInvalidArgument, "{}", side->undefined_message());
  }
  if (a.is_number() && b.is_number()) {
    const int sign = compare_numbers(a, b);
    return sign != 2 && holds(ordering, sign);
  }
  if (a.is_string() && b.is_string()) {
    // Bytes of UTF-8 are in the order of the code points.
    BP_TRY(heap.step(a.bytes().size() / 64));
    return holds(ordering, a.bytes().compare(b.bytes()));
  }
  if (a.kind() == b.kind() && (a.is(Kind::kList) || a.is(Kind::kTuple))) {
    const auto& left = a.seq().items;
    const auto& right = b.seq().items;
    for (size_t i = 0; i < left.size() && i < right.size(); ++i) {
      if (!BP_TRY(equal(heap, left[i], right[i]))) {
        return ordered(heap, ordering, left[i], right[i]);
      }
    }
    return holds(ordering, sign_of(left.size(), right.size()));
  }
  return error(Code::kInvalidArgument, "'{}' not supported between instances of '{}' and '{}'",
               kOrderingNames[static_cast<int>(ordering)], type_name(a), type_name(b));
}

// A merge sort of our own: comparisons can fail, and nothing about their results is taken on trust.
Result<std::vector<uint32_t>> stable_order(Heap& heap, const std::vector<Value>& keys, bool reverse,
                                           bool equal_first) {
  const auto less = [&](const Value& a, const Value& b) -> Result<bool> {
    if (equal_first && BP_TRY(equal(heap, a, b))) return false;
    return ordered(heap, Ordering::kLess, a, b);
  };
  std::vector<uint32_t> order(keys.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::vector<uint32_t> merged(order.size());
  const size_t count = order.size();
  for (size_t width = 1; width < count; width *= 2) {
    for (size_t begin = 0; begin < count; begin += 2 * width) {
      const size_t middle = std::min(begin + width, count);
      const size_t end = std::min(begin + 2 * width, count);
      size_t left = begin, right = middle, to = begin;
      while (left < middle && right < end) {
        const Value& a = keys[order[left]];
        const Value& b = keys[order[right]];
        const bool take_right = BP_TRY(reverse ? less(a, b) : less(b, a));
        merged[to++] = take_right ? order[right++] : order[left++];
      }
      while (left < middle) merged[to++] = order[left++];
      while (right < end) merged[to++] = order[right++];
    }
    order.swap(merged);
  }
  return order;
}

Status check_hashable(const Value& key) {
  if (key.is(Kind::kList) || key.is_dict()) {
    return error(Code::kInvalidArgument, "unhashable type: '{}'", type_name(key));
  }
  if (key.is(Kind::kTuple)) {
    for (const Value& item : key.seq().items) BP_TRY(check_hashable(item));
  }
  return {};
}

Result<const Value*> find_key(Heap& heap, const Value& dict, const Value& key) {
  BP_TRY(heap.step());
  const DictObject& object = dict.dict();
  if (key.is_string()) return object.find(key.bytes());
  BP_TRY(check_hashable(key));
  for (const uint32_t i : object.others) {
    if (BP_TRY(equal(heap, object.entries[i].first, key))) return &object.entries[i].second;
  }
  return static_cast<const Value*>(nullptr);
}

Result<bool> contains(Heap& heap, const Value& haystack, const Value& needle) {
  switch (haystack.kind()) {
    case Kind::kString:
      if (needle.is_undefined() || !needle.is_string()) {
        return error(Code::kInvalidArgument,
                     "'in <string>' requires string as left operand, not {}", type_name(needle));
      }
      BP_TRY(heap.step(haystack.bytes().size() / 64));
      return Needle(needle.bytes()).find_in(haystack.bytes(), 0) != std::string_view::npos;
    case Kind::kDict:
      return BP_TRY(find_key(heap, haystack, needle)) != nullptr;
    case Kind::kUndefined:
      return false;
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
    case Kind::kIterator: {
      const SequenceObject& sequence = haystack.seq();
      size_t i = haystack.is(Kind::kIterator) ? sequence.taken : 0;
      for (; i < sequence.items.size(); ++i) {
        if (haystack.is(Kind::kIterator)) sequence.taken = i + 1;
        if (sequence.items[i].identical(needle)) return true;
        if (BP_TRY(equal(heap, sequence.items[i], needle))) return true;
      }
      return false;
    }
    default:
      return error(Code::kInvalidArgument, "argument of type '{}' is not iterable",
                   type_name(haystack));
  }
}

}  // namespace bp::jinja
