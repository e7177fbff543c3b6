// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/safetensors/safetensors_source.h"

#include <exception>
#include <system_error>
#include <utility>

#include "compiler/import/safetensors/header.h"
#include "compiler/import/safetensors/shard_index.h"

namespace bp {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingleName = "model.safetensors";
constexpr const char* kIndexName = "model.safetensors.index.json";

}  // namespace

Result<std::shared_ptr<SafetensorsSource>> SafetensorsSource::open(const fs::path& path) {
  try {
    std::shared_ptr<SafetensorsSource> out(new SafetensorsSource);
    BP_TRY(out->open_any(path));
    return out;
  } catch (const std::exception&) {
    return error(Code::kExhausted, "'{}': no memory for its headers", path.native());
  }
}

Status SafetensorsSource::open_any(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return open_folder(path);
  if (path.extension() == ".json") return open_index(path);
  return open_shard(path, nullptr);
}

Status SafetensorsSource::open_folder(const fs::path& folder) {
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(folder / kSingleName, ignored))) {
    return open_shard(BP_TRY(resolve_inside(folder, kSingleName)), nullptr);
  }
  if (fs::exists(fs::symlink_status(folder / kIndexName, ignored))) {
    return open_index(BP_TRY(resolve_inside(folder, kIndexName)));
  }
  return error(Code::kNotFound, "'{}' has neither {} nor {}", folder.native(), kSingleName,
               kIndexName);
}

Status SafetensorsSource::open_index(const fs::path& path) {
  const ShardIndex index = BP_TRY(read_shard_index(path));
  std::error_code failure;
  const uint64_t index_bytes = fs::file_size(path, failure);
  if (failure) return error(Code::kUnavailable, "'{}': {}", path.native(), failure.message());
  add_file({path, index_bytes});
  for (const auto& [name, tensors_of] : index) {
    const fs::path shard = BP_TRY(resolve_inside(path.parent_path(), name));
    BP_TRY(open_shard(shard, &tensors_of));
  }
  return {};
}

Status SafetensorsSource::open_shard(const fs::path& path, const std::set<std::string>* wanted) {
  auto file = BP_TRY(File::open(path));
  auto entries = BP_TRY(read_safetensors_header(*file).with_context("'{}'", path.native()));
  std::set<std::string> missing;
  if (wanted != nullptr) missing = *wanted;
  for (SafetensorsEntry& entry : entries) {
    if (wanted != nullptr && missing.erase(entry.tensor.name) == 0) continue;
    places_.push_back({shards_.size(), entry.begin});
    BP_TRY(add_tensor(std::move(entry.tensor)).with_context("'{}'", path.native()));
  }
  if (!missing.empty()) {
    return error(Code::kCorrupt, "the index says that '{}' holds tensor '{}', but it does not",
                 path.native(), *missing.begin());
  }
  add_file({path, file->size_bytes()});
  shards_.push_back(std::move(file));
  return {};
}

Status SafetensorsSource::read_checked_blocks(size_t index, uint64_t first_block, uint64_t,
                                              const PlaneBuffers& planes) const {
  const Place& place = places_[index];
  const WeightFormat& format = *find_weight_format(tensors()[index].format);
  return shards_[place.shard]->read_at(
      place.offset + first_block * format.planes[0].bytes_per_block, planes[0]);
}

void SafetensorsSource::release(size_t index) const noexcept {
  if (index >= places_.size()) return;
  const SourceTensor& tensor = tensors()[index];
  shards_[places_[index].shard]->release(
      places_[index].offset, find_weight_format(tensor.format)->bytes(tensor.elements()));
}

Status SafetensorsSource::check_unchanged() const {
  for (const auto& shard : shards_) BP_TRY(shard->check_unchanged());
  return {};
}

}  // namespace bp
