// SPDX-License-Identifier: Apache-2.0
// What a pass needs to rewrite a graph in one sweep: who makes a value, how often it is used, and
// removal of nodes that all happens at the end.
#pragma once

#include <vector>

#include "compiler/graph/graph.h"

namespace bp::compiler {

class Rewriter {
 public:
  // Counts once; keep the counts true by changing nodes only as the methods below describe.
  explicit Rewriter(Graph& graph);

  // Index of the living node that makes the value, or -1 (also for kAbsent).
  int32_t producer(ValueId value) const;
  // The producer's index if it has that op and nobody else uses the value, else -1: the pattern
  // "and this was only made for me".
  int32_t sole_producer(ValueId value, std::string_view op) const;
  Node& node(int32_t index) { return graph_.nodes[static_cast<size_t>(index)]; }

  // Marks a node as gone; its outputs have no producer any more.
  void remove(int32_t index);
  // Puts `fused` in the place of node `index`, which must have the same outputs.
  void replace(int32_t index, Node fused);
  // Erases the removed nodes. The rewriter is spent.
  void finish();

 private:
  Graph& graph_;
  std::vector<int32_t> producer_;  // by value
  std::vector<uint32_t> uses_;     // by value
  std::vector<bool> removed_;      // by node
};

}  // namespace bp::compiler
