// SPDX-License-Identifier: Apache-2.0
#include "compiler/passes/passes.h"

namespace bp::compiler {

Status run_passes(Graph& graph) {
  struct Pass {
    const char* name;
    Status (*run)(Graph&);
  };
  constexpr Pass kPasses[] = {{"fuse_rope_cache", fuse_rope_cache},
                              {"fuse_glu", fuse_glu},
                              {"fuse_epilogue", fuse_epilogue},
                              {"merge_siblings", merge_siblings}};
  BP_TRY(graph.check().with_context("the architecture's graph"));
  for (const Pass& pass : kPasses) {
    BP_TRY(pass.run(graph).with_context("pass {}", pass.name));
    BP_TRY(graph.check().with_context("after pass {}", pass.name));
  }
  return {};
}

}  // namespace bp::compiler
