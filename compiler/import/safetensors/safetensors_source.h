// SPDX-License-Identifier: Apache-2.0
// A safetensors checkpoint: one file, or shards listed by model.safetensors.index.json.
//
// dtypes F32, F16 and BF16 are read; any other is refused by name when the checkpoint is opened.
// The header is bounded (kMaxSafetensorsHeaderBytes, JSON limits), and tensor ranges must cover
// the data exactly, without overlap or hole. Shards must be plain file names in the index's own
// folder; a link that leaves the folder is refused, except into the `blobs` folder of a Hugging
// Face cache snapshot, which is how that cache stores every file. When an index is used it decides
// which tensors exist: one that a shard lacks is an error, one that only a shard knows is ignored.
// The format: https://github.com/huggingface/safetensors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "compiler/import/tensor_source.h"
#include "core/platform/file.h"

namespace bp {

class SafetensorsSource final : public TensorSource {
 public:
  // `path` is a checkpoint's folder (with model.safetensors, or else the index), a .safetensors
  // file, or an index (*.index.json). NOT_FOUND says which names were looked for.
  static Result<std::shared_ptr<SafetensorsSource>> open(const std::filesystem::path& path);

  void release(size_t index) const noexcept override;
  Status check_unchanged() const override;

 private:
  struct Place {
    size_t shard;     // in shards_
    uint64_t offset;  // absolute, of the first byte
  };

  SafetensorsSource() = default;
  Status open_any(const std::filesystem::path& path);
  Status open_folder(const std::filesystem::path& folder);
  Status open_index(const std::filesystem::path& path);
  // Takes the tensors in `wanted` (all when null) of one file.
  Status open_shard(const std::filesystem::path& path, const std::set<std::string>* wanted);
  Status read_checked_blocks(size_t index, uint64_t first_block, uint64_t block_count,
                             const PlaneBuffers& planes) const override;

  std::vector<std::shared_ptr<File>> shards_;
  std::vector<Place> places_;  // parallel to tensors()
};

}  // namespace bp
