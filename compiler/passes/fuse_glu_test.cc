// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "compiler/passes/graph_fixture.h"
#include "compiler/passes/passes.h"

namespace bp::compiler {
namespace {

TEST(FuseGlu, activation_product_becomes_one_op) {
  GraphFixture g;
  const ValueId x = g.x("x", 8);
  const ValueId gate = g.linear(x, g.weight("wg", {6, 8}, 0), "g", 6);
  const ValueId up = g.linear(x, g.weight("wu", {6, 8}, 1), "u", 6);
  const ValueId active = g.node("activation", {gate}, {{"kind", std::string("gelu_tanh")}}, "a", 6);
  g.node("multiply", {active, up}, {}, "y", 6);
  EXPECT_EQ(g.graph.to_string(),
            "0 linear x, wg, -, - -> g [T, 6]\n"
            "1 linear x, wu, -, - -> u [T, 6]\n"
            "2 activation g -> a [T, 6]\n"
            "3 multiply a, u -> y [T, 6]\n");
  ASSERT_TRUE(fuse_glu(g.graph).ok());
  ASSERT_TRUE(g.graph.check().ok());
  EXPECT_EQ(g.graph.to_string(), "0 linear_glu x, wg, -, wu -> y [T, 6]\n");
  EXPECT_EQ(string_attribute(g.graph.nodes[0], "activation", ""), "gelu_tanh");
}

TEST(FuseGlu, biases_are_joined_gate_first) {
  GraphFixture g;
  const ValueId x = g.x("x", 8);
  const ValueId bg = g.weight("bg", {6}, 2, "f32"), bu = g.weight("bu", {6}, 3, "f32");
  const ValueId gate = g.node("linear", {x, g.weight("wg", {6, 8}, 0), bg, kAbsent}, {}, "g", 6);
  const ValueId up = g.node("linear", {x, g.weight("wu", {6, 8}, 1), bu, kAbsent}, {}, "u", 6);
  g.node("multiply", {g.node("activation", {gate}, {{"kind", std::string("silu")}}, "a", 6), up},
         {}, "y", 6);
  ASSERT_TRUE(fuse_glu(g.graph).ok());
  ASSERT_EQ(g.graph.nodes.size(), 1u);
  const Weight& bias = g.graph.weight_of(g.graph.nodes[0].inputs[2]);
  EXPECT_EQ(bias.shape, (std::vector<uint64_t>{12}));
  EXPECT_EQ(bias.parts, (std::vector<WeightPart>{{2, 0, 1}, {3, 0, 1}}));
}

TEST(FuseGlu, experts_of_the_same_choice_become_one_op) {
  GraphFixture g;
  const ValueId x = g.x("x", 8), ids = g.input("ids");
  const ValueId gate = g.node("expert_linear", {x, g.weight("wg", {3, 6, 8}, 0), ids}, {}, "g", 6);
  const ValueId up = g.node("expert_linear", {x, g.weight("wu", {3, 6, 8}, 1), ids}, {}, "u", 6);
  g.node("multiply", {g.node("activation", {gate}, {{"kind", std::string("silu")}}, "a", 6), up},
         {}, "y", 6);
  ASSERT_TRUE(fuse_glu(g.graph).ok());
  EXPECT_EQ(g.graph.to_string(), "0 moe_linear_glu x, wg, ids, wu -> y [T, 6]\n");
}

TEST(FuseGlu, gate_that_is_needed_elsewhere_stays) {
  GraphFixture g;
  const ValueId x = g.x("x", 8);
  const ValueId gate = g.linear(x, g.weight("wg", {6, 8}, 0), "g", 6);
  const ValueId up = g.linear(x, g.weight("wu", {6, 8}, 1), "u", 6);
  const ValueId active = g.node("activation", {gate}, {{"kind", std::string("silu")}}, "a", 6);
  const ValueId y = g.node("multiply", {active, up}, {}, "y", 6);
  g.node("add", {y, gate}, {}, "z", 6);
  ASSERT_TRUE(fuse_glu(g.graph).ok());
  EXPECT_EQ(g.graph.nodes.size(), 5u);
}

}  // namespace
}  // namespace bp::compiler
