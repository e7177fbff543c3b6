// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/plan_memory.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "compiler/passes/graph_fixture.h"

namespace bp::compiler {
namespace {

uint64_t evaluate(const LinearBytes& bytes, const std::array<uint64_t, kSymbolCount>& symbols) {
  uint64_t total = bytes.offset;
  for (size_t i = 0; i < kSymbolCount; ++i) total += bytes.scale[i] * symbols[i];
  return total;
}

TEST(PlanMemory, value_that_died_is_reused) {
  GraphFixture g;
  const ValueId a = g.node("rms_norm", {g.x("x", 16), kAbsent, kAbsent}, {}, "a", 16);
  const ValueId b = g.node("rms_norm", {a, kAbsent, kAbsent}, {}, "b", 16);
  const ValueId c = g.node("rms_norm", {b, kAbsent, kAbsent}, {}, "c", 16);
  const auto plan = plan_memory(g.graph);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->arena.scale[0], 2 * kArenaAlignment);  // two places a token, not three
  EXPECT_EQ(plan->places[static_cast<size_t>(a)]->offset,
            plan->places[static_cast<size_t>(c)]->offset);
  EXPECT_NE(plan->places[static_cast<size_t>(a)]->offset,
            plan->places[static_cast<size_t>(b)]->offset);
}

TEST(PlanMemory, residual_is_taken_over_when_it_dies) {
  GraphFixture g;
  const ValueId h = g.node("rms_norm", {g.x("x", 8), kAbsent, kAbsent}, {}, "h", 8);
  const ValueId t = g.node("rms_norm", {h, kAbsent, kAbsent}, {}, "t", 8);
  const ValueId sum = g.node("linear", {t, g.weight("w", {8, 8}, 0), kAbsent, h}, {}, "sum", 8);
  const auto plan = plan_memory(g.graph);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->places[static_cast<size_t>(h)]->offset,
            plan->places[static_cast<size_t>(sum)]->offset);
}

TEST(PlanMemory, residual_that_is_also_x_or_lives_on_is_not_taken_over) {
  GraphFixture g;
  const ValueId h = g.node("rms_norm", {g.x("x", 8), kAbsent, kAbsent}, {}, "h", 8);
  const ValueId w = g.weight("w", {8, 8}, 0);
  const ValueId both = g.node("linear", {h, w, kAbsent, h}, {}, "both", 8);
  const ValueId more = g.node("linear", {g.x("z", 8), w, kAbsent, both}, {}, "more", 8);
  const ValueId end = g.node("linear", {both, w, kAbsent, more}, {}, "end", 8);
  const auto plan = plan_memory(g.graph);
  ASSERT_TRUE(plan.ok());
  const auto offset = [&](ValueId v) { return plan->places[static_cast<size_t>(v)]->offset; };
  EXPECT_NE(offset(h), offset(both));
  EXPECT_NE(offset(both), offset(more));
  EXPECT_EQ(offset(more), offset(end));
}

TEST(PlanMemory, sizes_stay_exact_and_places_aligned) {
  GraphFixture g;
  const ValueId a = g.node("rms_norm", {g.x("x", 3), kAbsent, kAbsent}, {}, "a", 3);
  const auto plan = plan_memory(g.graph);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->places[static_cast<size_t>(a)]->bytes.scale[0], 12u);
  EXPECT_EQ(plan->arena.scale[0], kArenaAlignment);
}

// Any graph: values that are alive together never overlap, for several choices of symbols.
TEST(PlanMemory, random_graphs_never_overlap_live_values) {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    GraphFixture g;
    const ValueId w = g.weight("w", {1, 1}, 0);
    std::vector<ValueId> alive = {g.x("x", 8)};
    for (int i = 0; i < 30; ++i) {
      const ValueId from = alive[random() % alive.size()];
      const ValueId residual = alive[random() % alive.size()];
      const std::vector<Dim> shape = {
          symbolic(random() % 4 == 0 ? Symbol::kOutputs : Symbol::kTokens),
          constant(1 + random() % 40)};
      alive.push_back(g.graph.add_node("linear", {from, w, kAbsent, residual}, {}, 0,
                                       fmt::format("v{}", i), shape));
      if (alive.size() > 4) alive.erase(alive.begin() + static_cast<long>(random() % 4));
    }
    const auto plan = plan_memory(g.graph);
    ASSERT_TRUE(plan.ok());
    const size_t count = g.graph.values.size();
    std::vector<int> first(count, -1), last(count, -1);
    for (int i = 0; i < static_cast<int>(g.graph.nodes.size()); ++i) {
      const Node& node = g.graph.nodes[static_cast<size_t>(i)];
      for (const ValueId v : node.inputs) {
        if (v != kAbsent) last[static_cast<size_t>(v)] = i;
      }
      first[static_cast<size_t>(node.outputs[0])] = i;
      last[static_cast<size_t>(node.outputs[0])] = i;
    }
    for (const std::array<uint64_t, kSymbolCount>& symbols :
         {std::array<uint64_t, kSymbolCount>{1, 1, 1, 1, 1}, {1000, 1, 1, 1, 1}, {3, 1, 7, 1, 1}}) {
      const uint64_t arena = evaluate(plan->arena, symbols);
      for (size_t a = 0; a < count; ++a) {
        if (!plan->places[a].has_value()) continue;
        const uint64_t a_begin = evaluate(plan->places[a]->offset, symbols);
        const uint64_t a_end = a_begin + evaluate(plan->places[a]->bytes, symbols);
        EXPECT_EQ(a_begin % kArenaAlignment, 0u);
        EXPECT_LE(a_end, arena);
        for (size_t b = 0; b < a; ++b) {
          if (!plan->places[b].has_value()) continue;
          const bool together = first[a] <= last[b] && first[b] <= last[a];
          // An output on its residual's memory: a is made where b is read for the last time.
          const Node& maker = g.graph.nodes[static_cast<size_t>(first[a])];
          const bool heir = maker.inputs[3] == static_cast<ValueId>(b) &&
                            maker.inputs[0] != static_cast<ValueId>(b) && last[b] == first[a];
          if (!together || heir) continue;
          const uint64_t b_begin = evaluate(plan->places[b]->offset, symbols);
          const uint64_t b_end = b_begin + evaluate(plan->places[b]->bytes, symbols);
          EXPECT_TRUE(a_end <= b_begin || b_end <= a_begin)
              << g.graph.values[a].name << " and " << g.graph.values[b].name;
        }
      }
    }
  }
}

}  // namespace
}  // namespace bp::compiler
