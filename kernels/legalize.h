// SPDX-License-Identifier: Apache-2.0
// Rewrites what a device lacks into what it has, before anything is printed.
#pragma once

#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"

namespace bp::kernels {

// The same kernel for this device:
//  - GroupReduce becomes xor-shuffles within subgroups, one shared slot per subgroup between them,
//    or a tree in shared memory where no subgroup is guaranteed. All three add in the same order,
//    so results are bit-identical on every device.
//  - Dot4 becomes byte products and sums where the device has no such instruction.
// Both forms run in the interpreter, so each fallback is tested against its original. The result
// passes verify_for(caps); FAILED_PRECONDITION when the kernel exceeds the device (too much shared
// memory, too many threads).
Result<Kernel> legalize(const Kernel& kernel, const Caps& caps);

}  // namespace bp::kernels
