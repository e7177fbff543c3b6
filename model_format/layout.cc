// SPDX-License-Identifier: Apache-2.0
#include "model_format/layout.h"

#include <algorithm>
#include <cstring>

#include "core/base/checked.h"
#include "core/base/limits.h"

namespace bp {
namespace {

constexpr std::array<uint8_t, 8> kMagic = {'B', 'P', 'L', 'A', 'N', 'E', 0, 1};

template <typename T>
void put(std::span<std::byte> out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) out[i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
}

template <typename T>
T get(std::span<const std::byte> in) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= T{std::to_integer<uint8_t>(in[i])} << (8 * i);
  return value;
}

}  // namespace

std::array<std::byte, kModelHeaderBytes> encode_header(const ModelHeader& header) noexcept {
  std::array<std::byte, kModelHeaderBytes> bytes{};
  const std::span out(bytes);
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  put(out.subspan(8), header.format_version);
  put(out.subspan(12), header.plan_offset);
  put(out.subspan(16), header.plan_bytes);
  put(out.subspan(24), header.file_bytes);
  std::memcpy(bytes.data() + 32, header.plan_digest.data(), header.plan_digest.size());
  return bytes;
}

Result<ModelHeader> decode_header(std::span<const std::byte> bytes, uint64_t actual_file_bytes) {
  if (bytes.size() < kMagic.size() ||
      !std::equal(kMagic.begin(), kMagic.end(), bytes.begin(),
                  [](uint8_t a, std::byte b) { return a == std::to_integer<uint8_t>(b); })) {
    return error(Code::kCorrupt,
                 "this is not a Backplane model file (it does not begin with "
                 "BPLANE); convert the checkpoint first");
  }
  if (bytes.size() < kModelHeaderBytes) {
    return error(Code::kCorrupt, "the file ends inside its {}-byte header; copy it again",
                 kModelHeaderBytes);
  }
  ModelHeader header;
  header.format_version = get<uint32_t>(bytes.subspan(8));
  if (header.format_version > kModelFormatVersion) {
    return error(Code::kIncompatible,
                 "the file has format version {}, this program reads up to {}; use a newer one",
                 header.format_version, kModelFormatVersion);
  }
  if (header.format_version == 0) return error(Code::kCorrupt, "the format version is 0");
  header.plan_offset = get<uint32_t>(bytes.subspan(12));
  header.plan_bytes = get<uint64_t>(bytes.subspan(16));
  header.file_bytes = get<uint64_t>(bytes.subspan(24));
  std::memcpy(header.plan_digest.data(), bytes.data() + 32, header.plan_digest.size());
  if (header.file_bytes != actual_file_bytes) {
    return error(Code::kCorrupt,
                 "the header speaks of {} bytes, the file has {}; it was cut off or grew, copy it "
                 "again",
                 header.file_bytes, actual_file_bytes);
  }
  if (header.plan_offset != kModelHeaderBytes) {
    return error(Code::kCorrupt, "the plan begins at byte {} instead of {}", header.plan_offset,
                 kModelHeaderBytes);
  }
  if (header.plan_bytes == 0 || header.plan_bytes > limits::kMaxPlanBytes ||
      !range_fits(header.plan_offset, header.plan_bytes, actual_file_bytes)) {
    return error(Code::kCorrupt, "a plan of {} bytes is empty, above {} or past the file's end",
                 header.plan_bytes, limits::kMaxPlanBytes);
  }
  return header;
}

Result<uint64_t> element_count(std::span<const uint64_t> shape) {
  if (shape.empty() || shape.size() > limits::kMaxTensorRank) {
    return error(Code::kCorrupt, "a shape of {} dimensions; 1 to {} are possible", shape.size(),
                 limits::kMaxTensorRank);
  }
  uint64_t count = 1;
  for (const uint64_t dim : shape) {
    if (dim == 0) return error(Code::kCorrupt, "a dimension of the shape is 0");
    if (!try_mul(count, dim, &count) || count > limits::kMaxTensorElements) {
      return error(Code::kCorrupt, "the shape has more than {} elements",
                   limits::kMaxTensorElements);
    }
  }
  return count;
}

Result<uint64_t> plane_size_bytes(const WeightFormat& format, uint32_t plane,
                                  std::span<const uint64_t> shape) {
  if (plane >= format.plane_count) {
    return error(Code::kInvalidArgument, "format {} has {} planes, not a plane {}", format.name,
                 format.plane_count, plane);
  }
  const uint64_t elements = BP_TRY(element_count(shape));
  if (shape.back() % format.block_elements != 0) {
    return error(Code::kCorrupt, "the last dimension, {}, is not a multiple of {}'s block of {}",
                 shape.back(), format.name, format.block_elements);
  }
  return checked_mul<uint64_t>(elements / format.block_elements,
                               format.planes[plane].bytes_per_block);
}

}  // namespace bp
