// SPDX-License-Identifier: Apache-2.0
// Argmax and the k largest: profile × shape against the reference.
#include "kernels/library/sample.h"

#include <gtest/gtest.h>

#include "kernels/legalize.h"
#include "kernels/testing/sampling_cases.h"

namespace bp::kernels {
namespace {

class Sample : public ::testing::TestWithParam<std::string> {
 protected:
  const Caps& caps() const { return *find_profile(GetParam()); }
  void expect_right(const Result<testing::Case>& made) {
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    const auto legal = legalize(made->kernel, caps());
    ASSERT_TRUE(legal.ok()) << legal.status().to_string();
    EXPECT_EQ(testing::run_interpreted(*made, made->kernel, 3), "");
    EXPECT_EQ(testing::run_interpreted(*made, *legal, 4), "");
  }
};

TEST_P(Sample, argmax_of_rows) {
  for (uint32_t columns : {1u, 31u, 64u, 1000u})
    expect_right(testing::argmax_case(4, columns, 64, columns));
}

TEST_P(Sample, largest_of_rows_in_one_part) {
  uint64_t seed = 0;
  for (const auto& [columns, count] : {std::pair{1u, 1u}, {40u, 40u}, {64u, 5u}, {500u, 64u}})
    expect_right(testing::top_k_case({columns, count}, {64, 8}, 2, ++seed));
  const TopKSpec spec{300, 20};
  expect_right(testing::top_k_case(spec, default_schedule(spec, caps()), 2, ++seed));
}

TEST_P(Sample, largest_of_parts_are_joined) {
  uint64_t seed = 10;
  for (const auto& [columns, count] : {std::pair{65u, 1u}, {260u, 40u}, {1024u, 17u}}) {
    expect_right(testing::top_k_case({columns, count}, {64, 2}, 2, ++seed));
    expect_right(testing::top_k_join_case({columns, count}, {64, 2}, 2, seed));
  }
}

TEST(SampleSpecs, impossible_ones_are_refused) {
  EXPECT_FALSE(build_argmax(0, 32).ok());
  EXPECT_FALSE(build_argmax(32, 48).ok());
  EXPECT_FALSE(build_top_k({0, 0}, {}).ok());
  EXPECT_FALSE(build_top_k({10, 11}, {}).ok());
  EXPECT_FALSE(build_top_k({1000, kMaxTopK + 1}, {}).ok());
  EXPECT_FALSE(build_top_k({1000, 40}, {32, 8}).ok());
  EXPECT_FALSE(build_top_k({1000, 4}, {48, 8}).ok());
  EXPECT_FALSE(build_top_k({1000, 4}, {64, 0}).ok());
  EXPECT_FALSE(build_top_k({1000, 4}, {64, 33}).ok());
  EXPECT_FALSE(build_top_k_join({1u << 20, 64}, {64, 2}).ok());
}

TEST(SampleSpecs, default_schedules_hold_real_vocabularies) {
  for (const Caps& caps : profiles()) {
    for (uint32_t columns : {1000u, 32000u, 151936u, 262208u}) {
      const TopKSpec spec{columns, kMaxTopK};
      const TopKSchedule d = default_schedule(spec, caps);
      EXPECT_TRUE(build_top_k(spec, d).ok()) << caps.name << " " << columns;
      EXPECT_TRUE(build_top_k_join(spec, d).ok()) << caps.name << " " << columns;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Profiles, Sample, ::testing::ValuesIn(testing::profile_names()),
                         [](const auto& at) { return at.param; });

}  // namespace
}  // namespace bp::kernels
