// SPDX-License-Identifier: Apache-2.0
// What the stand-in puts in front of kernel text, in place of the renderer's prologue, so that the
// host's C++ compiler takes CUDA C and HIP C. Text is compiled alone, as one translation unit, with
// BP_MOCK_CUDA or BP_MOCK_HIP and BP_MOCK_SYNCHRONIZES defined. Includes nothing: kernels are many.
#pragma once

#define BP_MOCK_VISIBLE __attribute__((visibility("default")))
// One copy of a group's shared memory is enough: groups of one module run one after the other.
#define BP_MOCK_SHARED static __attribute__((section("bp_shared"), aligned(16)))

struct bp_mock_index {
  unsigned int x, y, z;
};
static bp_mock_index threadIdx, blockIdx, blockDim, gridDim;

// Layouts as in fiber.h.
struct bp_mock_hooks {
  unsigned int (*shuffle_xor)(unsigned int value, unsigned int mask);
  void (*barrier)();
  const float* (*gather)(const float* values, unsigned count);
};
struct bp_mock_bound {
  unsigned int *thread, *block, *block_dim, *grid_dim;
  unsigned char *shared_begin, *shared_end;
  unsigned int synchronizes;
};
static const bp_mock_hooks* bp_mock_engine;

extern "C" unsigned char __start_bp_shared[] __attribute__((weak, visibility("hidden")));
extern "C" unsigned char __stop_bp_shared[] __attribute__((weak, visibility("hidden")));

extern "C" BP_MOCK_VISIBLE void bp_mock_bind(const bp_mock_hooks* hooks, bp_mock_bound* out) {
  bp_mock_engine = hooks;
  *out = {&threadIdx.x,      &blockIdx.x,      &blockDim.x,         &gridDim.x,
          __start_bp_shared, __stop_bp_shared, BP_MOCK_SYNCHRONIZES};
}

// ---- calling a kernel with arguments behind pointers ----------------------------------------

template <unsigned... I>
struct bp_mock_sequence {};
template <unsigned N, unsigned... I>
struct bp_mock_make : bp_mock_make<N - 1, N - 1, I...> {};
template <unsigned... I>
struct bp_mock_make<0, I...> {
  using type = bp_mock_sequence<I...>;
};
template <class... A, unsigned... I>
inline void bp_mock_call(void (*kernel)(A...), void** a, bp_mock_sequence<I...>) {
  (void)a;
  kernel(*static_cast<A*>(a[I])...);
}
template <class... A>
inline void bp_mock_call(void (*kernel)(A...), void** a) {
  bp_mock_call(kernel, a, typename bp_mock_make<sizeof...(A)>::type{});
}
template <class... A>
inline unsigned bp_mock_arguments(void (*)(A...), unsigned* bytes) {
  const unsigned sizes[] = {sizeof(A)..., 0};
  for (unsigned i = 0; i < sizeof...(A); ++i) bytes[i] = sizes[i];
  return sizeof...(A);
}
#define BP_MOCK_ENTRY(name)                                                       \
  extern "C" BP_MOCK_VISIBLE void bp_mock_entry_##name(void** a) {                \
    bp_mock_call(&name, a);                                                       \
  }                                                                               \
  extern "C" BP_MOCK_VISIBLE unsigned bp_mock_arguments_##name(unsigned* bytes) { \
    return bp_mock_arguments(&name, bytes);                                       \
  }

// ---- words, halves, dot products ------------------------------------------------------------

template <class To, class From>
inline To bp_mock_cast(From x) {
  To out;
  static_assert(sizeof out == sizeof x, "");
  __builtin_memcpy(&out, &x, sizeof out);
  return out;
}

inline float bp_mock_half_to_float(unsigned int h) {
#if defined(__FLT16_MANT_DIG__)
  return (float)bp_mock_cast<_Float16>((unsigned short)h);
#else
  const unsigned int sign = (h & 0x8000u) << 16, magnitude = h & 0x7fffu;
  // 2^112 moves the exponent; subnormals come out right since the product is exact.
  unsigned int bits = bp_mock_cast<unsigned int>(bp_mock_cast<float>(magnitude << 13) * 0x1p112f);
  if (magnitude >= 0x7c00u) bits |= 0x7f800000u;
  return bp_mock_cast<float>(bits | sign);
#endif
}
inline unsigned int bp_mock_float_to_half(float f) {
#if defined(__FLT16_MANT_DIG__)
  return bp_mock_cast<unsigned short>((_Float16)f);
#else
  const unsigned int bits = bp_mock_cast<unsigned int>(f), sign = bits >> 16 & 0x8000u;
  unsigned int magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;
  if (magnitude >= 0x47800000u) return sign | 0x7c00u;
  if (magnitude < 0x38800000u) {  // subnormal: the addition rounds at the right bit
    const float shifted = bp_mock_cast<float>(magnitude) + 0.5f;
    return sign | (bp_mock_cast<unsigned int>(shifted) - 0x3f000000u);
  }
  magnitude += 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u;
  return sign | magnitude >> 13;
#endif
}

inline int bp_dot4(unsigned int a, unsigned int b, int c) {
  for (int i = 0; i < 32; i += 8) c += (signed char)(a >> i) * (signed char)(b >> i);
  return c;
}
inline unsigned int bp_pack_f16x2(float l, float h) {
  return bp_mock_float_to_half(l) | bp_mock_float_to_half(h) << 16;
}

#define BP_MOCK_VECTOR(name, type) \
  struct alignas(8) name##2 {      \
    type x, y;                     \
  };                               \
  struct alignas(16) name##4 {     \
    type x, y, z, w;               \
  };

// ---- CUDA C ---------------------------------------------------------------------------------
#ifdef BP_MOCK_CUDA
#define __global__ BP_MOCK_VISIBLE
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ BP_MOCK_SHARED
BP_MOCK_VECTOR(uint, unsigned int)
BP_MOCK_VECTOR(int, int)
BP_MOCK_VECTOR(float, float)
inline uint2 make_uint2(unsigned a, unsigned b) {
  return {a, b};
}
inline uint4 make_uint4(unsigned a, unsigned b, unsigned c, unsigned d) {
  return {a, b, c, d};
}
inline int2 make_int2(int a, int b) {
  return {a, b};
}
inline int4 make_int4(int a, int b, int c, int d) {
  return {a, b, c, d};
}
inline float2 make_float2(float a, float b) {
  return {a, b};
}
inline float4 make_float4(float a, float b, float c, float d) {
  return {a, b, c, d};
}
inline float2 bp_unpack_f16x2(unsigned int w) {
  return {bp_mock_half_to_float(w & 0xffffu), bp_mock_half_to_float(w >> 16)};
}
inline int __dp4a(int a, int b, int c) {
  return bp_dot4((unsigned)a, (unsigned)b, c);
}
// Launches run one after the other here.
inline void bp_await() {}
inline void __syncthreads() {
  bp_mock_engine->barrier();
}
inline void __threadfence() {}  // groups run one after the other as well
inline unsigned __shfl_xor_sync(unsigned, unsigned x, int mask) {
  return bp_mock_engine->shuffle_xor(x, (unsigned)mask);
}
inline int __shfl_xor_sync(unsigned, int x, int mask) {
  return (int)bp_mock_engine->shuffle_xor((unsigned)x, (unsigned)mask);
}
inline float __shfl_xor_sync(unsigned, float x, int mask) {
  return bp_mock_cast<float>(
      bp_mock_engine->shuffle_xor(bp_mock_cast<unsigned>(x), (unsigned)mask));
}
inline float __uint_as_float(unsigned x) {
  return bp_mock_cast<float>(x);
}
inline float __int_as_float(int x) {
  return bp_mock_cast<float>(x);
}
inline unsigned __float_as_uint(float x) {
  return bp_mock_cast<unsigned>(x);
}
inline int __float_as_int(float x) {
  return bp_mock_cast<int>(x);
}
inline unsigned atomicAdd(unsigned* p, unsigned x) {
  return __atomic_fetch_add(p, x, __ATOMIC_RELAXED);
}
inline int atomicAdd(int* p, int x) {
  return __atomic_fetch_add(p, x, __ATOMIC_RELAXED);
}
inline float fabsf(float x) {
  return __builtin_fabsf(x);
}
inline float floorf(float x) {
  return __builtin_floorf(x);
}
inline float rintf(float x) {
  return __builtin_rintf(x);
}
inline float exp2f(float x) {
  return __builtin_exp2f(x);
}
inline float log2f(float x) {
  return __builtin_log2f(x);
}
inline float sqrtf(float x) {
  return __builtin_sqrtf(x);
}
inline float rsqrtf(float x) {
  return 1.0f / __builtin_sqrtf(x);
}
inline float fminf(float a, float b) {
  return __builtin_fminf(a, b);
}
inline float fmaxf(float a, float b) {
  return __builtin_fmaxf(a, b);
}
inline float fmaf(float a, float b, float c) {
  return __builtin_fmaf(a, b, c);
}
inline int abs(int a) {
  return a < 0 ? -a : a;
}
inline int min(int a, int b) {
  return a < b ? a : b;
}
inline int max(int a, int b) {
  return a < b ? b : a;
}
inline unsigned min(unsigned a, unsigned b) {
  return a < b ? a : b;
}
inline unsigned max(unsigned a, unsigned b) {
  return a < b ? b : a;
}
#endif

// ---- HIP C ----------------------------------------------------------------------------------
#ifdef BP_MOCK_HIP
#define BP_DEVICE static inline
#define BP_KERNEL extern "C" BP_MOCK_VISIBLE
#define BP_SHARED BP_MOCK_SHARED
BP_MOCK_VECTOR(bp_uint, unsigned int)
BP_MOCK_VECTOR(bp_int, int)
BP_MOCK_VECTOR(bp_float, float)
BP_DEVICE float bp_as_float(unsigned int x) {
  return bp_mock_cast<float>(x);
}
BP_DEVICE unsigned int bp_as_uint(float x) {
  return bp_mock_cast<unsigned int>(x);
}
BP_DEVICE bp_float2 bp_unpack_f16x2(unsigned int w) {
  return {bp_mock_half_to_float(w & 0xffffu), bp_mock_half_to_float(w >> 16)};
}
BP_DEVICE unsigned int bp_min(unsigned int a, unsigned int b) {
  return a < b ? a : b;
}
BP_DEVICE unsigned int bp_max(unsigned int a, unsigned int b) {
  return a < b ? b : a;
}
BP_DEVICE int bp_min(int a, int b) {
  return a < b ? a : b;
}
BP_DEVICE int bp_max(int a, int b) {
  return a < b ? b : a;
}
BP_DEVICE int bp_abs(int a) {
  return a < 0 ? -a : a;
}
#define bp_tid() threadIdx.x
#define bp_group_x() blockIdx.x
#define bp_group_y() blockIdx.y
BP_DEVICE void bp_barrier() {
  bp_mock_engine->barrier();
}
BP_DEVICE void bp_barrier_release() {
  bp_barrier();
}
BP_DEVICE void bp_barrier_acquire() {
  bp_barrier();
}
BP_DEVICE unsigned int bp_shuffle_xor(unsigned int x, unsigned int mask) {
  return bp_mock_engine->shuffle_xor(x, mask);
}
#define __builtin_amdgcn_rsqf(x) (1.0f / __builtin_sqrtf(x))
#define __hip_atomic_fetch_add(p, x, order, scope) __atomic_fetch_add(p, x, order)
#endif

// ---- matrix fragments -----------------------------------------------------------------------
// 16 by 16 by 16, in a layout of our own: a lane keeps row lane % 16 of an input, as floats, and of
// the sums column lane % 16 of every (subgroup / 16)-th row. Rows of b are columns of the result.

#ifndef BP_SUBGROUP
#define BP_MOCK_SUBGROUP 32u
#else
#define BP_MOCK_SUBGROUP BP_SUBGROUP
#endif
struct bp_frag_in {
  float x[16];
};
struct bp_frag_sum {
  float x[8];
};
#define BP_MOCK_LANE (threadIdx.x % BP_MOCK_SUBGROUP)
#define BP_MOCK_EACH_SUM(i, row) \
  for (unsigned int i = 0, row = BP_MOCK_LANE / 16; row < 16; ++i, row += BP_MOCK_SUBGROUP / 16)

static inline bp_frag_sum bp_frag_fill(float v) {
  return {{v, v, v, v, v, v, v, v}};
}
static inline bp_frag_in bp_frag_load(const unsigned int* at, unsigned int stride) {
  bp_frag_in r;
  at += BP_MOCK_LANE % 16 * stride;
  for (int i = 0; i < 16; ++i) {
    r.x[i] = bp_mock_half_to_float(at[i / 2] >> 16 * (i % 2) & 0xffffu);
  }
  return r;
}
static inline bp_frag_sum bp_mma(const bp_frag_in& a, const bp_frag_in& b, bp_frag_sum s) {
  float mine[32];
  __builtin_memcpy(mine, a.x, sizeof a.x);
  __builtin_memcpy(mine + 16, b.x, sizeof b.x);
  const float* const all = bp_mock_engine->gather(mine, 32);
  const float* const column = all + BP_MOCK_LANE % 16 * 32 + 16;
  BP_MOCK_EACH_SUM(i, row) {
    for (int k = 0; k < 16; ++k) s.x[i] += all[row * 32 + k] * column[k];
  }
  return s;
}
static inline void bp_frag_store(float* at, unsigned int stride, const bp_frag_sum& s) {
  BP_MOCK_EACH_SUM(i, row) at[row * stride + BP_MOCK_LANE % 16] = s.x[i];
}

#define BACKPLANE_PROLOGUE
