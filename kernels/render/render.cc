// SPDX-License-Identifier: Apache-2.0
// Picks the dialect.
#include "kernels/render/render.h"

#include "kernels/render/dialects.h"
#include "kernels/verify.h"

namespace bp::kernels {

std::string entry_point(const Kernel& kernel, const Caps& caps) {
  return caps.dialect == DialectId::kGlsl ? "main" : "bp_" + kernel.name;
}

Result<std::string> render(const Kernel& kernel, const Caps& caps) {
  BP_TRY(verify_for(kernel, caps));
  switch (caps.dialect) {
    case DialectId::kCuda:
      return cuda_printer(kernel, caps)->print();
    case DialectId::kHip:
      return hip_printer(kernel, caps)->print();
    case DialectId::kOpenCl:
      return opencl_printer(kernel, caps)->print();
    case DialectId::kGlsl:
      return glsl_printer(kernel, caps)->print();
  }
  return error(Code::kInvalidArgument, "dialect {} does not exist", static_cast<int>(caps.dialect));
}

}  // namespace bp::kernels
