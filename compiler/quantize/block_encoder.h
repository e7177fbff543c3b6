// SPDX-License-Identifier: Apache-2.0
// One group of 32 weights to quants and a scale. The arithmetic behind quantize.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bp {

inline constexpr uint32_t kGroup = 32;

// The f16 pattern of the group's scale is written to `scale` (2 bytes), the quants to `quants` (32
// signed bytes for q8_g32, 16 bytes of nibbles for q4_g32). False, with nothing written, when the
// scale would not fit into f16. The values must be finite.
bool encode_q8_g32(const float* values, std::byte* quants, std::byte* scale) noexcept;
bool encode_q4_g32(const float* values, std::byte* quants, std::byte* scale) noexcept;

}  // namespace bp
