// SPDX-License-Identifier: Apache-2.0
// Memory for the planes of some rows of a weight: the views that importers and quantizers fill,
// and a reusable owner of such memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backplane/formats.h"
#include "core/base/status.h"

namespace bp {

// One writable view per plane of a format, in the order of WeightFormat::planes; unused ones are
// empty. Views of different planes must not overlap. The memory belongs to whoever made it.
using PlaneBuffers = std::array<std::span<std::byte>, 4>;

// Bytes of plane `plane` for `elements` elements (a multiple of the format's block).
constexpr uint64_t plane_bytes(const WeightFormat& format, size_t plane, uint64_t elements) {
  return elements / format.block_elements * format.planes[plane].bytes_per_block;
}

// INVALID_ARGUMENT unless every plane of the format has exactly the room that `elements` need.
Status check_plane_sizes(const WeightFormat& format, uint64_t elements, const PlaneBuffers& planes);

// The views as plain pointers, as dequantize_blocks() takes them.
std::array<const std::byte*, 4> plane_pointers(const PlaneBuffers& planes);

// Owns the planes of a chunk of rows and keeps its allocation between chunks. One thread.
class PlaneStorage {
 public:
  // Views for `elements` elements of the format; the previous views become invalid. EXHAUSTED when
  // the memory cannot be had.
  Result<PlaneBuffers> reserve(const WeightFormat& format, uint64_t elements);

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace bp
