// SPDX-License-Identifier: Apache-2.0
// GEMM: format × profile × shape against the reference, plain and legalized.
#include "kernels/library/gemm.h"

#include <gtest/gtest.h>

#include "backplane/formats.h"
#include "kernels/legalize.h"
#include "kernels/library/weights.h"
#include "kernels/testing/gemm_cases.h"

namespace bp::kernels {
namespace {

struct Launch {
  uint32_t tokens = 1;
  uint32_t first_row = 0;
};

void expect_right(const GemmSpec& spec, const GemmSchedule& schedule, const Caps& caps,
                  const Launch& launch, uint64_t seed) {
  const auto made = testing::gemm_case(spec, schedule, launch.tokens, launch.first_row, seed);
  ASSERT_TRUE(made.ok()) << made.status().to_string();
  const auto legal = legalize(made->kernel, caps);
  if (made->kernel.buffers.size() > caps.max_buffers) {
    // Formats of many planes with every operand; the device's limit is the answer.
    EXPECT_FALSE(legal.ok());
    return;
  }
  ASSERT_TRUE(legal.ok()) << legal.status().to_string();
  EXPECT_EQ(testing::run_interpreted(*made, *legal, seed), "");
}

// Profiles differ in limits alone here: the kernel has no collectives and no dot products.
class Gemm : public ::testing::TestWithParam<std::tuple<std::string, std::string_view>> {
 protected:
  const Caps& caps() const { return *find_profile(std::get<0>(GetParam())); }
  std::string format() const { return std::string(std::get<1>(GetParam())); }
  uint32_t block() const { return find_weight_format(format())->block_elements; }
  std::vector<uint32_t> columns() const {
    if (format() == "f32") return {1, 6, 100};
    if (block() == 1) return {2, 44, 104};
    return {block(), std::max(96u, 2 * block())};
  }
};

TEST_P(Gemm, matches_reference_at_awkward_shapes) {
  uint64_t seed = 100;
  for (uint32_t columns : columns()) {
    for (const auto& [rows, tokens] :
         std::vector<std::pair<uint32_t, uint32_t>>{{1, 1}, {7, 33}, {33, 9}, {32, 16}}) {
      const GemmSpec spec{.format = format(),
                          .rows = rows,
                          .columns = columns,
                          .bias = rows == 7,
                          .residual = rows == 33,
                          .residual_in_place = tokens == 9 && columns > 50,
                          .softcap = rows == 1 ? 2.0f : 0.0f};
      expect_right(spec, default_schedule(spec, caps(), tokens), caps(), {tokens}, ++seed);
    }
  }
}

TEST_P(Gemm, gated_pairs) {
  uint64_t seed = 300;
  for (Activation activation : {Activation::kSilu, Activation::kGelu}) {
    for (bool separate : {false, true}) {
      const GemmSpec spec{.format = format(),
                          .rows = 21,
                          .columns = columns()[1],
                          .glu = true,
                          .separate_up = separate,
                          .bias = activation == Activation::kGelu,
                          .activation = activation};
      expect_right(spec, default_schedule(spec, caps(), 10), caps(), {10}, ++seed);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Gemm,
                         ::testing::Combine(::testing::Values("floor", "pi5", "cuda"),
                                            ::testing::ValuesIn(weight_reader_formats())),
                         [](const auto& at) {
                           return std::get<0>(at.param) + "_" + std::string(std::get<1>(at.param));
                         });

TEST(GemmSchedules, tiles_of_all_kinds_agree_with_the_reference) {
  const Caps& caps = *find_profile("cuda");
  const GemmSpec spec{.rows = 45, .columns = 160, .bias = true};
  uint64_t seed = 500;
  for (const GemmSchedule& d : std::vector<GemmSchedule>{{16, 16, 32, 1, 1, 1, 0},
                                                         {16, 32, 64, 4, 2, 1, 1},
                                                         {8, 64, 96, 2, 8, 1, 3},
                                                         {48, 16, 32, 6, 1, 2, 1},
                                                         {32, 32, 32, 8, 8, 2, 1},
                                                         {32, 48, 64, 4, 3, 1, 2}}) {
    expect_right(spec, d, caps, {37}, ++seed);
  }
}

TEST(GemmSchedules, defaults_fit_every_device_at_every_size) {
  for (const std::string& name : testing::profile_names()) {
    const Caps& caps = *find_profile(name);
    for (std::string_view format : weight_reader_formats()) {
      for (uint32_t tokens : {1u, 20u, 100u, 4096u}) {
        for (bool glu : {false, true}) {
          const GemmSpec spec{.format = std::string(format),
                              .rows = 4096,
                              .columns = 2048,
                              .glu = glu,
                              .activation = glu ? Activation::kSilu : Activation::kNone};
          const auto made = build_gemm(spec, default_schedule(spec, caps, tokens));
          ASSERT_TRUE(made.ok()) << made.status().to_string();
          const auto legal = legalize(*made, caps);
          EXPECT_TRUE(legal.ok()) << legal.status().to_string();
        }
      }
    }
  }
}

TEST(GemmParts, rows_of_y_beside_the_launch_stay) {
  const Caps& caps = *find_profile("floor");
  GemmSpec spec{.format = "q8_g32", .rows = 19, .columns = 64, .y_stride = 50, .bias = true};
  expect_right(spec, default_schedule(spec, caps, 11), caps, {11, 0}, 1);
  expect_right(spec, default_schedule(spec, caps, 11), caps, {11, 31}, 2);
  spec.residual = true;
  expect_right(spec, default_schedule(spec, caps, 11), caps, {11, 7}, 3);
  spec.residual_in_place = true;
  expect_right(spec, default_schedule(spec, caps, 11), caps, {11, 7}, 4);
  spec = {.format = "f32",
          .rows = 19,
          .columns = 64,
          .y_stride = 50,
          .glu = true,
          .separate_up = true,
          .bias = true,
          .activation = Activation::kSilu};
  expect_right(spec, default_schedule(spec, caps, 11), caps, {11, 30}, 5);
}

TEST(GemmTraffic, weights_are_read_once_a_tile_of_tokens) {
  const GemmSpec spec{.rows = 64, .columns = 256};
  const GemmSchedule d{.tile_tokens = 16, .tile_rows = 32, .thread_tokens = 4, .thread_rows = 4};
  auto made = testing::gemm_case(spec, d, 32, 0, 9);
  ASSERT_TRUE(made.ok()) << made.status().to_string();
  std::vector<Binding> bindings;
  for (auto& words : made->buffers) bindings.push_back({words});
  RunOptions options;
  options.grid_x = made->grid_x;
  options.grid_y = made->grid_y;
  const auto counters = interpret(made->kernel, bindings, made->params, options);
  ASSERT_TRUE(counters.ok()) << counters.status().to_string();
  const uint64_t chunks = 64 * 256 / 32, tiles_of_tokens = 2, tiles_of_rows = 2;
  EXPECT_EQ(counters->loaded_words, tiles_of_tokens * chunks * 5 + tiles_of_rows * 32 * 256);
  EXPECT_EQ(counters->stored_words, 32u * 64u);
}

class GemmMatrix : public ::testing::TestWithParam<std::string> {};

TEST_P(GemmMatrix, halves_agree_with_the_reference_in_units_and_in_pieces) {
  const Caps& caps = *find_profile(GetParam());
  uint64_t seed = 700;
  for (uint32_t width : {16u, 32u, 64u}) {
    if (caps.matrix && width != caps.subgroup_size) continue;  // they would go in pieces
    for (const char* format : {"q4_g32", "q6_k", "f16"}) {
      GemmSpec spec{.format = format, .rows = 37, .columns = 256, .bias = true};
      expect_right(spec, {16, 32, 32, 1, 1, 1, 1, width}, caps, {21}, ++seed);
      spec.residual = true;
      spec.columns = std::string(format) == "q6_k" ? 256 : 96;
      expect_right(spec, {32, 16, 32, 2, 1, 1, 1, width}, caps, {33}, ++seed);
    }
    const GemmSpec gated{.format = "q8_g32",
                         .rows = 20,
                         .columns = 64,
                         .glu = true,
                         .separate_up = width == 32,
                         .activation = Activation::kSilu};
    expect_right(gated, {16, 16, 32, 1, 1, 1, 1, width}, caps, {9}, ++seed);
    const GemmSpec part{.format = "q4_g32", .rows = 33, .columns = 160, .y_stride = 50};
    expect_right(part, {32, 32, 32, 2, 2, 1, 2, width}, caps, {18, 11}, ++seed);
  }
}

INSTANTIATE_TEST_SUITE_P(Profiles, GemmMatrix,
                         ::testing::Values("floor", "lavapipe", "cuda", "rdna3", "cdna"),
                         [](const auto& at) { return at.param; });

TEST(GemmMatrixSchedules, fit_the_devices_that_have_units_and_the_second_stage_works) {
  for (const std::string& name : testing::profile_names()) {
    const Caps& caps = *find_profile(name);
    for (uint32_t tokens : {1u, 40u, 4096u}) {
      for (bool glu : {false, true}) {
        const GemmSpec spec{.rows = 4096,
                            .columns = 2048,
                            .glu = glu,
                            .activation = glu ? Activation::kSilu : Activation::kNone};
        GemmSchedule d;
        ASSERT_EQ(matrix_schedule(spec, caps, tokens, &d), caps.matrix) << name;
        if (!caps.matrix) continue;
        const auto made = build_gemm(spec, d);
        ASSERT_TRUE(made.ok()) << made.status().to_string();
        EXPECT_TRUE(legalize(*made, caps).ok());
      }
    }
  }
  GemmSchedule d;
  EXPECT_FALSE(
      matrix_schedule({.format = "f32", .rows = 64, .columns = 64}, *find_profile("cuda"), 64, &d));
  expect_right({.rows = 33, .columns = 96}, {16, 32, 32, 1, 1, 2, 1, 32}, *find_profile("cuda"),
               {17}, 800);
}

TEST(GemmMatrixUnits, are_used_where_they_are_and_only_there) {
  const GemmSpec spec{.rows = 32, .columns = 64};
  const GemmSchedule d{16, 32, 32, 1, 1, 1, 1, 32};
  auto made = testing::gemm_case(spec, d, 16, 0, 1);
  ASSERT_TRUE(made.ok()) << made.status().to_string();
  for (const char* name : {"cuda", "rdna3", "vulkan32", "floor"}) {
    const auto legal = legalize(made->kernel, *find_profile(name));
    ASSERT_TRUE(legal.ok()) << legal.status().to_string();
    std::vector<testing::Words> buffers = made->buffers;
    std::vector<Binding> bindings;
    for (auto& words : buffers) bindings.push_back({words});
    const auto counters = interpret(*legal, bindings, made->params, {});
    ASSERT_TRUE(counters.ok()) << counters.status().to_string();
    // Two subgroups, four steps of 16 columns.
    EXPECT_EQ(counters->mma, find_profile(name)->matrix ? 8u : 0u) << name;
  }
}

TEST(GemmSpecs, impossible_ones_are_refused) {
  const GemmSchedule d;
  const GemmSpec good{.rows = 8, .columns = 64};
  EXPECT_TRUE(build_gemm(good, d).ok());
  EXPECT_FALSE(build_gemm({.format = "q9", .rows = 8, .columns = 64}, d).ok());
  EXPECT_FALSE(build_gemm({.format = "q4_g32", .rows = 8, .columns = 48}, d).ok());
  EXPECT_FALSE(build_gemm({.rows = 0, .columns = 64}, d).ok());
  EXPECT_FALSE(build_gemm({.rows = ~0u, .columns = 64}, d).ok());
  EXPECT_FALSE(build_gemm({.rows = 8, .columns = 64, .y_stride = 7}, d).ok());
  EXPECT_FALSE(build_gemm({.rows = 8, .columns = 64, .glu = true}, d).ok());
  EXPECT_FALSE(
      build_gemm(
          {.rows = 8, .columns = 64, .y_stride = 16, .glu = true, .activation = Activation::kSilu},
          d)
          .ok());
  EXPECT_FALSE(build_gemm(good, {32, 32, 48, 4, 4, 1, 1}).ok());    // half a block
  EXPECT_FALSE(build_gemm(good, {32, 32, 32, 5, 4, 1, 1}).ok());    // 5 does not divide 32
  EXPECT_FALSE(build_gemm(good, {32, 32, 32, 0, 4, 1, 1}).ok());    // no tokens
  EXPECT_FALSE(build_gemm(good, {64, 64, 32, 16, 16, 1, 1}).ok());  // 256 sums a thread
  EXPECT_FALSE(build_gemm(good, {64, 64, 32, 1, 1, 1, 1}).ok());    // 4096 threads
  EXPECT_FALSE(build_gemm(good, {32, 32, 32, 4, 4, 3, 1}).ok());
  EXPECT_TRUE(build_gemm(good, {32, 32, 32, 1, 1, 1, 1, 32}).ok());
  EXPECT_FALSE(build_gemm(good, {32, 32, 32, 1, 1, 1, 1, 48}).ok());  // no such width
  EXPECT_FALSE(build_gemm(good, {32, 24, 32, 1, 1, 1, 1, 32}).ok());  // half a fragment
  EXPECT_FALSE(
      build_gemm({.format = "f32", .rows = 8, .columns = 64}, {32, 32, 32, 1, 1, 1, 1, 32}).ok());
}

}  // namespace
}  // namespace bp::kernels
