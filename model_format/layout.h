// SPDX-License-Identifier: Apache-2.0
// Where things lie in a .bpm file: the 64-byte header, alignments, and the bytes of every plane.
//
// Reader, writer and verifier share these functions, so they cannot disagree. Pure functions,
// callable from any thread. SPEC.md is the prose of this page.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "backplane/formats.h"
#include "core/base/status.h"
#include "core/platform/digest.h"

namespace bp {

inline constexpr uint32_t kModelFormatVersion = 1;
inline constexpr uint64_t kModelHeaderBytes = 64;
// Segments begin and end at multiples of this inside the file, so that a driver may import the
// mapped pages (64 KiB is the largest page and import granularity in wide use).
inline constexpr uint64_t kSegmentAlignment = 64 * 1024;
// Planes begin at multiples of this inside their segment: a cache line, and the widest vector.
inline constexpr uint64_t kPlaneAlignment = 64;
// The writer starts another segment rather than let one grow beyond this. A single tensor that is
// larger gets a segment of its own.
inline constexpr uint64_t kPreferredSegmentBytes = uint64_t{1} << 30;

// The first 64 bytes, little-endian:
//   0 magic "BPLANE\0\1"   8 u32 format version   12 u32 plan offset (64)
//   16 u64 plan bytes      24 u64 file bytes      32 SHA-256 of the plan's bytes
struct ModelHeader {
  uint32_t format_version = kModelFormatVersion;
  uint32_t plan_offset = kModelHeaderBytes;
  uint64_t plan_bytes = 0;  // "plan" here is the whole FlatBuffer
  uint64_t file_bytes = 0;
  Sha256Digest plan_digest{};
};

std::array<std::byte, kModelHeaderBytes> encode_header(const ModelHeader& header) noexcept;

// Decodes and checks a header against the size that the file really has. CORRUPT when it is not
// a model file, is truncated or has bytes after its end; INCOMPATIBLE for a newer format version.
Result<ModelHeader> decode_header(std::span<const std::byte> bytes, uint64_t actual_file_bytes);

// Elements of a shape. CORRUPT when a dimension is 0, there are none or more than kMaxTensorRank,
// or the product is above kMaxTensorElements.
Result<uint64_t> element_count(std::span<const uint64_t> shape);

// Bytes of plane `plane` of a tensor. CORRUPT when the last dimension is not a multiple of the
// format's block; INVALID_ARGUMENT when the format has no such plane.
Result<uint64_t> plane_size_bytes(const WeightFormat& format, uint32_t plane,
                                  std::span<const uint64_t> shape);

}  // namespace bp
