// SPDX-License-Identifier: Apache-2.0
// The matrix ops at every level of instructions: the reference against plain formulas, every other
// level against the reference.
#include "plugins/cpu/ops/linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "plugins/cpu/testing/op_runner.h"

namespace bp::cpu::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char* kLevels[] = {"reference", "avx2", "avx512", "amx", "neon"};

bool has_level(const char* level) {
  OpenPlugin plugin(level);
  return std::string_view(isa_name(active_isa())) == level;
}

std::vector<const char*> tuned_levels() {
  std::vector<const char*> out;
  for (const char* level : kLevels) {
    if (std::string_view(level) != "reference" && has_level(level)) out.push_back(level);
  }
  return out;
}

double rms(const std::vector<float>& values) {
  double sum = 0;
  for (const float v : values) sum += double{v} * v;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

// Stated bounds, as root mean square of the difference over that of the result. f32, f16 and bf16
// weights keep f32 activations except in the matrix unit, which rounds both sides to bf16 (2^-9
// each); quantized weights meet 8-bit activations with one scale for 32.
double tolerance(std::string_view level, std::string_view format, uint64_t tokens) {
  const bool is_float = format == "f32" || format == "f16" || format == "bf16";
  if (is_float && (format != "bf16" || level != "amx" || tokens < 4)) return 2e-6;
  return is_float ? 4e-3 : 9e-3;
}

// `scale` is what the bound is relative to; 0 stands for the root mean square of `want`.
void expect_close(const std::vector<float>& got, const std::vector<float>& want, double bound,
                  const std::string& what, double scale = 0) {
  ASSERT_EQ(got.size(), want.size());
  std::vector<float> difference(got.size());
  if (scale == 0) scale = rms(want);
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_TRUE(std::isfinite(got[i])) << what << " at " << i;
    difference[i] = got[i] - want[i];
    worst = std::max(worst, std::abs(double{difference[i]}));
  }
  EXPECT_LE(rms(difference), bound * scale + 1e-30) << what;
  EXPECT_LE(worst, 8 * bound * scale + 1e-30) << what;
}

struct LinearCase {
  std::string format;
  uint64_t tokens, rows, columns;
  bool bias = false, residual = false, in_place = false;
  std::string activation = "none";
  double softcap = 0;
};

OpRunner make_linear(const LinearCase& c) {
  OpRunner op("linear");
  op.attribute("activation", c.activation).attribute("softcap", c.softcap);
  op.input({c.tokens, c.columns}, random_floats(c.tokens * c.columns, 1));
  op.weight(TestWeight::random(c.format, {c.rows, c.columns}, 2));
  if (c.bias) {
    op.weight(TestWeight::f32({c.rows}, random_floats(c.rows, 3)));
  } else {
    op.absent();
  }
  if (c.residual) {
    op.input({c.tokens, c.rows}, random_floats(c.tokens * c.rows, 4));
  } else {
    op.absent();
  }
  if (c.in_place) {
    op.output_in_place(3);
  } else {
    op.output({c.tokens, c.rows});
  }
  return op;
}

std::vector<float> run_linear(const char* level, const LinearCase& c) {
  OpenPlugin plugin(level);
  OpRunner op = make_linear(c);
  EXPECT_EQ(op.run(plugin), BP_OK) << op.message;
  return op.result();
}

// The formula of docs/ops.md, in double.
std::vector<float> expected_linear(const LinearCase& c) {
  const std::vector<float> x = random_floats(c.tokens * c.columns, 1);
  const std::vector<float> w = TestWeight::random(c.format, {c.rows, c.columns}, 2).dequantized();
  const std::vector<float> bias = random_floats(c.rows, 3);
  const std::vector<float> residual = random_floats(c.tokens * c.rows, 4);
  std::vector<float> y(c.tokens * c.rows);
  for (uint64_t t = 0; t < c.tokens; ++t) {
    for (uint64_t n = 0; n < c.rows; ++n) {
      double sum = c.bias ? bias[n] : 0;
      for (uint64_t k = 0; k < c.columns; ++k) {
        sum += double{x[t * c.columns + k]} * w[n * c.columns + k];
      }
      if (c.activation == "silu") sum = sum / (1 + std::exp(-sum));
      if (c.activation == "gelu") sum = 0.5 * sum * (1 + std::erf(sum / std::sqrt(2.0)));
      if (c.activation == "gelu_tanh") {
        sum = 0.5 * sum * (1 + std::tanh(std::sqrt(2 / M_PI) * (sum + 0.044715 * sum * sum * sum)));
      }
      if (c.softcap > 0) sum = c.softcap * std::tanh(sum / c.softcap);
      if (c.residual) sum += residual[t * c.rows + n];
      y[t * c.rows + n] = static_cast<float>(sum);
    }
  }
  return y;
}

TEST(Linear, reference_is_the_formula_for_every_format) {
  for (const WeightFormat& format : kWeightFormats) {
    const LinearCase c{std::string(format.name), 5, 7, 2 * uint64_t{format.block_elements}};
    expect_close(run_linear("reference", c), expected_linear(c), 1e-6, c.format);
  }
}

TEST(Linear, reference_has_every_epilogue) {
  for (const char* activation : {"none", "silu", "gelu", "gelu_tanh"}) {
    for (const double softcap : {0.0, 3.0}) {
      LinearCase c{"f32", 3, 33, 17};
      c.activation = activation;
      c.softcap = softcap;
      c.bias = c.residual = true;
      expect_close(run_linear("reference", c), expected_linear(c), 1e-6, activation);
    }
  }
}

TEST(Linear, every_level_agrees_for_every_format_and_token_count) {
  for (const char* level : tuned_levels()) {
    for (const WeightFormat& format : kWeightFormats) {
      for (const uint64_t tokens : {1, 2, 3, 4, 5, 7, 11, 16, 31, 33, 70}) {
        const LinearCase c{std::string(format.name), tokens, 67, 1024};
        const std::string what =
            std::string(level) + " " + c.format + " " + std::to_string(tokens) + " tokens";
        expect_close(run_linear(level, c), run_linear("reference", c),
                     tolerance(level, c.format, tokens), what);
      }
    }
  }
}

TEST(Linear, every_level_agrees_for_awkward_columns_and_rows) {
  for (const char* level : tuned_levels()) {
    for (const WeightFormat& format : kWeightFormats) {
      const uint64_t block = format.block_elements;
      // Around the steps of the inner loops, one block more and one less.
      std::vector<uint64_t> columns = {block, 2 * block, 3 * block, 5 * block, 17 * block};
      if (block == 32) columns.insert(columns.end(), {480, 512, 544, 1504});
      if (block == 1) columns.insert(columns.end(), {15, 16, 31, 33, 127, 511, 513});
      for (const uint64_t k : columns) {
        for (const uint64_t rows : {1, 5, 32}) {
          for (const uint64_t tokens : {1, 3, 19}) {
            const LinearCase c{std::string(format.name), tokens, rows, k};
            const std::string what = std::string(level) + " " + c.format + " " +
                                     std::to_string(tokens) + "x" + std::to_string(rows) + "x" +
                                     std::to_string(k);
            // The few sums of a case may nearly cancel; their terms do not.
            const double scale = std::sqrt(static_cast<double>(k)) *
                                 rms(TestWeight::random(c.format, {rows, k}, 2).dequantized()) *
                                 rms(random_floats(tokens * k, 1));
            expect_close(run_linear(level, c), run_linear("reference", c),
                         2 * tolerance(level, c.format, tokens), what, scale);
          }
        }
      }
    }
  }
}

TEST(Linear, every_level_has_every_epilogue) {
  for (const char* level : tuned_levels()) {
    for (const char* activation : {"none", "silu", "gelu", "gelu_tanh"}) {
      for (const double softcap : {0.0, 3.0}) {
        for (const bool in_place : {false, true}) {
          LinearCase c{"f32", 6, 45, 48};
          c.activation = activation;
          c.softcap = softcap;
          c.bias = c.residual = true;
          c.in_place = in_place;
          expect_close(run_linear(level, c), expected_linear(c), 2e-6,
                       std::string(level) + " " + activation);
        }
      }
    }
  }
}

TEST(Linear, more_tokens_than_one_piece_of_work) {
  for (const char* level : tuned_levels()) {
    LinearCase c{"q4_g32", 600, 40, 64};
    c.residual = true;
    expect_close(run_linear(level, c), expected_linear(c), 9e-3, level);
  }
}

TEST(Linear, activations_that_are_not_finite_reach_their_own_row_only) {
  for (const char* level : kLevels) {
    if (!has_level(level)) continue;
    for (const char* format : {"f32", "q4_g32", "q4_k", "q6_k", "bf16"}) {
      for (const float odd : {std::numeric_limits<float>::quiet_NaN(),
                              std::numeric_limits<float>::infinity(), 3e38f, 1e-42f}) {
        std::vector<float> x = random_floats(20 * 256, 1);
        x[3 * 256 + 100] = odd;
        OpRunner op("linear");
        op.input({20, 256}, x).weight(TestWeight::random(format, {8, 256}, 2)).output({20, 8});
        OpenPlugin plugin(level);
        ASSERT_EQ(op.run(plugin), BP_OK) << op.message;
        const std::vector<float> y = op.result();
        for (size_t i = 0; i < y.size(); ++i) {
          if (i / 8 != 3) {
            EXPECT_TRUE(std::isfinite(y[i])) << level << " " << format;
          } else if (!std::isfinite(odd)) {
            EXPECT_FALSE(std::isfinite(y[i])) << level << " " << format;
          }
        }
      }
    }
  }
}

TEST(Linear, results_do_not_depend_on_the_batch_without_a_matrix_unit) {
  for (const char* level : {"reference", "avx2", "avx512"}) {
    if (!has_level(level)) continue;
    for (const char* format : {"f32", "q4_g32", "q6_k"}) {
      const LinearCase many{format, 13, 37, 512};
      const std::vector<float> together = run_linear(level, many);
      const std::vector<float> x = random_floats(13 * 512, 1);
      for (uint64_t t = 0; t < 13; ++t) {
        OpRunner op("linear");
        op.input({1, 512}, std::vector<float>(x.begin() + static_cast<ptrdiff_t>(t * 512),
                                              x.begin() + static_cast<ptrdiff_t>(t * 512 + 512)));
        op.weight(TestWeight::random(format, {37, 512}, 2)).output({1, 37});
        OpenPlugin plugin(level);
        ASSERT_EQ(op.run(plugin), BP_OK);
        const std::vector<float> alone = op.result();
        for (size_t n = 0; n < 37; ++n) EXPECT_EQ(alone[n], together[t * 37 + n]) << level;
      }
    }
  }
}

struct GluCase {
  std::string gate_format, up_format;  // up_format empty: merged
  uint64_t tokens, rows, columns;
  bool bias = false;
  std::string activation = "silu";
};

std::vector<float> run_glu(const char* level, const GluCase& c) {
  OpenPlugin plugin(level);
  OpRunner op("linear_glu");
  const bool merged = c.up_format.empty();
  op.attribute("activation", c.activation);
  op.input({c.tokens, c.columns}, random_floats(c.tokens * c.columns, 1));
  op.weight(TestWeight::random(c.gate_format, {merged ? 2 * c.rows : c.rows, c.columns}, 2));
  if (c.bias) {
    op.weight(TestWeight::f32({2 * c.rows}, random_floats(2 * c.rows, 3)));
  } else {
    op.absent();
  }
  if (!merged) op.weight(TestWeight::random(c.up_format, {c.rows, c.columns}, 5));
  op.output({c.tokens, c.rows});
  EXPECT_EQ(op.run(plugin), BP_OK) << op.message;
  return op.result();
}

TEST(LinearGlu, merged_and_separate_weights_with_every_activation) {
  for (const char* level : tuned_levels()) {
    for (const uint64_t tokens : {1, 3, 8, 40}) {
      for (const char* activation : {"silu", "gelu", "gelu_tanh"}) {
        for (const auto& [gate, up] :
             std::vector<std::pair<const char*, const char*>>{{"f32", ""},
                                                              {"f32", "f16"},
                                                              {"q4_g32", ""},
                                                              {"q4_k", "q6_k"},
                                                              {"bf16", "q8_g32"}}) {
          GluCase c{gate, up, tokens, 45, 256};
          c.bias = tokens == 3;
          c.activation = activation;
          const double bound = std::string_view(gate) == "f32" ? 5e-6 : 2e-2;
          expect_close(run_glu(level, c), run_glu("reference", c), bound,
                       std::string(level) + " " + gate + " " + up);
        }
      }
    }
  }
}

TEST(LinearGlu, reference_is_the_formula) {
  const GluCase c{"f32", "f32", 3, 5, 16};
  const std::vector<float> got = run_glu("reference", c);
  const std::vector<float> x = random_floats(3 * 16, 1);
  const std::vector<float> gate = TestWeight::random("f32", {5, 16}, 2).dequantized();
  const std::vector<float> up = TestWeight::random("f32", {5, 16}, 5).dequantized();
  for (size_t t = 0; t < 3; ++t) {
    for (size_t f = 0; f < 5; ++f) {
      double g = 0, u = 0;
      for (size_t k = 0; k < 16; ++k) {
        g += double{x[t * 16 + k]} * gate[f * 16 + k];
        u += double{x[t * 16 + k]} * up[f * 16 + k];
      }
      EXPECT_NEAR(got[t * 5 + f], g / (1 + std::exp(-g)) * u, 1e-5);
    }
  }
}

struct MoeCase {
  std::string format;
  uint64_t tokens, experts, used, rows, columns;
  bool merged = true, residual = true;
};

std::vector<int32_t> expert_ids(const MoeCase& c) {
  std::vector<int32_t> ids(c.tokens * c.used);
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>((i * 7 + i / c.used * 3) % c.experts);
  }
  return ids;
}

std::vector<float> run_moe_glu(const char* level, const MoeCase& c) {
  OpenPlugin plugin(level);
  OpRunner op("moe_linear_glu");
  op.attribute("activation", std::string("silu"));
  op.input({c.tokens, c.columns}, random_floats(c.tokens * c.columns, 1));
  op.weight(
      TestWeight::random(c.format, {c.experts, c.merged ? 2 * c.rows : c.rows, c.columns}, 2));
  op.input({c.tokens, c.used}, expert_ids(c));
  if (!c.merged) op.weight(TestWeight::random(c.format, {c.experts, c.rows, c.columns}, 5));
  op.output({c.tokens, c.used, c.rows});
  EXPECT_EQ(op.run(plugin), BP_OK) << op.message;
  return op.result();
}

std::vector<float> run_moe_linear(const char* level, const MoeCase& c) {
  OpenPlugin plugin(level);
  OpRunner op("moe_linear");
  op.input({c.tokens, c.used, c.columns}, random_floats(c.tokens * c.used * c.columns, 1));
  op.weight(TestWeight::random(c.format, {c.experts, c.rows, c.columns}, 2));
  op.input({c.tokens, c.used}, expert_ids(c));
  op.input({c.tokens, c.used}, random_floats(c.tokens * c.used, 6));
  if (c.residual) op.input({c.tokens, c.rows}, random_floats(c.tokens * c.rows, 7));
  op.output({c.tokens, c.rows});
  EXPECT_EQ(op.run(plugin), BP_OK) << op.message;
  return op.result();
}

TEST(MoeLinear, reference_is_the_formula) {
  const MoeCase c{"f32", 4, 3, 2, 5, 16};
  const std::vector<float> got = run_moe_linear("reference", c);
  const std::vector<float> x = random_floats(4 * 2 * 16, 1);
  const std::vector<float> w = TestWeight::random("f32", {3, 5, 16}, 2).dequantized();
  const std::vector<int32_t> ids = expert_ids(c);
  const std::vector<float> shares = random_floats(8, 6);
  const std::vector<float> residual = random_floats(4 * 5, 7);
  for (size_t t = 0; t < 4; ++t) {
    for (size_t n = 0; n < 5; ++n) {
      double sum = residual[t * 5 + n];
      for (size_t k = 0; k < 2; ++k) {
        const size_t pair = t * 2 + k;
        double dot = 0;
        for (size_t f = 0; f < 16; ++f) {
          dot += double{x[pair * 16 + f]} * w[(static_cast<size_t>(ids[pair]) * 5 + n) * 16 + f];
        }
        sum += shares[pair] * dot;
      }
      EXPECT_NEAR(got[t * 5 + n], sum, 1e-5);
    }
  }
}

TEST(MoeLinear, every_level_agrees_for_one_token_and_many) {
  for (const char* level : tuned_levels()) {
    for (const char* format : {"f32", "bf16", "q4_g32", "q4_k", "q8_g32"}) {
      for (const uint64_t tokens : {1, 2, 9, 70, 300}) {
        MoeCase c{format, tokens, 8, 2, 37, 256};
        const double bound = std::string_view(format) == "f32" ? 5e-6 : 2e-2;
        const std::string what = std::string(level) + " " + format + " " + std::to_string(tokens);
        for (const bool merged : {true, false}) {
          c.merged = c.residual = merged;
          expect_close(run_moe_glu(level, c), run_moe_glu("reference", c), bound, what);
        }
        expect_close(run_moe_linear(level, c), run_moe_linear("reference", c), bound, what);
      }
    }
  }
}

TEST(MoeLinear, expert_ids_outside_the_range_are_refused) {
  for (const char* level : kLevels) {
    if (!has_level(level)) continue;
    for (const int32_t bad : {-1, 4, INT32_MAX, INT32_MIN}) {
      OpenPlugin plugin(level);
      OpRunner glu("moe_linear_glu");
      glu.attribute("activation", std::string("silu")).input({2, 32}, random_floats(64, 1));
      glu.weight(TestWeight::random("q4_g32", {4, 6, 32}, 2));
      glu.input({2, 2}, std::vector<int32_t>{0, 1, bad, 2}).output({2, 2, 3});
      EXPECT_EQ(glu.run(plugin), BP_INVALID_ARGUMENT);
      EXPECT_THAT(glu.message, HasSubstr("expert id"));
      OpRunner linear("moe_linear");
      linear.input({2, 2, 32}, random_floats(128, 1));
      linear.weight(TestWeight::random("q4_g32", {4, 6, 32}, 2));
      linear.input({2, 2}, std::vector<int32_t>{0, 1, bad, 2});
      linear.input({2, 2}, random_floats(4, 1)).output({2, 6});
      EXPECT_EQ(linear.run(plugin), BP_INVALID_ARGUMENT);
    }
  }
}

TEST(Linear, shapes_and_attributes_that_do_not_fit_are_refused_with_a_reason) {
  OpenPlugin plugin;
  const auto expect_refusal = [&](OpRunner op, const char* reason) {
    EXPECT_EQ(op.run(plugin), BP_UNIMPLEMENTED);
    EXPECT_THAT(op.message, HasSubstr(reason));
  };
  const TestWeight weight = TestWeight::random("q4_g32", {8, 64}, 2);
  expect_refusal(
      OpRunner("linear").input({2, 32}, random_floats(64, 1)).weight(weight).output({2, 8}),
      "x: dimension 1 is 32, expected is 64");
  expect_refusal(
      OpRunner("linear").input({2, 64}, random_floats(128, 1)).weight(weight).output({2, 9}),
      "y: dimension 1 is 9");
  expect_refusal(OpRunner("linear")
                     .attribute("activation", std::string("swish"))
                     .input({2, 64}, random_floats(128, 1))
                     .weight(weight)
                     .output({2, 8}),
                 "unknown activation");
  expect_refusal(OpRunner("linear")
                     .attribute("flavour", int64_t{1})
                     .input({2, 64}, random_floats(128, 1))
                     .weight(weight)
                     .output({2, 8}),
                 "unknown attribute 'flavour'");
  expect_refusal(OpRunner("linear_cubed").output({2, 8}), "not known");
}

TEST(Linear, a_workspace_that_is_too_small_is_refused) {
  for (const char* level : tuned_levels()) {
    OpenPlugin plugin(level);
    OpRunner op = make_linear({"q4_g32", 4, 32, 512});
    op.workspace_limit = {64};
    const bp_status status = op.run(plugin);
    if (op.variant == "reference") continue;  // a level that was not compiled in
    EXPECT_EQ(status, BP_INVALID_ARGUMENT);
    EXPECT_THAT(op.message, HasSubstr("workspace"));
  }
}

}  // namespace
}  // namespace bp::cpu::testing
