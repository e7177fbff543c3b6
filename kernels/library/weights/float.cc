// SPDX-License-Identifier: Apache-2.0
// Readers of f32, f16 and bf16: elements are themselves, chunks as wide as the rows let a load be.
#include <array>

#include "kernels/library/weights/readers.h"

namespace bp::kernels {
namespace {

// Largest vector of words, 4 at most, whose width divides `words`.
uint32_t vector_width(uint32_t words) {
  return words % 4 == 0 ? 4 : words % 2 == 0 ? 2 : 1;
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

}  // namespace

WeightReaders float_readers() {
  static const F32Reader kSingle;
  static const HalfReader kHalf(false), kBrain(true);
  static const std::array<const WeightReader*, 3> kReaders = {&kSingle, &kHalf, &kBrain};
  return kReaders;
}

}  // namespace bp::kernels
