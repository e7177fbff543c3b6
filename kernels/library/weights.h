// SPDX-License-Identifier: Apache-2.0
// How kernels read weights: one reader per format of sdk/cpp/backplane/formats.h.
//
// A kernel walks a weight matrix in chunks of consecutive elements of a row, small enough that a
// thread holds one chunk of several rows in registers. A reader says how large a chunk is, loads
// it from the planes, and turns it into floats (for float arithmetic) or into packed int8 (for
// dot products). The values are those of docs/ops.md. Readers are stateless; thread-safe.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/builder/builder.h"

namespace bp::kernels {

// One chunk as it came from memory.
struct WeightChunk {
  std::vector<Val> words;  // u32, in the reader's order
  Val scale;               // f32, or no value
};

// One weight of a chunk. Its true value is `value` × `factor`, a power of two: unpacking that
// leaves bits where they are is cheaper, and the activation takes the factor once for all rows.
struct WeightElement {
  uint32_t offset;  // within the chunk
  Val value;        // f32, without the chunk's scale
  float factor = 1.0f;
};

class WeightReader {
 public:
  virtual ~WeightReader() = default;
  virtual std::string_view format() const = 0;
  // Elements of a chunk for rows of `columns` elements; 0 when this reader cannot take such rows.
  virtual uint32_t chunk_elements(uint32_t columns) const = 0;
  // The planes, as read-only buffers "<prefix>_<plane>" in the order of formats.h.
  std::vector<Buf> declare(Builder& k, std::string_view prefix) const;
  virtual WeightChunk load(const std::vector<Buf>& planes, Val chunk, uint32_t columns) const = 0;
  // unpack() works in parts, so that few floats are alive at once.
  virtual uint32_t parts(uint32_t columns) const = 0;
  virtual std::vector<WeightElement> unpack(const WeightChunk& chunk, uint32_t part,
                                            uint32_t columns) const = 0;
  // Int8 arithmetic, for formats whose chunk is a block of 32 with one scale.
  virtual bool has_int8() const { return false; }
  // Σ weight × activation in units of both scales, i32. `x`: 8 words of int8; `x_sum`: their sum.
  virtual Val dot_int8(const WeightChunk& chunk, const std::vector<Val>& x, Val x_sum) const;
};

// The reader of that format, or null.
const WeightReader* find_weight_reader(std::string_view format);

// Names of all formats that have one.
std::vector<std::string_view> weight_reader_formats();

}  // namespace bp::kernels
