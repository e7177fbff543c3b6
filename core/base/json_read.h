// SPDX-License-Identifier: Apache-2.0
// Reads JSON text into a nlohmann value so that running out of memory is an error like any other.
//
// The library's own parse() destroys what it has built when it fails, and its destructor allocates
// for nested values (json_release.h): with no memory left, that ends the process. Here the value
// belongs to the caller all the time, and is emptied without allocating. Nesting is limited while
// reading. The kind of JSON must keep its members where they are while it grows: nlohmann::json
// does and bp::ChatJson does; nlohmann::ordered_json does not.
#pragma once

#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/json_release.h"
#include "core/base/status.h"

namespace bp {

// What the library's parser calls for every token.
template <typename Json>
class JsonBuilder {
 public:
  using number_integer_t = typename Json::number_integer_t;
  using number_unsigned_t = typename Json::number_unsigned_t;
  using number_float_t = typename Json::number_float_t;
  using string_t = typename Json::string_t;
  using binary_t = typename Json::binary_t;
  static_assert(std::is_nothrow_move_constructible_v<Json>, "a growing array must move its items");

  JsonBuilder(Json* root, uint64_t max_depth) : root_(root), max_depth_(max_depth) {}

  bool null() { return put(nullptr); }
  bool boolean(bool value) { return put(value); }
  bool number_integer(number_integer_t value) { return put(value); }
  bool number_unsigned(number_unsigned_t value) { return put(value); }
  bool number_float(number_float_t value, const string_t&) { return put(value); }
  bool string(string_t& value) { return put(std::move(value)); }
  bool binary(binary_t&) { return false; }  // not a part of JSON text
  bool start_object(size_t) { return open(Json::value_t::object); }
  bool start_array(size_t) { return open(Json::value_t::array); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }

  // Of equal keys the last value counts, at the place of the first.
  bool key(string_t& name) {
    auto& members = open_.back().value->template get_ref<typename Json::object_t&>();
    auto& known = open_.back().known;
    if (const auto found = known.find(name); found != known.end()) {
      member_ = found->second;
      release_json(*member_);
      return true;
    }
    auto added = members.end();
    if constexpr (requires { members.emplace_back(std::move(name), nullptr); }) {
      members.emplace_back(std::move(name), nullptr);
      added = std::prev(members.end());
    } else {
      added = members.emplace(std::move(name), nullptr).first;
    }
    member_ = &added->second;
    known.emplace(added->first, member_);
    return true;
  }

  template <typename Exception>
  bool parse_error(size_t, const std::string&, const Exception& failure) {
    status_ = error(Code::kCorrupt, "not JSON: {}", failure.what());
    return false;
  }

  Status take_status() { return std::move(status_); }

 private:
  struct Open {
    Json* value;
    std::unordered_map<std::string_view, Json*> known;  // members of an object, by their own keys
  };

  Json& next() {
    if (open_.empty()) return *root_;
    Json& parent = *open_.back().value;
    if (parent.is_object()) return *member_;
    return parent.template get_ref<typename Json::array_t&>().emplace_back(nullptr);
  }

  template <typename T>
  bool put(T&& value) {
    next() = Json(std::forward<T>(value));
    return true;
  }

  bool open(typename Json::value_t kind) {
    if (open_.size() >= max_depth_) {
      status_ = error(Code::kExhausted, "JSON nests deeper than {} levels", max_depth_);
      return false;
    }
    Json& value = next();
    value = Json(kind);
    open_.push_back({&value, {}});
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  Json* root_;
  uint64_t max_depth_;
  std::vector<Open> open_;
  Json* member_ = nullptr;  // the value that the last key announced
  Status status_;
};

// Fills *root, which must be null, from `text`. On failure it is left empty: CORRUPT with the place
// for what is not JSON, EXHAUSTED for more than `max_depth` brackets inside each other and when
// memory is out. The caller keeps *root in a ScopedJson, or calls release_json() himself.
template <typename Json>
Status read_json(std::string_view text, uint64_t max_depth, Json* root) noexcept {
  Status status;
  try {
    JsonBuilder<Json> builder(root, max_depth);
    if (Json::sax_parse(text, &builder)) return {};
    status = builder.take_status();
  } catch (const std::bad_alloc&) {
    status = error(Code::kExhausted, "not enough memory for {} bytes of JSON", text.size());
  } catch (const std::exception& failure) {
    status = error(Code::kCorrupt, "not JSON: {}", failure.what());
  }
  release_json(*root);
  return status;
}

}  // namespace bp
