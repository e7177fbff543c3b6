// SPDX-License-Identifier: Apache-2.0
// GLSL 4.50 for Vulkan 1.2 compute.
//
// A read-only buffer that is read in several widths gets one block per width on one binding; a
// written one has a single width (verify() holds kernels to that), since aliased writable blocks
// are not declared as such by the compilers at hand.
#include <fmt/format.h>

#include "kernels/render/dialects.h"

namespace bp::kernels {
namespace {

// OpSDot on packed bytes, spelled as an instruction: the extension that names it is newer than the
// GLSL compilers in use. 4450: OpSDot; 6018, 6019: its capabilities; operand 0: four 8-bit lanes.
constexpr std::string_view kDot = R"(#extension GL_EXT_spirv_intrinsics : require
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019], id = 4450)
int bp_sdot(uint a, uint b, spirv_literal int packing);
int bp_dot4(uint a, uint b, int c) { return bp_sdot(a, b, 0) + c; }
)";

class GlslPrinter final : public Printer {
 public:
  using Printer::Printer;

 protected:
  void begin() override {
    raw("#version 450\n#extension GL_EXT_control_flow_attributes : enable\n");
    if (kernel_.subgroup_size != 0) {
      raw("#extension GL_KHR_shader_subgroup_basic : require\n"
          "#extension GL_KHR_shader_subgroup_shuffle : require\n");
    }
    if (uses(Op::kDot4)) raw(kDot);
    if (uses(Op::kPackF16x2)) {
      raw("uint bp_pack_f16x2(float l, float h) { return packHalf2x16(vec2(l, h)); }\n");
    }
    raw(fmt::format("layout(local_size_x = {}) in;\n", kernel_.threads));
    for (uint32_t i = 0; i < kernel_.buffers.size(); ++i) declare(i);
    if (!kernel_.params.empty()) {
      raw("layout(push_constant) uniform bp_params {\n");
      for (const Param& p : kernel_.params)
        raw(fmt::format("  {} p_{};\n", type_name({p.kind, 1}), p.name));
      raw("};\n");
    }
    for (const SharedArray& s : kernel_.shared) {
      raw(fmt::format("shared {} s_{}[{}];\n", type_name(s.element), s.name, s.count));
    }
    raw("void main() {\n");
  }

  void declare(uint32_t buffer) {
    const Buffer& b = kernel_.buffers[buffer];
    const char* access = b.access == Access::kRead    ? "readonly "
                         : b.access == Access::kWrite ? "writeonly "
                                                      : "";
    // What one group writes and another reads has to leave the caches of a group's own.
    const bool coherent = b.access == Access::kReadWrite && orders_groups(kernel_);
    uint32_t seen = widths(buffer);
    if (seen == 0) seen = 1;  // the binding exists even when nothing reads it
    for (uint32_t lanes = 1; lanes <= 4; lanes *= 2) {
      if ((seen & lanes) == 0) continue;
      raw(
          fmt::format("layout(std430, set = 0, binding = {0}) {5}restrict {1}buffer B{0}_{2} {{ "
                      "{3} b{2}_{4}[]; "
                      "}};\n",
                      buffer, access, lanes, type_name({Kind::kU32, static_cast<uint8_t>(lanes)}),
                      b.name, coherent ? "coherent " : ""));
    }
  }

  std::string type_name(Type type) const override {
    if (type.lanes > 1) {
      const char* prefix = type.kind == Kind::kF32 ? "" : type.kind == Kind::kI32 ? "i" : "u";
      return fmt::format("{}vec{}", prefix, type.lanes);
    }
    return type.kind == Kind::kF32   ? "float"
           : type.kind == Kind::kI32 ? "int"
           : type.kind == Kind::kU32 ? "uint"
                                     : "bool";
  }

  std::string leaf(Op op) const override {
    switch (op) {
      case Op::kGroupX:
        return "gl_WorkGroupID.x";
      case Op::kGroupY:
        return "gl_WorkGroupID.y";
      case Op::kLane:
        return "gl_SubgroupInvocationID";
      case Op::kSubgroupId:
        return "gl_SubgroupID";
      default:
        break;
    }
    // Local index and lane have no fixed relation; with full subgroups this numbering is legal.
    if (kernel_.subgroup_size == 0) return "gl_LocalInvocationIndex";
    return fmt::format("(gl_SubgroupID * {}u + gl_SubgroupInvocationID)", kernel_.subgroup_size);
  }

  std::string param(uint32_t i) const override { return "p_" + kernel_.params[i].name; }

  std::string element(uint32_t buffer, uint32_t lanes, const std::string& index) const override {
    return fmt::format("b{}_{}[{}]", lanes, kernel_.buffers[buffer].name, index);
  }

  std::string function(Op op, Kind) const override {
    switch (op) {
      case Op::kAbs:
        return "abs";
      case Op::kFloor:
        return "floor";
      case Op::kRint:
        return "roundEven";
      case Op::kExp2:
        return "exp2";
      case Op::kLog2:
        return "log2";
      case Op::kSqrt:
        return "sqrt";
      case Op::kRsqrt:
        return "inversesqrt";
      case Op::kMin:
        return "min";
      case Op::kMax:
        return "max";
      case Op::kFma:
        return "fma";
      case Op::kUnpackF16x2:
        return "unpackHalf2x16";
      case Op::kPackF16x2:
        return "bp_pack_f16x2";
      default:
        return "bp_dot4";
    }
  }

  std::string cast(Type to, const std::string& x) const override {
    return fmt::format("{}({})", type_name(to), x);
  }
  std::string bitcast(Kind from, Kind to, const std::string& x) const override {
    if (to == Kind::kF32)
      return fmt::format("{}BitsToFloat({})", from == Kind::kI32 ? "int" : "uint", x);
    if (from == Kind::kF32)
      return fmt::format("floatBitsTo{}({})", to == Kind::kI32 ? "Int" : "Uint", x);
    return cast({to, 1}, x);
  }
  std::string make_vec(Type type, const std::string& list) const override {
    return fmt::format("{}({})", type_name(type), list);
  }
  std::string shuffle(Kind, const std::string& x, uint64_t mask) const override {
    return fmt::format("subgroupShuffleXor({}, {}u)", x, mask);
  }
  std::string atomic_add(uint32_t buffer, const std::string& index,
                         const std::string& x) const override {
    return fmt::format("atomicAdd(b1_{}[{}], {})", kernel_.buffers[buffer].name, index, x);
  }
  std::string barrier(uint64_t flags) const override {
    if ((flags & kBarrierAcquire) != 0) {
      return "memoryBarrierBuffer(); barrier(); memoryBarrierBuffer();";
    }
    return (flags & kBarrierGlobal) != 0 ? "memoryBarrierBuffer(); barrier();" : "barrier();";
  }
  std::string unroll(uint64_t) const override { return "[[unroll]]"; }
};

}  // namespace

std::unique_ptr<Printer> glsl_printer(const Kernel& kernel, const Caps& caps) {
  return std::make_unique<GlslPrinter>(kernel, caps);
}

}  // namespace bp::kernels
