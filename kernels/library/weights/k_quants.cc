// SPDX-License-Identifier: Apache-2.0
// Readers of the K formats: super-blocks of 256 whose sub-scales are integers themselves.
//
// A chunk is 32 elements, an eighth of a super-block. Eighths that share bytes of quants differ in
// the bits that they take, so a chunk's words hold whole bytes, and as its last word the number of
// the eighth, which says how far to shift. Neighbouring threads read neighbouring eighths: what
// they share comes from memory once.
#include <array>

#include "kernels/library/weights/readers.h"

namespace bp::kernels {
namespace {

// Byte, nibble or bit field of a word as f32.
Val field(Val word, Val at, uint32_t mask) {
  return to_f32((word >> at) & mask);
}

class KReader : public IntegerReader {
 public:
  KReader(std::string_view format, uint32_t zero) : IntegerReader(format, 256, false, zero) {}
  WeightChunk load(const std::vector<Buf>& planes, Val chunk, uint32_t) const final {
    const Val block = chunk / 8, eighth = chunk % 8;
    WeightChunk out;
    load_words(planes, block, eighth, &out.words);
    out.words.push_back(eighth);
    load_scales(planes, block, eighth, &out);
    return out;
  }

 protected:
  virtual void load_words(const std::vector<Buf>& planes, Val block, Val eighth,
                          std::vector<Val>* words) const = 0;
  virtual void load_scales(const std::vector<Buf>& planes, Val block, Val eighth,
                           WeightChunk* out) const = 0;
  // 32 bytes from a multiple of 32.
  static void append_32_bytes(std::vector<Val>* words, Buf plane, Val index) {
    append_words(words, plane, index * 2, 4);
    append_words(words, plane, index * 2 + 1, 4);
  }
};

// The two bits of element i of eighth e are in byte i of 32, at bit 2 · (e % 4).
Val two_bits(Val word, Val eighth) {
  return (word >> (eighth % 4 * 2)) & 0x03030303u;
}

class Q2KReader final : public KReader {
 public:
  Q2KReader() : KReader("q2_k", 0) {}
  Val bytes(const WeightChunk& chunk, uint32_t i) const override {
    return two_bits(chunk.words[i], chunk.words[8]);
  }

 protected:
  void load_words(const std::vector<Buf>& planes, Val block, Val eighth,
                  std::vector<Val>* words) const override {
    append_32_bytes(words, planes[0], block * 2 + eighth / 4);
  }
  // A byte for each half: scale in the low nibble, minimum in the high one.
  void load_scales(const std::vector<Buf>& planes, Val block, Val eighth,
                   WeightChunk* out) const override {
    const Val packed = planes[1].u32(block * 4 + eighth / 2) >> (eighth % 2 * 16);
    const Val super = unpack_f16x2(planes[2].u32(block));
    const Val d = super[0], minus_dmin = -super[1];
    out->scales = {d * field(packed, 0, 15), d * field(packed, 8, 15)};
    out->minima = {minus_dmin * field(packed, 4, 15), minus_dmin * field(packed, 12, 15)};
  }
};

class Q3KReader final : public KReader {
 public:
  Q3KReader() : KReader("q3_k", 4) {}
  Val bytes(const WeightChunk& chunk, uint32_t i) const override {
    const Val eighth = chunk.words[16];
    const Val third = (chunk.words[8 + i] >> eighth) & 0x01010101u;
    return two_bits(chunk.words[i], eighth) | (third << 2);
  }

 protected:
  void load_words(const std::vector<Buf>& planes, Val block, Val eighth,
                  std::vector<Val>* words) const override {
    append_32_bytes(words, planes[0], block * 2 + eighth / 4);
    append_32_bytes(words, planes[1], block);
  }
  // Scale s of 16, less 32: its low nibble in byte s % 8, its upper two bits in byte 8 + s % 4.
  void load_scales(const std::vector<Buf>& planes, Val block, Val eighth,
                   WeightChunk* out) const override {
    const Val first_byte = eighth % 2 * 16;  // of the chunk's two bytes in either word
    const Val low = planes[2].u32(block * 3 + eighth % 4 / 2) >> (first_byte + eighth / 4 * 4);
    const Val high = planes[2].u32(block * 3 + 2) >> (first_byte + eighth / 2 * 2);
    const Val d = planes[3].f16(block);
    for (uint32_t half = 0; half < 2; ++half) {
      const Val scale = ((low >> (8 * half)) & 15u) | (((high >> (8 * half)) & 3u) << 4);
      out->scales.push_back(d * to_f32(as_i32(scale) - 32));
    }
  }
};

// q4_k, and q5_k with another plane for the fifth bit.
class Q4KReader final : public KReader {
 public:
  Q4KReader(std::string_view format, bool fifth) : KReader(format, 0), fifth_(fifth) {}
  Val bytes(const WeightChunk& chunk, uint32_t i) const override {
    const Val eighth = chunk.words.back();
    const Val nibbles = (chunk.words[i] >> (eighth % 2 * 4)) & 0x0f0f0f0fu;
    if (!fifth_) return nibbles;
    return nibbles | (((chunk.words[8 + i] >> eighth) & 0x01010101u) << 4);
  }

 protected:
  void load_words(const std::vector<Buf>& planes, Val block, Val eighth,
                  std::vector<Val>* words) const override {
    append_32_bytes(words, planes[0], block * 4 + eighth / 2);
    if (fifth_) append_32_bytes(words, planes[1], block);
  }
  // Six bits each. The first four scales and minima are the low bits of the bytes of words 0 and
  // 1; the others have their low nibbles in word 2 and their upper bits above those of the first.
  void load_scales(const std::vector<Buf>& planes, Val block, Val eighth,
                   WeightChunk* out) const override {
    const Buf scales = planes[fifth_ ? 2 : 1];
    const Val shift = eighth % 4 * 8;
    const Val a = scales.u32(block * 3) >> shift, b = scales.u32(block * 3 + 1) >> shift,
              c = scales.u32(block * 3 + 2) >> shift;
    const Val first = eighth < 4;
    const Val scale = select(first, a & 63u, (c & 15u) | ((a >> 2) & 48u));
    const Val minimum = select(first, b & 63u, ((c >> 4) & 15u) | ((b >> 2) & 48u));
    const Val super = unpack_f16x2(planes[fifth_ ? 3 : 2].u32(block));
    out->scales = {super[0] * to_f32(scale)};
    out->minima = {-super[1] * to_f32(minimum)};
  }

 private:
  const bool fifth_;
};

class Q6KReader final : public KReader {
 public:
  Q6KReader() : KReader("q6_k", 32) {}
  Val bytes(const WeightChunk& chunk, uint32_t i) const override {
    const Val eighth = chunk.words[16];
    const Val low = (chunk.words[i] >> (eighth % 4 / 2 * 4)) & 0x0f0f0f0fu;
    return low | (two_bits(chunk.words[8 + i], eighth) << 4);
  }

 protected:
  void load_words(const std::vector<Buf>& planes, Val block, Val eighth,
                  std::vector<Val>* words) const override {
    append_32_bytes(words, planes[0], block * 4 + eighth / 4 * 2 + eighth % 2);
    append_32_bytes(words, planes[1], block * 2 + eighth / 4);
  }
  void load_scales(const std::vector<Buf>& planes, Val block, Val eighth,
                   WeightChunk* out) const override {
    const Val packed = planes[2].u32(block * 4 + eighth / 2) >> (eighth % 2 * 16);
    const Val d = planes[3].f16(block);
    for (uint32_t half = 0; half < 2; ++half)
      out->scales.push_back(d * to_f32(signed_byte(packed, half)));
  }
};

}  // namespace

WeightReaders k_quant_readers() {
  static const Q2KReader kQ2;
  static const Q3KReader kQ3;
  static const Q4KReader kQ4("q4_k", false), kQ5("q5_k", true);
  static const Q6KReader kQ6;
  static const std::array<const WeightReader*, 5> kReaders = {&kQ2, &kQ3, &kQ4, &kQ5, &kQ6};
  return kReaders;
}

}  // namespace bp::kernels
