// SPDX-License-Identifier: Apache-2.0
// How kernels read weights: one reader per format of sdk/cpp/backplane/formats.h.
//
// A kernel walks a weight matrix in chunks of consecutive elements of a row, small enough that a
// thread holds one chunk of several rows in registers. A reader says how large a chunk is, loads
// it from the planes as the model file has them, and turns it into floats (for float arithmetic)
// or into packed int8 (for dot products). The values are those of docs/ops.md. Readers are
// stateless; thread-safe. To add a format: a reader in weights/, its name in weights/registry.cc.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/builder/builder.h"

namespace bp::kernels {

// One chunk as it came from memory. The chunk's groups are its equal parts with a scale each: the
// whole chunk or two halves. A weight is number × scale of its group, plus minimum of its group.
struct WeightChunk {
  std::vector<Val> words;   // u32, in the reader's order
  std::vector<Val> scales;  // f32, one a group; empty where numbers are the weights themselves
  std::vector<Val> minima;  // f32, one a group; empty in formats without
};

// The number of one weight of a chunk: `value` × `factor`, a power of two. Unpacking that leaves
// bits where they are is cheaper, and the activation takes the factor once for all rows.
struct WeightElement {
  uint32_t offset;  // within the chunk
  Val value;        // f32
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
  // Int8 arithmetic, for formats whose chunk is 32 small integers: elements 4·i … 4·i + 3 as four
  // signed bytes, the first in the lowest. The number of a weight is its byte less zero().
  virtual bool has_int8() const { return false; }
  virtual Val bytes(const WeightChunk& chunk, uint32_t i) const;
  virtual uint32_t zero() const { return 0; }
};

// All weights of a chunk in order, f32: the values of dequantize.h to the bit.
std::vector<Val> weight_values(const WeightReader& reader, const WeightChunk& chunk,
                               uint32_t columns);

// The reader of that format, or null.
const WeightReader* find_weight_reader(std::string_view format);

// Names of all formats that have one.
std::vector<std::string_view> weight_reader_formats();

}  // namespace bp::kernels
