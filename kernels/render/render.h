// SPDX-License-Identifier: Apache-2.0
// Kernel text: CUDA C, HIP C, OpenCL C or GLSL.
//
// Deterministic: the same kernel and caps give the same text, so the text can be a cache key.
// Instructions that only one compiler knows sit in a prologue of inline functions named bp_…;
// defining BACKPLANE_PROLOGUE leaves them out, for whoever brings others (the mock GPU does).
#pragma once

#include <string>

#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"

namespace bp::kernels {

// The text of a legalized kernel for caps.dialect. Buffers are arguments (or bindings of set 0)
// 0, 1, … in order, in OpenCL as pairs of memory object and offset in units of 16 bytes (uint);
// params follow as one struct by value (CUDA, HIP), as scalar arguments (OpenCL) or as push
// constants (GLSL), 4 bytes each. Fails as verify_for() does.
Result<std::string> render(const Kernel& kernel, const Caps& caps);

// What bp_module_source.options has to say; part of a cache's key, like the text.
std::string_view compile_options(const Kernel& kernel, const Caps& caps);

// The name to look up in the compiled module.
std::string entry_point(const Kernel& kernel, const Caps& caps);

}  // namespace bp::kernels
