// SPDX-License-Identifier: Apache-2.0
// What a check says: it passed, it failed and why, or it does not apply here and why.
//
// A check is a function that returns a Verdict. Steps inside it return Status, so BP_TRY works in
// both: any failure of a step becomes a failed verdict with the step's message.
#pragma once

#include <string>
#include <utility>

#include "core/base/status.h"

namespace bp::conformance {

class [[nodiscard]] Verdict {
 public:
  enum class Kind { kPass, kFail, kSkip };

  // NOLINTNEXTLINE(google-explicit-constructor): `return BP_TRY(…)` and `return {}` are the point
  Verdict(const Status& status)
      : kind_(status.ok() ? Kind::kPass : Kind::kFail), detail_(status.message()) {}
  Verdict(Kind kind, std::string detail) : kind_(kind), detail_(std::move(detail)) {}

  Kind kind() const noexcept { return kind_; }
  const std::string& detail() const noexcept { return detail_; }

 private:
  Kind kind_;
  std::string detail_;
};

template <typename... Args>
Verdict pass(fmt::format_string<Args...> format, Args&&... args) {
  return {Verdict::Kind::kPass, fmt::format(format, std::forward<Args>(args)...)};
}
template <typename... Args>
Verdict skip(fmt::format_string<Args...> format, Args&&... args) {
  return {Verdict::Kind::kSkip, fmt::format(format, std::forward<Args>(args)...)};
}
// A failure in words, to be returned from a step or a check.
template <typename... Args>
Status fail(fmt::format_string<Args...> format, Args&&... args) {
  return error(Code::kInternal, format, std::forward<Args>(args)...);
}

}  // namespace bp::conformance

// Returns a failure from the enclosing step or check unless the condition holds.
#define BP_EXPECT(condition, ...)                                  \
  do {                                                             \
    if (!(condition)) return ::bp::conformance::fail(__VA_ARGS__); \
  } while (false)
