// SPDX-License-Identifier: Apache-2.0
// What the builder simplifies while it emits: constants, identities, vectors taken apart again.
// Float rules keep every bit: nothing is reassociated, and no function whose result differs
// between devices (exp2, rsqrt, …) is computed here.
#include <utility>

#include "kernels/builder/builder.h"
#include "kernels/ir/evaluate.h"

namespace bp::kernels {
namespace {

bool commutes(Op op) {
  switch (op) {
    case Op::kAdd:
    case Op::kMul:
    case Op::kAnd:
    case Op::kOr:
    case Op::kXor:
    case Op::kEq:
    case Op::kNe:
      return true;
    default:
      return false;
  }
}

bool same_everywhere(Op op) {
  switch (op) {
    case Op::kExp2:
    case Op::kLog2:
    case Op::kSqrt:
    case Op::kRsqrt:
    case Op::kRcp:
    case Op::kDiv:
    case Op::kMin:
    case Op::kMax:  // of zeros with different signs
      return false;
    default:
      return true;
  }
}

uint32_t log2_of(uint32_t power) {
  uint32_t shift = 0;
  while (power >>= 1) ++shift;
  return shift;
}

}  // namespace

bool Builder::constant_of(ValueId id, uint32_t* bits) const {
  if (id >= kernel_.insts.size() || kernel_.insts[id].op != Op::kConst) return false;
  *bits = static_cast<uint32_t>(kernel_.insts[id].imm);
  return true;
}

bool Builder::constant_bits(Val v, uint32_t* bits) const {
  return v.builder() == this && constant_of(v.id(), bits);
}

bool Builder::fold(Inst* inst, Val* out) {
  uint32_t bits;
  if (commutes(inst->op) && constant_of(inst->arg[0], &bits) && !constant_of(inst->arg[1], &bits)) {
    std::swap(inst->arg[0], inst->arg[1]);  // constants stand right, so that sharing finds more
  }
  return fold_constant(*inst, out) || fold_identity(*inst, out);
}

bool Builder::fold_constant(const Inst& inst, Val* out) {
  const bool arithmetic = inst.op >= Op::kNeg && inst.op <= Op::kFma;
  if (!arithmetic && inst.op != Op::kCast && inst.op != Op::kBitcast) return false;
  uint32_t bits[3] = {0, 0, 0};
  const uint32_t count = arg_count(inst);
  for (uint32_t i = 0; i < count; ++i) {
    if (!constant_of(inst.arg[i], &bits[i])) return false;
  }
  const Kind kind = kernel_.insts[inst.arg[0]].type.kind;
  uint32_t result = bits[0];
  if (inst.op == Op::kCast) {
    if (!evaluate_cast(kind, inst.type.kind, bits[0], &result)) return false;
  } else if (inst.op != Op::kBitcast) {
    if (kind == Kind::kF32 && !same_everywhere(inst.op)) return false;
    if (!evaluate(inst.op, kind, bits[0], bits[1], bits[2], &result)) return false;
  }
  *out = constant(inst.type.kind, result);
  return true;
}

bool Builder::fold_identity(const Inst& inst, Val* out) {
  const ValueId a = inst.arg[0];
  if (inst.op == Op::kExtract && kernel_.insts[a].op == Op::kMakeVec && inst.imm < 4) {
    *out = value(kernel_.insts[a].arg[inst.imm]);
    return true;
  }
  if (inst.op == Op::kBitcast && kernel_.insts[a].op == Op::kBitcast) {
    const ValueId source = kernel_.insts[a].arg[0];
    if (kernel_.insts[source].type != inst.type) return false;
    *out = value(source);
    return true;
  }
  uint32_t bits;
  if (inst.op == Op::kSelect && constant_of(a, &bits)) {
    *out = value(inst.arg[bits != 0 ? 1 : 2]);
    return true;
  }
  if (op_info(inst.op).args != 2 || !constant_of(inst.arg[1], &bits)) return false;
  const bool real = inst.type.kind == Kind::kF32;
  const uint32_t one = real ? bits_of(1.0f) : 1;
  if (bits == one && (inst.op == Op::kMul || inst.op == Op::kDiv)) return *out = value(a), true;
  if (real || inst.type.kind == Kind::kBool) return false;
  switch (inst.op) {
    case Op::kAdd:
    case Op::kSub:
    case Op::kOr:
    case Op::kXor:
    case Op::kShl:
    case Op::kShr:
      if (bits != 0) return false;
      *out = value(a);
      return true;
    case Op::kMul:
    case Op::kAnd:
      if (bits == ~0u && inst.op == Op::kAnd) return *out = value(a), true;
      if (bits != 0) return false;
      *out = constant(inst.type.kind, 0);
      return true;
    case Op::kDiv:
      if (inst.type.kind != Kind::kU32 || !is_power_of_two(bits)) return false;
      *out = value(a) >> log2_of(bits);
      return true;
    case Op::kMod:
      if (inst.type.kind != Kind::kU32 || !is_power_of_two(bits)) return false;
      *out = value(a) & (bits - 1);
      return true;
    default:
      return false;
  }
}

}  // namespace bp::kernels
