// SPDX-License-Identifier: Apache-2.0
// Tables and small queries of the kernel IR.
#include "kernels/ir/ir.h"

#include <algorithm>
#include <iterator>

namespace bp::kernels {
namespace {

constexpr OpInfo kInfo[] = {
    {"const", 0, true, true},
    {"param", 0, true, true},
    {"group_x", 0, true, true},
    {"group_y", 0, true, true},
    {"tid", 0, true, true},
    {"lane", 0, true, true},
    {"subgroup", 0, true, true},
    {"neg", 1, true, true},
    {"not", 1, true, true},
    {"abs", 1, true, true},
    {"floor", 1, true, true},
    {"rint", 1, true, true},
    {"exp2", 1, true, true},
    {"log2", 1, true, true},
    {"sqrt", 1, true, true},
    {"rsqrt", 1, true, true},
    {"rcp", 1, true, true},
    {"add", 2, true, true},
    {"sub", 2, true, true},
    {"mul", 2, true, true},
    {"div", 2, true, true},
    {"mod", 2, true, true},
    {"min", 2, true, true},
    {"max", 2, true, true},
    {"and", 2, true, true},
    {"or", 2, true, true},
    {"xor", 2, true, true},
    {"shl", 2, true, true},
    {"shr", 2, true, true},
    {"eq", 2, true, true},
    {"ne", 2, true, true},
    {"lt", 2, true, true},
    {"le", 2, true, true},
    {"gt", 2, true, true},
    {"ge", 2, true, true},
    {"fma", 3, true, true},
    {"select", 3, true, true},
    {"cast", 1, true, true},
    {"bitcast", 1, true, true},
    {"make_vec", 0, true, true},
    {"extract", 1, true, true},
    {"unpack_f16x2", 1, true, true},
    {"pack_f16x2", 2, true, true},
    {"dot4", 3, true, true},
    {"load", 1, false, true},
    {"store", 2, false, false},
    {"load_shared", 1, false, true},
    {"store_shared", 2, false, false},
    {"atomic_add", 2, false, true},
    {"var", 1, false, false},
    {"get", 1, false, true},
    {"assign", 2, false, false},
    {"for", 3, false, true},
    {"end_for", 0, false, false},
    {"if", 1, false, false},
    {"else", 0, false, false},
    {"end_if", 0, false, false},
    {"barrier", 0, false, false},
    {"group_reduce", 1, false, true},
    {"shuffle_xor", 1, false, true},
    {"frag_fill", 1, false, true},
    {"frag_load", 2, false, true},
    {"mma", 3, false, true},
    {"frag_store", 3, false, false},
};
static_assert(std::size(kInfo) == static_cast<size_t>(Op::kCount));
constexpr OpInfo kUnknown{"unknown", 0, false, false};

Status bracket_error(size_t at, const char* what) {
  return error(Code::kInvalidArgument, "instruction {}: {}", at, what);
}

}  // namespace

const OpInfo& op_info(Op op) noexcept {
  return op < Op::kCount ? kInfo[static_cast<size_t>(op)] : kUnknown;
}

uint64_t shared_bytes(const Kernel& kernel) noexcept {
  uint64_t total = 0;
  for (const SharedArray& array : kernel.shared) {
    total += (uint64_t{array.count} * array.element.lanes * 4 + 15) & ~uint64_t{15};
  }
  return total;
}

bool orders_groups(const Kernel& kernel) noexcept {
  return std::any_of(kernel.insts.begin(), kernel.insts.end(), [](const Inst& inst) {
    return inst.op == Op::kBarrier && (inst.imm & (kBarrierRelease | kBarrierAcquire)) != 0;
  });
}

Result<std::vector<ValueId>> match_brackets(const Kernel& kernel) {
  std::vector<ValueId> match(kernel.insts.size(), kNoValue);
  std::vector<ValueId> open;       // For and If positions
  std::vector<ValueId> last_part;  // the If or its Else
  for (ValueId at = 0; at < kernel.insts.size(); ++at) {
    const Op op = kernel.insts[at].op;
    if (op == Op::kFor || op == Op::kIf) {
      if (open.size() == kMaxNesting) return bracket_error(at, "nested too deeply");
      open.push_back(at);
      last_part.push_back(at);
      continue;
    }
    if (op != Op::kEndFor && op != Op::kElse && op != Op::kEndIf) continue;
    const Op wanted = op == Op::kEndFor ? Op::kFor : Op::kIf;
    if (open.empty() || kernel.insts[open.back()].op != wanted) {
      return bracket_error(at, "closes nothing");
    }
    if (op == Op::kElse && last_part.back() != open.back()) {
      return bracket_error(at, "second else of one if");
    }
    match[last_part.back()] = at;
    match[at] = open.back();
    if (op == Op::kElse) {
      last_part.back() = at;  // the EndIf will overwrite match[at] with its own position
    } else {
      open.pop_back();
      last_part.pop_back();
    }
  }
  if (!open.empty()) return bracket_error(open.back(), "is never closed");
  return match;
}

}  // namespace bp::kernels
