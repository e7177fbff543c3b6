// SPDX-License-Identifier: Apache-2.0
// GEMV: format × arithmetic × profile × shape against the reference, plain and legalized.
#include "kernels/library/gemv.h"

#include <gtest/gtest.h>

#include "backplane/formats.h"
#include "kernels/legalize.h"
#include "kernels/library/weights.h"
#include "kernels/testing/cases.h"

namespace bp::kernels {
namespace {

void expect_right(const GemvSpec& spec, const GemvSchedule& schedule, const Caps& caps,
                  uint64_t seed) {
  const auto made = testing::gemv_case(spec, schedule, seed);
  ASSERT_TRUE(made.ok()) << made.status().to_string();
  if (made->kernel.buffers.size() > caps.max_buffers) {
    // Formats of many planes with every operand; the device's limit is the answer.
    EXPECT_FALSE(legalize(made->kernel, caps).ok());
    return;
  }
  const auto legal = legalize(made->kernel, caps);
  ASSERT_TRUE(legal.ok()) << legal.status().to_string();
  EXPECT_EQ(testing::run_interpreted(*made, made->kernel, seed), "");
  EXPECT_EQ(testing::run_interpreted(*made, *legal, seed), "");
}

class Gemv : public ::testing::TestWithParam<std::tuple<std::string, std::string_view>> {
 protected:
  const Caps& caps() const { return *find_profile(std::get<0>(GetParam())); }
  std::string format() const { return std::string(std::get<1>(GetParam())); }
  std::vector<uint32_t> columns() const {
    if (format() == "f32") return {1, 3, 6, 100, 288};
    if (format() == "f16" || format() == "bf16") return {2, 6, 44, 100, 288};
    if (block() == 256) return {256, 1280};
    if (format() != "q8_g32" && format() != "q4_g32") return {32, 352};  // one reader's cousins
    return {32, 96, 352, 1184};
  }
  uint32_t block() const { return find_weight_format(format())->block_elements; }
};

TEST_P(Gemv, matches_reference_at_awkward_shapes) {
  uint64_t seed = 100;
  for (uint32_t columns : columns()) {
    for (uint32_t rows : {1u, 7u, 33u}) {
      for (uint32_t tokens : {1u, 3u}) {
        for (bool int8 : {false, true}) {
          const GemvSpec spec{.format = format(),
                              .int8 = int8,
                              .rows = rows,
                              .columns = columns,
                              .tokens = tokens,
                              .bias = rows == 7,
                              .residual = tokens == 3};
          if (int8 && !find_weight_reader(format())->has_int8()) continue;
          expect_right(spec, default_schedule(spec, caps()), caps(), ++seed);
        }
      }
    }
  }
}

TEST_P(Gemv, every_number_of_tokens_and_schedule) {
  const uint32_t columns = std::max(96u, block());
  uint64_t seed = 300;
  for (uint32_t tokens = 1; tokens <= kMaxGemvTokens; ++tokens) {
    const GemvSpec spec{.format = format(),
                        .rows = 19,
                        .columns = columns,
                        .tokens = tokens,
                        .residual = true,
                        .residual_in_place = tokens % 2 == 0};
    const uint32_t lanes = 4u << tokens % 4;
    expect_right(spec, {64, lanes, std::min(1 + tokens % 4, 4u), tokens % 3}, caps(), ++seed);
  }
}

TEST_P(Gemv, parts_of_a_matrix_and_more_tokens_than_fit_at_once) {
  uint64_t seed = 400;
  for (uint32_t at_once : {1u, 4u, 8u}) {
    const GemvSpec spec{.format = format(),
                        .rows = 11,
                        .y_rows = 30,
                        .columns = std::max(64u, block()),
                        .tokens = at_once,
                        .glu = at_once == 4,
                        .separate_up = at_once == 4,
                        .bias = true,
                        .residual = true,
                        .residual_in_place = at_once == 8,
                        .activation = Activation::kSilu};
    const auto made =
        testing::gemv_case(spec, default_schedule(spec, caps()), ++seed, 2 * at_once + 1, 13);
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    if (made->kernel.buffers.size() > caps().max_buffers) continue;
    const auto legal = legalize(made->kernel, caps());
    ASSERT_TRUE(legal.ok()) << legal.status().to_string();
    EXPECT_EQ(testing::run_interpreted(*made, *legal, seed), "");
  }
}

TEST_P(Gemv, gated_pairs_and_soft_caps) {
  uint64_t seed = 500;
  for (Activation activation : {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh}) {
    for (bool separate : {false, true}) {
      const GemvSpec spec{.format = format(),
                          .rows = 21,
                          .columns = std::max(64u, block()),
                          .tokens = 2,
                          .glu = true,
                          .separate_up = separate,
                          .bias = separate,
                          .activation = activation,
                          .softcap = separate ? 0.0f : 3.0f};
      expect_right(spec, default_schedule(spec, caps()), caps(), ++seed);
    }
  }
}

TEST_P(Gemv, results_as_int8) {
  uint64_t seed = 600;
  for (uint32_t tokens : {1u, 3u, 8u}) {
    for (bool separate : {false, true}) {
      GemvSpec spec{.format = format(),
                    .rows = separate ? 96u : 64u,
                    .columns = std::max(64u, block()),
                    .tokens = tokens,
                    .glu = true,
                    .separate_up = separate,
                    .bias = separate,
                    .write_int8 = true,
                    .activation = Activation::kSilu};
      spec.int8 = tokens == 3 && find_weight_reader(format())->has_int8();
      const GemvSchedule schedule = default_schedule(spec, caps());
      ASSERT_TRUE(schedules_int8(spec, schedule)) << tokens;
      expect_right(spec, schedule, caps(), ++seed);
    }
  }
}

TEST_P(Gemv, int8_results_of_a_part_of_a_matrix) {
  uint64_t seed = 700;
  for (uint32_t at_once : {1u, 4u}) {
    const GemvSpec spec{.format = format(),
                        .rows = 96,
                        .y_rows = 192,
                        .columns = std::max(64u, block()),
                        .tokens = at_once,
                        .glu = true,
                        .separate_up = true,
                        .write_int8 = true,
                        .activation = Activation::kGelu};
    // Groups of 64 rows, the last of which is half empty; some tokens of the last are missing.
    const auto made = testing::gemv_case(spec, {128, 8, 4, 1}, ++seed, 2 * at_once + 1, 64);
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    if (made->kernel.buffers.size() > caps().max_buffers) continue;
    const auto legal = legalize(made->kernel, caps());
    ASSERT_TRUE(legal.ok()) << legal.status().to_string();
    EXPECT_EQ(testing::run_interpreted(*made, *legal, seed), "");
  }
}

TEST(GemvSpecs, impossible_ones_are_refused) {
  const GemvSchedule d;
  EXPECT_FALSE(build_gemv({.format = "q9", .rows = 8, .columns = 64}, d).ok());
  EXPECT_FALSE(build_gemv({.format = "q4_g32", .rows = 8, .columns = 48}, d).ok());
  EXPECT_FALSE(build_gemv({.format = "f16", .rows = 8, .columns = 33}, d).ok());
  EXPECT_FALSE(build_gemv({.format = "q4_k", .rows = 8, .columns = 288}, d).ok());
  EXPECT_FALSE(build_gemv({.format = "f16", .int8 = true, .rows = 8, .columns = 32}, d).ok());
  EXPECT_FALSE(build_gemv({.rows = 8, .columns = 64, .tokens = 9}, d).ok());
  EXPECT_FALSE(build_gemv({.rows = 0, .columns = 64}, d).ok());
  EXPECT_FALSE(build_gemv({.rows = ~0u, .columns = 64}, d).ok());
  EXPECT_FALSE(build_gemv({.rows = 8, .columns = 64}, {128, 48, 2, 1}).ok());
  EXPECT_FALSE(build_gemv({.rows = 8, .columns = 64}, {128, 2, 4, 1}).ok());
  EXPECT_FALSE(build_gemv({.rows = 8, .columns = 64, .glu = true}, d).ok());
  // Groups of 8 rows hold no block of 32; 40 rows are no whole blocks.
  EXPECT_FALSE(build_gemv({.rows = 64, .columns = 64, .write_int8 = true}, {128, 32, 2, 1}).ok());
  EXPECT_FALSE(build_gemv({.rows = 40, .columns = 64, .write_int8 = true}, {128, 8, 2, 1}).ok());
  EXPECT_TRUE(build_gemv({.rows = 64, .columns = 64, .write_int8 = true}, {128, 8, 2, 1}).ok());
}

TEST(GemvTraffic, weights_are_read_once) {
  // 64 × 1024 nibbles are 8192 words and 1024 words of scales; x is read once per pair of rows.
  const GemvSpec spec{.int8 = true, .rows = 64, .columns = 1024};
  auto made = testing::gemv_case(spec, {128, 32, 2, 1}, 9);
  ASSERT_TRUE(made.ok());
  std::vector<Binding> bindings;
  for (auto& words : made->buffers) bindings.push_back({words});
  RunOptions options;
  options.grid_x = made->grid_x;
  const auto counters = interpret(made->kernel, bindings, made->params, options);
  ASSERT_TRUE(counters.ok()) << counters.status().to_string();
  const uint64_t blocks = 64 * 32;
  EXPECT_EQ(counters->loaded_words, blocks * (4 + 1) + blocks / 2 * (8 + 2));
  EXPECT_EQ(counters->dot4, blocks * 8);
  EXPECT_EQ(counters->stored_words, 64u);
}

INSTANTIATE_TEST_SUITE_P(Formats, Gemv,
                         ::testing::Combine(::testing::ValuesIn(testing::profile_names()),
                                            ::testing::ValuesIn(weight_reader_formats())),
                         [](const auto& at) {
                           return std::get<0>(at.param) + "_" + std::string(std::get<1>(at.param));
                         });

}  // namespace
}  // namespace bp::kernels
