// SPDX-License-Identifier: Apache-2.0
// rope(head_norm?(q)), rope(head_norm?(k)), kv_write(k, v) → rope_kv_write(q, k, v, …).
#include <utility>

#include "compiler/passes/passes.h"
#include "compiler/passes/rewriter.h"

namespace bp::compiler {
namespace {

// The chain value ← rope ← head_norm?, as found going backwards.
struct Rotated {
  int32_t rope = -1;
  int32_t norm = -1;  // -1: there is none
  ValueId source = kAbsent;
  ValueId gain = kAbsent;
};

// `users` of the rotated value: k is only used by kv_write, q by attention.
bool match_rotated(Rewriter& rewriter, ValueId value, Rotated* out) {
  out->rope = rewriter.sole_producer(value, "rope");
  if (out->rope < 0) return false;
  out->source = rewriter.node(out->rope).inputs[0];
  out->norm = rewriter.sole_producer(out->source, "head_norm");
  if (out->norm >= 0) {
    const Node& norm = rewriter.node(out->norm);
    out->source = norm.inputs[0];
    out->gain = norm.inputs[1];
  }
  return true;
}

bool same_rotation(const Node& a, const Node& b) {
  return a.inputs[1] == b.inputs[1] && a.attributes == b.attributes;
}

}  // namespace

Status fuse_rope_cache(Graph& graph) {
  Rewriter rewriter(graph);
  for (size_t i = 0; i + 1 < graph.nodes.size(); ++i) {
    const int32_t write_index = static_cast<int32_t>(i);
    if (graph.nodes[i].op != "kv_write" || graph.nodes[i + 1].op != "attention") continue;
    const Node write = graph.nodes[i];
    const Node& attention = graph.nodes[i + 1];
    Rotated q, k;
    if (!match_rotated(rewriter, attention.inputs[0], &q)) continue;
    if (!match_rotated(rewriter, write.inputs[0], &k)) continue;
    const Node& q_rope = rewriter.node(q.rope);
    if (!same_rotation(q_rope, rewriter.node(k.rope))) continue;

    Node fused;
    fused.op = "rope_kv_write";
    fused.layer = write.layer;
    fused.inputs = {q.source,        k.source,        write.inputs[1], q_rope.inputs[1],
                    q.gain,          k.gain,          write.inputs[2], write.inputs[3],
                    write.inputs[4], write.inputs[5], write.inputs[6]};
    fused.outputs = q_rope.outputs;
    fused.attributes = write.attributes;  // heads, kv_heads, head_dim, page_size
    fused.attributes["rotary_dim"] = int_attribute(q_rope, "rotary_dim");
    fused.attributes["interleaved"] = int_attribute(q_rope, "interleaved");
    fused.attributes["norm_eps"] =
        q.norm >= 0 ? float_attribute(rewriter.node(q.norm), "eps") : 0.0;

    for (const int32_t gone : {q.rope, q.norm, k.rope, k.norm}) {
      if (gone >= 0) rewriter.remove(gone);
    }
    rewriter.replace(write_index, std::move(fused));
  }
  rewriter.finish();
  return {};
}

}  // namespace bp::compiler
