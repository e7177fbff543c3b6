// SPDX-License-Identifier: Apache-2.0
// The kernel IR: what a GPU kernel of Backplane is before it becomes text.
//
// A kernel is one flat list of instructions. Each instruction defines at most one value, and the
// value's name is the instruction's position. Control is structured and bracketed in the list
// (For … EndFor, If … [Else …] EndIf), so every pass is one loop over the list and nothing recurses
// on input. Values are visible from their definition to the end of the enclosing bracket; what has
// to outlive a bracket or change inside it goes through a Var.
//
// Three rules keep it small:
//  - Global memory is 32-bit words, loaded 1, 2 or 4 at a time. An index counts accesses of that
//    width, so alignment holds by construction. f16, int8 and nibbles are unpacked from words.
//  - Workgroups are one-dimensional. There is no return, no while, no pointer. Barriers and
//    collectives stand under workgroup-uniform control only (verify.h checks).
//  - Vectors exist at memory, in MakeVec/Extract and in collectives; arithmetic is scalar.
//
// Matrix units work on fragments: 16 × 16 pieces that `width` consecutive threads hold together,
// nobody says which thread what. Inputs are halves and lie in shared memory two to a word; sums
// are f32. sum + a × bᵀ is all there is, so both inputs are loaded alike, 16 rows of 16.
//
// Kernels never mention a warp: GroupReduce(op, x, width) combines `width` consecutive threads, and
// legalize.h turns it into what a device has. Plain data; thread-compatible.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace bp::kernels {

// Named limits. Whatever exceeds one is refused with INVALID_ARGUMENT when a kernel is finished.
inline constexpr uint32_t kMaxInstructions = 1u << 15;  // unrolling gone wrong ends here
inline constexpr uint32_t kMaxThreads = 1024;           // of a workgroup
inline constexpr uint32_t kMaxBuffers = 16;             // bindings of a kernel
inline constexpr uint32_t kMaxParams = 32;              // 4-byte scalars: 128 B of push constants
inline constexpr uint32_t kMaxSharedArrays = 16;
inline constexpr uint32_t kMaxSharedBytes = 228u << 10;  // the most any known device gives a group
inline constexpr uint32_t kMaxNesting = 32;              // brackets inside brackets
inline constexpr uint32_t kMaxNameBytes = 64;            // of kernels, buffers, params
inline constexpr uint32_t kMaxUnroll = 64;

enum class Kind : uint8_t { kNone, kBool, kI32, kU32, kF32, kFragIn, kFragSum };

struct Type {
  Kind kind = Kind::kNone;
  uint8_t lanes = 1;  // 1, 2 or 4; of a fragment its elements a thread: 4, 8 or 16
  friend bool operator==(const Type&, const Type&) = default;
};
inline constexpr Type kNoType{Kind::kNone, 1};
inline constexpr Type kBool{Kind::kBool, 1};
inline constexpr Type kI32{Kind::kI32, 1};
inline constexpr Type kU32{Kind::kU32, 1};
inline constexpr Type kF32{Kind::kF32, 1};
inline constexpr uint32_t kFragmentSize = 16;  // rows and columns
inline constexpr uint32_t kFragmentElements = kFragmentSize * kFragmentSize;
inline bool is_fragment(Type t) noexcept {
  return t.kind == Kind::kFragIn || t.kind == Kind::kFragSum;
}
// Consecutive threads that hold a fragment together.
inline uint32_t fragment_width(Type t) noexcept {
  return t.lanes == 0 ? 0 : kFragmentElements / t.lanes;
}

// Operands are `arg`; `imm` is what the comment says. One unit of a memory index is one access.
enum class Op : uint8_t {
  // Leaves.
  kConst,  // imm: the 32 bits
  kParam,  // imm: index
  kGroupX,
  kGroupY,
  kTid,         // thread within the group
  kLane,        // thread within the subgroup; only in legalized kernels
  kSubgroupId,  // subgroup within the group; only in legalized kernels
  // Pure, scalar. Shr is arithmetic on i32. Div and Mod by zero are a fault.
  kNeg,
  kNot,
  kAbs,
  kFloor,
  kRint,
  kExp2,
  kLog2,
  kSqrt,
  kRsqrt,
  kRcp,
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMod,
  kMin,
  kMax,
  kAnd,
  kOr,
  kXor,
  kShl,
  kShr,
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kFma,     // a * b + c, one rounding
  kSelect,  // cond, if true, if false
  kCast,    // by value; f32 to integer truncates
  kBitcast,
  kMakeVec,  // 2 or 4 scalars
  kExtract,  // imm: lane
  // Packed words.
  kUnpackF16x2,  // u32 -> f32x2, low half first
  kPackF16x2,    // f32, f32 -> u32, to nearest even
  kDot4,         // u32, u32 as four i8 each, i32 -> i32
  // Memory. imm: buffer or shared array.
  kLoad,         // index -> u32 x lanes
  kStore,        // index, value
  kLoadShared,   // index -> the array's element type
  kStoreShared,  // index, value
  kAtomicAdd,    // index, u32 or i32 -> what was there
  // Control.
  kVar,     // initial value; the position names the variable
  kGet,     // variable -> its value now
  kAssign,  // variable, value
  kFor,     // lo, hi, step (u32) -> induction value; imm: unroll hint, 0 or 1 for none
  kEndFor,
  kIf,  // condition
  kElse,
  kEndIf,
  // Whole group.
  kBarrier,      // imm: kBarrierShared, or with kBarrierGlobal and one of the two below
  kGroupReduce,  // x; imm: width | ReduceOp << 32
  kShuffleXor,   // x; imm: lane mask; only in legalized kernels
  // Fragments; operands are the same for all threads that hold one. imm: shared array. Index and
  // stride (from a row to the next) count its elements. What a load has read must not be written
  // before its last kMma, nor may a barrier or bracket stand between.
  kFragFill,   // f32 everywhere
  kFragLoad,   // index, stride; from u32 (any lanes), two halves a word
  kMma,        // a, b, sum -> sum + a × bᵀ
  kFragStore,  // index, stride, sum; to f32 (one lane)
  kCount
};

enum class ReduceOp : uint8_t { kAdd, kMin, kMax };
inline constexpr uint64_t kBarrierShared = 1;
inline constexpr uint64_t kBarrierGlobal = 2;
// Order between groups, which only atomics of thread 0 carry: what a group wrote to buffers before
// a release is seen after an acquire by a group whose atomic, before the acquire, met a word that
// an atomic of the first changed after the release.
inline constexpr uint64_t kBarrierRelease = 4;
inline constexpr uint64_t kBarrierAcquire = 8;

using ValueId = uint32_t;
inline constexpr ValueId kNoValue = ~ValueId{0};

struct Inst {
  Op op = Op::kConst;
  Type type;
  std::array<ValueId, 4> arg{kNoValue, kNoValue, kNoValue, kNoValue};
  uint64_t imm = 0;
};

enum class Access : uint8_t { kRead, kWrite, kReadWrite };

// A binding of the kernel. A written buffer must not overlap any other binding of the launch
// (dialects promise that to compilers), and all its accesses have one width.
struct Buffer {
  std::string name;
  Access access = Access::kRead;
  bool constant = false;  // weights: no launch of any kernel ever writes it
};
struct Param {
  std::string name;
  Kind kind = Kind::kU32;  // u32, i32 or f32
};
struct SharedArray {
  std::string name;
  Type element;
  uint32_t count = 0;  // elements
};

struct Kernel {
  std::string name;
  uint32_t threads = 0;
  // What Lane, SubgroupId and ShuffleXor mean; 0 while the kernel is not legalized or uses none.
  uint32_t subgroup_size = 0;
  // Waits for memory most of its time: registers are better spent on loads that are under way than
  // on more threads. For compilers, which otherwise save registers.
  bool bound_by_loads = false;
  std::vector<Buffer> buffers;
  std::vector<Param> params;
  std::vector<SharedArray> shared;
  std::vector<Inst> insts;
};

// What an operation is, for passes that do not care which it is.
struct OpInfo {
  const char* name;
  uint8_t args;  // operands, except MakeVec, whose lanes count
  bool pure;     // same operands, same value: may be shared, dropped or moved
  bool has_value;
};
const OpInfo& op_info(Op op) noexcept;

inline uint32_t arg_count(const Inst& inst) noexcept {
  return inst.op == Op::kMakeVec ? inst.type.lanes : op_info(inst.op).args;
}
inline uint32_t reduce_width(const Inst& inst) noexcept {
  return static_cast<uint32_t>(inst.imm);
}
inline ReduceOp reduce_op(const Inst& inst) noexcept {
  return static_cast<ReduceOp>(inst.imm >> 32);
}
inline bool is_power_of_two(uint32_t n) noexcept {
  return n != 0 && (n & (n - 1)) == 0;
}

// Bytes of shared memory that the arrays take, each aligned to 16. Meaningful after verify().
uint64_t shared_bytes(const Kernel& kernel) noexcept;

// Positions of brackets: For -> EndFor, If -> Else or EndIf, Else -> EndIf, and from an End back to
// its For or If; kNoValue elsewhere. INVALID_ARGUMENT when brackets do not match.
Result<std::vector<ValueId>> match_brackets(const Kernel& kernel);

// "u32", "f32x4", …
std::string type_text(Type type);
// A listing for people and for golden tests, one instruction a line.
std::string dump(const Kernel& kernel);
// Whether work of one group waits for what another wrote: releases and acquires.
bool orders_groups(const Kernel& kernel) noexcept;

// Changes whenever the meaning of the kernel may have changed. Stable between processes.
uint64_t hash(const Kernel& kernel) noexcept;

}  // namespace bp::kernels
