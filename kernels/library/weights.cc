// SPDX-License-Identifier: Apache-2.0
// Readers of the weight formats.
//
// Small integers become floats without conversion instructions, which several GPUs run at a
// quarter rate: an integer n below 2^(23-p), left at bit p and or-ed with the pattern of 2^23, is
// the float 2^23 + n·2^p; subtracting 2^23 (and the format's offset) is exact.
#include "kernels/library/weights.h"

#include <array>
#include <bit>

#include "backplane/formats.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kTwo23 = 0x4b000000u;  // 2^23 as f32
constexpr float kTwo23Value = 8388608.0f;

// The field of `bits` bits at bit `at` of `word`, minus `zero`, times 2^at.
Val small_float(Val word, uint32_t at, uint32_t bits, uint32_t zero) {
  const uint32_t mask = ((1u << bits) - 1) << at;
  const float offset = kTwo23Value + static_cast<float>(zero << at);
  return as_f32((word & mask) | kTwo23) - offset;
}

float power_of_half(uint32_t n) {
  return 1.0f / static_cast<float>(1u << n);
}

// Largest vector of words, 4 at most, whose width divides `words`.
uint32_t vector_width(uint32_t words) {
  return words % 4 == 0 ? 4 : words % 2 == 0 ? 2 : 1;
}

void append_words(std::vector<Val>* out, Buf plane, Val index, uint32_t width) {
  const Val v = plane.words(index, width);
  for (uint32_t i = 0; i < width; ++i) out->push_back(v[i]);
}

class F32Reader final : public WeightReader {
 public:
  std::string_view format() const override { return "f32"; }
  uint32_t chunk_elements(uint32_t columns) const override { return vector_width(columns); }
  uint32_t parts(uint32_t) const override { return 1; }
  WeightChunk load(const std::vector<Buf>& planes, Val chunk, uint32_t columns) const override {
    WeightChunk out;
    append_words(&out.words, planes[0], chunk, vector_width(columns));
    return out;
  }
  std::vector<WeightElement> unpack(const WeightChunk& chunk, uint32_t, uint32_t) const override {
    std::vector<WeightElement> out;
    for (uint32_t i = 0; i < chunk.words.size(); ++i) out.push_back({i, as_f32(chunk.words[i])});
    return out;
  }
};

// f16 and bf16: two elements a word.
class HalfReader final : public WeightReader {
 public:
  explicit HalfReader(bool brain) : brain_(brain) {}
  std::string_view format() const override { return brain_ ? "bf16" : "f16"; }
  uint32_t chunk_elements(uint32_t columns) const override {
    return columns % 2 == 0 ? 2 * vector_width(columns / 2) : 0;
  }
  uint32_t parts(uint32_t) const override { return 1; }
  WeightChunk load(const std::vector<Buf>& planes, Val chunk, uint32_t columns) const override {
    WeightChunk out;
    append_words(&out.words, planes[0], chunk, vector_width(columns / 2));
    return out;
  }
  std::vector<WeightElement> unpack(const WeightChunk& chunk, uint32_t, uint32_t) const override {
    std::vector<WeightElement> out;
    for (uint32_t i = 0; i < chunk.words.size(); ++i) {
      const Val pair = brain_ ? unpack_bf16x2(chunk.words[i]) : unpack_f16x2(chunk.words[i]);
      out.push_back({2 * i, pair[0]});
      out.push_back({2 * i + 1, pair[1]});
    }
    return out;
  }

 private:
  const bool brain_;
};

class Q8Reader final : public WeightReader {
 public:
  std::string_view format() const override { return "q8_g32"; }
  uint32_t chunk_elements(uint32_t columns) const override { return columns % 32 == 0 ? 32 : 0; }
  uint32_t parts(uint32_t) const override { return 8; }
  WeightChunk load(const std::vector<Buf>& planes, Val chunk, uint32_t) const override {
    WeightChunk out;
    append_words(&out.words, planes[0], chunk * 2, 4);
    append_words(&out.words, planes[0], chunk * 2 + 1, 4);
    out.scale = planes[1].f16(chunk);
    return out;
  }
  std::vector<WeightElement> unpack(const WeightChunk& chunk, uint32_t part,
                                    uint32_t) const override {
    // With the sign bits flipped, bytes are the values plus 128.
    const Val low = chunk.words[part] ^ 0x80808080u, high = low >> 16;
    return {{4 * part, small_float(low, 0, 8, 128)},
            {4 * part + 1, small_float(low, 8, 8, 128), power_of_half(8)},
            {4 * part + 2, small_float(high, 0, 8, 128)},
            {4 * part + 3, small_float(high, 8, 8, 128), power_of_half(8)}};
  }
  bool has_int8() const override { return true; }
  Val dot_int8(const WeightChunk& chunk, const std::vector<Val>& x, Val) const override {
    Val sum = dot4(chunk.words[0], x[0], 0);
    for (uint32_t i = 1; i < 8; ++i) sum = dot4(chunk.words[i], x[i], sum);
    return sum;
  }
};

class Q4Reader final : public WeightReader {
 public:
  std::string_view format() const override { return "q4_g32"; }
  uint32_t chunk_elements(uint32_t columns) const override { return columns % 32 == 0 ? 32 : 0; }
  uint32_t parts(uint32_t) const override { return 4; }
  WeightChunk load(const std::vector<Buf>& planes, Val chunk, uint32_t) const override {
    WeightChunk out;
    append_words(&out.words, planes[0], chunk, 4);
    out.scale = planes[1].f16(chunk);
    return out;
  }
  // Byte j of word i: element 4i + j in the low nibble, 16 + 4i + j in the high one. Nibbles up to
  // bit 19 are converted in place, the three above after one shift.
  std::vector<WeightElement> unpack(const WeightChunk& chunk, uint32_t part,
                                    uint32_t) const override {
    const Val word = chunk.words[part], shifted = word >> 12;
    std::vector<WeightElement> out;
    for (uint32_t byte = 0; byte < 4; ++byte) {
      for (uint32_t high = 0; high < 2; ++high) {
        const uint32_t bit = 8 * byte + 4 * high;
        const uint32_t at = bit < 20 ? bit : bit - 12;
        out.push_back({16 * high + 4 * part + byte,
                       small_float(bit < 20 ? word : shifted, at, 4, 8), power_of_half(at)});
      }
    }
    return out;
  }
  bool has_int8() const override { return true; }
  Val dot_int8(const WeightChunk& chunk, const std::vector<Val>& x, Val x_sum) const override {
    Val sum;
    for (uint32_t i = 0; i < 4; ++i) {
      const Val word = chunk.words[i];
      sum = dot4(word & 0x0f0f0f0fu, x[i], i == 0 ? Val(0) : sum);
      sum = dot4((word >> 4) & 0x0f0f0f0fu, x[4 + i], sum);
    }
    return sum - x_sum * 8;
  }
};

const std::array<const WeightReader*, 5>& readers() {
  static const F32Reader kF32Reader;
  static const HalfReader kF16Reader(false), kBf16Reader(true);
  static const Q8Reader kQ8Reader;
  static const Q4Reader kQ4Reader;
  static const std::array<const WeightReader*, 5> kReaders = {&kF32Reader, &kF16Reader,
                                                              &kBf16Reader, &kQ8Reader, &kQ4Reader};
  return kReaders;
}

}  // namespace

std::vector<Buf> WeightReader::declare(Builder& k, std::string_view prefix) const {
  std::vector<Buf> out;
  const WeightFormat* layout = find_weight_format(format());
  for (uint32_t i = 0; layout != nullptr && i < layout->plane_count; ++i) {
    out.push_back(k.in(std::string(prefix) + "_" + std::string(layout->planes[i].name)));
  }
  return out;
}

Val WeightReader::dot_int8(const WeightChunk&, const std::vector<Val>&, Val) const {
  return {};
}

const WeightReader* find_weight_reader(std::string_view format) {
  for (const WeightReader* reader : readers()) {
    if (reader->format() == format) return reader;
  }
  return nullptr;
}

std::vector<std::string_view> weight_reader_formats() {
  std::vector<std::string_view> names;
  for (const WeightReader* reader : readers()) names.push_back(reader->format());
  return names;
}

}  // namespace bp::kernels
