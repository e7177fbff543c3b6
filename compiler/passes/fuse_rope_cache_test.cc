// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "compiler/passes/graph_fixture.h"
#include "compiler/passes/passes.h"

namespace bp::compiler {
namespace {

// q, k, v → norms? → rotations → cache → attention, of 4 heads over 2 of 8 elements.
struct AttentionGraph : GraphFixture {
  void build(bool norms, int64_t k_rotary_dim = 8) {
    const ValueId q = x("q", 32), k = x("k", 16), v = x("v", 16), table = x("rope/0", 8);
    ValueId q1 = q, k1 = k;
    if (norms) {
      const Attributes eps = {{"head_dim", int64_t{8}}, {"eps", 1e-6}};
      q1 = node("head_norm", {q, weight("q_norm", {8}, 0, "f32")}, eps, "qn", 32);
      k1 = node("head_norm", {k, weight("k_norm", {8}, 1, "f32")}, eps, "kn", 16);
    }
    Attributes rotation = {
        {"head_dim", int64_t{8}}, {"rotary_dim", int64_t{8}}, {"interleaved", int64_t{1}}};
    const ValueId q2 = node("rope", {q1, table}, rotation, "qr", 32);
    rotation["rotary_dim"] = k_rotary_dim;
    const ValueId k2 = node("rope", {k1, table}, rotation, "kr", 16);
    const ValueId kc = state("kc"), vc = state("vc");
    const ValueId positions = input("positions"), sequence_of = input("sequence_of");
    const ValueId pages = input("page_table");
    graph.nodes.push_back({"kv_write",
                           {k2, v, positions, sequence_of, pages, kc, vc},
                           {},
                           {{"heads", int64_t{4}}},
                           0});
    node("attention", {q2, kc, vc, input("query_start"), input("context_length"), pages}, {}, "y",
         32);
  }
};

TEST(FuseRopeCache, rotations_and_cache_write_become_one_op) {
  AttentionGraph g;
  g.build(false);
  EXPECT_EQ(g.graph.to_string(),
            "0 rope q, rope/0 -> qr [T, 32]\n"
            "1 rope k, rope/0 -> kr [T, 16]\n"
            "2 kv_write kr, v, positions, sequence_of, page_table, kc, vc\n"
            "3 attention qr, kc, vc, query_start, context_length, page_table -> y [T, 32]\n");
  ASSERT_TRUE(fuse_rope_cache(g.graph).ok());
  ASSERT_TRUE(g.graph.check().ok());
  EXPECT_EQ(g.graph.to_string(),
            "0 rope_kv_write q, k, v, rope/0, -, -, positions, sequence_of, page_table, kc, vc -> "
            "qr [T, 32]\n"
            "1 attention qr, kc, vc, query_start, context_length, page_table -> y [T, 32]\n");
  const Node& fused = g.graph.nodes[0];
  EXPECT_EQ(int_attribute(fused, "heads"), 4);
  EXPECT_EQ(int_attribute(fused, "rotary_dim"), 8);
  EXPECT_EQ(int_attribute(fused, "interleaved"), 1);
}

TEST(FuseRopeCache, head_norms_go_along) {
  AttentionGraph g;
  g.build(true);
  ASSERT_EQ(g.graph.nodes.size(), 6u);
  ASSERT_TRUE(fuse_rope_cache(g.graph).ok());
  ASSERT_TRUE(g.graph.check().ok());
  EXPECT_EQ(g.graph.to_string(),
            "0 rope_kv_write q, k, v, rope/0, q_norm, k_norm, positions, sequence_of, page_table, "
            "kc, vc -> qr [T, 32]\n"
            "1 attention qr, kc, vc, query_start, context_length, page_table -> y [T, 32]\n");
  EXPECT_EQ(float_attribute(g.graph.nodes[0], "norm_eps"), 1e-6);
}

TEST(FuseRopeCache, different_rotations_of_q_and_k_stay) {
  AttentionGraph g;
  g.build(false, 4);
  ASSERT_TRUE(fuse_rope_cache(g.graph).ok());
  EXPECT_EQ(g.graph.nodes.size(), 4u);
}

}  // namespace
}  // namespace bp::compiler
