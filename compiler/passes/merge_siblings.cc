// SPDX-License-Identifier: Apache-2.0
// Several linears of the same x become one whose weight is their rows, one after the other.
#include <algorithm>
#include <utility>

#include "compiler/passes/passes.h"
#include "compiler/passes/rewriter.h"

namespace bp::compiler {
namespace {

// Appends, joining ranges that continue each other (a checkpoint may have them merged already).
void append_part(std::vector<WeightPart>& parts, const WeightPart& part) {
  if (!parts.empty() && parts.back().tensor == part.tensor &&
      parts.back().first_row + parts.back().rows == part.first_row) {
    parts.back().rows += part.rows;
    return;
  }
  parts.push_back(part);
}

bool same_kind(const Weight& a, const Weight& b) {
  return a.format == b.format && a.add == b.add && a.shape.size() == b.shape.size() &&
         a.shape.back() == b.shape.back();
}

Weight concatenate(const Graph& graph, const std::vector<ValueId>& values, std::string name) {
  Weight merged = graph.weight_of(values[0]);
  merged.name = std::move(name);
  merged.parts.clear();
  merged.shape[0] = 0;
  for (const ValueId v : values) {
    const Weight& weight = graph.weight_of(v);
    merged.shape[0] += weight.shape[0];
    for (const WeightPart& part : weight.parts) append_part(merged.parts, part);
  }
  return merged;
}

// Parts of a stacked weight [E, N, K], cut at the experts' borders, so that gate and up can
// alternate.
std::vector<std::vector<WeightPart>> parts_by_expert(const Weight& weight) {
  const uint64_t experts = weight.shape[0];
  const uint64_t rows_each = weight.shape[1];
  std::vector<std::vector<WeightPart>> out(experts);
  size_t part = 0;
  uint64_t used = 0;  // rows of that part
  for (uint64_t e = 0; e < experts; ++e) {
    for (uint64_t missing = rows_each; missing > 0 && part < weight.parts.size();) {
      const WeightPart& source = weight.parts[part];
      const uint64_t rows = std::min(missing, source.rows - used);
      out[e].push_back({source.tensor, source.first_row + used, rows});
      missing -= rows;
      used += rows;
      if (used == source.rows) {
        ++part;
        used = 0;
      }
    }
  }
  return out;
}

Weight interleave_experts(const Graph& graph, ValueId gate, ValueId up, std::string name) {
  Weight merged = graph.weight_of(gate);
  const Weight& upper = graph.weight_of(up);
  const auto gate_parts = parts_by_expert(merged);
  const auto up_parts = parts_by_expert(upper);
  merged.name = std::move(name);
  merged.parts.clear();
  for (size_t e = 0; e < gate_parts.size(); ++e) {
    for (const WeightPart& part : gate_parts[e]) append_part(merged.parts, part);
    for (const WeightPart& part : up_parts[e]) append_part(merged.parts, part);
  }
  merged.shape[1] += upper.shape[1];
  return merged;
}

std::string layer_name(const Node& node, std::string_view leaf) {
  return "layers/" + std::to_string(node.layer) + "/" + std::string(leaf);
}

// Can these linears, each made only for its user, become one?
bool mergeable(Graph& graph, Rewriter& rewriter, const std::vector<int32_t>& linears) {
  for (const int32_t index : linears) {
    if (index < 0) return false;
    const Node& first = rewriter.node(linears[0]);
    const Node& node = rewriter.node(index);
    if (node.inputs[0] != first.inputs[0] || !node.attributes.empty()) return false;
    if (node.inputs[3] != kAbsent) return false;
    if ((node.inputs[2] == kAbsent) != (first.inputs[2] == kAbsent)) return false;
    if (!same_kind(graph.weight_of(node.inputs[1]), graph.weight_of(first.inputs[1]))) {
      return false;
    }
  }
  return true;
}

void merge_qkv(Graph& graph, Rewriter& rewriter, int32_t at) {
  const Node user = rewriter.node(at);
  std::vector<int32_t> linears;
  for (size_t slot = 0; slot < 3; ++slot) {
    linears.push_back(rewriter.sole_producer(user.inputs[slot], "linear"));
  }
  if (!mergeable(graph, rewriter, linears)) return;
  std::vector<ValueId> weights, biases;
  uint64_t rows = 0;
  for (const int32_t index : linears) {
    weights.push_back(rewriter.node(index).inputs[1]);
    biases.push_back(rewriter.node(index).inputs[2]);
    rows += graph.weight_of(weights.back()).shape[0];
  }
  // The last of the three keeps its place: x is there for all of them.
  const int32_t keep = std::max({linears[0], linears[1], linears[2]});
  Node merged = rewriter.node(keep);
  merged.inputs[1] = graph.add_weight(concatenate(graph, weights, layer_name(user, "qkv")));
  if (biases[0] != kAbsent) {
    merged.inputs[2] = graph.add_weight(concatenate(graph, biases, layer_name(user, "qkv_bias")));
  }
  merged.outputs = {
      graph.add_scratch(layer_name(user, "qkv_rows"), {symbolic(Symbol::kTokens), constant(rows)})};
  for (const int32_t index : linears) {
    if (index != keep) rewriter.remove(index);
  }
  rewriter.replace(keep, merged);
  Node& node = rewriter.node(at);
  node.inputs[0] = merged.outputs[0];
  node.inputs[1] = kAbsent;
  node.inputs[2] = kAbsent;
}

void merge_gate_up(Graph& graph, Node& node) {
  const bool experts = node.op == "moe_linear_glu";
  if (node.inputs[3] == kAbsent) return;
  if (!same_kind(graph.weight_of(node.inputs[1]), graph.weight_of(node.inputs[3]))) return;
  const std::string name = layer_name(node, experts ? "experts_gate_up" : "gate_up");
  Weight merged = experts ? interleave_experts(graph, node.inputs[1], node.inputs[3], name)
                          : concatenate(graph, {node.inputs[1], node.inputs[3]}, name);
  node.inputs[1] = graph.add_weight(std::move(merged));
  node.inputs[3] = kAbsent;
}

}  // namespace

Status merge_siblings(Graph& graph) {
  Rewriter rewriter(graph);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const std::string& op = graph.nodes[i].op;
    if (op == "rope_kv_write") {
      merge_qkv(graph, rewriter, static_cast<int32_t>(i));
    } else if (op == "linear_glu" || op == "moe_linear_glu") {
      merge_gate_up(graph, graph.nodes[i]);
    }
  }
  rewriter.finish();
  return {};
}

}  // namespace bp::compiler
