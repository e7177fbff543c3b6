// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "compiler/passes/graph_fixture.h"
#include "compiler/passes/passes.h"

namespace bp::compiler {
namespace {

struct QkvGraph : GraphFixture {
  void build(const std::string& v_format, size_t v_tensor = 2) {
    const ValueId in = x("x", 8);
    const ValueId q = linear(in, weight("wq", {32, 8}, 0), "q", 32);
    const ValueId k = linear(in, weight("wk", {16, 8}, 1), "k", 16);
    const ValueId v = linear(in, weight("wv", {16, 8}, v_tensor, v_format), "v", 16);
    node("rope_kv_write",
         {q, k, v, kAbsent, kAbsent, kAbsent, input("positions"), input("sequence_of"),
          input("page_table"), state("kc"), state("vc")},
         {}, "qr", 32);
  }
};

TEST(MergeSiblings, q_k_v_of_one_format_become_one_linear) {
  QkvGraph g;
  g.build("f16");
  ASSERT_EQ(g.graph.nodes.size(), 4u);
  ASSERT_TRUE(merge_siblings(g.graph).ok());
  ASSERT_TRUE(g.graph.check().ok());
  EXPECT_EQ(g.graph.to_string(),
            "0 linear x, layers/0/qkv, -, - -> layers/0/qkv_rows [T, 64]\n"
            "1 rope_kv_write layers/0/qkv_rows, -, -, -, -, -, positions, sequence_of, page_table, "
            "kc, vc -> qr [T, 32]\n");
  const Weight& merged = g.graph.weight_of(g.graph.nodes[0].inputs[1]);
  EXPECT_EQ(merged.shape, (std::vector<uint64_t>{64, 8}));
  EXPECT_EQ(merged.parts, (std::vector<WeightPart>{{0, 0, 32}, {1, 0, 16}, {2, 0, 16}}));
}

TEST(MergeSiblings, mixed_formats_keep_separate_operands) {
  QkvGraph g;
  g.build("q6_k");
  const std::string before = g.graph.to_string();
  ASSERT_TRUE(merge_siblings(g.graph).ok());
  EXPECT_EQ(g.graph.to_string(), before);
}

TEST(MergeSiblings, ranges_that_continue_each_other_become_one) {
  GraphFixture g;
  const ValueId x = g.x("x", 8);
  const ValueId gate = g.weight("wg", {6, 8}, 5), up = g.weight("wu", {6, 8}, 5);
  g.graph.weights[1].parts = {{5, 6, 6}};  // the second half of a merged tensor
  g.node("linear_glu", {x, gate, kAbsent, up}, {}, "y", 6);
  ASSERT_TRUE(merge_siblings(g.graph).ok());
  const Node& node = g.graph.nodes[0];
  EXPECT_EQ(node.inputs[3], kAbsent);
  EXPECT_EQ(g.graph.weight_of(node.inputs[1]).parts, (std::vector<WeightPart>{{5, 0, 12}}));
}

TEST(MergeSiblings, experts_alternate_gate_and_up) {
  GraphFixture g;
  const ValueId x = g.x("x", 8), ids = g.input("ids");
  const ValueId gate = g.weight("wg", {2, 6, 8}, 0), up = g.weight("wu", {2, 6, 8}, 1);
  g.node("moe_linear_glu", {x, gate, ids, up}, {}, "y", 6);
  ASSERT_TRUE(merge_siblings(g.graph).ok());
  const Weight& merged = g.graph.weight_of(g.graph.nodes[0].inputs[1]);
  EXPECT_EQ(merged.shape, (std::vector<uint64_t>{2, 12, 8}));
  EXPECT_EQ(merged.parts, (std::vector<WeightPart>{{0, 0, 6}, {1, 0, 6}, {0, 6, 6}, {1, 6, 6}}));
}

TEST(MergeSiblings, one_missing_bias_keeps_them_apart) {
  QkvGraph g;
  g.build("f16");
  g.graph.nodes[1].inputs[2] = g.weight("bk", {16}, 7, "f32");
  ASSERT_TRUE(merge_siblings(g.graph).ok());
  EXPECT_EQ(g.graph.nodes.size(), 4u);
}

}  // namespace
}  // namespace bp::compiler
