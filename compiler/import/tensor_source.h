// SPDX-License-Identifier: Apache-2.0
// A checkpoint as the compiler sees it: named tensors that can be read a few rows at a time,
// whatever file they come from.
//
// Opening a source validates every name, type, shape and byte range, so a checkpoint with one
// unreadable tensor is refused before anything is written. Tensor data is read with positional
// reads and never mapped: a file that is truncated meanwhile gives CORRUPT, not a fault, and
// memory use is that of the caller's buffers plus at most kScratchBytes per call.
//
// Rows: the tensor seen as a matrix [product of all dimensions but the last, last dimension]. A
// vector has one row.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/import/plane_buffers.h"

namespace bp {

struct SourceTensor {
  std::string name;
  std::string format;           // one of kWeightFormats: what read_rows() yields
  std::string source_type;      // as its file calls it: "Q4_K", "BF16", …
  std::vector<uint64_t> shape;  // outermost dimension first; every dimension at least 1

  uint64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  uint64_t rows() const { return elements() / columns(); }
  uint64_t elements() const;  // fits: opening has checked it against kMaxTensorElements
};

// A file that the source reads, for provenance digests.
struct SourceFile {
  std::filesystem::path path;
  uint64_t size_bytes = 0;
};

// Thread-safe after construction: all methods are const and keep no state between calls.
class TensorSource {
 public:
  // Most memory that one call of read_rows() or dequantize_rows() takes for itself.
  static constexpr uint64_t kScratchBytes = uint64_t{256} << 10;

  virtual ~TensorSource() = default;
  TensorSource(const TensorSource&) = delete;
  TensorSource& operator=(const TensorSource&) = delete;

  // In the order of their data in the files, so that reading them in turn reads forward.
  std::span<const SourceTensor> tensors() const { return tensors_; }
  // Index into tensors() of the tensor with that name.
  std::optional<size_t> find(std::string_view name) const;
  std::span<const SourceFile> files() const { return files_; }

  // Fills `planes` with rows [first_row, first_row + row_count) in the tensor's format; each plane
  // must have exactly the bytes that these rows need (plane_bytes). INVALID_ARGUMENT for a range
  // or a buffer that does not fit, CORRUPT or UNAVAILABLE when the file cannot be read.
  Status read_rows(size_t index, uint64_t first_row, uint64_t row_count,
                   const PlaneBuffers& planes) const;

  // The same rows as f32, row-major: `out` has exactly row_count × columns elements. Values are
  // those of dequantize.h, exactly.
  Status dequantize_rows(size_t index, uint64_t first_row, uint64_t row_count,
                         std::span<float> out) const;

  // Tells the kernel that this tensor's bytes will not be read again soon. Only advice.
  virtual void release(size_t index) const noexcept = 0;
  // CORRUPT when one of the files was changed since it was opened. Call it after the last read.
  virtual Status check_unchanged() const = 0;

 protected:
  TensorSource() = default;

  // Fills planes with blocks of the tensor's format (row-major, rows follow each other without
  // padding). The range lies inside the tensor and each plane has exactly the room it needs.
  virtual Status read_checked_blocks(size_t index, uint64_t first_block, uint64_t block_count,
                                     const PlaneBuffers& planes) const = 0;
  // Appends; CORRUPT when the name is taken already.
  Status add_tensor(SourceTensor tensor);
  void add_file(SourceFile file) { files_.push_back(std::move(file)); }

 private:
  Status check_rows(size_t index, uint64_t first_row, uint64_t row_count) const;

  std::vector<SourceTensor> tensors_;
  std::vector<SourceFile> files_;
  std::map<std::string, size_t, std::less<>> index_of_;
};

}  // namespace bp
