// SPDX-License-Identifier: Apache-2.0
// Which schedules are worth measuring for a kernel on a device.
//
// A space is all combinations of a family's integers that the builder accepts and the device can
// run: each was built and legalized for `caps`, so what exceeds a limit is never compiled. It is
// ranked by a rough cost, which counts on bytes, waves and occupancy and does not know the card;
// the best `most` come first, and neighbours that differ in one small number only do not crowd the
// others out. Pure; any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/library/attention.h"
#include "kernels/library/gemm.h"
#include "kernels/library/gemv.h"
#include "kernels/library/moe.h"
#include "kernels/library/norm.h"

namespace bp::kernels {

std::vector<GemvSchedule> gemv_space(const GemvSpec& spec, const Caps& caps, uint32_t most);
std::vector<GemvSchedule> moe_linear_space(const MoeLinearSpec& spec, const Caps& caps,
                                           uint32_t most);
// By matrix units when `matrix` is not 0, else by fused multiply-adds: the two round differently,
// so a schedule of one kind is never replaced by one of the other.
std::vector<GemmSchedule> gemm_space(const GemmSpec& spec, const Caps& caps, uint32_t tokens,
                                     uint32_t matrix, uint32_t most);
// With at most `most_splits` parts of the keys.
std::vector<AttentionSchedule> attention_space(const AttentionSpec& spec, const Caps& caps,
                                               uint32_t tokens, uint32_t most_splits,
                                               uint32_t most);
std::vector<NormSchedule> norm_space(const NormSpec& spec, const Caps& caps, uint32_t most);

}  // namespace bp::kernels
