// SPDX-License-Identifier: Apache-2.0
// Destroys a nlohmann JSON value without allocating.
//
// The library's own destructor moves nested values into a vector first, so that it need not recurse
// on hostile nesting. That vector is an allocation inside a destructor: when memory is out, it ends
// the process. Values of bounded nesting, as every parser of ours guarantees, are emptied from the
// leaves up instead.
#pragma once

namespace bp {

// Empties `value`. Recursion is as deep as its nesting, which must be bounded (kMaxJsonDepth).
template <typename Json>
void release_json(Json& value) noexcept {
  if (auto* items = value.template get_ptr<typename Json::array_t*>(); items != nullptr) {
    for (Json& item : *items) release_json(item);
    items->clear();
  } else if (auto* members = value.template get_ptr<typename Json::object_t*>();
             members != nullptr) {
    for (auto& member : *members) release_json(member.second);
    members->clear();
  }
}

// A value that is emptied at the end of its scope.
template <typename Json>
class ScopedJson {
 public:
  ScopedJson() = default;  // NOLINT(bugprone-exception-escape): an empty Json allocates nothing
  explicit ScopedJson(Json value) noexcept : value_(static_cast<Json&&>(value)) {}
  ~ScopedJson() { release_json(value_); }
  ScopedJson(const ScopedJson&) = delete;
  ScopedJson& operator=(const ScopedJson&) = delete;
  Json& operator*() noexcept { return value_; }
  const Json& operator*() const noexcept { return value_; }
  const Json* operator->() const noexcept { return &value_; }

 private:
  Json value_;
};

}  // namespace bp
