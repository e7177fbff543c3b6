// SPDX-License-Identifier: Apache-2.0
// Which class runs which op at which level of instructions.
#include "plugins/cpu/kernel.h"
#include "plugins/cpu/kernels/reference/reference.h"
#include "plugins/cpu/ops/rows.h"

namespace bp::cpu {

std::unique_ptr<Kernel> create_kernel(std::string_view op_name, Isa) {
  if (op_name == "linear") return reference::create_linear();
  if (op_name == "linear_glu") return reference::create_linear_glu();
  if (op_name == "attention") return reference::create_attention();
  if (op_name == "rms_norm") return reference::create_rms_norm();
  if (op_name == "rope_kv_write") return reference::create_rope_kv_write();
  if (op_name == "embed") return reference::create_embed();
  if (op_name == "gather_rows") return std::make_unique<GatherRowsOp>();
  if (op_name == "moe_route") return std::make_unique<MoeRouteOp>();
  if (op_name == "moe_linear_glu") return reference::create_moe_linear_glu();
  if (op_name == "moe_linear") return reference::create_moe_linear();
  return nullptr;
}

}  // namespace bp::cpu
