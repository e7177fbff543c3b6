// SPDX-License-Identifier: Apache-2.0
// OpenCL C 1.2. Subgroups and integer dot products only where caps promise them.
//
// NVIDIA's driver has neither extension, but its compiler takes PTX: a device with an architecture
// "sm_…" gets warps, dp4a and fences between groups from there.
//
// Each buffer is two arguments: the memory object and an offset in units of 16 bytes. OpenCL 1.2
// has no other way into the middle of a buffer but sub-buffers, which have to be created for every
// place, and at multiples of up to 512 bytes.
#include <fmt/format.h>

#include "kernels/render/dialects.h"

namespace bp::kernels {
namespace {

// Half values are only stored, never computed with, so cl_khr_fp16 is not needed.
constexpr std::string_view kPrologue = R"(#ifndef BACKPLANE_PROLOGUE
#pragma OPENCL FP_CONTRACT OFF
inline float2 bp_unpack_f16x2(uint w) {
  uint word = w;
  return vload_half2(0, (const __private half*)&word);
}
inline uint bp_pack_f16x2(float l, float h) {
  uint word;
  vstore_half2_rte((float2)(l, h), 0, (__private half*)&word);
  return word;
}
)";

constexpr std::string_view kShufflePtx = R"(inline uint bp_shuffle(uint x, uint mask) {
  uint r;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, 0xffffffff;" : "=r"(r) : "r"(x), "r"(mask));
  return r;
}
)";
constexpr std::string_view kDot4Ptx = R"(inline int bp_dot4(uint a, uint b, int c) {
  int r;
  asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
  return r;
}
)";

constexpr std::string_view kFencePtx =
    R"(inline void bp_fence(void) { asm volatile("membar.gl;" ::: "memory"); }
)";

class OpenClPrinter final : public Printer {
 public:
  using Printer::Printer;

 protected:
  void begin() override {
    if (uses(Op::kShuffleXor) && !has_ptx()) {
      raw("#pragma OPENCL EXTENSION cl_khr_subgroups : enable\n"
          "#pragma OPENCL EXTENSION cl_khr_subgroup_shuffle : enable\n");
    }
    raw(kPrologue);
    if (has_ptx()) {
      if (uses(Op::kShuffleXor)) raw(kShufflePtx);
      if (uses(Op::kDot4)) raw(kDot4Ptx);
      if (orders_groups(kernel_)) raw(kFencePtx);
    } else if (uses(Op::kDot4)) {
      raw("#pragma OPENCL EXTENSION cl_khr_integer_dot_product : enable\n"
          "inline int bp_dot4(uint a, uint b, int c) { return dot_4x8packed_ss_int(a, b) + c; }\n");
    }
    raw("#endif\n");
    std::string list;
    for (const Buffer& b : kernel_.buffers) {
      list +=
          fmt::format("{0}__global {1}uint* restrict a_{2}, const uint o_{2}",
                      list.empty() ? "" : ", ", b.access == Access::kRead ? "const " : "", b.name);
    }
    for (const Param& p : kernel_.params) {
      list +=
          fmt::format("{}const {} p_{}", list.empty() ? "" : ", ", type_name({p.kind, 1}), p.name);
    }
    raw(fmt::format("__kernel __attribute__((reqd_work_group_size({}, 1, 1)))\n", kernel_.threads));
    if (kernel_.subgroup_size != 0 && !has_ptx()) {
      raw(fmt::format("__attribute__((intel_reqd_sub_group_size({})))\n", kernel_.subgroup_size));
    }
    raw(fmt::format("void bp_{}({}) {{\n", kernel_.name, list));
    for (const Buffer& b : kernel_.buffers) {
      line(fmt::format("__global {0}uint* restrict b_{1} = a_{1} + 4 * (size_t)o_{1};",
                       b.access == Access::kRead ? "const " : "", b.name));
    }
    for (const SharedArray& s : kernel_.shared) {
      line(fmt::format("__local {} s_{}[{}];", type_name(s.element), s.name, s.count));
    }
  }

  std::string type_name(Type type) const override {
    const char* base = type.kind == Kind::kF32   ? "float"
                       : type.kind == Kind::kI32 ? "int"
                       : type.kind == Kind::kU32 ? "uint"
                                                 : "bool";
    return type.lanes > 1 ? fmt::format("{}{}", base, type.lanes) : base;
  }

  std::string leaf(Op op) const override {
    switch (op) {
      case Op::kGroupX:
        return "(uint)get_group_id(0)";
      case Op::kGroupY:
        return "(uint)get_group_id(1)";
      case Op::kLane:
        return has_ptx() ? fmt::format("((uint)get_local_id(0) & {}u)", kernel_.subgroup_size - 1)
                         : "(uint)get_sub_group_local_id()";
      case Op::kSubgroupId:
        return has_ptx() ? fmt::format("((uint)get_local_id(0) / {}u)", kernel_.subgroup_size)
                         : "(uint)get_sub_group_id()";
      default:
        break;
    }
    // How local ids map to subgroups is the driver's choice; this numbering makes it ours.
    if (kernel_.subgroup_size == 0 || has_ptx()) return "(uint)get_local_id(0)";
    return fmt::format("((uint)get_sub_group_id() * {}u + (uint)get_sub_group_local_id())",
                       kernel_.subgroup_size);
  }

  std::string param(uint32_t i) const override { return "p_" + kernel_.params[i].name; }

  std::string element(uint32_t buffer, uint32_t lanes, const std::string& index) const override {
    const Buffer& b = kernel_.buffers[buffer];
    if (lanes == 1) return fmt::format("b_{}[{}]", b.name, index);
    return fmt::format("((__global {}uint{}*)b_{})[{}]", b.access == Access::kRead ? "const " : "",
                       lanes, b.name, index);
  }

  std::string function(Op op, Kind kind) const override {
    const bool real = kind == Kind::kF32;
    switch (op) {
      case Op::kAbs:
        return real ? "fabs" : "(int)abs";
      case Op::kFloor:
        return "floor";
      case Op::kRint:
        return "rint";
      case Op::kExp2:
        return "native_exp2";
      case Op::kLog2:
        return "native_log2";
      case Op::kSqrt:
        return "sqrt";
      case Op::kRsqrt:
        return "rsqrt";
      case Op::kMin:
        return real ? "fmin" : "min";
      case Op::kMax:
        return real ? "fmax" : "max";
      case Op::kFma:
        return "fma";
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
  std::string bitcast(Kind, Kind to, const std::string& x) const override {
    return fmt::format("as_{}({})", type_name({to, 1}), x);
  }
  std::string make_vec(Type type, const std::string& list) const override {
    return fmt::format("({})({})", type_name(type), list);
  }
  std::string shuffle(Kind kind, const std::string& x, uint64_t mask) const override {
    if (has_ptx()) {
      return fmt::format("as_{}(bp_shuffle(as_uint({}), {}u))", type_name({kind, 1}), x, mask);
    }
    return fmt::format("sub_group_shuffle_xor({}, {}u)", x, mask);
  }
  std::string atomic_add(uint32_t buffer, const std::string& index,
                         const std::string& x) const override {
    return fmt::format("atomic_add(&b_{}[{}], {})", kernel_.buffers[buffer].name, index, x);
  }
  // Fences are cumulative: that of thread 0, beside the barrier, covers what the group wrote.
  std::string barrier(uint64_t flags) const override {
    constexpr std::string_view kBoth = "barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);";
    if ((flags & kBarrierRelease) != 0)
      return fmt::format("{} if (get_local_id(0) == 0) bp_fence();", kBoth);
    if ((flags & kBarrierAcquire) != 0)
      return fmt::format("if (get_local_id(0) == 0) bp_fence(); {}", kBoth);
    return std::string((flags & kBarrierGlobal) != 0 ? kBoth : "barrier(CLK_LOCAL_MEM_FENCE);");
  }
  std::string unroll(uint64_t factor) const override {
    return fmt::format("#pragma unroll {}", factor);
  }

 private:
  bool has_ptx() const { return caps_.arch != 0; }
};

}  // namespace

std::unique_ptr<Printer> opencl_printer(const Kernel& kernel, const Caps& caps) {
  return std::make_unique<OpenClPrinter>(kernel, caps);
}

}  // namespace bp::kernels
