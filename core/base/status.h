// SPDX-License-Identifier: Apache-2.0
// Status and Result<T>: how every function inside Backplane reports failure.
//
// A Status is one pointer; success is null and costs nothing. A failure carries a code, a message
// that says what, which and what to do, and grows context on its way up:
//
//   Result<Config> load(const Path& path) {
//     auto text = BP_TRY(read_text(path));                 // returns on failure, yields the value
//     BP_TRY(check(text).with_context("reading {}", path));
//     return parse(text);
//   }
//
// Thread-compatible value types. Creating a failure allocates; when even that is impossible, a
// static EXHAUSTED failure stands in, so reporting never throws and never aborts.
#pragma once

#include <fmt/format.h>

#include <cassert>
#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "backplane/status.h"

namespace bp {

enum class Code : int32_t {
  kOk = BP_OK,
  kCancelled = BP_CANCELLED,
  kInvalidArgument = BP_INVALID_ARGUMENT,
  kDeadline = BP_DEADLINE,
  kNotFound = BP_NOT_FOUND,
  kDenied = BP_DENIED,
  kExhausted = BP_EXHAUSTED,
  kFailedPrecondition = BP_FAILED_PRECONDITION,
  kUnimplemented = BP_UNIMPLEMENTED,
  kUnavailable = BP_UNAVAILABLE,
  kCorrupt = BP_CORRUPT,
  kDeviceLost = BP_DEVICE_LOST,
  kIncompatible = BP_INCOMPATIBLE,
  kInternal = BP_INTERNAL,
};

// The code's name as users see it: "CORRUPT". Never null.
const char* code_name(Code code) noexcept;

class [[nodiscard]] Status {
 public:
  Status() noexcept = default;  // success
  Status(Code code, std::string_view message) noexcept;
  Status(const Status& other) noexcept;
  Status(Status&& other) noexcept : failure_(std::exchange(other.failure_, nullptr)) {}
  Status& operator=(Status other) noexcept {
    std::swap(failure_, other.failure_);
    return *this;
  }
  ~Status();

  bool ok() const noexcept { return failure_ == nullptr; }
  Code code() const noexcept;
  // Context, outermost first, then the original message. Empty for success.
  std::string_view message() const noexcept;
  // The number that a driver or the system gave, 0 when none.
  int64_t native() const noexcept;
  Status& set_native(int64_t number) noexcept;
  // "CORRUPT: model.gguf: …", for logs.
  std::string to_string() const;

  // Puts "context: " before the message of a failure; success passes through untouched.
  template <typename... Args>
  Status with_context(fmt::format_string<Args...> format, Args&&... args) && noexcept {
    if (failure_ != nullptr) {
      try {
        prepend(fmt::format(format, std::forward<Args>(args)...));
      } catch (...) {  // out of memory while explaining: the bare failure is still true
      }
    }
    return std::move(*this);
  }

 private:
  struct Failure;
  void prepend(std::string_view context);
  static Failure* out_of_memory() noexcept;
  Failure* failure_ = nullptr;
};

// error(Code::kCorrupt, "tensor '{}' ends at byte {}", name, end)
template <typename... Args>
Status error(Code code, fmt::format_string<Args...> format, Args&&... args) noexcept {
  try {
    return Status(code, fmt::format(format, std::forward<Args>(args)...));
  } catch (...) {
    return Status(code, "");
  }
}

// A value or a failure. Access to value() on a failure is a programmer error.
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  // NOLINTNEXTLINE(google-explicit-constructor): `return value;` is the point of the type
  Result(T value) : value_(std::move(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor): `return error(…);` is the point of the type
  Result(Status status) : status_(std::move(status)) { assert(!status_.ok()); }

  bool ok() const noexcept { return value_.has_value(); }
  const Status& status() const& noexcept { return status_; }
  Status status() && noexcept { return std::move(status_); }
  T& value() & {
    assert(ok());
    return *value_;
  }
  const T& value() const& {
    assert(ok());
    return *value_;
  }
  T&& value() && {
    assert(ok());
    return *std::move(value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  template <typename... Args>
  Result with_context(fmt::format_string<Args...> format, Args&&... args) && noexcept {
    if (!ok()) status_ = std::move(status_).with_context(format, std::forward<Args>(args)...);
    return std::move(*this);
  }

 private:
  Status status_;
  std::optional<T> value_;
};

namespace internal {
inline Status take_status(Status&& status) {
  return std::move(status);
}
template <typename T>
Status take_status(Result<T>&& result) {
  return std::move(result).status();
}
inline void take_value(Status&&) {}
template <typename T>
T take_value(Result<T>&& result) {
  return std::move(result).value();
}
}  // namespace internal

// Evaluates a Status or Result expression; returns its failure from the enclosing function, or
// yields the value (nothing for a Status). May be nested.
#define BP_TRY(...) BP_TRY_NAMED(BP_TRY_NAME(__COUNTER__), __VA_ARGS__)
#define BP_TRY_NAME(number) BP_TRY_PASTE(bp_try_result_, number)
#define BP_TRY_PASTE(prefix, number) prefix##number
#define BP_TRY_NAMED(name, ...)                                          \
  __extension__({                                                        \
    auto name = (__VA_ARGS__);                                           \
    if (!name.ok()) return ::bp::internal::take_status(std::move(name)); \
    ::bp::internal::take_value(std::move(name));                         \
  })

}  // namespace bp
