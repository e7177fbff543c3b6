// SPDX-License-Identifier: Apache-2.0
// Cases of the kernels for mixtures of experts.
#pragma once

#include "kernels/library/moe.h"
#include "kernels/testing/cases.h"

namespace bp::kernels::testing {

// Some logits are equal.
Result<Case> moe_route_case(const MoeRouteSpec& spec, uint32_t threads, uint32_t tokens,
                            uint64_t seed);
// Two ids are outside [0, E), where there are so many, and count as the last expert.
Result<Case> moe_linear_case(const MoeLinearSpec& spec, const GemvSchedule& schedule,
                             uint32_t tokens, uint64_t seed);

}  // namespace bp::kernels::testing
