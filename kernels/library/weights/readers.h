// SPDX-License-Identifier: Apache-2.0
// What the readers of the weight formats share, and the families that registry.cc lists.
//
// Small integers become floats without conversion instructions, which several GPUs run at a
// quarter rate: an integer n below 2^(23-p), left at bit p and or-ed with the pattern of 2^23, is
// the float 2^23 + n·2^p; subtracting 2^23 (and the format's offset) is exact.
#pragma once

#include <span>

#include "kernels/library/weights.h"

namespace bp::kernels {

// The field of `bits` bits at bit `at` of `word`, minus `zero`, times 2^at.
Val small_float(Val word, uint32_t at, uint32_t bits, uint32_t zero);

// 2^-n.
float power_of_half(uint32_t n);

// Appends `width` words, the access number `index` of that width.
void append_words(std::vector<Val>* out, Buf plane, Val index, uint32_t width);

// A format whose chunk is 32 integers of a byte at most. Its floats are made from the bytes; a
// format that can do better overrides unpack().
class IntegerReader : public WeightReader {
 public:
  // `block`: elements of a block of the format, a multiple of 32. `is_signed`: bytes may be
  // negative; `zero` is then 0.
  IntegerReader(std::string_view format, uint32_t block, bool is_signed, uint32_t zero)
      : format_(format), block_(block), signed_(is_signed), zero_(zero) {}
  std::string_view format() const override { return format_; }
  uint32_t chunk_elements(uint32_t columns) const override {
    return columns % block_ == 0 ? 32 : 0;
  }
  uint32_t parts(uint32_t) const override { return 8; }
  std::vector<WeightElement> unpack(const WeightChunk& chunk, uint32_t part,
                                    uint32_t columns) const override;
  bool has_int8() const override { return true; }
  uint32_t zero() const override { return zero_; }

 private:
  const std::string_view format_;
  const uint32_t block_;
  const bool signed_;
  const uint32_t zero_;
};

using WeightReaders = std::span<const WeightReader* const>;
WeightReaders float_readers();    // f32 f16 bf16
WeightReaders group32_readers();  // q8_g32 q4_g32 q4_g32z q5_g32 q5_g32z
WeightReaders k_quant_readers();  // q2_k … q6_k
WeightReaders table_readers();    // iq4_nl mxfp4

}  // namespace bp::kernels
