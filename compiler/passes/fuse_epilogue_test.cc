// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "compiler/passes/graph_fixture.h"
#include "compiler/passes/passes.h"

namespace bp::compiler {
namespace {

TEST(FuseEpilogue, residual_of_linear_becomes_its_operand) {
  GraphFixture g;
  const ValueId h = g.x("h", 8);
  const ValueId y = g.linear(g.x("x", 6), g.weight("w", {8, 6}, 0), "y", 8);
  g.node("add", {h, y}, {}, "sum", 8);
  EXPECT_EQ(g.graph.to_string(),
            "0 linear x, w, -, - -> y [T, 8]\n"
            "1 add h, y -> sum [T, 8]\n");
  ASSERT_TRUE(fuse_epilogue(g.graph).ok());
  ASSERT_TRUE(g.graph.check().ok());
  EXPECT_EQ(g.graph.to_string(), "0 linear x, w, -, h -> sum [T, 8]\n");
}

TEST(FuseEpilogue, residual_after_a_norm_goes_to_the_norm) {
  GraphFixture g;
  const ValueId h = g.x("h", 8);
  const ValueId y = g.linear(g.x("x", 6), g.weight("w", {8, 6}, 0), "y", 8);
  const ValueId n =
      g.node("rms_norm", {y, g.weight("gain", {8}, 1, "f32"), kAbsent}, {{"eps", 1e-6}}, "n", 8);
  g.node("add", {h, n}, {}, "sum", 8);
  ASSERT_TRUE(fuse_epilogue(g.graph).ok());
  EXPECT_EQ(g.graph.to_string(),
            "0 linear x, w, -, - -> y [T, 8]\n"
            "1 rms_norm y, gain, h -> sum [T, 8]\n");
}

TEST(FuseEpilogue, softcap_becomes_an_attribute) {
  GraphFixture g;
  const ValueId y = g.linear(g.x("x", 6), g.weight("w", {8, 6}, 0), "y", 8);
  g.node("softcap", {y}, {{"cap", 30.0}}, "logits", 8);
  ASSERT_TRUE(fuse_epilogue(g.graph).ok());
  EXPECT_EQ(g.graph.to_string(), "0 linear x, w, -, - -> logits [T, 8]\n");
  EXPECT_EQ(float_attribute(g.graph.nodes[0], "softcap"), 30.0);
}

TEST(FuseEpilogue, value_with_two_readers_stays_whole) {
  GraphFixture g;
  const ValueId h = g.x("h", 8);
  const ValueId y = g.linear(h, g.weight("w", {8, 8}, 0), "y", 8);
  const ValueId sum = g.node("add", {h, y}, {}, "sum", 8);
  g.node("multiply", {sum, y}, {}, "z", 8);
  ASSERT_TRUE(fuse_epilogue(g.graph).ok());
  EXPECT_EQ(g.graph.nodes.size(), 3u);
}

TEST(FuseEpilogue, second_residual_is_not_lost) {
  GraphFixture g;
  const ValueId a = g.x("a", 8), b = g.x("b", 8);
  const ValueId y = g.linear(g.x("x", 6), g.weight("w", {8, 6}, 0), "y", 8);
  const ValueId first = g.node("add", {a, y}, {}, "first", 8);
  g.node("add", {b, first}, {}, "second", 8);
  ASSERT_TRUE(fuse_epilogue(g.graph).ok());
  EXPECT_EQ(g.graph.to_string(),
            "0 linear x, w, -, a -> first [T, 8]\n"
            "1 add b, first -> second [T, 8]\n");
}

}  // namespace
}  // namespace bp::compiler
