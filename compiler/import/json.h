// SPDX-License-Identifier: Apache-2.0
// The border around the JSON library: text from outside goes in, a document or a Status comes out.
//
// Size and nesting are bounded before the parser sees a byte, invalid UTF-8 and a key that occurs
// twice in one object are errors, and nothing that the library throws gets past here. Read the
// document with the typed accessors below: nlohmann's own throw on a wrong type.
//
//   const Json config = BP_TRY(read_json_file(folder / "config.json"));
//   const uint64_t layers = BP_TRY(json_u64(config, "num_hidden_layers"));
//   const double theta = BP_TRY(json_f64_or(config, "rope_theta", 10000.0));
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "core/base/limits.h"
#include "core/base/status.h"

namespace bp {

using Json = nlohmann::json;

struct JsonLimits {
  uint64_t max_bytes = limits::kMaxJsonBytes;
  uint64_t max_depth = limits::kMaxJsonDepth;  // arrays and objects inside each other
};

// The document, or EXHAUSTED (a limit) or CORRUPT (not JSON, with line and column; a key twice).
Result<Json> parse_json(std::string_view text, const JsonLimits& limits = {});
// As above, each message naming the file; NOT_FOUND and so on when it cannot be read.
Result<Json> read_json_file(const std::filesystem::path& path, const JsonLimits& limits = {});

// The member of that name, or null when `object` is no object or has no such member. A member
// that is JSON null counts as absent, as checkpoints write it.
const Json* json_find(const Json& object, std::string_view key) noexcept;

// Typed members. Absent: NOT_FOUND. Another type, or an integer out of range: CORRUPT. Both name
// the key. json_f64 accepts integers too.
Result<uint64_t> json_u64(const Json& object, std::string_view key);
Result<int64_t> json_i64(const Json& object, std::string_view key);
Result<double> json_f64(const Json& object, std::string_view key);
Result<bool> json_bool(const Json& object, std::string_view key);
Result<std::string> json_string(const Json& object, std::string_view key);

// The same with a value for absent members; a wrong type is still an error.
Result<uint64_t> json_u64_or(const Json& object, std::string_view key, uint64_t fallback);
Result<int64_t> json_i64_or(const Json& object, std::string_view key, int64_t fallback);
Result<double> json_f64_or(const Json& object, std::string_view key, double fallback);
Result<bool> json_bool_or(const Json& object, std::string_view key, bool fallback);
Result<std::string> json_string_or(const Json& object, std::string_view key,
                                   std::string_view fallback);

}  // namespace bp
