// SPDX-License-Identifier: Apache-2.0
// Arithmetic on sizes that came from outside: every operation says whether it fitted.
//
//   auto bytes = BP_TRY(checked_mul(rows, row_bytes));   // fails as CORRUPT
//   uint64_t end; if (!try_add(offset, length, &end) || end > file_size) return …;
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <utility>

#include "core/base/status.h"

namespace bp {

template <std::integral T>
[[nodiscard]] bool try_add(T a, T b, T* out) noexcept {
  return !__builtin_add_overflow(a, b, out);
}
template <std::integral T>
[[nodiscard]] bool try_mul(T a, T b, T* out) noexcept {
  return !__builtin_mul_overflow(a, b, out);
}

// a + b, or CORRUPT when it does not fit into T.
template <std::integral T>
Result<T> checked_add(T a, T b) {
  T out;
  if (!try_add(a, b, &out)) return error(Code::kCorrupt, "{} + {} overflows", a, b);
  return out;
}

// a * b, or CORRUPT when it does not fit into T.
template <std::integral T>
Result<T> checked_mul(T a, T b) {
  T out;
  if (!try_mul(a, b, &out)) return error(Code::kCorrupt, "{} * {} overflows", a, b);
  return out;
}

// The value in another integer type, or CORRUPT when that type cannot hold it.
template <std::integral To, std::integral From>
Result<To> checked_cast(From value) {
  if (!std::in_range<To>(value)) return error(Code::kCorrupt, "{} is out of range", value);
  return static_cast<To>(value);
}

// Smallest multiple of `alignment` (a power of two) that is at least `value`; false on overflow.
[[nodiscard]] inline bool try_align_up(uint64_t value, uint64_t alignment, uint64_t* out) noexcept {
  uint64_t bumped;
  if (!try_add(value, alignment - 1, &bumped)) return false;
  *out = bumped & ~(alignment - 1);
  return true;
}

// Is [offset, offset + length) inside [0, size)?
[[nodiscard]] inline bool range_fits(uint64_t offset, uint64_t length, uint64_t size) noexcept {
  return offset <= size && length <= size - offset;
}

}  // namespace bp
