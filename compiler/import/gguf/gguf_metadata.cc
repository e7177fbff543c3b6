// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/gguf/gguf_metadata.h"

#include <cstring>
#include <type_traits>
#include <utility>

#include "compiler/import/utf8.h"

namespace bp {
namespace {

template <typename T>
T load(const std::string& bytes, uint64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

// Calls visit(element) with element `index` as its own C++ type. Scalar types only.
template <typename Visit>
auto visit_element(const GgufValue& value, uint64_t index, Visit visit) {
  switch (value.type) {
    case GgufType::kI8:
      return visit(load<int8_t>(value.bytes, index));
    case GgufType::kU16:
      return visit(load<uint16_t>(value.bytes, index));
    case GgufType::kI16:
      return visit(load<int16_t>(value.bytes, index));
    case GgufType::kU32:
      return visit(load<uint32_t>(value.bytes, index));
    case GgufType::kI32:
      return visit(load<int32_t>(value.bytes, index));
    case GgufType::kU64:
      return visit(load<uint64_t>(value.bytes, index));
    case GgufType::kI64:
      return visit(load<int64_t>(value.bytes, index));
    case GgufType::kF32:
      return visit(load<float>(value.bytes, index));
    case GgufType::kF64:
      return visit(load<double>(value.bytes, index));
    default:
      return visit(load<uint8_t>(value.bytes, index));  // kU8 and kBool
  }
}

bool is_float(GgufType type) {
  return type == GgufType::kF32 || type == GgufType::kF64;
}

Status wrong_type(std::string_view key, const GgufValue& value, std::string_view wanted) {
  return error(Code::kCorrupt, "key '{}' is {}{}, not {}", key,
               value.is_array ? "an array of " : "", gguf_type_name(value.type), wanted);
}

template <typename T>
Result<T> integer_at(std::string_view key, const GgufValue& value, uint64_t index) {
  if (value.type == GgufType::kString || is_float(value.type)) {
    return wrong_type(key, value, "an integer");
  }
  return visit_element(value, index, [&](auto element) -> Result<T> {
    if constexpr (std::is_integral_v<decltype(element)>) {
      if (std::in_range<T>(element)) return static_cast<T>(element);
      return error(Code::kCorrupt, "key '{}' holds {}, which is out of range", key, element);
    } else {
      return error(Code::kInternal, "key '{}'", key);  // excluded above
    }
  });
}

template <typename T>
Result<T> real_at(std::string_view key, const GgufValue& value, uint64_t index) {
  if (value.type == GgufType::kString || value.type == GgufType::kBool) {
    return wrong_type(key, value, "a number");
  }
  return visit_element(value, index,
                       [](auto element) -> Result<T> { return static_cast<T>(element); });
}

template <typename T, typename At>
Result<std::vector<T>> all_elements(std::string_view key, const GgufValue& value, At at) {
  std::vector<T> elements;
  elements.reserve(value.count);  // no more than the bytes that were read
  for (uint64_t i = 0; i < value.count; ++i) elements.push_back(BP_TRY(at(key, value, i)));
  return elements;
}

std::string_view string_at(const GgufValue& value, uint64_t index) {
  const uint64_t begin = index == 0 ? 0 : value.ends[index - 1];
  return std::string_view(value.bytes).substr(begin, value.ends[index] - begin);
}

}  // namespace

std::string_view gguf_type_name(GgufType type) noexcept {
  switch (type) {
    case GgufType::kU8:
      return "u8";
    case GgufType::kI8:
      return "i8";
    case GgufType::kU16:
      return "u16";
    case GgufType::kI16:
      return "i16";
    case GgufType::kU32:
      return "u32";
    case GgufType::kI32:
      return "i32";
    case GgufType::kF32:
      return "f32";
    case GgufType::kBool:
      return "bool";
    case GgufType::kString:
      return "string";
    case GgufType::kArray:
      return "array";
    case GgufType::kU64:
      return "u64";
    case GgufType::kI64:
      return "i64";
    case GgufType::kF64:
      return "f64";
  }
  return "unknown";
}

uint32_t gguf_scalar_bytes(GgufType type) noexcept {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

const GgufValue* GgufMetadata::find(std::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

Status GgufMetadata::add(std::string key, GgufValue value) {
  order_.push_back(key);
  if (!values_.emplace(std::move(key), std::move(value)).second) {
    return error(Code::kCorrupt, "key '{}' occurs twice", order_.back());
  }
  return {};
}

Result<const GgufValue*> GgufMetadata::scalar(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return error(Code::kNotFound, "key '{}' is missing", key);
  if (value->is_array) return wrong_type(key, *value, "a single value");
  return value;
}

Result<const GgufValue*> GgufMetadata::array(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return error(Code::kNotFound, "key '{}' is missing", key);
  if (!value->is_array) return wrong_type(key, *value, "an array");
  return value;
}

Result<uint64_t> GgufMetadata::get_u64(std::string_view key) const {
  return integer_at<uint64_t>(key, *BP_TRY(scalar(key)), 0);
}

Result<int64_t> GgufMetadata::get_i64(std::string_view key) const {
  return integer_at<int64_t>(key, *BP_TRY(scalar(key)), 0);
}

Result<double> GgufMetadata::get_f64(std::string_view key) const {
  return real_at<double>(key, *BP_TRY(scalar(key)), 0);
}

Result<bool> GgufMetadata::get_bool(std::string_view key) const {
  const GgufValue* value = BP_TRY(scalar(key));
  if (value->type != GgufType::kBool) return wrong_type(key, *value, "a bool");
  return value->bytes[0] != 0;
}

Result<std::string> GgufMetadata::get_string(std::string_view key) const {
  const GgufValue* value = BP_TRY(scalar(key));
  if (value->type != GgufType::kString) return wrong_type(key, *value, "a string");
  if (!is_utf8(value->bytes)) return error(Code::kCorrupt, "key '{}' is not UTF-8 text", key);
  return value->bytes;
}

Result<uint64_t> GgufMetadata::get_u64_or(std::string_view key, uint64_t fallback) const {
  return has(key) ? get_u64(key) : fallback;
}
Result<int64_t> GgufMetadata::get_i64_or(std::string_view key, int64_t fallback) const {
  return has(key) ? get_i64(key) : fallback;
}
Result<double> GgufMetadata::get_f64_or(std::string_view key, double fallback) const {
  return has(key) ? get_f64(key) : fallback;
}
Result<bool> GgufMetadata::get_bool_or(std::string_view key, bool fallback) const {
  return has(key) ? get_bool(key) : fallback;
}
Result<std::string> GgufMetadata::get_string_or(std::string_view key,
                                                std::string_view fallback) const {
  return has(key) ? get_string(key) : std::string(fallback);
}

Result<std::vector<uint64_t>> GgufMetadata::get_u64_array(std::string_view key) const {
  return all_elements<uint64_t>(key, *BP_TRY(array(key)), integer_at<uint64_t>);
}
Result<std::vector<int64_t>> GgufMetadata::get_i64_array(std::string_view key) const {
  return all_elements<int64_t>(key, *BP_TRY(array(key)), integer_at<int64_t>);
}
Result<std::vector<double>> GgufMetadata::get_f64_array(std::string_view key) const {
  return all_elements<double>(key, *BP_TRY(array(key)), real_at<double>);
}
Result<std::vector<float>> GgufMetadata::get_f32_array(std::string_view key) const {
  return all_elements<float>(key, *BP_TRY(array(key)), real_at<float>);
}

Result<std::vector<std::string>> GgufMetadata::get_bytes_array(std::string_view key) const {
  const GgufValue* value = BP_TRY(array(key));
  if (value->type != GgufType::kString) return wrong_type(key, *value, "an array of strings");
  std::vector<std::string> strings;
  strings.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) strings.emplace_back(string_at(*value, i));
  return strings;
}

Result<std::vector<std::string>> GgufMetadata::get_string_array(std::string_view key) const {
  std::vector<std::string> strings = BP_TRY(get_bytes_array(key));
  for (size_t i = 0; i < strings.size(); ++i) {
    if (!is_utf8(strings[i])) {
      return error(Code::kCorrupt, "element {} of key '{}' is not UTF-8 text", i, key);
    }
  }
  return strings;
}

}  // namespace bp
