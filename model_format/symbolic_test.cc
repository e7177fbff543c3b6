// SPDX-License-Identifier: Apache-2.0
#include "model_format/symbolic.h"

#include <gtest/gtest.h>

namespace bp {
namespace {

SymbolBounds two_symbols() {
  SymbolBounds bounds;
  bounds.count = 2;
  bounds.minimum = {1, 0};
  bounds.maximum = {10, 4};
  return bounds;
}

LinearForm form(uint64_t constant, uint64_t a, uint64_t b) {
  LinearForm f;
  f.constant = constant;
  f.scale[0] = a;
  f.scale[1] = b;
  return f;
}

// The definition, by trying every choice of symbols.
bool at_most_by_trying(const LinearForm& a, const LinearForm& b, const SymbolBounds& bounds) {
  for (uint64_t x = bounds.minimum[0]; x <= bounds.maximum[0]; ++x) {
    for (uint64_t y = bounds.minimum[1]; y <= bounds.maximum[1]; ++y) {
      if (a.constant + a.scale[0] * x + a.scale[1] * y >
          b.constant + b.scale[0] * x + b.scale[1] * y) {
        return false;
      }
    }
  }
  return true;
}

TEST(Symbolic, comparison_agrees_with_trying_every_choice) {
  const SymbolBounds bounds = two_symbols();
  int truths = 0;
  for (uint64_t code = 0; code < 4096; ++code) {
    const LinearForm a = form(code % 4 * 5, code / 4 % 4, code / 16 % 4);
    const LinearForm b = form(code / 64 % 4 * 5, code / 256 % 4, code / 1024 % 4);
    const bool expected = at_most_by_trying(a, b, bounds);
    ASSERT_EQ(always_at_most(a, b, bounds), expected) << code;
    truths += expected ? 1 : 0;
  }
  EXPECT_GT(truths, 500);
  EXPECT_LT(truths, 3500);
}

TEST(Symbolic, value_at_maximum_reports_what_is_too_large) {
  EXPECT_EQ(value_at_maximum(form(3, 2, 1), two_symbols()), 27u);
  EXPECT_EQ(value_at_maximum(form(0, limits::kMaxArenaBytes, 0), two_symbols()), UINT64_MAX);
}

TEST(Symbolic, sum_above_the_limit_is_refused) {
  LinearForm out;
  EXPECT_TRUE(try_add(form(1, 2, 3), form(4, 5, 6), &out));
  EXPECT_EQ(out, form(5, 7, 9));
  EXPECT_FALSE(try_add(form(0, limits::kMaxArenaBytes, 0), form(0, 1, 0), &out));
  EXPECT_FALSE(try_add(form(UINT64_MAX, 0, 0), form(1, 0, 0), &out));
}

TEST(Symbolic, dimension_is_evaluated_with_checked_arithmetic) {
  const uint64_t symbols[] = {7, UINT64_MAX};
  EXPECT_EQ(evaluate(fb::Dim(-1, 0, 0, 5), symbols).value(), 5u);
  EXPECT_EQ(evaluate(fb::Dim(0, 0, 3, 1), symbols).value(), 22u);
  EXPECT_EQ(evaluate(fb::Dim(1, 0, 2, 0), symbols).status().code(), Code::kCorrupt);
  EXPECT_EQ(evaluate(fb::Dim(2, 0, 1, 0), symbols).status().code(), Code::kCorrupt);
}

}  // namespace
}  // namespace bp
