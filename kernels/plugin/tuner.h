// SPDX-License-Identifier: Apache-2.0
// A tuning run over the kernels of a plan: each is searched for its fastest schedule, and what is
// found is kept at once, so that a run may end at any time.
#pragma once

#include <vector>

#include "backplane/plugin/tune.h"
#include "kernels/plugin/provider.h"
#include "kernels/plugin/tunable.h"

namespace bp::kernels {

// `wanted` as planners collected them: equal ones are uses of one kernel.
Result<bp_tuner_totals> tune(Target* target, std::vector<Tunable> wanted,
                             const bp_tuner_request& request);

}  // namespace bp::kernels
