// SPDX-License-Identifier: Apache-2.0
// Statements and expressions, as all four dialects share them.
//
// A value that is used once is printed where it is used, unless that would move a read of memory
// past an effect, or a computation into another block.
#include "kernels/render/printer.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/ir/evaluate.h"

namespace bp::kernels {
namespace {

constexpr size_t kMaxInlineBytes = 96;  // of text; longer expressions get a name

bool is_bracket(Op op) {
  return op >= Op::kFor && op <= Op::kEndIf;
}
bool reads_memory(Op op) {
  return op == Op::kLoad || op == Op::kLoadShared || op == Op::kGet || op == Op::kFragLoad;
}
bool is_effect(Op op) {
  return op == Op::kStore || op == Op::kStoreShared || op == Op::kAtomicAdd || op == Op::kAssign ||
         op >= Op::kFor;
}

const char* infix(Op op, bool boolean) {
  switch (op) {
    case Op::kAdd:
      return "+";
    case Op::kSub:
      return "-";
    case Op::kMul:
      return "*";
    case Op::kDiv:
      return "/";
    case Op::kMod:
      return "%";
    case Op::kAnd:
      return boolean ? "&&" : "&";
    case Op::kOr:
      return boolean ? "||" : "|";
    case Op::kXor:
      return boolean ? "!=" : "^";
    case Op::kShl:
      return "<<";
    case Op::kShr:
      return ">>";
    case Op::kEq:
      return "==";
    case Op::kNe:
      return "!=";
    case Op::kLt:
      return "<";
    case Op::kLe:
      return "<=";
    case Op::kGt:
      return ">";
    case Op::kGe:
      return ">=";
    default:
      return nullptr;
  }
}

}  // namespace

bool Printer::uses(Op op) const {
  for (const Inst& inst : kernel_.insts) {
    if (inst.op == op) return true;
  }
  return false;
}

uint32_t Printer::widths(uint32_t buffer) const {
  uint32_t seen = 0;
  for (const Inst& inst : kernel_.insts) {
    if (inst.imm != buffer) continue;
    if (inst.op == Op::kLoad) seen |= inst.type.lanes;
    if (inst.op == Op::kStore) seen |= kernel_.insts[inst.arg[1]].type.lanes;
    if (inst.op == Op::kAtomicAdd) seen |= 1;
  }
  return seen;
}

void Printer::line(std::string_view text) {
  out_.append(2 * depth_, ' ');
  out_ += text;
  out_ += '\n';
}

void Printer::analyse() {
  const size_t n = kernel_.insts.size();
  text_.resize(n);
  uses_.assign(n, 0);
  user_.assign(n, kNoValue);
  reads_.assign(n, false);
  uint32_t effects = 0, brackets = 0;
  for (ValueId at = 0; at < n; ++at) {
    const Inst& inst = kernel_.insts[at];
    effects_.push_back(effects);
    brackets_.push_back(brackets);
    effects += is_effect(inst.op);
    brackets += is_bracket(inst.op);
    for (uint32_t i = 0; i < arg_count(inst); ++i) {
      ++uses_[inst.arg[i]];
      user_[inst.arg[i]] = at;
    }
  }
}

bool Printer::inlines(ValueId at, const std::string& text) const {
  const Inst& inst = kernel_.insts[at];
  if (inst.op == Op::kConst || inst.op == Op::kParam || inst.op == Op::kExtract) return true;
  if (!op_info(inst.op).pure && !reads_memory(inst.op)) return false;
  const ValueId user = user_[at];
  if (uses_[at] != 1 || text.size() > kMaxInlineBytes) return false;
  const Op user_op = kernel_.insts[user].op;
  if (user_op == Op::kFor) return false;  // its bounds are evaluated again and again
  if (user_op == Op::kExtract) return false;
  if (inst.type.lanes > 1 && (inst.op != Op::kMakeVec || user_op != Op::kStore)) return false;
  if (brackets_[user] != brackets_[at + 1]) return false;
  return !reads_[at] || effects_[user] == effects_[at + 1];
}

std::string Printer::constant(Kind kind, uint32_t bits) const {
  if (kind == Kind::kBool) return bits != 0 ? "true" : "false";
  if (kind == Kind::kU32) return fmt::format(fmt::runtime(bits > 0xffff ? "{:#x}u" : "{}u"), bits);
  if (kind == Kind::kI32) {
    if (bits == 0x80000000u) return "(-2147483647 - 1)";
    return int_of(bits) < 0 ? fmt::format("({})", int_of(bits)) : fmt::format("{}", bits);
  }
  const float value = float_of(bits);
  if (!std::isfinite(value)) return bitcast(Kind::kU32, Kind::kF32, fmt::format("{:#x}u", bits));
  std::string digits = fmt::format("{:.9g}", value);
  if (digits.find_first_of(".e") == std::string::npos) digits += ".0";
  return std::signbit(value) ? fmt::format("({}f)", digits) : digits + "f";
}

std::string Printer::arithmetic(const Inst& inst) const {
  const Kind kind = kernel_.insts[inst.arg[0]].type.kind;
  if (const char* sign = infix(inst.op, kind == Kind::kBool)) {
    return fmt::format("({} {} {})", arg(inst, 0), sign, arg(inst, 1));
  }
  if (inst.op == Op::kNeg) return fmt::format("(-{})", arg(inst, 0));
  if (inst.op == Op::kNot)
    return fmt::format("({}{})", kind == Kind::kBool ? "!" : "~", arg(inst, 0));
  if (inst.op == Op::kRcp) return fmt::format("(1.0f / {})", arg(inst, 0));
  std::string list;
  for (uint32_t i = 0; i < arg_count(inst); ++i) {
    list += i == 0 ? "" : ", ";
    list += arg(inst, i);
  }
  return fmt::format("{}({})", function(inst.op, kind), list);
}

std::string Printer::fragment_type(bool) const {
  return type_name({Kind::kFragIn, 1});
}

std::string Printer::fragment_load(const SharedArray& from, const std::string& index,
                                   const std::string& stride, bool) const {
  return fmt::format("bp_frag_load((const unsigned int*)&s_{}[{}], {} * {}u)", from.name, index,
                     stride, from.element.lanes);
}

std::string Printer::fragment_store(const SharedArray& to, const std::string& index,
                                    const std::string& stride, const std::string& sums) const {
  return fmt::format("bp_frag_store(&s_{}[{}], {}, {})", to.name, index, stride, sums);
}

bool Printer::is_second(ValueId load) const {
  const ValueId user = user_[load];
  return user != kNoValue && kernel_.insts[user].op == Op::kMma &&
         kernel_.insts[user].arg[1] == load;
}

std::string Printer::expression(ValueId at) const {
  const Inst& inst = kernel_.insts[at];
  switch (inst.op) {
    case Op::kConst:
      return constant(inst.type.kind, static_cast<uint32_t>(inst.imm));
    case Op::kParam:
      return param(static_cast<uint32_t>(inst.imm));
    case Op::kGroupX:
    case Op::kGroupY:
    case Op::kTid:
    case Op::kLane:
    case Op::kSubgroupId:
      return leaf(inst.op);
    case Op::kSelect:
      return fmt::format("({} ? {} : {})", arg(inst, 0), arg(inst, 1), arg(inst, 2));
    case Op::kCast:
      return cast(inst.type, arg(inst, 0));
    case Op::kBitcast:
      return bitcast(kernel_.insts[inst.arg[0]].type.kind, inst.type.kind, arg(inst, 0));
    case Op::kExtract:
      return fmt::format("{}.{}", arg(inst, 0), "xyzw"[inst.imm & 3]);
    case Op::kMakeVec: {
      std::string list = arg(inst, 0);
      for (uint32_t i = 1; i < inst.type.lanes; ++i) list += ", " + arg(inst, i);
      return make_vec(inst.type, list);
    }
    case Op::kLoad:
      return element(static_cast<uint32_t>(inst.imm), inst.type.lanes, arg(inst, 0));
    case Op::kLoadShared:
      return fmt::format("s_{}[{}]", kernel_.shared[inst.imm].name, arg(inst, 0));
    case Op::kAtomicAdd:
      return atomic_add(static_cast<uint32_t>(inst.imm), arg(inst, 0), arg(inst, 1));
    case Op::kGet:
      return arg(inst, 0);
    case Op::kFragFill:
      return fmt::format("bp_frag_fill({})", arg(inst, 0));
    case Op::kFragLoad:
      return fragment_load(kernel_.shared[inst.imm], arg(inst, 0), arg(inst, 1), is_second(at));
    case Op::kMma:
      return fmt::format("bp_mma({}, {}, {})", arg(inst, 0), arg(inst, 1), arg(inst, 2));
    case Op::kShuffleXor:
      return shuffle(inst.type.kind, arg(inst, 0), inst.imm);
    default:
      return arithmetic(inst);
  }
}

void Printer::define(ValueId at, const std::string& text) {
  const Inst& inst = kernel_.insts[at];
  bool reads = reads_memory(inst.op);
  for (uint32_t i = 0; i < arg_count(inst); ++i) reads = reads || reads_[inst.arg[i]];
  reads_[at] = reads;
  if (inlines(at, text)) {
    text_[at] = text;
    return;
  }
  reads_[at] = false;  // a named value is fixed
  text_[at] = fmt::format("v{}", at);
  if (uses_[at] == 0) return line(text + ";");
  const std::string type =
      inst.type.kind == Kind::kFragIn ? fragment_type(is_second(at)) : type_name(inst.type);
  line(fmt::format("const {} v{} = {};", type, at, text));
}

void Printer::statement(ValueId at) {
  const Inst& inst = kernel_.insts[at];
  const uint32_t index = static_cast<uint32_t>(inst.imm);
  switch (inst.op) {
    case Op::kStore:
      return line(fmt::format("{} = {};",
                              element(index, kernel_.insts[inst.arg[1]].type.lanes, arg(inst, 0)),
                              arg(inst, 1)));
    case Op::kStoreShared:
      return line(
          fmt::format("s_{}[{}] = {};", kernel_.shared[index].name, arg(inst, 0), arg(inst, 1)));
    case Op::kFragStore:
      return line(fragment_store(kernel_.shared[index], arg(inst, 0), arg(inst, 1), arg(inst, 2)) +
                  ";");
    case Op::kVar:
      text_[at] = fmt::format("m{}", at);
      return line(fmt::format("{} m{} = {};", type_name(inst.type), at, arg(inst, 0)));
    case Op::kAssign:
      return line(fmt::format("{} = {};", arg(inst, 0), arg(inst, 1)));
    case Op::kFor:
      text_[at] = fmt::format("v{}", at);
      if (inst.imm > 1 && !unroll(inst.imm).empty()) line(unroll(inst.imm));
      line(fmt::format("for ({0} v{1} = {2}; v{1} < {3}; v{1} += {4}) {{", type_name(kU32), at,
                       arg(inst, 0), arg(inst, 1), arg(inst, 2)));
      ++depth_;
      return;
    case Op::kIf:
      line(fmt::format("if ({}) {{", arg(inst, 0)));
      ++depth_;
      return;
    case Op::kElse:
      --depth_;
      line("} else {");
      ++depth_;
      return;
    case Op::kEndFor:
    case Op::kEndIf:
      --depth_;
      return line("}");
    case Op::kBarrier:
      return line(barrier(inst.imm));
    default:
      return define(at, expression(at));
  }
}

std::string Printer::print() {
  analyse();
  begin();
  bool awaits = !await().empty();
  for (ValueId at = 0; at < kernel_.insts.size(); ++at) {
    if (awaits && !op_info(kernel_.insts[at].op).pure) {
      line(await());
      awaits = false;
    }
    statement(at);
  }
  out_ += "}\n";
  return std::move(out_);
}

}  // namespace bp::kernels
