// SPDX-License-Identifier: Apache-2.0
// softcap(linear(x)) and add(residual, op(x)) become part of the op that they follow. docs/ops.md
// fixes the order inside it: activation, soft cap, residual.
#include <utility>

#include "compiler/passes/passes.h"
#include "compiler/passes/rewriter.h"

namespace bp::compiler {
namespace {

struct Epilogue {
  std::string_view op;
  size_t residual_slot;
};
constexpr Epilogue kTakesResidual[] = {
    {"linear", 3}, {"rms_norm", 2}, {"layer_norm", 3}, {"moe_linear", 4}};

// Moves the producer `from` to the place of node `at`, whose output it takes over.
void absorb(Rewriter& rewriter, int32_t from, int32_t at, Node fused) {
  fused.outputs = rewriter.node(at).outputs;
  rewriter.remove(from);
  rewriter.replace(at, std::move(fused));
}

bool fuse_softcap(Rewriter& rewriter, int32_t at) {
  const Node& cap = rewriter.node(at);
  const int32_t from = rewriter.sole_producer(cap.inputs[0], "linear");
  if (from < 0 || rewriter.node(from).attributes.contains("softcap")) return false;
  if (rewriter.node(from).inputs[3] != kAbsent) return false;
  Node fused = rewriter.node(from);
  fused.attributes["softcap"] = float_attribute(cap, "cap");
  absorb(rewriter, from, at, std::move(fused));
  return true;
}

bool fuse_activation(Rewriter& rewriter, int32_t at) {
  const Node& activation = rewriter.node(at);
  const int32_t from = rewriter.sole_producer(activation.inputs[0], "linear");
  if (from < 0 || !rewriter.node(from).attributes.empty()) return false;
  if (rewriter.node(from).inputs[3] != kAbsent) return false;
  Node fused = rewriter.node(from);
  fused.attributes["activation"] = string_attribute(activation, "kind", "none");
  absorb(rewriter, from, at, std::move(fused));
  return true;
}

bool fuse_residual(Rewriter& rewriter, int32_t at) {
  const Node sum = rewriter.node(at);
  // The branch is by convention the second operand; addition does not mind the order.
  for (const size_t side : {size_t{1}, size_t{0}}) {
    for (const Epilogue& epilogue : kTakesResidual) {
      const int32_t from = rewriter.sole_producer(sum.inputs[side], epilogue.op);
      if (from < 0 || rewriter.node(from).inputs[epilogue.residual_slot] != kAbsent) continue;
      Node fused = rewriter.node(from);
      fused.inputs[epilogue.residual_slot] = sum.inputs[1 - side];
      absorb(rewriter, from, at, std::move(fused));
      return true;
    }
  }
  return false;
}

}  // namespace

Status fuse_epilogue(Graph& graph) {
  Rewriter rewriter(graph);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const int32_t at = static_cast<int32_t>(i);
    if (graph.nodes[i].op == "softcap") {
      fuse_softcap(rewriter, at);
    } else if (graph.nodes[i].op == "activation") {
      fuse_activation(rewriter, at);
    } else if (graph.nodes[i].op == "add") {
      fuse_residual(rewriter, at);
    }
  }
  rewriter.finish();
  return {};
}

}  // namespace bp::compiler
