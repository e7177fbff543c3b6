// SPDX-License-Identifier: Apache-2.0
// multiply(activation(linear(x, gate)), linear(x, up)) → linear_glu(x, gate, bias, up), and the
// same over experts → moe_linear_glu(x, gate, ids, up).
#include <utility>

#include "compiler/passes/passes.h"
#include "compiler/passes/rewriter.h"

namespace bp::compiler {
namespace {

struct Halves {
  int32_t activation = -1;
  int32_t gate = -1;
  int32_t up = -1;
};

bool match(Rewriter& rewriter, const Node& product, std::string_view op, Halves* out) {
  out->activation = rewriter.sole_producer(product.inputs[0], "activation");
  if (out->activation < 0) return false;
  out->gate = rewriter.sole_producer(rewriter.node(out->activation).inputs[0], op);
  out->up = rewriter.sole_producer(product.inputs[1], op);
  if (out->gate < 0 || out->up < 0) return false;
  const Node& gate = rewriter.node(out->gate);
  const Node& up = rewriter.node(out->up);
  return gate.inputs[0] == up.inputs[0] && gate.attributes.empty() && up.attributes.empty();
}

// One bias [2F] for gate and up together, or absent when neither has one.
bool join_bias(Graph& graph, ValueId gate, ValueId up, ValueId* out) {
  *out = kAbsent;
  if (gate == kAbsent && up == kAbsent) return true;
  if (gate == kAbsent || up == kAbsent) return false;
  Weight bias = graph.weight_of(gate);
  const Weight& upper = graph.weight_of(up);
  if (bias.add != upper.add) return false;
  bias.name += "_up";
  bias.shape[0] += upper.shape[0];
  bias.parts.insert(bias.parts.end(), upper.parts.begin(), upper.parts.end());
  *out = graph.add_weight(std::move(bias));
  return true;
}

}  // namespace

Status fuse_glu(Graph& graph) {
  Rewriter rewriter(graph);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (graph.nodes[i].op != "multiply") continue;
    const Node product = graph.nodes[i];
    for (const bool experts : {false, true}) {
      Halves halves;
      if (!match(rewriter, product, experts ? "expert_linear" : "linear", &halves)) continue;
      const Node gate = rewriter.node(halves.gate);
      const Node up = rewriter.node(halves.up);
      Node fused;
      fused.op = experts ? "moe_linear_glu" : "linear_glu";
      fused.layer = product.layer;
      fused.outputs = product.outputs;
      fused.attributes["activation"] =
          string_attribute(rewriter.node(halves.activation), "kind", "silu");
      ValueId third = kAbsent;  // bias, or the experts' ids
      if (experts) {
        if (gate.inputs[2] != up.inputs[2]) continue;
        third = gate.inputs[2];
      } else if (!join_bias(graph, gate.inputs[2], up.inputs[2], &third)) {
        continue;
      }
      fused.inputs = {gate.inputs[0], gate.inputs[1], third, up.inputs[1]};
      rewriter.remove(halves.activation);
      rewriter.remove(halves.gate);
      rewriter.remove(halves.up);
      rewriter.replace(static_cast<int32_t>(i), std::move(fused));
      break;
    }
  }
  rewriter.finish();
  return {};
}

}  // namespace bp::compiler
