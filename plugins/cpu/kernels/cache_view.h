// SPDX-License-Identifier: Apache-2.0
// A KV cache in any of its formats, row by row: what a head keeps of one position. Portable; tuned
// kernels have vectors of the elements.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backplane/float16.h"
#include "plugins/cpu/kernels/tuned/instructions.h"
#include "plugins/cpu/ops/attention.h"

namespace bp::cpu {

// Rounds the blocks of a row to q8 (docs/ops.md). A block with a value that is not finite becomes
// NaN, which is how damaged weights are noticed.
inline void quantize_row(const float* x, uint64_t count, int8_t* quants,
                         uint16_t* scales) noexcept {
  constexpr uint16_t kNan = 0x7e00;
  constexpr float kLargestHalf = 65504;
  for (uint64_t b = 0; b < count / kCacheBlock; ++b) {
    const float* const from = x + b * kCacheBlock;
    float largest = 0;
    bool is_finite = true;
    for (uint64_t i = 0; i < kCacheBlock; ++i) {
      is_finite = is_finite && std::isfinite(from[i]);
      largest = std::max(largest, std::fabs(from[i]));
    }
    scales[b] = is_finite ? f32_to_f16(std::min(largest / 127, kLargestHalf)) : kNan;
    const float step = f16_to_f32(scales[b]);
    for (uint64_t i = 0; i < kCacheBlock; ++i) {
      const float q = step > 0 ? std::nearbyint(from[i] / step) : 0;
      quants[b * kCacheBlock + i] = static_cast<int8_t>(std::clamp(q, -127.0f, 127.0f));
    }
  }
  if (count / kCacheBlock % 2 != 0) scales[count / kCacheBlock] = 0;
}

// The number of a format in the tables of VectorSet.
constexpr size_t cache_number(Format format) noexcept {
  return format == Format::kQ8 ? 3 : static_cast<size_t>(format);
}

class CacheView {
 public:
  CacheView(Format format, std::byte* data, const CacheShape& shape)
      : format_(format),
        dim_(shape.head_dim),
        bytes_(format == Format::kF32  ? 4
               : format == Format::kQ8 ? 1
                                       : 2),
        stride_(format == Format::kQ8 ? cache_scales(dim_) : 0),
        values_(data),
        scales_(reinterpret_cast<uint16_t*>(data + shape.rows() * dim_ * bytes_)) {}

  // The row and those behind it in its page, for vectors.
  CacheRows rows(uint64_t row) const noexcept { return {values(row), scales(row), stride_}; }
  std::byte* values(uint64_t row) const noexcept { return values_ + row * dim_ * bytes_; }
  uint16_t* scales(uint64_t row) const noexcept { return scales_ + row * stride_; }

  float load(uint64_t row, uint64_t i) const noexcept {
    if (format_ == Format::kQ8) {
      const auto q = static_cast<int8_t>(values(row)[i]);
      return static_cast<float>(q) * f16_to_f32(scales(row)[i / kCacheBlock]);
    }
    if (format_ == Format::kF32) {
      float value;
      std::memcpy(&value, values(row) + i * 4, 4);
      return value;
    }
    uint16_t bits;
    std::memcpy(&bits, values(row) + i * 2, 2);
    return format_ == Format::kF16 ? f16_to_f32(bits) : bf16_to_f32(bits);
  }

  void store(uint64_t row, const float* head) const noexcept {
    if (format_ == Format::kQ8) {
      return quantize_row(head, dim_, reinterpret_cast<int8_t*>(values(row)), scales(row));
    }
    if (format_ == Format::kF32) {
      std::memcpy(values(row), head, dim_ * 4);
      return;
    }
    for (uint64_t i = 0; i < dim_; ++i) {
      const uint16_t bits = format_ == Format::kF16 ? f32_to_f16(head[i]) : f32_to_bf16(head[i]);
      std::memcpy(values(row) + i * 2, &bits, 2);
    }
  }

 private:
  Format format_;
  uint64_t dim_;
  uint64_t bytes_;   // of an element
  uint64_t stride_;  // scales of a row
  std::byte* values_;
  uint16_t* scales_;  // of q8 alone
};

}  // namespace bp::cpu
