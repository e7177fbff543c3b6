// SPDX-License-Identifier: Apache-2.0
// Spaces: whatever a space offers, the builder builds and the device can run.
#include "kernels/library/space.h"

#include <gtest/gtest.h>

#include <set>

#include "kernels/legalize.h"
#include "kernels/library/schedule.h"
#include "kernels/testing/cases.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kMost = 12;

class Space : public ::testing::TestWithParam<std::string> {
 protected:
  const Caps& caps() const { return *find_profile(GetParam()); }

  // Within the limits, without repetition, and no more than was asked for.
  template <class Schedule, class Build>
  void expect_runnable(const std::vector<Schedule>& space, const Build& build) {
    EXPECT_FALSE(space.empty());
    EXPECT_LE(space.size(), kMost);
    std::set<std::string> seen;
    for (const Schedule& schedule : space) {
      const std::string text = describe(values_of(schedule));
      EXPECT_TRUE(seen.insert(text).second) << text;
      const Result<Kernel> kernel = build(schedule);
      ASSERT_TRUE(kernel.ok()) << text << ": " << kernel.status().to_string();
      EXPECT_LE(kernel->threads, caps().max_threads) << text;
      const Result<Kernel> legal = legalize(*kernel, caps());
      ASSERT_TRUE(legal.ok()) << text << ": " << legal.status().to_string();
      EXPECT_LE(shared_bytes(*legal), caps().shared_bytes) << text;
    }
  }
};

TEST_P(Space, gemv_of_every_kind_stays_within_the_device) {
  for (const char* format : {"f32", "bf16", "q8_g32", "q4_g32", "q5_g32z", "q6_k"}) {
    for (const uint32_t tokens : {1u, 8u}) {
      for (const bool glu : {false, true}) {
        const GemvSpec spec{.format = format,
                            .rows = 4096,
                            .columns = 2048,
                            .tokens = tokens,
                            .glu = glu,
                            .activation = glu ? Activation::kSilu : Activation::kNone};
        expect_runnable(gemv_space(spec, caps(), kMost),
                        [&](const GemvSchedule& d) { return build_gemv(spec, d); });
      }
      const GemvSpec gated{.format = format,
                           .rows = 4096,
                           .columns = 2048,
                           .tokens = tokens,
                           .glu = true,
                           .write_int8 = true,
                           .activation = Activation::kSilu};
      const auto space = gemv_space(gated, caps(), kMost);
      for (const GemvSchedule& d : space) EXPECT_TRUE(schedules_int8(gated, d));
      expect_runnable(space, [&](const GemvSchedule& d) { return build_gemv(gated, d); });
    }
  }
}

TEST_P(Space, gemm_of_every_kind_stays_within_the_device) {
  for (const char* format : {"f32", "q8_g32", "q4_k"}) {
    for (const uint32_t tokens : {9u, 512u}) {
      const GemmSpec spec{.format = format, .rows = 1024, .columns = 1024};
      GemmSchedule by_matrix;  // stays without where device or format have none
      matrix_schedule(spec, caps(), tokens, &by_matrix);
      for (const uint32_t matrix : {0u, by_matrix.matrix}) {
        const auto space = gemm_space(spec, caps(), tokens, matrix, kMost);
        for (const GemmSchedule& d : space) EXPECT_EQ(d.matrix, matrix);
        expect_runnable(space, [&](const GemmSchedule& d) { return build_gemm(spec, d); });
      }
    }
  }
}

TEST_P(Space, attention_has_no_more_parts_than_allowed) {
  const AttentionSpec spec{.heads = 32, .kv_heads = 8, .head_dim = 128};
  for (const uint32_t splits : {1u, 6u, 64u}) {
    const auto space = attention_space(spec, caps(), 1, splits, kMost);
    for (const AttentionSchedule& d : space) EXPECT_LE(d.splits, splits);
    expect_runnable(space, [&](const AttentionSchedule& d) { return build_attention(spec, d); });
  }
}

TEST_P(Space, experts_and_norms_stay_within_the_device) {
  const MoeLinearSpec moe{.experts = 8,
                          .used = 2,
                          .rows = 768,
                          .columns = 2048,
                          .glu = true,
                          .activation = Activation::kSilu};
  expect_runnable(moe_linear_space(moe, caps(), kMost),
                  [&](const GemvSchedule& d) { return build_moe_linear(moe, d); });
  const NormSpec norm{.width = 4096, .write_int8 = true};
  expect_runnable(norm_space(norm, caps(), kMost),
                  [&](const NormSchedule& d) { return build_norm(norm, d); });
}

INSTANTIATE_TEST_SUITE_P(Profiles, Space, ::testing::ValuesIn(testing::profile_names()),
                         [](const auto& at) {
                           std::string name = at.param;
                           for (char& c : name) c = std::isalnum(c) != 0 ? c : '_';
                           return name;
                         });

TEST(Spaces, what_no_kernel_reads_has_none) {
  const Caps& caps = *find_profile("floor");
  EXPECT_TRUE(gemv_space({.format = "q9", .rows = 8, .columns = 64}, caps, kMost).empty());
  EXPECT_TRUE(gemv_space({.format = "q4_g32", .rows = 8, .columns = 48}, caps, kMost).empty());
  EXPECT_TRUE(gemm_space({.format = "q9", .rows = 8, .columns = 64}, caps, 64, 0, kMost).empty());
}

TEST(Schedules, are_the_same_after_a_way_through_named_integers) {
  const GemmSchedule d{64, 32, 96, 8, 2, 2, 3, 16};
  EXPECT_EQ(values_of(schedule_of<GemmSchedule>(values_of(d))), values_of(d));
  EXPECT_EQ(describe(values_of(GemvSchedule{64, 16, 4, 2})),
            "threads 64, lanes 16, rows 4, unroll 2");
}

}  // namespace
}  // namespace bp::kernels
