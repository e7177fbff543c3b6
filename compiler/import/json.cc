// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/json.h"

#include <limits>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/platform/file.h"

namespace bp {
namespace {

// Deepest nesting of brackets outside strings, counted without understanding anything else: for
// text that is JSON it is exact, and for other text the parser fails anyway.
Status check_depth(std::string_view text, uint64_t max_depth) {
  uint64_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > max_depth) {
        return error(Code::kExhausted, "JSON is nested more than {} deep at byte {}", max_depth, i);
      }
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return {};
}

// The library's text without its "[json.exception.parse_error.101] " tag.
std::string_view plain_reason(std::string_view what) {
  const size_t end = what.starts_with('[') ? what.find("] ") : std::string_view::npos;
  return end == std::string_view::npos ? what : what.substr(end + 2);
}

// Remembers the keys of the objects that are open and the first that came twice.
class DuplicateWatch {
 public:
  bool operator()(int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) open_.emplace_back();
    if (event == Json::parse_event_t::object_end && !open_.empty()) open_.pop_back();
    if (event == Json::parse_event_t::key && !open_.empty() && !duplicate_) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!open_.back().insert(key).second) duplicate_ = key;
    }
    return true;
  }
  const std::optional<std::string>& duplicate() const { return duplicate_; }

 private:
  std::vector<std::unordered_set<std::string>> open_;
  std::optional<std::string> duplicate_;
};

Status missing(std::string_view key) {
  return error(Code::kNotFound, "'{}' is missing", key);
}

Status wrong_type(const Json& value, std::string_view key, std::string_view wanted) {
  return error(Code::kCorrupt, "'{}' must be {}, but is {} {}", key, wanted,
               value.is_number() ? "the number" : "of type",
               value.is_number() ? value.dump() : std::string(value.type_name()));
}

template <typename T, typename Get>
Result<T> value_or(const Json& object, std::string_view key, T fallback, Get get) {
  if (json_find(object, key) == nullptr) return fallback;
  return get(object, key);
}

}  // namespace

Result<Json> parse_json(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return error(Code::kExhausted, "JSON has {} bytes; at most {} are accepted", text.size(),
                 limits.max_bytes);
  }
  BP_TRY(check_depth(text, limits.max_depth));
  try {
    DuplicateWatch watch;
    Json document = Json::parse(text.begin(), text.end(), std::ref(watch));
    if (watch.duplicate()) {
      return error(Code::kCorrupt, "JSON key '{}' occurs twice in one object", *watch.duplicate());
    }
    return document;
  } catch (const std::bad_alloc&) {
    return error(Code::kExhausted, "no memory for JSON of {} bytes", text.size());
  } catch (const std::exception& failure) {
    return error(Code::kCorrupt, "not JSON: {}", plain_reason(failure.what()));
  }
}

Result<Json> read_json_file(const std::filesystem::path& path, const JsonLimits& limits) {
  const std::string text = BP_TRY(read_text_file(path, limits.max_bytes));
  return parse_json(text, limits).with_context("'{}'", path.native());
}

const Json* json_find(const Json& object, std::string_view key) noexcept {
  const auto* const members = object.get_ptr<const Json::object_t*>();
  if (members == nullptr) return nullptr;
  const auto it = members->find(key);
  return it == members->end() || it->second.is_null() ? nullptr : &it->second;
}

Result<uint64_t> json_u64(const Json& object, std::string_view key) {
  const Json* value = json_find(object, key);
  if (value == nullptr) return missing(key);
  if (!value->is_number_unsigned()) return wrong_type(*value, key, "an integer of at least 0");
  return value->get<uint64_t>();
}

Result<int64_t> json_i64(const Json& object, std::string_view key) {
  const Json* value = json_find(object, key);
  if (value == nullptr) return missing(key);
  if (!value->is_number_integer() ||
      (value->is_number_unsigned() && !std::in_range<int64_t>(value->get<uint64_t>()))) {
    return wrong_type(*value, key, "a 64-bit integer");
  }
  return value->get<int64_t>();
}

Result<double> json_f64(const Json& object, std::string_view key) {
  const Json* value = json_find(object, key);
  if (value == nullptr) return missing(key);
  if (!value->is_number()) return wrong_type(*value, key, "a number");
  return value->get<double>();
}

Result<bool> json_bool(const Json& object, std::string_view key) {
  const Json* value = json_find(object, key);
  if (value == nullptr) return missing(key);
  if (!value->is_boolean()) return wrong_type(*value, key, "true or false");
  return value->get<bool>();
}

Result<std::string> json_string(const Json& object, std::string_view key) {
  const Json* value = json_find(object, key);
  if (value == nullptr) return missing(key);
  if (!value->is_string()) return wrong_type(*value, key, "a string");
  return value->get_ref<const std::string&>();
}

Result<uint64_t> json_u64_or(const Json& object, std::string_view key, uint64_t fallback) {
  return value_or(object, key, fallback, json_u64);
}
Result<int64_t> json_i64_or(const Json& object, std::string_view key, int64_t fallback) {
  return value_or(object, key, fallback, json_i64);
}
Result<double> json_f64_or(const Json& object, std::string_view key, double fallback) {
  return value_or(object, key, fallback, json_f64);
}
Result<bool> json_bool_or(const Json& object, std::string_view key, bool fallback) {
  return value_or(object, key, fallback, json_bool);
}
Result<std::string> json_string_or(const Json& object, std::string_view key,
                                   std::string_view fallback) {
  return value_or(object, key, std::string(fallback), json_string);
}

}  // namespace bp
