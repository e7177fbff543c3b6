// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/tensor_source.h"

#include <algorithm>
#include <cstring>

#include "backplane/dequantize.h"
#include "core/base/checked.h"

namespace bp {

uint64_t SourceTensor::elements() const {
  uint64_t product = 1;
  for (const uint64_t dimension : shape) product *= dimension;
  return product;
}

std::optional<size_t> TensorSource::find(std::string_view name) const {
  const auto it = index_of_.find(name);
  if (it == index_of_.end()) return std::nullopt;
  return it->second;
}

Status TensorSource::add_tensor(SourceTensor tensor) {
  if (!index_of_.emplace(tensor.name, tensors_.size()).second) {
    return error(Code::kCorrupt, "tensor '{}' occurs twice", tensor.name);
  }
  tensors_.push_back(std::move(tensor));
  return {};
}

Status TensorSource::check_rows(size_t index, uint64_t first_row, uint64_t row_count) const {
  if (index >= tensors_.size()) {
    return error(Code::kInvalidArgument, "there is no tensor {}: the source has {}", index,
                 tensors_.size());
  }
  const SourceTensor& tensor = tensors_[index];
  if (!range_fits(first_row, row_count, tensor.rows())) {
    return error(Code::kInvalidArgument, "tensor '{}' has {} rows; {} from row {} were asked for",
                 tensor.name, tensor.rows(), row_count, first_row);
  }
  return {};
}

Status TensorSource::read_rows(size_t index, uint64_t first_row, uint64_t row_count,
                               const PlaneBuffers& planes) const {
  BP_TRY(check_rows(index, first_row, row_count));
  const SourceTensor& tensor = tensors_[index];
  const WeightFormat& format = *find_weight_format(tensor.format);
  const uint64_t elements = row_count * tensor.columns();
  BP_TRY(check_plane_sizes(format, elements, planes).with_context("tensor '{}'", tensor.name));
  const uint64_t row_blocks = tensor.columns() / format.block_elements;
  return read_checked_blocks(index, first_row * row_blocks, row_count * row_blocks, planes)
      .with_context("tensor '{}'", tensor.name);
}

Status TensorSource::dequantize_rows(size_t index, uint64_t first_row, uint64_t row_count,
                                     std::span<float> out) const {
  BP_TRY(check_rows(index, first_row, row_count));
  const SourceTensor& tensor = tensors_[index];
  const WeightFormat& format = *find_weight_format(tensor.format);
  if (out.size() != row_count * tensor.columns()) {
    return error(Code::kInvalidArgument, "tensor '{}': room for {} values, {} are needed",
                 tensor.name, out.size(), row_count * tensor.columns());
  }
  const uint64_t row_blocks = tensor.columns() / format.block_elements;
  uint64_t first = first_row * row_blocks;
  const uint64_t last = first + row_count * row_blocks;
  if (format.name == "f32") {  // no second copy
    PlaneBuffers whole;
    whole[0] = std::as_writable_bytes(out);
    return read_checked_blocks(index, first, last - first, whole)
        .with_context("tensor '{}'", tensor.name);
  }
  // Small chunks stay in the cache between reading and widening.
  const uint64_t block_bytes = format.bytes(format.block_elements);
  const uint64_t chunk_blocks = std::max<uint64_t>(1, kScratchBytes / 4 / block_bytes);
  PlaneStorage storage;
  float* destination = out.data();
  while (first < last) {
    const uint64_t blocks = std::min(chunk_blocks, last - first);
    const PlaneBuffers planes = BP_TRY(storage.reserve(format, blocks * format.block_elements));
    BP_TRY(
        read_checked_blocks(index, first, blocks, planes).with_context("tensor '{}'", tensor.name));
    dequantize_blocks(format, plane_pointers(planes).data(), 0, blocks, destination);
    destination += blocks * format.block_elements;
    first += blocks;
  }
  return {};
}

}  // namespace bp
