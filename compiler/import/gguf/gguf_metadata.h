// SPDX-License-Identifier: Apache-2.0
// The key-value section of a GGUF file, with typed access.
//
// Every accessor names the key in its error: NOT_FOUND when the key is absent, CORRUPT when it has
// another type or a value out of range. The `_or` forms return a fallback for an absent key and
// still fail on a wrong type. Immutable once read; any thread. Memory is proportional to the bytes
// of the section in the file.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace bp {

// The numbers are the file's.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// "u32", "string", …; "unknown" for a number that is none.
std::string_view gguf_type_name(GgufType type) noexcept;
// Bytes of a scalar of that type, 0 for strings, arrays and unknown numbers.
uint32_t gguf_scalar_bytes(GgufType type) noexcept;

struct GgufValue {
  GgufType type = GgufType::kU8;  // of the scalar, or of each element of an array
  bool is_array = false;
  uint64_t count = 1;          // elements
  std::string bytes;           // little-endian scalars, or strings end to end
  std::vector<uint64_t> ends;  // strings only: where each one ends in `bytes`
};

class GgufMetadata {
 public:
  bool has(std::string_view key) const { return find(key) != nullptr; }
  // The raw value, or null. Owned by this object.
  const GgufValue* find(std::string_view key) const;
  // All keys, in the order of the file.
  const std::vector<std::string>& keys() const { return order_; }

  // Any integer type, and bool as 0 or 1 for get_u64/get_i64. get_f64 takes floats and integers.
  Result<uint64_t> get_u64(std::string_view key) const;
  Result<int64_t> get_i64(std::string_view key) const;
  Result<double> get_f64(std::string_view key) const;
  Result<bool> get_bool(std::string_view key) const;
  // Must be UTF-8.
  Result<std::string> get_string(std::string_view key) const;

  Result<uint64_t> get_u64_or(std::string_view key, uint64_t fallback) const;
  Result<int64_t> get_i64_or(std::string_view key, int64_t fallback) const;
  Result<double> get_f64_or(std::string_view key, double fallback) const;
  Result<bool> get_bool_or(std::string_view key, bool fallback) const;
  Result<std::string> get_string_or(std::string_view key, std::string_view fallback) const;

  // Arrays, with the conversions of the scalar accessors.
  Result<std::vector<uint64_t>> get_u64_array(std::string_view key) const;
  Result<std::vector<int64_t>> get_i64_array(std::string_view key) const;
  Result<std::vector<double>> get_f64_array(std::string_view key) const;
  Result<std::vector<float>> get_f32_array(std::string_view key) const;
  // Each string must be UTF-8; get_bytes_array takes any bytes (a vocabulary may hold some).
  Result<std::vector<std::string>> get_string_array(std::string_view key) const;
  Result<std::vector<std::string>> get_bytes_array(std::string_view key) const;

  // For the reader: adds a value; CORRUPT when the key is there already.
  Status add(std::string key, GgufValue value);

 private:
  Result<const GgufValue*> scalar(std::string_view key) const;
  Result<const GgufValue*> array(std::string_view key) const;

  std::map<std::string, GgufValue, std::less<>> values_;
  std::vector<std::string> order_;
};

}  // namespace bp
