// SPDX-License-Identifier: Apache-2.0
// Portable kernels for every op and every format. They are the fallback that makes every plan
// runnable on every machine, and what tuned kernels are compared with: straight formulas, sums in
// double, weights through backplane/dequantize.h.
#pragma once

#include <memory>

#include "plugins/cpu/kernel.h"

namespace bp::cpu::reference {

std::unique_ptr<Kernel> create_embed();
std::unique_ptr<Kernel> create_rms_norm();
std::unique_ptr<Kernel> create_layer_norm();
std::unique_ptr<Kernel> create_linear();
std::unique_ptr<Kernel> create_linear_glu();
std::unique_ptr<Kernel> create_moe_linear_glu();
std::unique_ptr<Kernel> create_moe_linear();
std::unique_ptr<Kernel> create_rope_kv_write();
std::unique_ptr<Kernel> create_attention();

}  // namespace bp::cpu::reference
