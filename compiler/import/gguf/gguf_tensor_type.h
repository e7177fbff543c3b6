// SPDX-License-Identifier: Apache-2.0
// The tensor types of GGUF as data: which ones are read, how one source block is laid out and
// which plane of which format each field goes to.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "compiler/import/plane_buffers.h"

namespace bp {

// A run of bytes of a source block; runs follow each other without gap.
struct GgufField {
  uint8_t plane;   // of the target format
  uint8_t offset;  // inside that plane's block
  uint8_t bytes;
};

struct GgufTensorType {
  uint32_t number;          // in the file
  std::string_view name;    // "Q4_K"
  std::string_view format;  // of kWeightFormats
  uint8_t field_count;
  std::array<GgufField, 4> fields;

  // Bytes of one source block.
  constexpr uint32_t block_bytes() const {
    uint32_t total = 0;
    for (size_t i = 0; i < field_count; ++i) total += fields[i].bytes;
    return total;
  }
};

// The type with that number, or null when it is not read.
const GgufTensorType* find_gguf_type(uint32_t number) noexcept;
// The name of any type number that GGUF has ever given out, or "number 99".
std::string gguf_type_label(uint32_t number);
// "F32 F16 …": the types that are read, for messages.
std::string gguf_types_read();

// Distributes `blocks` source blocks over the planes, whose sizes have been checked. Lossless:
// every byte of the source lands in exactly one place.
void split_gguf_blocks(const GgufTensorType& type, const std::byte* source, uint64_t first_block,
                       uint64_t blocks, const PlaneBuffers& planes) noexcept;

}  // namespace bp
