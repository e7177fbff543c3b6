// SPDX-License-Identifier: Apache-2.0
// CUDA C for NVRTC: no header is needed. sm_61 and later for Dot4.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/render/dialects.h"

namespace bp::kernels {
namespace {

// Conversions are PTX, since the functions for them live in headers that a run-time compiler may
// not have.
constexpr std::string_view kPrologue = R"(#ifndef BACKPLANE_PROLOGUE
__device__ __forceinline__ float2 bp_unpack_f16x2(unsigned int w) {
  float2 r;
  asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}"
      : "=f"(r.x), "=f"(r.y) : "r"(w));
  return r;
}
__device__ __forceinline__ unsigned int bp_pack_f16x2(float l, float h) {
  unsigned int r;
  asm("{.reg .b16 a, b; cvt.rn.f16.f32 a, %1; cvt.rn.f16.f32 b, %2; mov.b32 %0, {a, b};}"
      : "=r"(r) : "f"(l), "f"(h));
  return r;
}
__device__ __forceinline__ int bp_dot4(unsigned int a, unsigned int b, int c) {
  return __dp4a((int)a, (int)b, c);
}
#endif
)";

// A launch that begins early waits until what was enqueued before has ended and is visible, then
// lets the next one begin.
constexpr std::string_view kEarly = R"(#ifndef BACKPLANE_PROLOGUE
__device__ __forceinline__ void bp_await() {
  asm volatile("griddepcontrol.wait;\n griddepcontrol.launch_dependents;" ::: "memory");
}
#endif
)";

// Fragments as mma.m16n8k16 has them; a lane's row is lane / 4, its first word or column pair
// lane % 4. Rows 0 to 15 of b are two operands of 8 columns, so inputs are loaded alike.
constexpr std::string_view kFragments = R"(#ifndef BACKPLANE_PROLOGUE
struct bp_frag_in { unsigned int x[4]; };
struct bp_frag_sum { float x[8]; };
__device__ __forceinline__ bp_frag_sum bp_frag_fill(float v) {
  bp_frag_sum r = {{v, v, v, v, v, v, v, v}};
  return r;
}
__device__ __forceinline__ bp_frag_in bp_frag_load(const unsigned int* at, unsigned int stride) {
  const unsigned int lane = threadIdx.x & 31u;
  at += (lane >> 2) * stride + (lane & 3u);
  bp_frag_in r = {{at[0], at[8 * stride], at[4], at[8 * stride + 4]}};
  return r;
}
__device__ __forceinline__ void bp_frag_store(float* at, unsigned int stride, bp_frag_sum s) {
  const unsigned int lane = threadIdx.x & 31u;
  at += (lane >> 2) * stride + 2 * (lane & 3u);
  at[0] = s.x[0];
  at[1] = s.x[1];
  at[8] = s.x[4];
  at[9] = s.x[5];
  at += 8 * stride;
  at[0] = s.x[2];
  at[1] = s.x[3];
  at[8] = s.x[6];
  at[9] = s.x[7];
}
)";
constexpr std::string_view kMma16 =
    R"(__device__ __forceinline__ bp_frag_sum bp_mma(bp_frag_in a, bp_frag_in b, bp_frag_sum s) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float* c = s.x + 4 * i;
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.x[0]), "r"(a.x[1]), "r"(a.x[2]), "r"(a.x[3]), "r"(b.x[i]), "r"(b.x[2 + i]));
  }
  return s;
}
#endif
)";
constexpr std::string_view kMma8 =
    R"(__device__ __forceinline__ bp_frag_sum bp_mma(bp_frag_in a, bp_frag_in b, bp_frag_sum s) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float* c = s.x + 4 * (i & 1);
    const int k = i & 2;
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.x[k]), "r"(a.x[k + 1]), "r"(b.x[k + (i & 1)]));
  }
  return s;
}
#endif
)";

class CudaPrinter final : public Printer {
 public:
  using Printer::Printer;

 protected:
  void begin() override {
    raw(kPrologue);
    if (early()) raw(kEarly);
    if (uses(Op::kFragFill) || uses(Op::kFragLoad)) {
      raw(kFragments);
      raw(caps_.arch >= 80 ? kMma16 : kMma8);
    }
    if (!kernel_.params.empty()) {
      raw("struct bp_params {\n");
      for (const Param& p : kernel_.params)
        raw(fmt::format("  {} {};\n", type_name({p.kind, 1}), p.name));
      raw("};\n");
    }
    std::string list;
    for (const Buffer& b : kernel_.buffers) {
      // Compilers may move reads of restricted constants up, also before a wait.
      const bool reads = b.access == Access::kRead;
      const bool plain = early() && reads && !b.constant;
      list += fmt::format("{}{}unsigned int*{} b_{}", list.empty() ? "" : ", ",
                          reads ? "const " : "", plain ? "" : " __restrict__", b.name);
    }
    if (!kernel_.params.empty()) list += list.empty() ? "const bp_params p" : ", const bp_params p";
    raw(fmt::format("extern \"C\" __global__ void __launch_bounds__({}) bp_{}({}) {{\n",
                    launch_bounds(), kernel_.name, list));
    for (const SharedArray& s : kernel_.shared) {
      line(fmt::format("__shared__ {} s_{}[{}];", type_name(s.element), s.name, s.count));
    }
  }

  std::string type_name(Type type) const override {
    if (is_fragment(type)) return type.kind == Kind::kFragIn ? "bp_frag_in" : "bp_frag_sum";
    const char* base = type.kind == Kind::kF32   ? "float"
                       : type.kind == Kind::kI32 ? "int"
                       : type.kind == Kind::kU32 ? "uint"
                                                 : "bool";
    if (type.lanes > 1) return fmt::format("{}{}", base, type.lanes);
    return type.kind == Kind::kU32 ? "unsigned int" : base;
  }

  std::string leaf(Op op) const override {
    switch (op) {
      case Op::kGroupX:
        return "blockIdx.x";
      case Op::kGroupY:
        return "blockIdx.y";
      case Op::kLane:
        return fmt::format("(threadIdx.x & {}u)", kernel_.subgroup_size - 1);
      case Op::kSubgroupId:
        return fmt::format("(threadIdx.x / {}u)", kernel_.subgroup_size);
      default:
        return "threadIdx.x";
    }
  }

  std::string param(uint32_t i) const override { return "p." + kernel_.params[i].name; }

  std::string element(uint32_t buffer, uint32_t lanes, const std::string& index) const override {
    const Buffer& b = kernel_.buffers[buffer];
    if (lanes == 1) return fmt::format("b_{}[{}]", b.name, index);
    return fmt::format("(({}uint{}*)b_{})[{}]", b.access == Access::kRead ? "const " : "", lanes,
                       b.name, index);
  }

  std::string function(Op op, Kind kind) const override {
    const bool real = kind == Kind::kF32;
    switch (op) {
      case Op::kAbs:
        return real ? "fabsf" : "abs";
      case Op::kFloor:
        return "floorf";
      case Op::kRint:
        return "rintf";
      case Op::kExp2:
        return "exp2f";
      case Op::kLog2:
        return "log2f";
      case Op::kSqrt:
        return "sqrtf";
      case Op::kRsqrt:
        return "rsqrtf";
      case Op::kMin:
        return real ? "fminf" : "min";
      case Op::kMax:
        return real ? "fmaxf" : "max";
      case Op::kFma:
        return "fmaf";
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
    if (to == Kind::kF32)
      return fmt::format("__{}_as_float({})", from == Kind::kI32 ? "int" : "uint", x);
    if (from == Kind::kF32)
      return fmt::format("__float_as_{}({})", to == Kind::kI32 ? "int" : "uint", x);
    return cast({to, 1}, x);
  }

  std::string make_vec(Type type, const std::string& list) const override {
    return fmt::format("make_{}({})", type_name(type), list);
  }

  std::string shuffle(Kind, const std::string& x, uint64_t mask) const override {
    return fmt::format("__shfl_xor_sync(0xffffffffu, {}, {})", x, mask);
  }

  std::string atomic_add(uint32_t buffer, const std::string& index,
                         const std::string& x) const override {
    return fmt::format("atomicAdd(&b_{}[{}], {})", kernel_.buffers[buffer].name, index, x);
  }

  // Fences are cumulative: that of thread 0, beside the barrier, covers what the group wrote.
  std::string barrier(uint64_t flags) const override {
    if ((flags & kBarrierRelease) != 0)
      return "__syncthreads(); if (threadIdx.x == 0) __threadfence();";
    if ((flags & kBarrierAcquire) != 0)
      return "if (threadIdx.x == 0) __threadfence(); __syncthreads();";
    return "__syncthreads();";
  }
  std::string await() const override { return early() ? "bp_await();" : ""; }
  std::string unroll(uint64_t factor) const override {
    return fmt::format("#pragma unroll {}", factor);
  }

 private:
  // Without a number of groups the compiler saves registers, down to one load at a time. With it, a
  // thread may have 128, as far as it uses them.
  std::string launch_bounds() const {
    constexpr uint32_t kThreadsPerUnit = 512;
    if (!kernel_.bound_by_loads) return std::to_string(kernel_.threads);
    return fmt::format("{}, {}", kernel_.threads, std::max(1u, kThreadsPerUnit / kernel_.threads));
  }
  bool early() const { return caps_.early_launch && caps_.arch >= 90; }
};

}  // namespace

std::unique_ptr<Printer> cuda_printer(const Kernel& kernel, const Caps& caps) {
  return std::make_unique<CudaPrinter>(kernel, caps);
}

}  // namespace bp::kernels
