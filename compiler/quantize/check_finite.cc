// SPDX-License-Identifier: Apache-2.0
// check_finite() of quantize.h: NaN and infinity in planes that are kept as they came.
#include <cstring>

#include "compiler/quantize/magnitude.h"
#include "compiler/quantize/quantize.h"
#include "core/base/checked.h"

namespace bp {
namespace {

// How the numbers in a plane say that they are not finite.
enum class Numbers { kNone, kF32, kF16, kBf16, kE8m0 };

Numbers numbers_of(const WeightFormat& format, size_t plane) {
  const PlaneLayout& layout = format.planes[plane];
  if (format.name == "f32") return Numbers::kF32;
  if (format.name == "f16") return Numbers::kF16;
  if (format.name == "bf16") return Numbers::kBf16;
  if (layout.name == "super" || layout.name == "minima") return Numbers::kF16;
  if (layout.name != "scales") return Numbers::kNone;
  if (layout.bytes_per_block == 2) return Numbers::kF16;
  return format.name == "mxfp4" ? Numbers::kE8m0 : Numbers::kNone;  // the K formats' are integers
}

// Index of the first number whose bits under `mask` are all ones, or `count`. The first pass only
// asks whether there is one, and vectorises.
template <typename T>
uint64_t find_masked(std::span<const std::byte> bytes, T mask) {
  const uint64_t count = bytes.size() / sizeof(T);
  const auto at = [&](uint64_t i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    return value;
  };
  bool found = false;
  for (uint64_t i = 0; i < count; ++i) found |= (at(i) & mask) == mask;
  if (!found) return count;
  uint64_t i = 0;
  while ((at(i) & mask) != mask) ++i;
  return i;
}

}  // namespace

Status check_finite(const WeightFormat& format, const PlaneBuffers& planes, uint64_t row_count,
                    uint64_t columns, const RowsOf& where) {
  const uint64_t count = BP_TRY(checked_mul(row_count, columns));
  BP_TRY(check_plane_sizes(format, count, planes).with_context("tensor '{}'", where.tensor));
  for (size_t p = 0; p < format.plane_count; ++p) {
    uint64_t index = 0;
    uint64_t number_bytes = 2;
    switch (numbers_of(format, p)) {
      case Numbers::kNone:
        continue;
      case Numbers::kF32:
        index = find_masked<uint32_t>(planes[p], kInfinityBits);
        number_bytes = 4;
        break;
      case Numbers::kF16:
        index = find_masked<uint16_t>(planes[p], 0x7c00);
        break;
      case Numbers::kBf16:
        index = find_masked<uint16_t>(planes[p], 0x7f80);
        break;
      case Numbers::kE8m0:
        index = find_masked<uint8_t>(planes[p], 0xff);
        number_bytes = 1;
        break;
    }
    if (index == planes[p].size() / number_bytes) continue;
    const uint64_t element =
        index * number_bytes / format.planes[p].bytes_per_block * format.block_elements;
    return error(Code::kCorrupt,
                 "tensor '{}', row {}, column {}: {} is NaN or infinite; the checkpoint is damaged",
                 where.tensor, where.first_row + element / columns, element % columns,
                 format.block_elements == 1 ? "the value" : "a scale of the block there");
  }
  return {};
}

}  // namespace bp
