// SPDX-License-Identifier: Apache-2.0
// Real compilers for rendered text, as far as this machine has them: NVRTC and hipRTC (no GPU
// needed), clang for HIP without device libraries and for OpenCL C with PTX, glslangValidator with
// spirv-val.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/ir/caps.h"

namespace bp::kernels::testing {

struct Compiled {
  enum State { kOk, kFailed, kAbsent } state = kAbsent;
  std::string log;       // the compiler's words, or what is absent
  std::string assembly;  // PTX or AMD assembly
  std::vector<uint32_t> spirv;
};

// Compute capability 75, 80, 90 …; to PTX. The library is opened at the first call.
Compiled compile_cuda(const std::string& text, uint32_t arch);
// "gfx906" and the like; by AMD's run-time compiler of the major version 5, to a binary.
Compiled compile_hiprtc(const std::string& text, const std::string& arch);
// The same by clang, to assembly.
Compiled compile_hip(const std::string& text, const std::string& arch);
// OpenCL C for NVIDIA's driver; to PTX.
Compiled compile_opencl_ptx(const std::string& text, uint32_t arch);
Compiled compile_glsl(const std::string& text);

}  // namespace bp::kernels::testing
