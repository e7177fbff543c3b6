// SPDX-License-Identifier: Apache-2.0
// Picks the dialect.
#include "kernels/render/render.h"

#include <algorithm>

#include "kernels/render/dialects.h"
#include "kernels/verify.h"

namespace bp::kernels {

std::string entry_point(const Kernel& kernel, const Caps& caps) {
  return caps.dialect == DialectId::kGlsl ? "main" : "bp_" + kernel.name;
}

std::string_view compile_options(const Kernel& kernel, const Caps& caps) {
  if (caps.dialect != DialectId::kGlsl) return {};
  // SPIR-V optimisers of the compilers in use end at instructions that they do not know.
  const bool fragments = std::any_of(kernel.insts.begin(), kernel.insts.end(),
                                     [](const Inst& inst) { return is_fragment(inst.type); });
  return fragments ? "-O0" : "";
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
