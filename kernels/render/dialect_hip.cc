// SPDX-License-Identifier: Apache-2.0
// HIP C from compiler builtins alone: neither headers nor device libraries, so that hipRTC without
// them and plain clang both take it.
#include <fmt/format.h>

#include "kernels/render/dialects.h"

namespace bp::kernels {
namespace {

constexpr std::string_view kPrologue = R"(#ifndef BACKPLANE_PROLOGUE
#define BP_DEVICE static __attribute__((device, always_inline)) inline
#define BP_KERNEL extern "C" __attribute__((global))
#define BP_SHARED static __attribute__((shared))
typedef unsigned int bp_uint2 __attribute__((ext_vector_type(2)));
typedef unsigned int bp_uint4 __attribute__((ext_vector_type(4)));
typedef int bp_int2 __attribute__((ext_vector_type(2)));
typedef int bp_int4 __attribute__((ext_vector_type(4)));
typedef float bp_float2 __attribute__((ext_vector_type(2)));
typedef float bp_float4 __attribute__((ext_vector_type(4)));
typedef _Float16 bp_half2 __attribute__((ext_vector_type(2)));
BP_DEVICE float bp_as_float(unsigned int x) { return __builtin_bit_cast(float, x); }
BP_DEVICE unsigned int bp_as_uint(float x) { return __builtin_bit_cast(unsigned int, x); }
BP_DEVICE bp_float2 bp_unpack_f16x2(unsigned int w) {
  bp_half2 h = __builtin_bit_cast(bp_half2, w);
  return bp_float2{(float)h.x, (float)h.y};
}
BP_DEVICE unsigned int bp_pack_f16x2(float l, float h) {
  return __builtin_bit_cast(unsigned int, (bp_half2{(_Float16)l, (_Float16)h}));
}
BP_DEVICE unsigned int bp_min(unsigned int a, unsigned int b) { return a < b ? a : b; }
BP_DEVICE unsigned int bp_max(unsigned int a, unsigned int b) { return a < b ? b : a; }
BP_DEVICE int bp_min(int a, int b) { return a < b ? a : b; }
BP_DEVICE int bp_max(int a, int b) { return a < b ? b : a; }
BP_DEVICE int bp_abs(int a) { return a < 0 ? -a : a; }
#define bp_tid() __builtin_amdgcn_workitem_id_x()
#define bp_group_x() __builtin_amdgcn_workgroup_id_x()
#define bp_group_y() __builtin_amdgcn_workgroup_id_y()
BP_DEVICE void bp_barrier() {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
)";

// Each wave writes back, or forgets, what it holds of the device's memory.
constexpr std::string_view kOrder = R"(BP_DEVICE void bp_barrier_release() {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "agent");
  bp_barrier();
}
BP_DEVICE void bp_barrier_acquire() {
  bp_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "agent");
}
)";

constexpr std::string_view kShuffle =
    R"(BP_DEVICE unsigned int bp_shuffle_xor(unsigned int x, unsigned int mask) {
  unsigned int lane = __builtin_amdgcn_mbcnt_lo(~0u, 0u);
#if BP_SUBGROUP == 64
  lane = __builtin_amdgcn_mbcnt_hi(~0u, lane);
#endif
  return (unsigned int)__builtin_amdgcn_ds_bpermute((int)((lane ^ mask) << 2), (int)x);
}
)";

// gfx11 dropped the signed form for one with a sign flag per operand.
constexpr std::string_view kDot = R"(BP_DEVICE int bp_dot4(unsigned int a, unsigned int b, int c) {
  return __builtin_amdgcn_sdot4((int)a, (int)b, c, false);
}
)";
constexpr std::string_view kDot11 =
    R"(BP_DEVICE int bp_dot4(unsigned int a, unsigned int b, int c) {
  return __builtin_amdgcn_sudot4(true, (int)a, true, (int)b, c, false);
}
)";

// WMMA of gfx11, 32 lanes: a lane holds row lane % 16 of an input, both halves of the lanes the
// same; of the sums column lane % 16 of every second row.
constexpr std::string_view kWmma = R"(typedef float bp_frag_sum __attribute__((ext_vector_type(8)));
typedef _Float16 bp_frag_in __attribute__((ext_vector_type(16)));
typedef unsigned int bp_uint8 __attribute__((ext_vector_type(8)));
BP_DEVICE unsigned int bp_frag_lane() { return bp_tid() & 31u; }
BP_DEVICE bp_frag_sum bp_frag_fill(float v) { return bp_frag_sum{v, v, v, v, v, v, v, v}; }
BP_DEVICE bp_frag_in bp_frag_load(const unsigned int* at, unsigned int stride) {
  at += (bp_frag_lane() & 15u) * stride;
  return __builtin_bit_cast(
      bp_frag_in, (bp_uint8{at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]}));
}
BP_DEVICE bp_frag_sum bp_mma(bp_frag_in a, bp_frag_in b, bp_frag_sum s) {
  return __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(a, b, s);
}
BP_DEVICE void bp_frag_store(float* at, unsigned int stride, bp_frag_sum s) {
  at += (bp_frag_lane() >> 4) * stride + (bp_frag_lane() & 15u);
#pragma unroll
  for (unsigned int i = 0; i < 8; ++i) at[2 * i * stride] = s[i];
}
)";
// MFMA of gfx908 and later, 64 lanes: of an input row lane % 16 and four halves from 4 · (lane /
// 16) on; of the sums column lane % 16 of the four rows from 4 · (lane / 16) on.
constexpr std::string_view kMfma = R"(typedef float bp_frag_sum __attribute__((ext_vector_type(4)));
typedef _Float16 bp_frag_in __attribute__((ext_vector_type(4)));
BP_DEVICE unsigned int bp_frag_lane() { return bp_tid() & 63u; }
BP_DEVICE bp_frag_sum bp_frag_fill(float v) { return bp_frag_sum{v, v, v, v}; }
BP_DEVICE bp_frag_in bp_frag_load(const unsigned int* at, unsigned int stride) {
  at += (bp_frag_lane() & 15u) * stride + 2 * (bp_frag_lane() >> 4);
  return __builtin_bit_cast(bp_frag_in, (bp_uint2{at[0], at[1]}));
}
BP_DEVICE bp_frag_sum bp_mma(bp_frag_in a, bp_frag_in b, bp_frag_sum s) {
  return __builtin_amdgcn_mfma_f32_16x16x16f16(a, b, s, 0, 0, 0);
}
BP_DEVICE void bp_frag_store(float* at, unsigned int stride, bp_frag_sum s) {
  at += 4 * (bp_frag_lane() >> 4) * stride + (bp_frag_lane() & 15u);
#pragma unroll
  for (unsigned int i = 0; i < 4; ++i) at[i * stride] = s[i];
}
)";

class HipPrinter final : public Printer {
 public:
  using Printer::Printer;

 protected:
  void begin() override {
    raw(fmt::format("#define BP_SUBGROUP {}\n", caps_.subgroup_size));
    raw(kPrologue);
    if (orders_groups(kernel_)) raw(kOrder);
    if (uses(Op::kShuffleXor)) raw(kShuffle);
    if (uses(Op::kFragFill) || uses(Op::kFragLoad)) raw(caps_.subgroup_size == 64 ? kMfma : kWmma);
    if (uses(Op::kDot4)) raw(caps_.arch >= 0x1100 ? kDot11 : kDot);
    raw("#endif\n");
    if (!kernel_.params.empty()) {
      raw("struct bp_params {\n");
      for (const Param& p : kernel_.params)
        raw(fmt::format("  {} {};\n", type_name({p.kind, 1}), p.name));
      raw("};\n");
    }
    std::string list;
    for (const Buffer& b : kernel_.buffers) {
      list += fmt::format("{}{}unsigned int* __restrict__ b_{}", list.empty() ? "" : ", ",
                          b.access == Access::kRead ? "const " : "", b.name);
    }
    if (!kernel_.params.empty()) list += list.empty() ? "const bp_params p" : ", const bp_params p";
    raw(fmt::format(
        "BP_KERNEL __attribute__((amdgpu_flat_work_group_size({0}, {0}))) void bp_{1}({2}) {{\n",
        kernel_.threads, kernel_.name, list));
    for (const SharedArray& s : kernel_.shared) {
      line(fmt::format("BP_SHARED {} s_{}[{}];", type_name(s.element), s.name, s.count));
    }
  }

  std::string type_name(Type type) const override {
    if (is_fragment(type)) return type.kind == Kind::kFragIn ? "bp_frag_in" : "bp_frag_sum";
    const char* base = type.kind == Kind::kF32   ? "float"
                       : type.kind == Kind::kI32 ? "int"
                       : type.kind == Kind::kU32 ? "uint"
                                                 : "bool";
    if (type.lanes > 1) return fmt::format("bp_{}{}", base, type.lanes);
    return type.kind == Kind::kU32 ? "unsigned int" : base;
  }

  std::string leaf(Op op) const override {
    switch (op) {
      case Op::kGroupX:
        return "bp_group_x()";
      case Op::kGroupY:
        return "bp_group_y()";
      case Op::kLane:
        return fmt::format("(bp_tid() & {}u)", kernel_.subgroup_size - 1);
      case Op::kSubgroupId:
        return fmt::format("(bp_tid() / {}u)", kernel_.subgroup_size);
      default:
        return "bp_tid()";
    }
  }

  std::string param(uint32_t i) const override { return "p." + kernel_.params[i].name; }

  std::string element(uint32_t buffer, uint32_t lanes, const std::string& index) const override {
    const Buffer& b = kernel_.buffers[buffer];
    if (lanes == 1) return fmt::format("b_{}[{}]", b.name, index);
    return fmt::format("(({}bp_uint{}*)b_{})[{}]", b.access == Access::kRead ? "const " : "", lanes,
                       b.name, index);
  }

  std::string function(Op op, Kind kind) const override {
    const bool real = kind == Kind::kF32;
    switch (op) {
      case Op::kAbs:
        return real ? "__builtin_fabsf" : "bp_abs";
      case Op::kFloor:
        return "__builtin_floorf";
      case Op::kRint:
        return "__builtin_rintf";
      case Op::kExp2:
        return "__builtin_exp2f";
      case Op::kLog2:
        return "__builtin_log2f";
      case Op::kSqrt:
        return "__builtin_sqrtf";
      case Op::kRsqrt:
        return "__builtin_amdgcn_rsqf";
      case Op::kMin:
        return real ? "__builtin_fminf" : "bp_min";
      case Op::kMax:
        return real ? "__builtin_fmaxf" : "bp_max";
      case Op::kFma:
        return "__builtin_fmaf";
      case Op::kUnpackF16x2:
        return "bp_unpack_f16x2";
      case Op::kPackF16x2:
        return "bp_pack_f16x2";
      default:
        return "bp_dot4";
    }
  }

  std::string cast(Type to, const std::string& x) const override {
    return fmt::format("(({}){})", type_name(to), x);
  }

  std::string bitcast(Kind from, Kind to, const std::string& x) const override {
    if (to == Kind::kF32) return fmt::format("bp_as_float((unsigned int){})", x);
    if (from == Kind::kF32) return cast({to, 1}, fmt::format("bp_as_uint({})", x));
    return cast({to, 1}, x);
  }

  std::string make_vec(Type type, const std::string& list) const override {
    return fmt::format("({}{{{}}})", type_name(type), list);
  }

  std::string shuffle(Kind kind, const std::string& x, uint64_t mask) const override {
    return bitcast(Kind::kU32, kind,
                   fmt::format("bp_shuffle_xor({}, {}u)", bitcast(kind, Kind::kU32, x), mask));
  }

  std::string atomic_add(uint32_t buffer, const std::string& index,
                         const std::string& x) const override {
    return fmt::format(
        "__hip_atomic_fetch_add(&b_{}[{}], {}, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT)",
        kernel_.buffers[buffer].name, index, x);
  }

  std::string barrier(uint64_t flags) const override {
    if ((flags & kBarrierRelease) != 0) return "bp_barrier_release();";
    if ((flags & kBarrierAcquire) != 0) return "bp_barrier_acquire();";
    return "bp_barrier();";
  }
  std::string unroll(uint64_t factor) const override {
    return fmt::format("#pragma unroll {}", factor);
  }
};

}  // namespace

std::unique_ptr<Printer> hip_printer(const Kernel& kernel, const Caps& caps) {
  return std::make_unique<HipPrinter>(kernel, caps);
}

}  // namespace bp::kernels
