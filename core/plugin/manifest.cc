// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/json_read.h"
#include "core/base/limits.h"

namespace bp {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxManifestDepth = 8;  // three are needed

Result<std::string> text_of(const Json& object, const char* key, bool required) {
  const auto found = object.find(key);
  if (found == object.end()) {
    if (!required) return std::string();
    return error(Code::kCorrupt, "'{}' is missing", key);
  }
  if (!found->is_string()) return error(Code::kCorrupt, "'{}' is not a string", key);
  auto text = found->get<std::string>();
  if (text.size() > limits::kMaxNameBytes) {
    return error(Code::kCorrupt, "'{}' is longer than {} bytes", key, limits::kMaxNameBytes);
  }
  return text;
}

Result<uint32_t> number_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned() ||
      found->get<uint64_t>() > UINT32_MAX) {
    return error(Code::kCorrupt, "'{}' is missing or not a small number", key);
  }
  return found->get<uint32_t>();
}

Result<std::vector<std::string>> names_of(const Json& object, const char* key) {
  std::vector<std::string> names;
  const auto found = object.find(key);
  if (found == object.end()) return names;
  if (!found->is_array() || found->size() > 32) {
    return error(Code::kCorrupt, "'{}' is not a list of at most 32 names", key);
  }
  for (const Json& name : *found) {
    if (!name.is_string()) return error(Code::kCorrupt, "'{}' holds something but names", key);
    names.push_back(name.get<std::string>());
  }
  return names;
}

}  // namespace

bool is_plugin_id(std::string_view id) {
  if (id.empty() || id.size() > 64 || id[0] < 'a' || id[0] > 'z') return false;
  return std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

Result<Manifest> parse_manifest(std::string_view text, const std::filesystem::path& folder) try {
  if (text.size() > limits::kMaxManifestBytes) {
    return error(Code::kCorrupt, "larger than {} bytes", limits::kMaxManifestBytes);
  }
  ScopedJson<Json> parsed;
  BP_TRY(read_json(text, kMaxManifestDepth, &*parsed));
  const Json& json = *parsed;
  if (!json.is_object()) return error(Code::kCorrupt, "not a JSON object");
  Manifest manifest;
  manifest.id = BP_TRY(text_of(json, "id", true));
  if (!is_plugin_id(manifest.id)) {
    return error(Code::kCorrupt, "'id' must be 1 to 64 of a-z 0-9 . _ -, a letter first");
  }
  manifest.version = BP_TRY(text_of(json, "version", true));
  const auto abi = json.find("abi");
  if (abi == json.end() || !abi->is_object()) return error(Code::kCorrupt, "'abi' is missing");
  manifest.abi_major = BP_TRY(number_of(*abi, "major"));
  manifest.abi_min_minor = BP_TRY(number_of(*abi, "min_minor"));

  const std::filesystem::path library = BP_TRY(text_of(json, "library", true));
  const bool escapes =
      std::any_of(library.begin(), library.end(), [](const auto& part) { return part == ".."; });
  if (library.empty() || library.is_absolute() || escapes ||
      library.native().find('\0') != std::string::npos) {
    return error(Code::kCorrupt, "'library' must be a path inside the manifest's folder");
  }
  manifest.library = folder / library;
  manifest.kinds = BP_TRY(names_of(json, "kinds"));
  manifest.dialects = BP_TRY(names_of(json, "dialects"));
  manifest.description = BP_TRY(text_of(json, "description", false));
  return manifest;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "{}", thrown.what());
}

}  // namespace bp
