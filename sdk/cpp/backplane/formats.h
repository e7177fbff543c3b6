// SPDX-License-Identifier: Apache-2.0
// The weight formats of the model file, as data: how many elements a block has and which planes
// its bytes live in. Reader, writer, importers and every kernel use this one table.
//
// A tensor of shape [rows, columns] (or [experts, rows, columns], or [columns]) in a blocked
// format stores, for each plane, rows × (columns / block_elements) blocks, row-major, without
// padding. Values of a block are defined in docs/ops.md and model_format/SPEC.md; the executable
// definition is dequantize.h.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace bp {

struct PlaneLayout {
  std::string_view name;     // "values", "quants", "high", "scales", "minima", "super"
  uint32_t bytes_per_block;  // of this plane, for one block
};

struct WeightFormat {
  std::string_view name;
  uint32_t block_elements;  // columns must be a multiple of it
  uint32_t plane_count;
  std::array<PlaneLayout, 4> planes;

  // Bytes of all planes for `elements` elements (a multiple of block_elements).
  constexpr uint64_t bytes(uint64_t elements) const {
    uint64_t total = 0;
    for (uint32_t i = 0; i < plane_count; ++i) total += planes[i].bytes_per_block;
    return elements / block_elements * total;
  }
};

// Order carries no meaning; names do. Append only.
inline constexpr std::array<WeightFormat, 15> kWeightFormats = {{
    {"f32", 1, 1, {{{"values", 4}}}},
    {"f16", 1, 1, {{{"values", 2}}}},
    {"bf16", 1, 1, {{{"values", 2}}}},
    // Groups of 32 along the columns with one f16 scale. GGUF's Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1
    // are exactly these five, so they convert without loss.
    {"q8_g32", 32, 2, {{{"quants", 32}, {"scales", 2}}}},
    {"q4_g32", 32, 2, {{{"quants", 16}, {"scales", 2}}}},
    {"q4_g32z", 32, 3, {{{"quants", 16}, {"scales", 2}, {"minima", 2}}}},
    {"q5_g32", 32, 3, {{{"quants", 16}, {"high", 4}, {"scales", 2}}}},
    {"q5_g32z", 32, 4, {{{"quants", 16}, {"high", 4}, {"scales", 2}, {"minima", 2}}}},
    // Super-blocks of 256 with packed sub-scales; "super" holds f16 d, and f16 dmin after it in
    // the formats that have minima.
    {"q2_k", 256, 3, {{{"quants", 64}, {"scales", 16}, {"super", 4}}}},
    {"q3_k", 256, 4, {{{"quants", 64}, {"high", 32}, {"scales", 12}, {"super", 2}}}},
    {"q4_k", 256, 3, {{{"quants", 128}, {"scales", 12}, {"super", 4}}}},
    {"q5_k", 256, 4, {{{"quants", 128}, {"high", 32}, {"scales", 12}, {"super", 4}}}},
    {"q6_k", 256, 4, {{{"quants", 128}, {"high", 64}, {"scales", 16}, {"super", 2}}}},
    {"iq4_nl", 32, 2, {{{"quants", 16}, {"scales", 2}}}},
    {"mxfp4", 32, 2, {{{"quants", 16}, {"scales", 1}}}},
}};

// The format of that name, or null.
constexpr const WeightFormat* find_weight_format(std::string_view name) {
  for (const WeightFormat& format : kWeightFormats) {
    if (format.name == name) return &format;
  }
  return nullptr;
}

// Bytes of one element of an activation, input or state format ("f32", "f16", "bf16", "i32"),
// or 0 when the name is not one of them. Caches in "q8" have no such number: see row_bytes.
constexpr uint32_t element_bytes(std::string_view format) {
  if (format == "f32" || format == "i32") return 4;
  if (format == "f16" || format == "bf16") return 2;
  return 0;
}

// A cache in "q8": int8 values, with one f16 scale for every 32 of a row. Rows are whole blocks.
inline constexpr uint32_t kCacheBlock = 32;
// f16 scales of a row of that many elements, filled up to a whole 32-bit word, so that no two rows
// have a word in common.
constexpr uint64_t cache_scales(uint64_t elements) {
  return (elements / kCacheBlock + 1) / 2 * 2;
}

// Bytes of a row of `elements` elements (the last dimension) in an activation, input or state
// format. False when there is no such format, when it does not take so many elements, or when the
// number overflows.
constexpr bool row_bytes(std::string_view format, uint64_t elements, uint64_t* out) {
  if (elements > UINT64_MAX / 8) return false;
  if (format == "q8") {
    *out = elements + 2 * cache_scales(elements);
    return elements % kCacheBlock == 0;
  }
  *out = elements * element_bytes(format);
  return element_bytes(format) != 0;
}

}  // namespace bp
