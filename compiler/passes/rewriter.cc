// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/rewriter.h"

namespace bp::compiler {

Rewriter::Rewriter(Graph& graph)
    : graph_(graph),
      producer_(graph.values.size(), -1),
      uses_(graph.values.size(), 0),
      removed_(graph.nodes.size(), false) {
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    for (const ValueId v : graph.nodes[i].inputs) {
      if (v != kAbsent) ++uses_[static_cast<size_t>(v)];
    }
    for (const ValueId v : graph.nodes[i].outputs) {
      producer_[static_cast<size_t>(v)] = static_cast<int32_t>(i);
    }
  }
}

int32_t Rewriter::producer(ValueId value) const {
  if (value == kAbsent || static_cast<size_t>(value) >= producer_.size()) return -1;
  return producer_[static_cast<size_t>(value)];
}

int32_t Rewriter::sole_producer(ValueId value, std::string_view op) const {
  const int32_t index = producer(value);
  if (index < 0 || uses_[static_cast<size_t>(value)] != 1) return -1;
  // A result of the model may be read by the caller even though no node does.
  if (graph_.values[static_cast<size_t>(value)].role != Role::kScratch) return -1;
  return graph_.nodes[static_cast<size_t>(index)].op == op ? index : -1;
}

void Rewriter::remove(int32_t index) {
  removed_[static_cast<size_t>(index)] = true;
  for (const ValueId v : node(index).outputs) producer_[static_cast<size_t>(v)] = -1;
}

void Rewriter::replace(int32_t index, Node fused) {
  node(index) = std::move(fused);
  for (const ValueId v : node(index).outputs) {
    if (static_cast<size_t>(v) < producer_.size()) producer_[static_cast<size_t>(v)] = index;
  }
}

void Rewriter::finish() {
  size_t kept = 0;
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (removed_[i]) continue;
    if (kept != i) graph_.nodes[kept] = std::move(graph_.nodes[i]);
    ++kept;
  }
  graph_.nodes.resize(kept);
}

}  // namespace bp::compiler
