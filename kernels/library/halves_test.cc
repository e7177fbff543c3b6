// SPDX-License-Identifier: Apache-2.0
// Kernels around a product of halves: every format to the bit, and the end of a product.
#include "kernels/library/halves.h"

#include <gtest/gtest.h>

#include "backplane/formats.h"
#include "kernels/legalize.h"
#include "kernels/library/weights.h"
#include "kernels/testing/halves_cases.h"

namespace bp::kernels {
namespace {

class Halves : public ::testing::TestWithParam<std::string> {
 protected:
  const Caps& caps() const { return *find_profile(GetParam()); }
  void expect_right(const Result<testing::Case>& made) {
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    Caps device = caps();
    device.max_buffers = kMaxBuffers;
    const auto legal = legalize(made->kernel, device);
    ASSERT_TRUE(legal.ok()) << made->name << ": " << legal.status().to_string();
    EXPECT_EQ(testing::run_interpreted(*made, made->kernel, 3), "") << made->name;
    EXPECT_EQ(testing::run_interpreted(*made, *legal, 4), "") << made->name;
  }
};

TEST_P(Halves, weights_of_every_format) {
  uint64_t seed = 0;
  for (const std::string_view format : weight_reader_formats()) {
    const uint32_t block = find_weight_format(format)->block_elements;
    for (const uint32_t blocks : {1u, 3u}) {
      const uint32_t columns = block == 1 ? 8 * blocks : block * blocks;
      ++seed;
      if (!has_halves(std::string(format), columns)) {
        EXPECT_EQ(format, "f32") << columns;  // whose chunks are of four
        continue;
      }
      expect_right(testing::weight_halves_case(std::string(format), 5, 2, 3, columns, seed));
    }
  }
}

TEST_P(Halves, more_chunks_than_one_group_has_threads) {
  expect_right(testing::weight_halves_case("q8_g32", 67, 0, 67, 64, 91));
  expect_right(testing::weight_halves_case("q4_g32", 130, 1, 128, 32, 92));
}

TEST_P(Halves, activations) {
  for (const uint32_t columns : {8u, 104u, 1024u, 1032u}) {
    expect_right(testing::activation_halves_case(3, columns, columns));
  }
}

TEST_P(Halves, ends_of_products) {
  uint64_t seed = 200;
  for (const uint32_t rows : {1u, 37u, 64u, 516u}) {
    for (const bool glu : {false, true}) {
      for (const bool bias : {false, true}) {
        for (const bool residual : {false, true}) {
          const ProductEndSpec spec{.rows = rows,
                                    .y_stride = rows + (seed % 2 == 0 ? 0 : 68),
                                    .glu = glu,
                                    .bias = bias,
                                    .residual = residual,
                                    .activation = glu ? Activation::kGelu : Activation::kNone,
                                    .softcap = seed % 3 == 0 ? 3.0f : 0.0f};
          const uint32_t first = spec.y_stride == rows ? 0 : 64;
          expect_right(testing::product_end_case(spec, 2, first, ++seed));
        }
      }
    }
  }
}

TEST_P(Halves, refuses_what_cannot_be) {
  EXPECT_FALSE(has_halves("f16", 12));
  EXPECT_FALSE(has_halves("q4_g32", 0));
  EXPECT_FALSE(has_halves("nothing", 32));
  EXPECT_FALSE(build_weight_halves("q4_g32", 40).ok());
  EXPECT_FALSE(build_activation_halves(20).ok());
  EXPECT_FALSE(build_product_end({.rows = 8, .y_stride = 4}).ok());
  EXPECT_FALSE(build_product_end({.rows = 8, .y_stride = 8, .glu = true}).ok());
}

INSTANTIATE_TEST_SUITE_P(Profiles, Halves, ::testing::ValuesIn(testing::profile_names()));

}  // namespace
}  // namespace bp::kernels
