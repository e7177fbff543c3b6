// SPDX-License-Identifier: Apache-2.0
// Which class runs which op at which level of instructions.
#include "plugins/cpu/kernel.h"
#include "plugins/cpu/kernels/reference/reference.h"
#include "plugins/cpu/kernels/tuned/tuned.h"
#include "plugins/cpu/ops/rows.h"

namespace bp::cpu {

const InstructionSet* tuned::instructions_for(Isa isa) noexcept {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2:
      return avx2_instructions();
    case Isa::kAvx512:
      return avx512_instructions();
    case Isa::kAmx:
      return amx_instructions();
#elif defined(__aarch64__)
    case Isa::kNeon:
      return neon_instructions();
#endif
    default:
      return nullptr;
  }
}

std::unique_ptr<Kernel> create_kernel(std::string_view op_name, Isa isa) {
  const InstructionSet* const set = tuned::instructions_for(isa);
  const auto choose = [set](auto* tuned, auto* portable) {
    return set == nullptr ? portable() : tuned(set);
  };
  if (op_name == "linear") return choose(tuned::create_linear, reference::create_linear);
  if (op_name == "linear_glu") {
    return choose(tuned::create_linear_glu, reference::create_linear_glu);
  }
  if (op_name == "moe_linear_glu") {
    return choose(tuned::create_moe_linear_glu, reference::create_moe_linear_glu);
  }
  if (op_name == "moe_linear") {
    return choose(tuned::create_moe_linear, reference::create_moe_linear);
  }
  if (op_name == "attention") return choose(tuned::create_attention, reference::create_attention);
  if (op_name == "rms_norm") return choose(tuned::create_rms_norm, reference::create_rms_norm);
  if (op_name == "layer_norm") {
    return choose(tuned::create_layer_norm, reference::create_layer_norm);
  }
  if (op_name == "rope_kv_write") {
    return choose(tuned::create_rope_kv_write, reference::create_rope_kv_write);
  }
  if (op_name == "embed") return reference::create_embed();
  if (op_name == "gather_rows") return std::make_unique<GatherRowsOp>();
  if (op_name == "moe_route") return std::make_unique<MoeRouteOp>();
  return nullptr;
}

}  // namespace bp::cpu
