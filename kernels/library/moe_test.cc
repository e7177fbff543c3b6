// SPDX-License-Identifier: Apache-2.0
// Experts: routing and products, profile × shape × format against the reference.
#include "kernels/library/moe.h"

#include <gtest/gtest.h>

#include "backplane/formats.h"
#include "kernels/legalize.h"
#include "kernels/library/weights.h"
#include "kernels/testing/moe_cases.h"

namespace bp::kernels {
namespace {

class Moe : public ::testing::TestWithParam<std::string> {
 protected:
  const Caps& caps() const { return *find_profile(GetParam()); }
  void expect_right(const Result<testing::Case>& made) {
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    Caps device = caps();
    device.max_buffers = kMaxBuffers;  // some formats have more planes than some devices bind
    const auto legal = legalize(made->kernel, device);
    ASSERT_TRUE(legal.ok()) << legal.status().to_string();
    EXPECT_EQ(testing::run_interpreted(*made, made->kernel, 3), "");
    EXPECT_EQ(testing::run_interpreted(*made, *legal, 4), "");
  }
};

TEST_P(Moe, routes_to_the_largest) {
  uint64_t seed = 0;
  for (bool normalize : {false, true}) {
    for (const auto& [experts, used] : {std::pair{1u, 1u}, {8u, 2u}, {60u, 4u}, {128u, 8u}}) {
      const MoeRouteSpec spec{experts, used, normalize};
      expect_right(testing::moe_route_case(spec, moe_route_threads(spec, caps()), 3, ++seed));
    }
  }
  expect_right(testing::moe_route_case({300, 33, true}, 64, 2, ++seed));
  expect_right(testing::moe_route_case({70, 64, false}, 64, 2, ++seed));
}

TEST_P(Moe, gated_products_of_each_expert) {
  uint64_t seed = 100;
  for (std::string_view format : weight_reader_formats()) {
    const uint32_t columns = std::max(64u, find_weight_format(format)->block_elements);
    const bool separate = ++seed % 2 == 0;
    const MoeLinearSpec spec{.format = std::string(format),
                             .int8 = !separate && find_weight_reader(format)->has_int8(),
                             .experts = 5,
                             .used = 3,
                             .rows = 7,
                             .columns = columns,
                             .glu = true,
                             .separate_up = separate,
                             .activation = Activation::kSilu};
    expect_right(testing::moe_linear_case(spec, default_schedule(spec, caps()), 2, seed));
  }
}

TEST_P(Moe, sums_over_experts) {
  uint64_t seed = 200;
  for (std::string_view format : weight_reader_formats()) {
    const uint32_t columns = std::max(96u, find_weight_format(format)->block_elements);
    ++seed;
    const MoeLinearSpec spec{.format = std::string(format),
                             .int8 = seed % 2 == 0 && find_weight_reader(format)->has_int8(),
                             .experts = 6,
                             .used = 1 + static_cast<uint32_t>(seed % 4),
                             .rows = 9,
                             .columns = columns,
                             .residual = seed % 3 != 0,
                             .residual_in_place = seed % 3 == 1};
    expect_right(testing::moe_linear_case(spec, default_schedule(spec, caps()), 3, seed));
    expect_right(testing::moe_linear_case(spec, {64, 8, 4, 2}, 1, seed));
  }
}

TEST(MoeSpecs, impossible_ones_are_refused) {
  EXPECT_FALSE(build_moe_route({0, 1, false}, 64).ok());
  EXPECT_FALSE(build_moe_route({8, 9, false}, 64).ok());
  EXPECT_FALSE(build_moe_route({100, 65, false}, 128).ok());
  EXPECT_FALSE(build_moe_route({100, 40, false}, 32).ok());
  EXPECT_FALSE(build_moe_route({4000, 4, false}, 64).ok());
  const MoeLinearSpec good{.experts = 8, .used = 2, .rows = 8, .columns = 64};
  const auto refused = [&](auto change) {
    MoeLinearSpec spec = good;
    change(&spec);
    return !build_moe_linear(spec, {}).ok();
  };
  EXPECT_TRUE(build_moe_linear(good, {}).ok());
  EXPECT_TRUE(refused([](MoeLinearSpec* s) { s->experts = 0; }));
  EXPECT_TRUE(refused([](MoeLinearSpec* s) { s->used = 9; }));
  EXPECT_TRUE(refused([](MoeLinearSpec* s) { s->used = 0; }));
  EXPECT_TRUE(refused([](MoeLinearSpec* s) { s->format = "q9"; }));
  EXPECT_TRUE(refused([](MoeLinearSpec* s) { s->columns = 65; }));
  EXPECT_TRUE(refused([](MoeLinearSpec* s) { s->activation = Activation::kSilu; }));
  EXPECT_TRUE(refused([](MoeLinearSpec* s) { s->glu = true; }));  // without an activation
  // 4096 × 2^16 × 2^13 elements are 2^36 chunks.
  EXPECT_TRUE(refused([](MoeLinearSpec* s) {
    s->experts = kMaxExperts, s->rows = 1u << 16, s->columns = 1u << 13;
  }));
}

TEST(MoeSpecs, device_limits_are_checked) {
  // 64 × 4096 × 2048 nibbles are 256 MiB.
  const MoeLinearSpec spec{.experts = 64, .used = 4, .rows = 4096, .columns = 2048};
  EXPECT_TRUE(check_moe_linear(spec, *find_profile("cuda")).ok());
  const Status small = check_moe_linear(spec, *find_profile("lavapipe"));
  EXPECT_EQ(small.code(), Code::kInvalidArgument);
  EXPECT_NE(small.to_string().find("268435456"), std::string::npos) << small.to_string();
  MoeLinearSpec wide{.format = "q5_k", .experts = 4, .used = 2, .rows = 8, .columns = 256};
  EXPECT_TRUE(check_moe_linear(wide, *find_profile("pi5")).ok());
  wide.int8 = wide.residual = true;  // 4 planes, x and scales, ids, weights, residual, y
  EXPECT_FALSE(check_moe_linear(wide, *find_profile("pi5")).ok());
  EXPECT_TRUE(check_moe_linear(wide, *find_profile("lavapipe")).ok());
}

INSTANTIATE_TEST_SUITE_P(Profiles, Moe, ::testing::ValuesIn(testing::profile_names()),
                         [](const auto& at) { return at.param; });

}  // namespace
}  // namespace bp::kernels
