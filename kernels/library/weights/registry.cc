// SPDX-License-Identifier: Apache-2.0
// All readers, and what they share.
#include <string>

#include "backplane/formats.h"
#include "kernels/library/weights/readers.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kTwo23 = 0x4b000000u;  // 2^23 as f32
constexpr float kTwo23Value = 8388608.0f;

const std::vector<const WeightReader*>& readers() {
  static const std::vector<const WeightReader*> kReaders = [] {
    std::vector<const WeightReader*> all;
    for (WeightReaders family :
         {float_readers(), group32_readers(), k_quant_readers(), table_readers()}) {
      all.insert(all.end(), family.begin(), family.end());
    }
    return all;
  }();
  return kReaders;
}

}  // namespace

Val small_float(Val word, uint32_t at, uint32_t bits, uint32_t zero) {
  const uint32_t mask = ((1u << bits) - 1) << at;
  const float offset = kTwo23Value + static_cast<float>(zero << at);
  return as_f32((word & mask) | kTwo23) - offset;
}

float power_of_half(uint32_t n) {
  return 1.0f / static_cast<float>(1u << n);
}

void append_words(std::vector<Val>* out, Buf plane, Val index, uint32_t width) {
  const Val v = plane.words(index, width);
  for (uint32_t i = 0; i < width; ++i) out->push_back(v[i]);
}

std::vector<WeightElement> IntegerReader::unpack(const WeightChunk& chunk, uint32_t part,
                                                 uint32_t) const {
  // With the sign bits flipped, signed bytes are the values plus 128.
  const Val word = bytes(chunk, part);
  const Val low = signed_ ? word ^ 0x80808080u : word, high = low >> 16;
  const uint32_t zero = signed_ ? 128 : zero_;
  return {{4 * part, small_float(low, 0, 8, zero)},
          {4 * part + 1, small_float(low, 8, 8, zero), power_of_half(8)},
          {4 * part + 2, small_float(high, 0, 8, zero)},
          {4 * part + 3, small_float(high, 8, 8, zero), power_of_half(8)}};
}

std::vector<Buf> WeightReader::declare(Builder& k, std::string_view prefix) const {
  std::vector<Buf> out;
  const WeightFormat* layout = find_weight_format(format());
  for (uint32_t i = 0; layout != nullptr && i < layout->plane_count; ++i) {
    out.push_back(k.weights(std::string(prefix) + "_" + std::string(layout->planes[i].name)));
  }
  return out;
}

Val WeightReader::bytes(const WeightChunk&, uint32_t) const {
  return {};
}

std::vector<Val> weight_values(const WeightReader& reader, const WeightChunk& chunk,
                               uint32_t columns) {
  const uint32_t elements = reader.chunk_elements(columns);
  std::vector<Val> out(elements);
  for (uint32_t part = 0; part < reader.parts(columns); ++part) {
    for (const WeightElement& e : reader.unpack(chunk, part, columns)) {
      Val v = e.value * e.factor;
      if (!chunk.scales.empty()) {
        const size_t group = e.offset * chunk.scales.size() / elements;
        v = v * chunk.scales[group];
        if (!chunk.minima.empty()) v = v + chunk.minima[group];
      }
      out[e.offset] = v;
    }
  }
  return out;
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
