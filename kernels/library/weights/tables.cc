// SPDX-License-Identifier: Apache-2.0
// Readers of the formats whose nibbles name levels: iq4_nl and mxfp4.
//
// Four nibbles are looked up at once, in the bytes of a word, without a table in memory: each bit
// of the nibbles becomes a mask of whole bytes, and masks choose between packed levels.
#include <array>

#include "backplane/dequantize.h"
#include "kernels/library/weights/readers.h"

namespace bp::kernels {
namespace {

// 255 in each byte of `word` whose bit `bit` is set.
Val byte_mask(Val word, uint32_t bit) {
  const Val ones = (word >> bit) & 0x01010101u;
  return (ones << 8) - ones;
}

// The bits of b where mask is set, else those of a.
Val choose(Val mask, Val a, Val b) {
  return a ^ (mask & (a ^ b));
}

class TableReader : public IntegerReader {
 public:
  explicit TableReader(std::string_view format) : IntegerReader(format, 32, true, 0) {}
  WeightChunk load(const std::vector<Buf>& planes, Val chunk, uint32_t) const final {
    WeightChunk out;
    append_words(&out.words, planes[0], chunk, 4);
    out.scales = {scale(planes[1], chunk)};
    return out;
  }
  Val bytes(const WeightChunk& chunk, uint32_t i) const final {
    return levels(i < 4 ? chunk.words[i] : chunk.words[i - 4] >> 4);
  }

 protected:
  virtual Val scale(Buf plane, Val chunk) const = 0;
  // Signed levels of the low nibbles of the bytes of `word`.
  virtual Val levels(Val word) const = 0;
};

class Iq4NlReader final : public TableReader {
 public:
  Iq4NlReader() : TableReader("iq4_nl") {}

 protected:
  Val scale(Buf plane, Val chunk) const override { return plane.f16(chunk); }
  // A tree: the lowest bit chooses among constants (two operations), the others among results
  // (three; one, where the device has an operation of three operands).
  Val levels(Val word) const override {
    std::vector<Val> now;
    const Val lowest = byte_mask(word, 0);
    for (uint32_t i = 0; i < 16; i += 2) {
      const uint32_t a = packed(i), b = packed(i + 1);
      now.push_back((lowest & (a ^ b)) ^ a);
    }
    for (uint32_t bit = 1; bit < 4; ++bit) {
      const Val mask = byte_mask(word, bit);
      std::vector<Val> next;
      for (size_t i = 0; i < now.size(); i += 2) next.push_back(choose(mask, now[i], now[i + 1]));
      now = std::move(next);
    }
    return now[0];
  }

 private:
  // Level i in all four bytes.
  static uint32_t packed(uint32_t i) {
    return static_cast<uint8_t>(dequantize_internal::kIq4NlLevels[i]) * 0x01010101u;
  }
};

// E2M1 doubled, so that levels are integers, with half the scale.
class Mxfp4Reader final : public TableReader {
 public:
  Mxfp4Reader() : TableReader("mxfp4") {}

 protected:
  // 2^(e - 128), where the two smallest are subnormal.
  Val scale(Buf plane, Val chunk) const override {
    const Val e = (plane.u32(chunk / 4) >> (chunk % 4 * 8)) & 255u;
    return as_f32(select(e < 2, (e + 1) << 21, (e - 1) << 23));
  }
  // Bits s e e m. Below e = 2 the level is the number of its three low bits; from there on it is
  // 4 + 2m, twice as much for e = 3.
  Val levels(Val word) const override {
    const Val twice_m = (word & 0x01010101u) << 1;
    const Val upper = twice_m | 0x04040404u;
    const Val magnitude =
        choose(byte_mask(word, 2), word & 0x03030303u, upper + (upper & byte_mask(word, 1)));
    // 128 + magnitude, or 128 - magnitude as the complement of that, plus 1: no byte carries.
    const Val sign = (word >> 3) & 0x01010101u;
    const Val excess = ((magnitude | 0x80808080u) ^ ((sign << 8) - sign)) + sign;
    return excess ^ 0x80808080u;
  }
};

}  // namespace

WeightReaders table_readers() {
  static const Iq4NlReader kIq4Nl;
  static const Mxfp4Reader kMxfp4;
  static const std::array<const WeightReader*, 2> kReaders = {&kIq4Nl, &kMxfp4};
  return kReaders;
}

}  // namespace bp::kernels
