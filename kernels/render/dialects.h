// SPDX-License-Identifier: Apache-2.0
// The four dialects. A new one is a subclass of Printer in a file of its own and a line here.
#pragma once

#include <memory>

#include "kernels/render/printer.h"

namespace bp::kernels {

std::unique_ptr<Printer> cuda_printer(const Kernel& kernel, const Caps& caps);
std::unique_ptr<Printer> hip_printer(const Kernel& kernel, const Caps& caps);
std::unique_ptr<Printer> opencl_printer(const Kernel& kernel, const Caps& caps);
std::unique_ptr<Printer> glsl_printer(const Kernel& kernel, const Caps& caps);

}  // namespace bp::kernels
