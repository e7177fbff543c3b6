// SPDX-License-Identifier: Apache-2.0
// The ARM table. This file itself is portable code.
#include "plugins/cpu/kernels/tuned/instructions.h"

#include <algorithm>

namespace bp::cpu {

extern const DotSet kNeonDots[15];
extern const VectorSet kNeonVectors;

const InstructionSet* neon_instructions() noexcept {
  static const InstructionSet set = [] {
    InstructionSet out{};
    out.name = "neon";
    std::copy_n(kNeonDots, 15, out.dot);
    out.vectors = kNeonVectors;
    return out;
  }();
  return &set;
}

}  // namespace bp::cpu
