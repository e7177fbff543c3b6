// SPDX-License-Identifier: Apache-2.0
// Norms against the reference: shapes × profiles, plain and legalized.
#include "kernels/library/norm.h"

#include <gtest/gtest.h>

#include "kernels/legalize.h"
#include "kernels/testing/cases.h"

namespace bp::kernels {
namespace {

class Norm : public ::testing::TestWithParam<std::string> {};

TEST_P(Norm, matches_reference_at_awkward_widths) {
  const Caps& caps = *find_profile(GetParam());
  uint64_t seed = 1;
  for (uint32_t width : {1u, 2u, 3u, 31u, 32u, 64u, 97u, 288u, 1030u, 4096u, 4128u}) {
    for (int variant = 0; variant < 5; ++variant) {
      NormSpec spec{.width = width};
      spec.residual = variant == 1 || variant == 4;
      spec.residual_in_place = variant == 4;
      spec.write_int8 = (variant == 2 || variant == 3) && width % 32 == 0;
      spec.write_f32 = variant != 3 || !spec.write_int8;
      spec.normalize = variant != 2;
      const auto made = testing::norm_case(spec, default_schedule(spec, caps), 3, ++seed);
      ASSERT_TRUE(made.ok()) << made.status().to_string();
      const auto legal = legalize(made->kernel, caps);
      ASSERT_TRUE(legal.ok()) << legal.status().to_string();
      EXPECT_EQ(testing::run_interpreted(*made, made->kernel, seed), "");
      EXPECT_EQ(testing::run_interpreted(*made, *legal, seed), "");
    }
  }
}

TEST_P(Norm, layer_norms_match_reference_at_awkward_widths) {
  const Caps& caps = *find_profile(GetParam());
  uint64_t seed = 100;
  for (uint32_t width : {2u, 3u, 31u, 64u, 97u, 288u, 1030u, 4096u, 4128u}) {
    for (int variant = 0; variant < 4; ++variant) {
      NormSpec spec{.width = width, .center = true, .bias = variant % 2 != 0};
      spec.residual = spec.residual_in_place = variant == 2;
      spec.write_int8 = variant == 3 && width % 32 == 0;
      const auto made = testing::norm_case(spec, default_schedule(spec, caps), 3, ++seed);
      ASSERT_TRUE(made.ok()) << made.status().to_string();
      const auto legal = legalize(made->kernel, caps);
      ASSERT_TRUE(legal.ok()) << legal.status().to_string();
      EXPECT_EQ(testing::run_interpreted(*made, made->kernel, seed), "");
      EXPECT_EQ(testing::run_interpreted(*made, *legal, seed), "");
    }
  }
}

TEST(NormLong, rows_beyond_registers_are_read_twice) {
  const NormSpec spec{.width = 4 * 32 * 16 + 36, .residual = true};
  const auto made = testing::norm_case(spec, {32}, 2, 5);
  ASSERT_TRUE(made.ok()) << made.status().to_string();
  EXPECT_EQ(testing::run_interpreted(*made, made->kernel), "");
}

TEST(NormLong, so_are_those_of_layer_norms) {
  const NormSpec spec{.width = 4 * 32 * 16 + 36, .center = true, .bias = true, .residual = true};
  const auto made = testing::norm_case(spec, {32}, 2, 5);
  ASSERT_TRUE(made.ok()) << made.status().to_string();
  EXPECT_EQ(testing::run_interpreted(*made, made->kernel), "");
}

TEST_P(Norm, row_sums_at_awkward_widths) {
  const Caps& caps = *find_profile(GetParam());
  for (uint32_t width : {4u, 60u, 1024u, 4u * 64 * 4, 4u * 64 * 4 + 4, 9000u}) {
    const auto made = testing::row_sums_case(2, width, 64, width);
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    const auto legal = legalize(made->kernel, caps);
    ASSERT_TRUE(legal.ok()) << legal.status().to_string();
    EXPECT_EQ(testing::run_interpreted(*made, *legal), "");
  }
}

TEST(NormSpecs, impossible_ones_are_refused) {
  EXPECT_FALSE(build_norm({.width = 0}, {64}).ok());
  EXPECT_FALSE(build_norm({.width = 64}, {48}).ok());
  EXPECT_FALSE(build_norm({.width = 40, .write_int8 = true}, {64}).ok());
  EXPECT_FALSE(build_norm({.width = 64, .write_f32 = false}, {64}).ok());
  EXPECT_FALSE(build_norm({.width = ~0u}, {64}).ok());
  EXPECT_FALSE(build_norm({.width = 64, .normalize = false, .center = true}, {64}).ok());
  EXPECT_FALSE(build_norm({.width = 64, .normalize = false, .bias = true}, {64}).ok());
  EXPECT_FALSE(build_row_sums({6}, 64).ok());
}

INSTANTIATE_TEST_SUITE_P(Profiles, Norm, ::testing::ValuesIn(testing::profile_names()),
                         [](const auto& at) { return at.param; });

}  // namespace
}  // namespace bp::kernels
