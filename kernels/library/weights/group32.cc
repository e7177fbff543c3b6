// SPDX-License-Identifier: Apache-2.0
// Readers of the formats with groups of 32: q8_g32, and 4 or 5 bits with or without a minimum.
#include <array>

#include "kernels/library/weights/readers.h"

namespace bp::kernels {
namespace {

class Q8Reader final : public IntegerReader {
 public:
  Q8Reader() : IntegerReader("q8_g32", 32, true, 0) {}
  WeightChunk load(const std::vector<Buf>& planes, Val chunk, uint32_t) const override {
    WeightChunk out;
    append_words(&out.words, planes[0], chunk * 2, 4);
    append_words(&out.words, planes[0], chunk * 2 + 1, 4);
    out.scales = {planes[1].f16(chunk)};
    return out;
  }
  Val bytes(const WeightChunk& chunk, uint32_t i) const override { return chunk.words[i]; }
};

// Byte j of word i of the quants: element 4i + j in the low nibble, 16 + 4i + j in the high one.
// With a fifth bit, a word more: bit i is that of element i.
class NibbleReader final : public IntegerReader {
 public:
  NibbleReader(std::string_view format, bool fifth, bool minimum)
      : IntegerReader(format, 32, false, minimum ? 0 : (fifth ? 16 : 8)),
        fifth_(fifth),
        minimum_(minimum) {}
  WeightChunk load(const std::vector<Buf>& planes, Val chunk, uint32_t) const override {
    WeightChunk out;
    append_words(&out.words, planes[0], chunk, 4);
    if (fifth_) out.words.push_back(planes[1].u32(chunk));
    const uint32_t scales = fifth_ ? 2 : 1;
    out.scales = {planes[scales].f16(chunk)};
    if (minimum_) out.minima = {planes[scales + 1].f16(chunk)};
    return out;
  }
  Val bytes(const WeightChunk& chunk, uint32_t i) const override {
    const Val word = i < 4 ? chunk.words[i] : chunk.words[i - 4] >> 4;
    const Val nibbles = word & 0x0f0f0f0fu;
    if (!fifth_) return nibbles;
    // Four bits n spread to bit 4 of each byte: n << 4 | n << 11 | n << 18 | n << 25, where the
    // copies do not overlap, so that the product adds no carries.
    const Val high = (chunk.words[4] >> (4 * i)) & 15u;
    return nibbles | ((high * 0x02040810u) & 0x10101010u);
  }
  uint32_t parts(uint32_t columns) const override {
    return fifth_ ? IntegerReader::parts(columns) : 4;
  }
  // Without a fifth bit nibbles up to bit 19 are converted in place, the three above after one
  // shift.
  std::vector<WeightElement> unpack(const WeightChunk& chunk, uint32_t part,
                                    uint32_t columns) const override {
    if (fifth_) return IntegerReader::unpack(chunk, part, columns);
    const Val word = chunk.words[part], shifted = word >> 12;
    std::vector<WeightElement> out;
    for (uint32_t byte = 0; byte < 4; ++byte) {
      for (uint32_t high = 0; high < 2; ++high) {
        const uint32_t bit = 8 * byte + 4 * high;
        const uint32_t at = bit < 20 ? bit : bit - 12;
        out.push_back({16 * high + 4 * part + byte,
                       small_float(bit < 20 ? word : shifted, at, 4, zero()), power_of_half(at)});
      }
    }
    return out;
  }

 private:
  const bool fifth_, minimum_;
};

}  // namespace

WeightReaders group32_readers() {
  static const Q8Reader kQ8;
  static const NibbleReader kQ4("q4_g32", false, false), kQ4z("q4_g32z", false, true);
  static const NibbleReader kQ5("q5_g32", true, false), kQ5z("q5_g32z", true, true);
  static const std::array<const WeightReader*, 5> kReaders = {&kQ8, &kQ4, &kQ4z, &kQ5, &kQ5z};
  return kReaders;
}

}  // namespace bp::kernels
