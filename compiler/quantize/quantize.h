// SPDX-License-Identifier: Apache-2.0
// From f32 rows to the planes of a weight format, choosing the scales.
//
// Targets: f32, f16, bf16, q8_g32 and q4_g32. Deterministic: the same input gives the same bytes
// on every machine (no fused multiply-add, no reordered sums). Any thread; split a tensor by rows
// to use several.
//
//   q8_g32  per 32 values: d = max|x| / 127 rounded to f16, q = round(x / d).
//   q4_g32  per 32 values: d from a short search that minimises the squared error Σ(x − d·q)² over
//           q in −8 … 7: for each of a few trial scales the least-squares d of its rounding (Nagel
//           et al. 2021, section 3; Frantar et al. 2022, section 2). Never worse than mapping the
//           value of largest magnitude to −8.
//
// Tiny groups: where d rounds to 0 in f16 (max|x| under about 2^-22) the whole group becomes 0.
// A NaN or infinity is CORRUPT; a value (or scale) beyond the range of f16 or bf16 is
// INVALID_ARGUMENT. Nothing saturates silently. Both name tensor, row and column.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "backplane/formats.h"
#include "compiler/import/plane_buffers.h"

namespace bp {

// May quantize_rows() write this format?
bool is_quantize_target(std::string_view format);

// Which rows, for messages.
struct RowsOf {
  std::string_view tensor;
  uint64_t first_row = 0;
};

// Writes row_count × columns values (`rows`, row-major) to `planes`, whose sizes must be exactly
// those of that many elements. `columns` must be a multiple of the format's block.
Status quantize_rows(const WeightFormat& format, const float* rows, uint64_t row_count,
                     uint64_t columns, const PlaneBuffers& planes, const RowsOf& where);

// Are all values that these planes stand for finite? Looks at scales and float values only, so it
// costs a fraction of dequantizing; for weights that keep their source's format. Errors as above.
Status check_finite(const WeightFormat& format, const PlaneBuffers& planes, uint64_t row_count,
                    uint64_t columns, const RowsOf& where);

// The format that a tensor gets when `wanted` ("keep" or a target) was asked for.
struct FormatChoice {
  std::string format;
  bool fell_back = false;  // not what was asked; `reason` says why, for the conversion's report
  std::string reason;
};

// "keep" gives source_format. A blocked format whose block does not divide `columns` falls back to
// bf16 when the source is bf16 and to f16 otherwise. INVALID_ARGUMENT when `wanted` is neither.
Result<FormatChoice> choose_format(std::string_view wanted, std::string_view source_format,
                                   uint64_t columns);

}  // namespace bp
