// SPDX-License-Identifier: Apache-2.0
// embed, rms_norm, layer_norm, gather_rows and moe_route.
#include "plugins/cpu/ops/rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "plugins/cpu/testing/op_runner.h"

namespace bp::cpu::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char* kLevels[] = {"reference", "avx2", "avx512", "amx", "neon"};

TEST(Embed, gives_the_rows_of_every_format) {
  for (const WeightFormat& format : kWeightFormats) {
    const uint64_t n = 3 * uint64_t{format.block_elements};
    const TestWeight table = TestWeight::random(format.name, {11, n}, 1);
    const std::vector<float> rows = table.dequantized();
    for (const double scale : {1.0, 2.5}) {
      OpRunner op("embed");
      op.attribute("scale", scale);
      op.input({4}, std::vector<int32_t>{3, 0, 10, 3}).weight(table).output({4, n});
      OpenPlugin plugin;
      ASSERT_EQ(op.run(plugin), BP_OK) << op.message;
      const std::vector<float> y = op.result();
      const int ids[] = {3, 0, 10, 3};
      for (size_t t = 0; t < 4; ++t) {
        for (size_t i = 0; i < n; ++i) {
          EXPECT_EQ(y[t * n + i],
                    static_cast<float>(scale) * rows[static_cast<size_t>(ids[t]) * n + i]);
        }
      }
    }
  }
}

TEST(Embed, ids_outside_the_vocabulary_are_refused) {
  for (const int32_t bad : {-1, 11, INT32_MAX, INT32_MIN}) {
    OpRunner op("embed");
    op.input({3}, std::vector<int32_t>{1, bad, 2});
    op.weight(TestWeight::random("f16", {11, 8}, 1)).output({3, 8});
    OpenPlugin plugin;
    EXPECT_EQ(op.run(plugin), BP_INVALID_ARGUMENT);
    EXPECT_THAT(op.message, HasSubstr("token id"));
  }
}

TEST(RmsNorm, every_level_is_the_formula) {
  for (const char* level : kLevels) {
    for (const uint64_t n : {1, 7, 16, 33, 127, 256, 1000}) {
      for (const int form : {0, 1, 2}) {  // plain, with residual, in place of the residual
        const std::vector<float> x = random_floats(5 * n, 1);
        const std::vector<float> gain = random_floats(n, 2);
        const std::vector<float> residual = random_floats(5 * n, 3);
        OpRunner op("rms_norm");
        op.attribute("eps", 1e-5);
        op.input({5, n}, x).weight(TestWeight::f32({n}, gain));
        if (form > 0) op.input({5, n}, residual);
        if (form == 2) {
          op.output_in_place(2);
        } else {
          op.output({5, n});
        }
        OpenPlugin plugin(level);
        ASSERT_EQ(op.run(plugin), BP_OK) << op.message;
        const std::vector<float> y = op.result();
        for (size_t t = 0; t < 5; ++t) {
          double squares = 0;
          for (size_t i = 0; i < n; ++i) squares += double{x[t * n + i]} * x[t * n + i];
          const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
          for (size_t i = 0; i < n; ++i) {
            const double want =
                x[t * n + i] * factor * gain[i] + (form > 0 ? residual[t * n + i] : 0);
            ASSERT_NEAR(y[t * n + i], want, 2e-6 * std::max(1.0, std::abs(want))) << level;
          }
        }
      }
    }
  }
}

TEST(LayerNorm, every_level_is_the_formula) {
  for (const char* level : kLevels) {
    for (const uint64_t n : {1, 7, 16, 33, 127, 256, 1000}) {
      for (const int form : {0, 1, 2, 3}) {  // plain, bias, both, in place of the residual
        for (const float mean : {0.0f, 50.0f}) {
          std::vector<float> x = random_floats(5 * n, 1);
          for (float& v : x) v += mean;
          const std::vector<float> gain = random_floats(n, 2);
          const std::vector<float> bias = random_floats(n, 4);
          const std::vector<float> residual = random_floats(5 * n, 3);
          OpRunner op("layer_norm");
          op.attribute("eps", 1e-5);
          op.input({5, n}, x).weight(TestWeight::f32({n}, gain));
          if (form > 0) {
            op.weight(TestWeight::f32({n}, bias));
          } else {
            op.absent();
          }
          if (form > 1) op.input({5, n}, residual);
          if (form == 3) {
            op.output_in_place(3);
          } else {
            op.output({5, n});
          }
          OpenPlugin plugin(level);
          ASSERT_EQ(op.run(plugin), BP_OK) << op.message;
          const std::vector<float> y = op.result();
          for (size_t t = 0; t < 5; ++t) {
            double sum = 0, squares = 0;
            for (size_t i = 0; i < n; ++i) sum += x[t * n + i];
            const double middle = sum / static_cast<double>(n);
            for (size_t i = 0; i < n; ++i) squares += std::pow(x[t * n + i] - middle, 2);
            const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5);
            // The mean is rounded to f32, and the norm magnifies that by the factor.
            const double bound = 2e-6 + mean * 0x1p-23 * factor;
            for (size_t i = 0; i < n; ++i) {
              const double want = (x[t * n + i] - middle) * factor * gain[i] +
                                  (form > 0 ? bias[i] : 0) + (form > 1 ? residual[t * n + i] : 0);
              ASSERT_NEAR(y[t * n + i], want, bound * std::max(1.0, std::abs(want))) << level;
            }
          }
        }
      }
    }
  }
}

TEST(RmsNorm, large_and_tiny_rows_stay_finite) {
  for (const char* level : kLevels) {
    for (const float size : {1e19f, 1e-30f, 0.0f}) {
      OpRunner op("rms_norm");
      op.attribute("eps", 1e-6);
      op.input({1, 64}, std::vector<float>(64, size));
      op.weight(TestWeight::f32({64}, std::vector<float>(64, 1.0f))).output({1, 64});
      OpenPlugin plugin(level);
      ASSERT_EQ(op.run(plugin), BP_OK);
      for (const float v : op.result()) EXPECT_TRUE(std::isfinite(v)) << level << " " << size;
    }
  }
}

TEST(GatherRows, copies_rows_and_refuses_others) {
  const std::vector<float> x = random_floats(6 * 5, 1);
  OpenPlugin plugin;
  OpRunner op("gather_rows");
  op.input({6, 5}, x).input({3}, std::vector<int32_t>{5, 0, 5}).output({3, 5});
  ASSERT_EQ(op.run(plugin), BP_OK);
  const std::vector<float> y = op.result();
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(y[i], x[25 + i]);
    EXPECT_EQ(y[5 + i], x[i]);
    EXPECT_EQ(y[10 + i], x[25 + i]);
  }
  for (const int32_t bad : {-1, 6}) {
    OpRunner wrong("gather_rows");
    wrong.input({6, 5}, x).input({1}, std::vector<int32_t>{bad}).output({1, 5});
    EXPECT_EQ(wrong.run(plugin), BP_INVALID_ARGUMENT);
  }
}

OpRunner make_route(const std::vector<float>& logits, uint64_t experts, int64_t used,
                    int64_t normalize) {
  const uint64_t tokens = logits.size() / experts;
  OpRunner op("moe_route");
  op.attribute("experts_used", used).attribute("normalize", normalize);
  op.input({tokens, experts}, logits);
  op.output({tokens, static_cast<uint64_t>(used)}, "i32");
  op.output({tokens, static_cast<uint64_t>(used)});
  return op;
}

TEST(MoeRoute, takes_the_largest_and_the_lowest_id_of_equal_ones) {
  OpenPlugin plugin;
  OpRunner op = make_route({1, 3, 3, 2, 3, 0}, 6, 4, 1);
  ASSERT_EQ(op.run(plugin), BP_OK) << op.message;
  EXPECT_THAT(op.int_result(0), ::testing::ElementsAre(1, 2, 4, 3));
  const std::vector<float> shares = op.result(1);
  const double total = 3 + std::exp(-1.0);
  EXPECT_NEAR(shares[0], 1 / total, 1e-6);
  EXPECT_NEAR(shares[3], std::exp(-1.0) / total, 1e-6);
}

TEST(MoeRoute, shares_are_of_all_experts_unless_normalised) {
  OpenPlugin plugin;
  OpRunner op = make_route({0, 0, 0, 0}, 4, 2, 0);
  ASSERT_EQ(op.run(plugin), BP_OK);
  EXPECT_THAT(op.int_result(0), ::testing::ElementsAre(0, 1));
  EXPECT_FLOAT_EQ(op.result(1)[0], 0.25f);
}

TEST(MoeRoute, ids_stay_distinct_and_in_range_whatever_the_logits) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  OpenPlugin plugin;
  for (const std::vector<float>& logits : std::vector<std::vector<float>>{
           {nan, nan, nan, nan}, {inf, inf, 1, 2}, {-inf, -inf, -inf, -inf}, {nan, 1, -inf, inf}}) {
    OpRunner op = make_route(logits, 4, 4, 1);
    ASSERT_EQ(op.run(plugin), BP_OK);
    const std::vector<int32_t> ids = op.int_result(0);
    EXPECT_EQ(std::set<int32_t>(ids.begin(), ids.end()), (std::set<int32_t>{0, 1, 2, 3}));
  }
}

}  // namespace
}  // namespace bp::cpu::testing
