// SPDX-License-Identifier: Apache-2.0
// The expert ops.
#include "kernels/plugin/planner.h"

namespace bp::kernels {

Result<Program> plan_moe_route(const ops::Op&, Planner&) {
  return error(Code::kUnimplemented, "no kernel for experts yet");
}
Result<Program> plan_moe_linear_glu(const ops::Op&, Planner&) {
  return error(Code::kUnimplemented, "no kernel for experts yet");
}
Result<Program> plan_moe_linear(const ops::Op&, Planner&) {
  return error(Code::kUnimplemented, "no kernel for experts yet");
}

}  // namespace bp::kernels
