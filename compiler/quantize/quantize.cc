// SPDX-License-Identifier: Apache-2.0
#include "compiler/quantize/quantize.h"

#include <cstring>

#include "backplane/float16.h"
#include "compiler/quantize/block_encoder.h"
#include "compiler/quantize/magnitude.h"
#include "core/base/checked.h"

namespace bp {
namespace {

// "tensor 'x', row 3, column 7": where value `index` of the chunk lies.
std::string place_of(const RowsOf& where, uint64_t index, uint64_t columns) {
  return fmt::format("tensor '{}', row {}, column {}", where.tensor,
                     where.first_row + index / columns, index % columns);
}

// A failure that names the first value whose magnitude reaches `limit`.
Status refuse_value(std::string_view format, const float* values, uint64_t count, int32_t limit,
                    uint64_t columns, const RowsOf& where) {
  uint64_t i = 0;
  while (i + 1 < count && magnitude_bits(values[i]) < limit) ++i;
  if (magnitude_bits(values[i]) >= kInfinityBits) {
    return error(Code::kCorrupt, "{} is {}; the checkpoint is damaged", place_of(where, i, columns),
                 values[i]);
  }
  return error(Code::kInvalidArgument, "{} is {}, beyond the range of {}; choose bf16 or f32",
               place_of(where, i, columns), values[i], format);
}

Status check_magnitudes(const WeightFormat& format, const float* values, uint64_t count,
                        uint64_t columns, const RowsOf& where) {
  int32_t limit = kInfinityBits;
  if (format.name == "f16") limit = kF16OverflowBits;
  if (format.name == "bf16") limit = kBf16OverflowBits;
  if (largest_magnitude_bits(values, count) < limit) return {};
  return refuse_value(format.name, values, count, limit, columns, where);
}

template <typename Narrow>
void narrow_all(const float* values, uint64_t count, std::span<std::byte> out, Narrow narrow) {
  for (uint64_t i = 0; i < count; ++i) {
    const uint16_t bits = narrow(values[i]);
    out[2 * i] = static_cast<std::byte>(bits & 0xff);
    out[2 * i + 1] = static_cast<std::byte>(bits >> 8);
  }
}

using EncodeGroup = bool (*)(const float* values, std::byte* quants, std::byte* scale) noexcept;

Status encode_groups(const WeightFormat& format, EncodeGroup encode, const float* values,
                     uint64_t count, uint64_t columns, const PlaneBuffers& planes,
                     const RowsOf& where) {
  const uint32_t quant_bytes = format.planes[0].bytes_per_block;
  for (uint64_t group = 0; group < count / kGroup; ++group) {
    if (!encode(values + group * kGroup, planes[0].data() + group * quant_bytes,
                planes[1].data() + group * 2)) {
      return error(Code::kInvalidArgument,
                   "{}: the next {} values are too large for the f16 scale of {}; choose bf16 or "
                   "f32",
                   place_of(where, group * kGroup, columns), kGroup, format.name);
    }
  }
  return {};
}

}  // namespace

bool is_quantize_target(std::string_view format) {
  return format == "f32" || format == "f16" || format == "bf16" || format == "q8_g32" ||
         format == "q4_g32";
}

Status quantize_rows(const WeightFormat& format, const float* rows, uint64_t row_count,
                     uint64_t columns, const PlaneBuffers& planes, const RowsOf& where) {
  if (!is_quantize_target(format.name)) {
    return error(Code::kInvalidArgument,
                 "weights cannot be quantized to {}; to f32, f16, bf16, q8_g32 and q4_g32 they can",
                 format.name);
  }
  if (columns == 0 || columns % format.block_elements != 0) {
    return error(Code::kInvalidArgument, "tensor '{}': rows of {} are not whole {} blocks of {}",
                 where.tensor, columns, format.name, format.block_elements);
  }
  const uint64_t count = BP_TRY(checked_mul(row_count, columns));
  BP_TRY(check_plane_sizes(format, count, planes).with_context("tensor '{}'", where.tensor));
  BP_TRY(check_magnitudes(format, rows, count, columns, where));
  if (format.name == "f32") {
    if (count != 0) std::memcpy(planes[0].data(), rows, count * sizeof(float));
  } else if (format.name == "f16") {
    narrow_all(rows, count, planes[0], f32_to_f16);
  } else if (format.name == "bf16") {
    narrow_all(rows, count, planes[0], f32_to_bf16);
  } else {
    const EncodeGroup encode = format.name == "q4_g32" ? encode_q4_g32 : encode_q8_g32;
    return encode_groups(format, encode, rows, count, columns, planes, where);
  }
  return {};
}

Result<FormatChoice> choose_format(std::string_view wanted, std::string_view source_format,
                                   uint64_t columns) {
  if (find_weight_format(source_format) == nullptr) {
    return error(Code::kInvalidArgument, "'{}' is no weight format", source_format);
  }
  if (wanted == "keep") return FormatChoice{std::string(source_format), false, ""};
  if (!is_quantize_target(wanted)) {
    return error(Code::kInvalidArgument,
                 "'{}' is no quantization; keep, f32, f16, bf16, q8_g32 and q4_g32 are", wanted);
  }
  const uint32_t block = find_weight_format(wanted)->block_elements;
  if (columns % block == 0) return FormatChoice{std::string(wanted), false, ""};
  const std::string_view instead = source_format == "bf16" ? "bf16" : "f16";
  return FormatChoice{std::string(instead), true,
                      fmt::format("rows of {} are not whole {} blocks of {}; stored as {}", columns,
                                  wanted, block, instead)};
}

}  // namespace bp
