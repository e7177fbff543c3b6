// SPDX-License-Identifier: Apache-2.0
// Matrix products of activations with weights that stay as they are mapped: the engine behind
// linear, linear_glu and the expert ops.
//
// Few activation rows: each is packed (rounded to 8 bits for quantized weights) and multiplied
// with weight rows as they stream from memory. Many rows: panels of weight rows are dequantized
// into the cache and multiplied by the matrix unit, where there is one for the format.
#pragma once

#include <cstdint>

#include "plugins/cpu/kernel.h"
#include "plugins/cpu/kernels/tuned/instructions.h"

namespace bp::cpu {

// Most activation rows of one Product::run; ops run longer inputs piece by piece.
inline constexpr uint64_t kProductRows = 512;

// Which activations: row i is base + (order[i] or i) / divisor × stride.
struct ProductInput {
  const float* base = nullptr;
  uint64_t stride = 0;
  const uint32_t* order = nullptr;
  uint64_t divisor = 1;

  const float* row(uint64_t i) const noexcept {
    return base + (order == nullptr ? i : order[i]) / divisor * stride;
  }
};

// Activation rows [begin, end) with the weights that they meet.
struct ProductSegment {
  Weight first, second;  // second is used where the product has two weights
  uint64_t begin = 0, end = 0;
  // Set by run(): which way, and where its packed rows begin.
  bool uses_matrix = false;
  uint64_t packed_offset = 0;
  uint64_t second_packed_offset = 0;
};

// Receives outputs n … n + count of activation row i: one sum for each weight, which it may
// overwrite. Called from several threads for different n.
class ProductSink {
 public:
  virtual void store(uint64_t i, uint64_t n, uint64_t count, float* first,
                     float* second) const noexcept = 0;

 protected:
  ~ProductSink() = default;
};

class Product {
 public:
  // Weights of `rows` × `columns`; two of them where has_second is set.
  void describe(const InstructionSet* set, Format first, Format second, bool has_second,
                uint64_t rows, uint64_t columns);
  // Are there inner loops for the formats?
  bool is_supported() const noexcept;
  // Would this many activation rows of one segment go to the matrix unit?
  bool uses_matrix(uint64_t count) const noexcept;

  // Scratch for run() with up to min(max_rows, kProductRows) activation rows.
  uint64_t workspace_bytes(uint64_t max_rows) const noexcept;

  bp_status run(const ProductInput& input, ProductSegment* segments, uint64_t segment_count,
                std::byte* workspace, const ProductSink& sink) const;

 private:
  struct Pass;
  uint64_t assign(ProductSegment* segments, uint64_t segment_count) const noexcept;
  bp_status pack(const Pass& pass) const;
  void pack_row(const Pass& pass, const ProductSegment& segment, uint64_t i) const;
  void pack_group(const Pass& pass, const ProductSegment& segment, uint64_t group) const;
  void run_dots(const Pass& pass, const ProductSegment& segment, uint64_t n, uint64_t count) const;
  void run_matrix(const Pass& pass, const ProductSegment& segment, uint64_t n, uint64_t count,
                  std::byte* scratch) const;
  void multiply_panels(const Pass& pass, const ProductSegment& segment, const Weight& weight,
                       uint64_t n, uint64_t count, std::byte* panel, float* sums) const;

  const InstructionSet* set_ = nullptr;
  Format formats_[2] = {Format::kF32, Format::kF32};
  bool has_second_ = false;
  bool shares_packed_ = true;  // both weights take the same packed rows
  uint64_t rows_ = 0;
  uint64_t columns_ = 0;
  uint64_t slots_ = 1;        // threads that have scratch for the matrix unit
  uint64_t macro_rows_ = 32;  // weight rows that one thread takes at a time for the matrix unit
};

}  // namespace bp::cpu
