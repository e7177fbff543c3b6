// SPDX-License-Identifier: Apache-2.0
// One element of a KV cache, in any of its formats. Portable; tuned kernels have vectors of them.
#pragma once

#include <cstring>

#include "backplane/float16.h"
#include "plugins/cpu/kernel.h"

namespace bp::cpu {

inline float load_cache(Format format, const std::byte* cache, uint64_t index) noexcept {
  if (format == Format::kF32) {
    float value;
    std::memcpy(&value, cache + index * 4, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, cache + index * 2, 2);
  return format == Format::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

inline void store_cache(Format format, std::byte* cache, uint64_t index, float value) noexcept {
  if (format == Format::kF32) {
    std::memcpy(cache + index * 4, &value, 4);
    return;
  }
  const uint16_t bits = format == Format::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
  std::memcpy(cache + index * 2, &bits, 2);
}

}  // namespace bp::cpu
