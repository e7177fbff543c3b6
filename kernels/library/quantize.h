// SPDX-License-Identifier: Apache-2.0
// Activations as int8: per block of 32 along a row, 32 int8 in 8 words, and a pair of words, scale
// (f32, largest magnitude / 127) and the sum of the 32 int8 (i32). What int8 GEMV reads.
#pragma once

#include <functional>

#include "kernels/builder/builder.h"

namespace bp::kernels {

inline constexpr uint32_t kActivationBlock = 32;

// Quantizes and stores vector `index` (4 floats, counted over all rows) of each thread. Eight
// consecutive threads hold a block; either all of them are inside the row or none is. All threads
// of the group must come here. `guarded` runs its argument for the threads that are inside.
void store_int8(Builder& k, Buf quants, Buf scales, const Val& index, const Val& vector,
                const std::function<void(const std::function<void()>&)>& guarded);

}  // namespace bp::kernels
