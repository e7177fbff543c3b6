// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/lower.h"

#include <gtest/gtest.h>

#include "compiler/passes/graph_fixture.h"

namespace bp::compiler {
namespace {

TEST(Lower, op_that_no_pass_fused_is_refused_by_name) {
  GraphFixture g;
  g.node("multiply", {g.x("a", 8), g.x("b", 8)}, {}, "y", 8);
  const auto lowered = lower(g.graph);
  ASSERT_FALSE(lowered.ok());
  EXPECT_EQ(lowered.status().code(), Code::kInternal);
  EXPECT_NE(lowered.status().message().find("multiply"), std::string_view::npos);
}

TEST(Lower, unused_values_vanish_and_shared_weights_stay_one_tensor) {
  GraphFixture g;
  g.weight("unused", {4, 4}, 0);
  const ValueId w = g.weight("w", {8, 8}, 1);
  const ValueId a = g.linear(g.x("x", 8), w, "a", 8);
  g.linear(a, w, "b", 8);
  const auto lowered = lower(g.graph);
  ASSERT_TRUE(lowered.ok());
  ASSERT_EQ(lowered->tensors.size(), 1u);
  EXPECT_EQ(lowered->tensors[0].name, "w");
  EXPECT_EQ(lowered->plan->values.size(), 4u);
  EXPECT_EQ(lowered->plan->steps.size(), 2u);
  EXPECT_EQ(lowered->plan->page_size, kPageSize);
}

TEST(Lower, rotary_tables_are_named_by_their_new_number) {
  GraphFixture g;
  Rope rope;
  rope.rotary_dim = 8;
  rope.frequencies = {1, 0.5f, 0.25f, 0.125f};
  g.graph.ropes = {rope, rope};
  const ValueId table = g.x("rope/1", 8);
  g.graph.values[static_cast<size_t>(table)].rope = 1;
  g.node("rms_norm", {table, kAbsent, kAbsent}, {{"eps", 0.0}}, "y", 8);
  const auto lowered = lower(g.graph);
  ASSERT_TRUE(lowered.ok());
  ASSERT_EQ(lowered->plan->ropes.size(), 1u);
  EXPECT_EQ(lowered->plan->values[0]->name, "rope/0");
  EXPECT_EQ(lowered->plan->values[0]->rope, 0);
}

}  // namespace
}  // namespace bp::compiler
