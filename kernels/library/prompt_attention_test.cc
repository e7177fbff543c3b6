// SPDX-License-Identifier: Apache-2.0
// Attention of query tiles: profile × shape × schedule against the reference.
#include "kernels/library/prompt_attention.h"

#include <gtest/gtest.h>

#include "kernels/legalize.h"
#include "kernels/testing/paged_cases.h"

namespace bp::kernels {
namespace {

using Counts = std::vector<uint32_t>;

class Prompt : public ::testing::TestWithParam<std::string> {
 protected:
  const Caps& caps() const { return *find_profile(GetParam()); }
  void expect_right(const AttentionSpec& spec, const PromptAttentionSchedule& schedule,
                    const Counts& queries, const Counts& contexts, uint64_t seed) {
    const auto made = testing::prompt_attention_case(spec, schedule, queries, contexts, seed);
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    const auto legal = legalize(made->kernel, caps());
    ASSERT_TRUE(legal.ok()) << legal.status().to_string();
    EXPECT_EQ(testing::run_interpreted(*made, *legal, seed), "");
  }
};

TEST_P(Prompt, cache_formats_and_head_sizes) {
  uint64_t seed = 0;
  for (const char* cache : {"f16", "f32", "bf16"}) {
    for (uint32_t head_dim : {4u, 12u, 40u, 64u}) {
      const AttentionSpec spec{.cache = cache,
                               .heads = 4,
                               .kv_heads = 2,
                               .head_dim = head_dim,
                               .page_size = 8,
                               .scale = 0.2f};
      expect_right(spec, default_prompt_schedule(spec, caps()), {9}, {21}, ++seed);
    }
  }
}

TEST_P(Prompt, q8_caches_in_chunks_of_all_sizes) {
  uint64_t seed = 40;
  for (uint32_t head_dim : {32u, 64u, 96u, 128u, 160u, 256u}) {
    const AttentionSpec spec{.cache = "q8",
                             .heads = 4,
                             .kv_heads = 2,
                             .head_dim = head_dim,
                             .page_size = 7,
                             .scale = 0.2f};
    expect_right(spec, default_prompt_schedule(spec, caps()), {9, 3}, {21, 30}, ++seed);
  }
  const AttentionSpec spec{.cache = "q8", .heads = 4, .kv_heads = 2, .head_dim = 96, .scale = 0.2f};
  for (uint32_t chunk : {4u, 8u, 12u, 24u, 48u, 96u}) {
    expect_right(spec, {4, 2, 8, 2, 1, chunk}, {9}, {21}, ++seed);
  }
}

TEST_P(Prompt, large_heads) {
  for (uint32_t head_dim : {128u, 256u}) {
    const AttentionSpec spec{
        .heads = 4, .kv_heads = 1, .head_dim = head_dim, .page_size = 16, .scale = 0.1f};
    expect_right(spec, default_prompt_schedule(spec, caps()), {5}, {23}, head_dim);
  }
}

TEST_P(Prompt, sequences_do_not_meet_and_empty_ones_do_nothing) {
  const AttentionSpec spec{
      .heads = 2, .kv_heads = 2, .head_dim = 16, .page_size = 4, .scale = 0.5f};
  const PromptAttentionSchedule d{.tokens = 4,
                                  .heads_per_group = 1,
                                  .lanes = 8,
                                  .rows_per_thread = 2,
                                  .keys_per_thread = 1,
                                  .chunk = 16};
  expect_right(spec, d, {1}, {1}, 1);
  expect_right(spec, d, {3, 3, 3}, {3, 10, 4}, 2);  // each across what would be a common tile
  expect_right(spec, d, {0, 4, 0, 0, 8, 1, 0}, {5, 4, 1, 2, 19, 30, 3}, 3);
  expect_right(spec, d, {1, 1, 1, 1, 1, 1, 1, 1, 13}, {9, 8, 7, 6, 5, 4, 3, 2, 13}, 4);
}

TEST_P(Prompt, windows_and_soft_caps) {
  uint64_t seed = 10;
  for (uint32_t window : {1u, 5u, 16u, 100u}) {
    const AttentionSpec spec{.heads = 4,
                             .kv_heads = 2,
                             .head_dim = 8,
                             .page_size = 4,
                             .window = window,
                             .scale = 0.5f,
                             .softcap = window == 5 ? 3.0f : 0.0f};
    expect_right(spec, default_prompt_schedule(spec, caps()), {40, 6}, {40, 50}, ++seed);
  }
}

TEST_P(Prompt, schedules_of_all_kinds) {
  const AttentionSpec spec{
      .heads = 12, .kv_heads = 2, .head_dim = 48, .page_size = 16, .scale = 0.2f};
  uint64_t seed = 20;
  for (const PromptAttentionSchedule& d :
       std::vector<PromptAttentionSchedule>{{4, 6, 16, 2, 1, 48},
                                            {1, 3, 32, 1, 1, 12},
                                            {8, 1, 8, 4, 2, 24},
                                            {2, 2, 4, 4, 3, 16},
                                            {5, 2, 1, 1, 7, 4}}) {
    expect_right(spec, d, {11, 2}, {19, 20}, ++seed);
  }
}

TEST_P(Prompt, defaults_fit_every_head) {
  for (uint32_t head_dim : {16u, 64u, 80u, 96u, 112u, 128u, 192u, 256u}) {
    for (uint32_t kv_heads : {1u, 4u, 8u}) {
      for (uint32_t tokens : {1u, 9u, 4096u}) {
        const AttentionSpec spec{.heads = 8, .kv_heads = kv_heads, .head_dim = head_dim};
        const auto made =
            build_prompt_attention(spec, default_prompt_schedule(spec, caps(), tokens));
        ASSERT_TRUE(made.ok()) << made.status().to_string();
        const auto legal = legalize(*made, caps());
        EXPECT_TRUE(legal.ok()) << legal.status().to_string();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Profiles, Prompt, ::testing::ValuesIn(testing::profile_names()),
                         [](const auto& at) { return at.param; });

TEST(PromptSpecs, impossible_ones_are_refused) {
  const AttentionSpec good{.heads = 4, .kv_heads = 1, .head_dim = 64};
  EXPECT_TRUE(build_prompt_attention(good, {}).ok());
  EXPECT_FALSE(build_prompt_attention({.heads = 6, .kv_heads = 4, .head_dim = 64}, {}).ok());
  EXPECT_FALSE(build_prompt_attention({.heads = 4, .kv_heads = 1, .head_dim = 66}, {}).ok());
  EXPECT_FALSE(build_prompt_attention({.heads = 4, .kv_heads = 1, .head_dim = 260}, {}).ok());
  EXPECT_FALSE(build_prompt_attention({.heads = 4, .kv_heads = 4, .head_dim = 64}, {}).ok());
  EXPECT_FALSE(
      build_prompt_attention({.cache = "q4", .heads = 4, .kv_heads = 1, .head_dim = 64}, {}).ok());
  EXPECT_FALSE(
      build_prompt_attention({.cache = "q8", .heads = 4, .kv_heads = 1, .head_dim = 80}, {}).ok());
  EXPECT_FALSE(build_prompt_attention(good, {4, 4, 12, 4, 2, 64}).ok());   // lanes
  EXPECT_FALSE(build_prompt_attention(good, {4, 4, 16, 3, 2, 64}).ok());   // rows a thread
  EXPECT_FALSE(build_prompt_attention(good, {4, 4, 16, 4, 0, 64}).ok());   // no keys
  EXPECT_FALSE(build_prompt_attention(good, {4, 4, 16, 4, 2, 48}).ok());   // chunk
  EXPECT_FALSE(build_prompt_attention(good, {0, 4, 16, 4, 2, 64}).ok());   // no tokens
  EXPECT_FALSE(build_prompt_attention(good, {64, 4, 16, 1, 2, 64}).ok());  // threads
}

}  // namespace
}  // namespace bp::kernels
