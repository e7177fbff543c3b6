// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/plane_buffers.h"

#include <new>

#include "core/base/checked.h"

namespace bp {

Status check_plane_sizes(const WeightFormat& format, uint64_t elements,
                         const PlaneBuffers& planes) {
  if (elements % format.block_elements != 0) {
    return error(Code::kInvalidArgument, "{} elements are not whole {} blocks of {}", elements,
                 format.name, format.block_elements);
  }
  for (size_t i = 0; i < format.plane_count; ++i) {
    const uint64_t wanted = plane_bytes(format, i, elements);
    if (planes[i].size() != wanted) {
      return error(Code::kInvalidArgument, "plane '{}' of {} has room for {} bytes; {} are needed",
                   format.planes[i].name, format.name, planes[i].size(), wanted);
    }
  }
  return {};
}

std::array<const std::byte*, 4> plane_pointers(const PlaneBuffers& planes) {
  return {planes[0].data(), planes[1].data(), planes[2].data(), planes[3].data()};
}

Result<PlaneBuffers> PlaneStorage::reserve(const WeightFormat& format, uint64_t elements) {
  static constexpr uint64_t kAlignment = 64;  // each plane starts on a cache line
  std::array<uint64_t, 4> offsets{};
  uint64_t total = 0;
  for (size_t i = 0; i < format.plane_count; ++i) {
    uint64_t aligned;
    if (!try_align_up(total, kAlignment, &aligned) ||
        !try_add(aligned, plane_bytes(format, i, elements), &total)) {
      return error(Code::kExhausted, "{} elements of {} are too many", elements, format.name);
    }
    offsets[i] = aligned;
  }
  try {
    if (bytes_.size() < total) bytes_.resize(total);
  } catch (const std::exception&) {
    return error(Code::kExhausted, "no memory for {} bytes of {} planes", total, format.name);
  }
  PlaneBuffers views;
  for (size_t i = 0; i < format.plane_count; ++i) {
    views[i] = std::span(bytes_).subspan(offsets[i], plane_bytes(format, i, elements));
  }
  return views;
}

}  // namespace bp
