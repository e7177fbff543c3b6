// SPDX-License-Identifier: Apache-2.0
// The passes that turn the graph of an architecture into the steps of a plan.
//
//   graph of small ops ── fuse_rope_cache ── fuse_glu ── fuse_epilogue ── merge_siblings ── plan
//
// Each pass rewrites patterns that it can prove equal and leaves everything else alone; each is a
// file with a test that shows before and after. All are deterministic and linear in the graph. In
// the end every op is one of docs/ops.md; what a pass could not fuse is refused by lower().
#pragma once

#include "compiler/graph/graph.h"

namespace bp::compiler {

// rope(head_norm?(q)), rope(head_norm?(k)) and kv_write become one rope_kv_write.
Status fuse_rope_cache(Graph& graph);

// multiply(activation(gate(x)), up(x)) becomes linear_glu with separate gate and up, and the same
// over experts moe_linear_glu.
Status fuse_glu(Graph& graph);

// activation, softcap and add become attributes and the residual operand of the linear, moe_linear
// or rms_norm before them.
Status fuse_epilogue(Graph& graph);

// q, k and v of one rope_kv_write, and gate and up of one linear_glu, become one linear each where
// their weights have the same format: one read of x, one launch. Where formats differ (GGUF mixes
// them) the separate operands of docs/ops.md stay.
Status merge_siblings(Graph& graph);

// All of the above, in that order, with Graph::check() after each.
Status run_passes(Graph& graph);

}  // namespace bp::compiler
