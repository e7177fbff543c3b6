// SPDX-License-Identifier: Apache-2.0
// model.safetensors.index.json: which shard holds which tensor.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "core/base/status.h"

namespace bp {

// Tensor names by shard file name. Shard names are plain: no folder, no "..", ending in
// ".safetensors".
using ShardIndex = std::map<std::string, std::set<std::string>>;

inline constexpr uint64_t kMaxShards = 4096;

Result<ShardIndex> read_shard_index(const std::filesystem::path& path);

// folder / name, after making sure that no link leads out of the folder (into the blobs folder of
// a Hugging Face cache is allowed). NOT_FOUND when it is not there, DENIED when it leads out.
Result<std::filesystem::path> resolve_inside(const std::filesystem::path& folder,
                                             const std::string& name);

}  // namespace bp
