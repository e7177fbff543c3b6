// SPDX-License-Identifier: Apache-2.0
// Drops instructions whose result nothing uses.
#pragma once

#include "kernels/ir/ir.h"

namespace bp::kernels {

// The kernel without loads, pure values, collectives and variables that no effect depends on.
// Instructions that refer outside the kernel are left for verify() to report.
Kernel drop_unused(Kernel kernel);

}  // namespace bp::kernels
