// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/safetensors/shard_index.h"

#include <system_error>

#include "compiler/import/json.h"
#include "compiler/import/utf8.h"
#include "core/base/limits.h"

namespace bp {
namespace {

namespace fs = std::filesystem;

bool is_plain_shard_name(const std::string& name) {
  return name.size() <= 255 && name.ends_with(".safetensors") && name.front() != '.' &&
         name.find_first_of("/\\") == std::string::npos && is_printable_utf8(name);
}

}  // namespace

Result<ShardIndex> read_shard_index(const fs::path& path) {
  const Json document = BP_TRY(read_json_file(path));
  const Json* weight_map = json_find(document, "weight_map");
  if (weight_map == nullptr || !weight_map->is_object() || weight_map->empty()) {
    return error(Code::kCorrupt, "'{}' has no object 'weight_map' with tensors", path.native());
  }
  if (weight_map->size() > limits::kMaxTensors) {
    return error(Code::kExhausted, "'{}' lists {} tensors; at most {} are accepted", path.native(),
                 weight_map->size(), limits::kMaxTensors);
  }
  ShardIndex index;
  for (const auto& [tensor, shard] : weight_map->items()) {
    if (!shard.is_string()) {
      return error(Code::kCorrupt, "'{}' gives tensor '{}' no file name", path.native(), tensor);
    }
    const auto& name = shard.get_ref<const std::string&>();
    if (!is_plain_shard_name(name)) {
      return error(Code::kDenied,
                   "'{}' names the shard '{}'; a shard must be a plain *.safetensors file name",
                   path.native(), is_printable_utf8(name) ? name : "(unprintable)");
    }
    index[name].insert(tensor);
    if (index.size() > kMaxShards) {
      return error(Code::kExhausted, "'{}' lists more than {} shards", path.native(), kMaxShards);
    }
  }
  return index;
}

Result<fs::path> resolve_inside(const fs::path& folder, const std::string& name) {
  std::error_code failure;
  const fs::path home = fs::canonical(folder.empty() ? fs::path(".") : folder, failure);
  if (failure) {
    return error(Code::kNotFound, "'{}': {}", folder.native(), failure.message());
  }
  const fs::path file = fs::canonical(home / name, failure);
  if (failure) {
    return error(Code::kNotFound, "'{}': {}", (folder / name).native(), failure.message());
  }
  const fs::path where = file.parent_path();
  const bool in_cache = home.parent_path().filename() == "snapshots" &&
                        where == home.parent_path().parent_path() / "blobs";
  if (where != home && !in_cache) {
    return error(Code::kDenied,
                 "'{}' is a link out of its folder, to '{}'; if that is wanted, copy the file or "
                 "give its path itself",
                 (folder / name).native(), file.native());
  }
  return folder / name;
}

}  // namespace bp
