// SPDX-License-Identifier: Apache-2.0
// A GGUF file, version 2 or 3, little-endian: metadata and tensors.
//
// Tensor types F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL MXFP4 are
// read, each losslessly as the planes of its format; any other is refused by name when the file is
// opened, as are parts of a split model. A file without tensors (vocabulary only) is fine. Shapes
// are turned outermost first. The format: https://github.com/ggml-org/ggml, docs/gguf.md.
//
// Nothing in the file is believed: counts are compared with the bytes that are left before memory
// is reserved, so memory is proportional to the header's true size, at most kMaxHeaderBytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "compiler/import/gguf/gguf_metadata.h"
#include "compiler/import/tensor_source.h"
#include "core/platform/file.h"

namespace bp {

struct GgufTensorType;

class GgufFile final : public TensorSource {
 public:
  static constexpr uint64_t kMaxHeaderBytes = uint64_t{512} << 20;  // metadata and tensor list
  static constexpr uint64_t kMaxKeys = 1u << 16;
  static constexpr uint64_t kMaxKeyBytes = 65535;
  static constexpr uint64_t kMaxAlignment = 1u << 20;

  // CORRUPT: not a GGUF or damaged; INCOMPATIBLE: another version or byte order; UNIMPLEMENTED: a
  // tensor type that is not read. Every message names the file and the key or tensor.
  static Result<std::shared_ptr<GgufFile>> open(const std::filesystem::path& path);

  const GgufMetadata& metadata() const { return metadata_; }
  uint32_t version() const { return version_; }

  void release(size_t index) const noexcept override;
  Status check_unchanged() const override { return file_->check_unchanged(); }

 private:
  struct Place {
    const GgufTensorType* type;
    uint64_t offset;  // absolute, of the first byte
  };
  class Parser;

  explicit GgufFile(std::shared_ptr<File> file) : file_(std::move(file)) {}
  Status read_checked_blocks(size_t index, uint64_t first_block, uint64_t block_count,
                             const PlaneBuffers& planes) const override;

  std::shared_ptr<File> file_;
  GgufMetadata metadata_;
  uint32_t version_ = 0;
  std::vector<Place> places_;  // parallel to tensors()
};

}  // namespace bp
