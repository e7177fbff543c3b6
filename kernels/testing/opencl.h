// SPDX-License-Identifier: Apache-2.0
// Runs a case on the machine's first OpenCL device (PoCL in this project's tests).
#pragma once

#include <string>

#include "kernels/testing/cases.h"

namespace bp::kernels::testing {

struct Executed {
  enum State { kOk, kFailed, kAbsent } state = kAbsent;
  std::string log;             // what is wrong or absent
  std::vector<Words> buffers;  // after the run
};

// Compiles `text` (OpenCL C) and runs kernel `entry` on copies of the case's buffers.
Executed run_opencl(const Case& test, const Kernel& kernel, const std::string& text,
                    const std::string& entry);

}  // namespace bp::kernels::testing
