// SPDX-License-Identifier: Apache-2.0
// The families whose schedules are worth measuring, each as a Tunable. `key` names the kernel
// without its schedule. Pure; any thread.
#pragma once

#include <string>

#include "kernels/ir/caps.h"
#include "kernels/library/attention.h"
#include "kernels/library/gemm.h"
#include "kernels/library/gemv.h"
#include "kernels/library/moe.h"
#include "kernels/library/norm.h"
#include "kernels/plugin/tunable.h"

namespace bp::kernels {

// Passes of about so many tokens share a schedule: 1, 4, 8, 32, 128, 512 and what is more.
uint64_t token_bucket(uint64_t tokens);

Tunable tunable_gemv(const GemvSpec& spec, const Caps& caps, const std::string& key);
Tunable tunable_moe_linear(const MoeLinearSpec& spec, const Caps& caps, const std::string& key);
// `standard` is the planner's choice for passes of about `tokens` tokens.
Tunable tunable_gemm(const GemmSpec& spec, const GemmSchedule& standard, uint64_t tokens,
                     const Caps& caps, const std::string& key);
// For passes of up to `tokens` tokens of one sequence, and contexts of up to `context`. No schedule
// has more parts than `most_splits`.
Tunable tunable_attention(const AttentionSpec& spec, const AttentionSchedule& standard,
                          uint64_t tokens, uint64_t context, uint32_t most_splits, const Caps& caps,
                          const std::string& key);
// Rows of one token.
Tunable tunable_norm(const NormSpec& spec, const Caps& caps, const std::string& key);

}  // namespace bp::kernels
