// SPDX-License-Identifier: Apache-2.0
// The tuned ops: shapes and threads in portable C++, inner loops from an InstructionSet.
#pragma once

#include <memory>

#include "plugins/cpu/isa.h"
#include "plugins/cpu/kernel.h"
#include "plugins/cpu/kernels/tuned/instructions.h"

namespace bp::cpu::tuned {

// The set of a level, or NULL for levels that are not compiled in or have none.
const InstructionSet* instructions_for(Isa isa) noexcept;

std::unique_ptr<Kernel> create_linear(const InstructionSet* set);
std::unique_ptr<Kernel> create_linear_glu(const InstructionSet* set);
std::unique_ptr<Kernel> create_moe_linear_glu(const InstructionSet* set);
std::unique_ptr<Kernel> create_moe_linear(const InstructionSet* set);
std::unique_ptr<Kernel> create_rms_norm(const InstructionSet* set);
std::unique_ptr<Kernel> create_layer_norm(const InstructionSet* set);
std::unique_ptr<Kernel> create_rope_kv_write(const InstructionSet* set);
std::unique_ptr<Kernel> create_attention(const InstructionSet* set);

}  // namespace bp::cpu::tuned
