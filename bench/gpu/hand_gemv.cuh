// SPDX-License-Identifier: Apache-2.0
// The rival: q4_g32 GEMV written by hand for NVIDIA GPUs, with the freedoms that the kernel IR does
// not have (half2 arithmetic, 16-bit loads, warp-wide rows, loads ahead of use by construction).
//
// Layout (docs/ops.md): quants [rows, columns / 32] of 16 bytes, byte j holding element j in its
// low and j + 16 in its high nibble; scales [rows, columns / 32] f16; value = scale × (q − 8).
#pragma once

#include <cuda_fp16.h>

namespace hand {

__device__ __forceinline__ uint4 stream(const uint4* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p));
  return v;
}

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int mask = 16; mask > 0; mask >>= 1) v += __shfl_xor_sync(~0u, v, mask);
  return v;
}

// Σ over one block in int8: x as 8 words, then −8 × (sum of x).
__device__ __forceinline__ int dot_block(const uint4& w, const uint4& lo, const uint4& hi, int sum) {
  int s = -8 * sum;
  s = __dp4a((int)(w.x & 0x0f0f0f0f), (int)lo.x, s);
  s = __dp4a((int)(w.x >> 4 & 0x0f0f0f0f), (int)hi.x, s);
  s = __dp4a((int)(w.y & 0x0f0f0f0f), (int)lo.y, s);
  s = __dp4a((int)(w.y >> 4 & 0x0f0f0f0f), (int)hi.y, s);
  s = __dp4a((int)(w.z & 0x0f0f0f0f), (int)lo.z, s);
  s = __dp4a((int)(w.z >> 4 & 0x0f0f0f0f), (int)hi.z, s);
  s = __dp4a((int)(w.w & 0x0f0f0f0f), (int)lo.w, s);
  s = __dp4a((int)(w.w >> 4 & 0x0f0f0f0f), (int)hi.w, s);
  return s;
}

// x_int8: [columns / 32] of 32 bytes; x_scales: [columns / 32] of (f32 scale, i32 sum).
// A warp takes ROWS rows; AHEAD blocks of each are in flight before the first is used.
template <int ROWS, int WARPS, int AHEAD>
__global__ void __launch_bounds__(32 * WARPS)
gemv_int8(const uint4* __restrict__ quants, const __half* __restrict__ scales,
          const uint4* __restrict__ x_int8, const uint2* __restrict__ x_scales,
          float* __restrict__ y, int rows, int blocks) {
  const int lane = threadIdx.x & 31, row0 = (blockIdx.x * WARPS + (threadIdx.x >> 5)) * ROWS;
  if (row0 >= rows) return;
  float acc[ROWS] = {};
  for (int b0 = lane; b0 < blocks; b0 += 32 * AHEAD) {
    uint4 w[AHEAD][ROWS];
    float d[AHEAD][ROWS];
#pragma unroll
    for (int a = 0; a < AHEAD; ++a) {
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const int b = b0 + 32 * a;
        if (b < blocks) {
          w[a][r] = stream(quants + (size_t)(row0 + r) * blocks + b);
          d[a][r] = __half2float(__ldg(scales + (size_t)(row0 + r) * blocks + b));
        }
      }
    }
#pragma unroll
    for (int a = 0; a < AHEAD; ++a) {
      const int b = b0 + 32 * a;
      if (b < blocks) {
        const uint4 lo = __ldg(x_int8 + 2 * b), hi = __ldg(x_int8 + 2 * b + 1);
        const uint2 pair = __ldg(x_scales + b);
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
          acc[r] = fmaf((float)dot_block(w[a][r], lo, hi, (int)pair.y),
                        d[a][r] * __uint_as_float(pair.x), acc[r]);
        }
      }
    }
  }
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const float s = warp_sum(acc[r]);
    if (lane == 0 && row0 + r < rows) y[row0 + r] = s;
  }
}

// Two nibbles as halves: or-ing 0x6400 makes 1024 + n.
__device__ __forceinline__ float2 pair_of(unsigned int bits) {
  const unsigned int packed = (bits & 0x000f000fu) | 0x64006400u;
  const __half2 h = __hsub2(*reinterpret_cast<const __half2*>(&packed), __half2half2(__ushort_as_half(0x6408)));
  return __half22float2(h);
}

// x: [columns] f32.
template <int ROWS, int WARPS, int AHEAD>
__global__ void __launch_bounds__(32 * WARPS)
gemv_f32(const uint4* __restrict__ quants, const __half* __restrict__ scales,
         const float4* __restrict__ x, float* __restrict__ y, int rows, int blocks) {
  const int lane = threadIdx.x & 31, row0 = (blockIdx.x * WARPS + (threadIdx.x >> 5)) * ROWS;
  if (row0 >= rows) return;
  float acc[ROWS] = {};
  for (int b0 = lane; b0 < blocks; b0 += 32 * AHEAD) {
    uint4 w[AHEAD][ROWS];
    float d[AHEAD][ROWS];
#pragma unroll
    for (int a = 0; a < AHEAD; ++a) {
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const int b = b0 + 32 * a;
        if (b < blocks) {
          w[a][r] = stream(quants + (size_t)(row0 + r) * blocks + b);
          d[a][r] = __half2float(__ldg(scales + (size_t)(row0 + r) * blocks + b));
        }
      }
    }
#pragma unroll
    for (int a = 0; a < AHEAD; ++a) {
      const int b = b0 + 32 * a;
      if (b < blocks) {
        float sum[ROWS] = {};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float4 lo = __ldg(x + 8 * b + i), hi = __ldg(x + 8 * b + 4 + i);
#pragma unroll
          for (int r = 0; r < ROWS; ++r) {
            const unsigned int word = i == 0 ? w[a][r].x : i == 1 ? w[a][r].y : i == 2 ? w[a][r].z : w[a][r].w;
            const float2 p0 = pair_of(word), p1 = pair_of(word >> 4);       // bytes 0 and 2
            const float2 p2 = pair_of(word >> 8), p3 = pair_of(word >> 12);  // bytes 1 and 3
            float s = sum[r];
            s = fmaf(p0.x, lo.x, s), s = fmaf(p2.x, lo.y, s), s = fmaf(p0.y, lo.z, s), s = fmaf(p2.y, lo.w, s);
            s = fmaf(p1.x, hi.x, s), s = fmaf(p3.x, hi.y, s), s = fmaf(p1.y, hi.z, s), s = fmaf(p3.y, hi.w, s);
            sum[r] = s;
          }
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r) acc[r] = fmaf(sum[r], d[a][r], acc[r]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const float s = warp_sum(acc[r]);
    if (lane == 0 && row0 + r < rows) y[row0 + r] = s;
  }
}

}  // namespace hand
