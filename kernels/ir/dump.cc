// SPDX-License-Identifier: Apache-2.0
// The IR as text for people, and its hash for cache keys.
#include <fmt/format.h>

#include <iterator>

#include "kernels/ir/ir.h"

namespace bp::kernels {
namespace {

const char* kind_text(Kind kind) {
  switch (kind) {
    case Kind::kBool:
      return "b1";
    case Kind::kI32:
      return "i32";
    case Kind::kU32:
      return "u32";
    case Kind::kF32:
      return "f32";
    case Kind::kFragIn:
      return "frag_in";
    case Kind::kFragSum:
      return "frag_sum";
    case Kind::kNone:
      break;
  }
  return "none";
}

// FNV-1a, 64 bits: small, stable, and good enough for keys that are compared again in full.
struct Fnv {
  uint64_t state = 0xcbf29ce484222325u;
  void byte(uint8_t value) { state = (state ^ value) * 0x100000001b3u; }
  void word(uint64_t value) {
    for (int i = 0; i < 8; ++i) byte(static_cast<uint8_t>(value >> (8 * i)));
  }
  void text(std::string_view value) {
    word(value.size());
    for (char c : value) byte(static_cast<uint8_t>(c));
  }
  void type(Type value) { word(static_cast<uint64_t>(value.kind) << 8 | value.lanes); }
};

bool shows_imm(Op op) {
  switch (op) {
    case Op::kConst:
    case Op::kParam:
    case Op::kExtract:
    case Op::kLoad:
    case Op::kStore:
    case Op::kLoadShared:
    case Op::kStoreShared:
    case Op::kAtomicAdd:
    case Op::kFor:
    case Op::kBarrier:
    case Op::kGroupReduce:
    case Op::kShuffleXor:
    case Op::kFragLoad:
    case Op::kFragStore:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string type_text(Type type) {
  return type.lanes == 1 ? kind_text(type.kind)
                         : fmt::format("{}x{}", kind_text(type.kind), type.lanes);
}

std::string dump(const Kernel& kernel) {
  std::string out =
      fmt::format("kernel {} threads {} subgroup {}{}\n", kernel.name, kernel.threads,
                  kernel.subgroup_size, kernel.bound_by_loads ? " bound by loads" : "");
  auto to = std::back_inserter(out);
  constexpr const char* kAccess[] = {"read", "write", "read_write"};
  for (const Buffer& b : kernel.buffers) {
    fmt::format_to(to, "buffer {} {}\n", b.name,
                   b.constant ? "constant" : kAccess[static_cast<size_t>(b.access) % 3]);
  }
  for (const Param& p : kernel.params)
    fmt::format_to(to, "param {} {}\n", p.name, kind_text(p.kind));
  for (const SharedArray& s : kernel.shared) {
    fmt::format_to(to, "shared {} {}[{}]\n", s.name, type_text(s.element), s.count);
  }
  size_t depth = 1;
  for (size_t at = 0; at < kernel.insts.size(); ++at) {
    const Inst& inst = kernel.insts[at];
    const bool closes = inst.op == Op::kEndFor || inst.op == Op::kEndIf || inst.op == Op::kElse;
    if (closes && depth > 1) --depth;
    fmt::format_to(to, "{:{}}", "", 2 * depth);
    if (op_info(inst.op).has_value) fmt::format_to(to, "%{} {} = ", at, type_text(inst.type));
    if (inst.op == Op::kVar) fmt::format_to(to, "%{} {} ", at, type_text(inst.type));
    fmt::format_to(to, "{}", op_info(inst.op).name);
    for (uint32_t i = 0; i < arg_count(inst) && i < inst.arg.size(); ++i) {
      fmt::format_to(to, " %{}", inst.arg[i]);
    }
    if (shows_imm(inst.op)) fmt::format_to(to, " #{:x}", inst.imm);
    out += '\n';
    if (inst.op == Op::kFor || inst.op == Op::kIf || inst.op == Op::kElse) ++depth;
  }
  return out;
}

uint64_t hash(const Kernel& kernel) noexcept {
  Fnv h;
  h.text(kernel.name);
  h.word(kernel.threads);
  h.word(kernel.subgroup_size);
  h.word(kernel.bound_by_loads);
  h.word(kernel.buffers.size());
  for (const Buffer& b : kernel.buffers) h.word(static_cast<uint64_t>(b.access) << 1 | b.constant);
  h.word(kernel.params.size());
  for (const Param& p : kernel.params) h.word(static_cast<uint64_t>(p.kind));
  h.word(kernel.shared.size());
  for (const SharedArray& s : kernel.shared) {
    h.type(s.element);
    h.word(s.count);
  }
  for (const Inst& inst : kernel.insts) {
    h.byte(static_cast<uint8_t>(inst.op));
    h.type(inst.type);
    for (ValueId arg : inst.arg) h.word(arg);
    h.word(inst.imm);
  }
  return h.state;
}

}  // namespace bp::kernels
