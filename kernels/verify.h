// SPDX-License-Identifier: Apache-2.0
// Checks a kernel before anything trusts it. Cost is linear in instructions (times the few rounds
// that uniformity of loop variables takes).
#pragma once

#include <vector>

#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"

namespace bp::kernels {

// INVALID_ARGUMENT, naming the instruction, unless: limits of ir.h hold; brackets match; every
// operand is defined before, is in sight and has the right type; buffers are used as declared, a
// written one with a single width; reductions divide the group; barriers and collectives stand
// under workgroup-uniform control; no barrier, nor a reduction (which becomes barriers), stands
// under an If whose condition differs between groups. The last holds back correct kernels, because
// PoCL 3.1 miscompiles them: guard the work around the barrier instead. Loops whose trip counts
// differ between groups are compiled well and are allowed.
Status verify(const Kernel& kernel);

// verify(), and besides: the kernel is within the device's limits and holds no operation that the
// device lacks (legalize() removes those). FAILED_PRECONDITION for what only this device refuses.
Status verify_for(const Kernel& kernel, const Caps& caps);

// For each instruction: the control around it is the same for all threads of the group.
// Requires a kernel with matching brackets and operands in range.
std::vector<bool> uniform_control(const Kernel& kernel);

// For each instruction: the innermost If around it whose condition may differ between groups, or
// kNoValue. Same requirements.
std::vector<ValueId> group_conditions(const Kernel& kernel);

}  // namespace bp::kernels
