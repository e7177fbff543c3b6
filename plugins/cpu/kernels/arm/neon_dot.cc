// SPDX-License-Identifier: Apache-2.0
// Dot products on NEON with the dot product extension: quantized rows with activations rounded to
// 8-bit integers, f32, f16 and bf16 rows with f32 ones.
//
// A packed activation row has the integers in their natural order, then for each 32 of them the
// scale, and scale × sum of each half.
#include "plugins/cpu/kernels/arm/neon_formats.h"
#include "plugins/cpu/kernels/tuned/instructions.h"

namespace bp::cpu {
namespace {

uint64_t blocks_of(uint64_t columns) {
  return (columns + 31) / 32;
}

uint64_t packed_bytes(uint64_t columns) {
  return (blocks_of(columns) * (32 + 3 * sizeof(float)) + 63) / 64 * 64;
}

void pack(const float* x, uint64_t columns, std::byte* out) {
  const uint64_t blocks = blocks_of(columns);
  int8_t* const quants = reinterpret_cast<int8_t*>(out);
  float* const sides = reinterpret_cast<float*>(out + 32 * blocks);
  for (uint64_t b = 0; b < blocks; ++b) {
    const float* const from = x + 32 * b;
    // The largest pattern without its sign: NaN and infinity exceed every number, and make the
    // scale not finite, so that they reach the result.
    uint32x4_t largest = vdupq_n_u32(0);
    for (int i = 0; i < 8; ++i) {
      const uint32x4_t bits = vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(from + 4 * i)));
      largest = vmaxq_u32(largest, bits);
    }
    const uint32_t bits = vmaxvq_u32(largest);
    float limit;
    memcpy(&limit, &bits, 4);
    const float inverse = bits == 0 ? 0.0f : 127.0f / limit;
    int32_t sums[2] = {0, 0};
    for (int i = 0; i < 4; ++i) {
      const int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(from + 8 * i), inverse));
      const int32x4_t c = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(from + 8 * i + 4), inverse));
      const int8x8_t bytes = vqmovn_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(c)));
      vst1_s8(quants + 32 * b + 8 * static_cast<uint64_t>(i), bytes);
      sums[i / 2] += vaddlv_s8(bytes);
    }
    const float scale = limit / 127.0f;
    sides[3 * b] = scale;
    sides[3 * b + 1] = scale * static_cast<float>(sums[0]);
    sides[3 * b + 2] = scale * static_cast<float>(sums[1]);
  }
}

template <class F, int T>
void dot_row(const RowBlock& weight, uint64_t r, const std::byte* x, uint64_t x_stride, float* out,
             uint64_t out_stride) {
  Row row;
  for (uint32_t p = 0; p < 4; ++p) row.planes[p] = weight.planes[p] + r * weight.strides[p];
  const uint64_t blocks = weight.columns / 32;
  float32x4_t sums[T];
  for (int t = 0; t < T; ++t) sums[t] = vdupq_n_f32(0);
  for (uint64_t b = 0; b < blocks; ++b) {
    const Block block = F::block(row, b);
    for (int t = 0; t < T; ++t) {
      const std::byte* const token = x + static_cast<uint64_t>(t) * x_stride;
      const int8_t* const quants = reinterpret_cast<const int8_t*>(token) + 32 * b;
      const float* const side = reinterpret_cast<const float*>(token + 32 * blocks) + 3 * b;
      const int32x4_t zero = vdupq_n_s32(0);
      const float32x4_t first = vcvtq_f32_s32(vdotq_s32(zero, block.quants[0], vld1q_s8(quants)));
      const float32x4_t second =
          vcvtq_f32_s32(vdotq_s32(zero, block.quants[1], vld1q_s8(quants + 16)));
      sums[t] = vfmaq_n_f32(sums[t], first, block.scale[0] * side[0]);
      sums[t] = vfmaq_n_f32(sums[t], second, block.scale[1] * side[0]);
      const float offset = block.offset[0] * side[1] + block.offset[1] * side[2];
      sums[t] = vaddq_f32(sums[t], vsetq_lane_f32(offset, vdupq_n_f32(0), 0));
    }
  }
  for (int t = 0; t < T; ++t) out[static_cast<uint64_t>(t) * out_stride] = vaddvq_f32(sums[t]);
}

template <class F>
void dot(const RowBlock& weight, uint64_t rows, const std::byte* packed, uint64_t packed_stride,
         uint64_t tokens, float* out, uint64_t out_stride) {
  uint64_t t = 0;
  for (; t + 4 <= tokens; t += 4) {
    for (uint64_t r = 0; r < rows; ++r) {
      dot_row<F, 4>(weight, r, packed + t * packed_stride, packed_stride, out + t * out_stride + r,
                    out_stride);
    }
  }
  for (; t < tokens; ++t) {
    for (uint64_t r = 0; r < rows; ++r) {
      dot_row<F, 1>(weight, r, packed + t * packed_stride, packed_stride, out + t * out_stride + r,
                    out_stride);
    }
  }
}

// ---- f32, f16, bf16 -----------------------------------------------------------------------------

struct F32 {
  static constexpr uint64_t kBytes = 4;
  static float32x4_t load(const uint8_t* from) {
    return vld1q_f32(reinterpret_cast<const float*>(from));
  }
};
struct F16 {
  static constexpr uint64_t kBytes = 2;
  static float32x4_t load(const uint8_t* from) {
    return vcvt_f32_f16(vld1_f16(reinterpret_cast<const float16_t*>(from)));
  }
};
struct Bf16 {
  static constexpr uint64_t kBytes = 2;
  static float32x4_t load(const uint8_t* from) {
    const uint16x4_t half = vld1_u16(reinterpret_cast<const uint16_t*>(from));
    return vreinterpretq_f32_u32(vshll_n_u16(half, 16));
  }
};

uint64_t float_packed_bytes(uint64_t columns) {
  return (columns + 15) / 16 * 64;
}

void float_pack(const float* x, uint64_t columns, std::byte* out) {
  memcpy(out, x, columns * sizeof(float));
  memset(out + columns * sizeof(float), 0, float_packed_bytes(columns) - columns * sizeof(float));
}

template <class F, int R, int T>
void float_tile(const RowBlock& weight, uint64_t row, const float* x, uint64_t x_stride, float* out,
                uint64_t out_stride) {
  const uint8_t* rows[R];
  float32x4_t sums[R][T];
  for (int r = 0; r < R; ++r) {
    rows[r] = weight.planes[0] + (row + static_cast<uint64_t>(r)) * weight.strides[0];
    for (int t = 0; t < T; ++t) sums[r][t] = vdupq_n_f32(0);
  }
  const auto add = [&](uint64_t i, const uint8_t* const* from) {
    for (int t = 0; t < T; ++t) {
      const float32x4_t xs = vld1q_f32(x + static_cast<uint64_t>(t) * x_stride + i);
      for (int r = 0; r < R; ++r) sums[r][t] = vfmaq_f32(sums[r][t], F::load(from[r]), xs);
    }
  };
  const uint64_t whole = weight.columns / 4 * 4;
  for (uint64_t i = 0; i < whole; i += 4) {
    const uint8_t* from[R];
    for (int r = 0; r < R; ++r) from[r] = rows[r] + F::kBytes * i;
    add(i, from);
  }
  if (whole != weight.columns) {
    alignas(16) uint8_t rest[R][16] = {};
    const uint8_t* from[R];
    for (int r = 0; r < R; ++r) {
      memcpy(rest[r], rows[r] + F::kBytes * whole, F::kBytes * (weight.columns - whole));
      from[r] = rest[r];
    }
    add(whole, from);
  }
  for (int t = 0; t < T; ++t) {
    for (int r = 0; r < R; ++r) {
      out[static_cast<uint64_t>(t) * out_stride + static_cast<uint64_t>(r)] =
          vaddvq_f32(sums[r][t]);
    }
  }
}

template <class F>
void float_dot(const RowBlock& weight, uint64_t rows, const std::byte* packed,
               uint64_t packed_stride, uint64_t tokens, float* out, uint64_t out_stride) {
  const float* const x = reinterpret_cast<const float*>(packed);
  const uint64_t stride = packed_stride / sizeof(float);
  uint64_t t = 0;
  while (t < tokens) {
    const bool wide = tokens - t >= 4;
    const float* const xt = x + t * stride;
    float* const to = out + t * out_stride;
    uint64_t r = 0;
    if (wide) {
      for (; r + 4 <= rows; r += 4) float_tile<F, 4, 4>(weight, r, xt, stride, to + r, out_stride);
      for (; r < rows; ++r) float_tile<F, 1, 4>(weight, r, xt, stride, to + r, out_stride);
    } else {
      for (; r + 4 <= rows; r += 4) float_tile<F, 4, 1>(weight, r, xt, stride, to + r, out_stride);
      for (; r < rows; ++r) float_tile<F, 1, 1>(weight, r, xt, stride, to + r, out_stride);
    }
    t += wide ? 4 : 1;
  }
}

}  // namespace

extern const DotSet kNeonDots[15];
const DotSet kNeonDots[15] = {
    {float_packed_bytes, float_pack, float_dot<F32>},
    {float_packed_bytes, float_pack, float_dot<F16>},
    {float_packed_bytes, float_pack, float_dot<Bf16>},
    {packed_bytes, pack, dot<Q8G32>},
    {packed_bytes, pack, dot<Q4G32>},
    {packed_bytes, pack, dot<Q4G32Z>},
    {packed_bytes, pack, dot<Q5G32>},
    {packed_bytes, pack, dot<Q5G32Z>},
    {packed_bytes, pack, dot<Q2K>},
    {packed_bytes, pack, dot<Q3K>},
    {packed_bytes, pack, dot<Q4K>},
    {packed_bytes, pack, dot<Q5K>},
    {packed_bytes, pack, dot<Q6K>},
    {packed_bytes, pack, dot<Iq4Nl>},
    {packed_bytes, pack, dot<Mxfp4>},
};

}  // namespace bp::cpu
