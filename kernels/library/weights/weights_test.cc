// SPDX-License-Identifier: Apache-2.0
// Readers give the values of dequantize.h to the bit: arbitrary bytes in every plane but for
// scales that are not finite, rows at any place of the planes, as floats and as packed int8.
#include "kernels/library/weights.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>

#include "backplane/dequantize.h"
#include "kernels/interpreter/interpreter.h"
#include "kernels/testing/cases.h"

namespace bp::kernels {
namespace {

using testing::Words;

struct Bytes {
  std::vector<Words> planes;
  std::vector<float> values;
};

// Blocks of random bytes. Infinite and NaN scales lose their uppermost exponent bit.
Bytes arbitrary(const WeightFormat& format, uint32_t blocks, uint64_t seed) {
  testing::Random random(seed);
  Bytes out;
  std::array<const std::byte*, 4> planes{};
  for (uint32_t p = 0; p < format.plane_count; ++p) {
    const PlaneLayout& plane = format.planes[p];
    Words words((blocks * plane.bytes_per_block + 3) / 4);
    for (uint32_t& w : words) {
      w = static_cast<uint32_t>(random.next());
      const bool halves = plane.name == "super" || plane.name == "minima" ||
                          (plane.name == "scales" && plane.bytes_per_block == 2) ||
                          format.name == "f16" || format.name == "bf16";
      if (halves) w &= 0xbfffbfffu;
      if (format.name == "f32") w &= 0xbfffffffu;
      // The largest power of two times the largest level would be infinite.
      if (format.name == "mxfp4" && plane.name == "scales") {
        for (uint32_t at = 0; at < 32; at += 8) {
          if ((w >> at & 255u) > 250) w &= ~(4u << at);
        }
      }
    }
    out.planes.push_back(words);
  }
  out.values.resize(size_t{blocks} * format.block_elements);
  for (uint32_t p = 0; p < format.plane_count; ++p)
    planes[p] = reinterpret_cast<const std::byte*>(out.planes[p].data());
  dequantize_blocks(format, planes.data(), 0, blocks, out.values.data());
  return out;
}

// Runs a kernel of one group a row whose threads take chunks in turn; `chunk` stores its results.
template <typename F>
std::vector<float> run(const WeightReader& reader, const Bytes& weights, uint32_t rows,
                       uint32_t columns, F chunk) {
  Builder k("read", 32);
  const std::vector<Buf> planes = reader.declare(k, "w");
  Buf y = k.out("y");
  const uint32_t chunks = columns / reader.chunk_elements(columns);
  k.loop(k.tid(), chunks, 32, [&](Val c) {
    const Val at = k.group_x() * chunks + c;
    chunk(k, reader.load(planes, at, columns), at, y);
  });
  const Result<Kernel> kernel = k.finish();
  EXPECT_TRUE(kernel.ok()) << kernel.status().to_string();
  if (!kernel.ok()) return {};
  std::vector<Words> buffers = weights.planes;
  buffers.push_back(testing::poison(size_t{rows} * columns));
  std::vector<Binding> bindings(buffers.size());
  for (size_t i = 0; i < buffers.size(); ++i) bindings[i].words = buffers[i];
  RunOptions options;
  options.grid_x = rows;
  const auto ran = interpret(*kernel, bindings, {}, options);
  EXPECT_TRUE(ran.ok()) << ran.status().to_string();
  return testing::floats_of(buffers.back());
}

void expect_same_bits(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want[i]))
        << "element " << i << ": " << got[i] << " instead of " << want[i];
  }
}

class Readers : public ::testing::TestWithParam<std::string_view> {
 protected:
  const WeightFormat& format() const { return *find_weight_format(GetParam()); }
  const WeightReader& reader() const { return *find_weight_reader(GetParam()); }
};

TEST_P(Readers, floats_are_the_values_to_the_bit) {
  constexpr uint32_t kRows = 5;
  const uint32_t columns = 3 * std::max(format().block_elements, 32u);
  for (uint64_t seed : {1u, 2u, 3u}) {
    const Bytes weights = arbitrary(format(), kRows * columns / format().block_elements, seed);
    const std::vector<float> got = run(
        reader(), weights, kRows, columns, [&](Builder&, const WeightChunk& chunk, Val at, Buf y) {
          const std::vector<Val> v = weight_values(reader(), chunk, columns);
          const uint32_t n = static_cast<uint32_t>(v.size());
          for (uint32_t i = 0; i < n; ++i) y.store(at * n + i, v[i]);
        });
    expect_same_bits(got, weights.values);
  }
}

TEST_P(Readers, int8_is_the_same) {
  if (!reader().has_int8()) GTEST_SKIP() << "skipped: a format of floats";
  constexpr uint32_t kRows = 5;
  const uint32_t columns = 3 * format().block_elements;
  const Bytes weights = arbitrary(format(), kRows * 3, 4);
  const std::vector<float> got = run(
      reader(), weights, kRows, columns, [&](Builder&, const WeightChunk& chunk, Val at, Buf y) {
        for (uint32_t i = 0; i < 32; ++i) {
          const Val number =
              signed_byte(reader().bytes(chunk, i / 4), i % 4) - Val(reader().zero());
          const size_t group = i * chunk.scales.size() / 32;
          Val v = to_f32(number) * chunk.scales[group];
          if (!chunk.minima.empty()) v = v + chunk.minima[group];
          y.store(at * 32 + i, v);
        }
      });
  expect_same_bits(got, weights.values);
}

INSTANTIATE_TEST_SUITE_P(Formats, Readers, ::testing::ValuesIn(weight_reader_formats()),
                         [](const auto& at) { return std::string(at.param); });

TEST(ReaderList, exists_for_all_formats) {
  for (const WeightFormat& format : kWeightFormats)
    EXPECT_NE(find_weight_reader(format.name), nullptr) << format.name;
  EXPECT_EQ(weight_reader_formats().size(), kWeightFormats.size());
  EXPECT_EQ(find_weight_reader("q9"), nullptr);
}

}  // namespace
}  // namespace bp::kernels
