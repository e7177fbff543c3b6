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

// Fragments as SPV_KHR_cooperative_matrix has them, spelled as instructions, since their extension
// is newer than the GLSL compilers in use, too. 6022, 9: its capability, and halves'; 4456: the
// type of a component, a scope, rows, columns, a use; 80: a composite of one value; 4457, 4458:
// load and store with a layout (0: by rows, 1: by columns), a stride, memory operands (the group
// must see what it wrote: 0x30 makes it visible, 0x28 available) and their scope; 4459: a product.
//
// Those compilers take no type as a component: the text gives a constant, its number of bits, and
// whoever compiles it puts the float type of so many bits in its place.
constexpr std::string_view kFragments = R"(#pragma use_vulkan_memory_model
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_spirv_intrinsics : require
const uint bp_bits_in = 16, bp_bits_sum = 32, bp_size = 16, bp_subgroup = 3, bp_group = 2;
const uint bp_use_a = 0, bp_use_b = 1, bp_use_sum = 2, bp_by_rows = 0, bp_by_columns = 1;
#define bp_frag(bits, use) spirv_type(extensions = ["SPV_KHR_cooperative_matrix"], \
    capabilities = [6022, 9], id = 4456, bits, bp_subgroup, bp_size, bp_size, use)
#define bp_frag_a bp_frag(bp_bits_in, bp_use_a)
#define bp_frag_b bp_frag(bp_bits_in, bp_use_b)
#define bp_frag_sum bp_frag(bp_bits_sum, bp_use_sum)
spirv_instruction(id = 80) bp_frag_sum bp_frag_fill(float v);
spirv_instruction(id = 4459) bp_frag_sum bp_mma(bp_frag_a a, bp_frag_b b, bp_frag_sum s);
spirv_instruction(id = 4458) void bp_frag_store(spirv_by_reference float at, bp_frag_sum s,
    uint layout_, uint stride, spirv_literal uint operands, uint scope);
)";
// One for each type of array that fragments are loaded from.
constexpr const char* kFragmentLoad =
    R"(spirv_instruction(id = 4457) bp_frag_{0} bp_frag_load_{0}(spirv_by_reference {1} at,
    uint layout_, uint stride, spirv_literal uint operands, uint scope);
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
    if (uses(Op::kFragFill) || uses(Op::kFragLoad)) declare_fragments();
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

  void declare_fragments() {
    raw(kFragments);
    uint32_t seen = 0;  // lanes of the arrays, as bits
    for (const Inst& inst : kernel_.insts) {
      if (inst.op != Op::kFragLoad) continue;
      const Type element = kernel_.shared[inst.imm].element;
      if ((seen & element.lanes) != 0) continue;
      seen |= element.lanes;
      for (const char use : {'a', 'b'})
        raw(fmt::format(fmt::runtime(kFragmentLoad), use, type_name(element)));
    }
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
    if (type.kind == Kind::kFragSum) return "bp_frag_sum";
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
  std::string fragment_type(bool second) const override {
    return second ? "bp_frag_b" : "bp_frag_a";
  }
  // b's rows are the columns of bᵀ.
  std::string fragment_load(const SharedArray& from, const std::string& index,
                            const std::string& stride, bool second) const override {
    return fmt::format("bp_frag_load_{}(s_{}[{}], {}, {}, 0x30, bp_group)", second ? 'b' : 'a',
                       from.name, index, second ? "bp_by_columns" : "bp_by_rows", stride);
  }
  std::string fragment_store(const SharedArray& to, const std::string& index,
                             const std::string& stride, const std::string& sums) const override {
    return fmt::format("bp_frag_store(s_{}[{}], {}, bp_by_rows, {}, 0x28, bp_group)", to.name,
                       index, sums, stride);
  }
};

}  // namespace

std::unique_ptr<Printer> glsl_printer(const Kernel& kernel, const Caps& caps) {
  return std::make_unique<GlslPrinter>(kernel, caps);
}

}  // namespace bp::kernels
