// SPDX-License-Identifier: Apache-2.0
// From the fused graph to the plan of a model file.
//
// Only values that a step uses are kept, renumbered in the order of their first use; weights come
// out in that order too, which is the order of tensors in the file, so a forward pass reads
// forward through it. Two values over one weight (tied heads) share the tensor.
#pragma once

#include <memory>
#include <vector>

#include "compiler/graph/graph.h"
#include "model_format/bpm_generated.h"

namespace bp::compiler {

struct LoweredPlan {
  std::unique_ptr<fb::PlanT> plan;
  std::vector<Weight> tensors;  // Value.tensor of the plan indexes this
};

// Plans memory and lowers. INTERNAL names an op that is none of docs/ops.md: a pass left it over.
Result<LoweredPlan> lower(const Graph& graph);

}  // namespace bp::compiler
