// SPDX-License-Identifier: Apache-2.0
// Arithmetic on values under construction.
#include "kernels/builder/value.h"

#include <algorithm>

#include "kernels/builder/builder.h"

namespace bp::kernels {
namespace {

bool is_compare(Op op) {
  return op >= Op::kEq && op <= Op::kGe;
}

Builder* builder_of(std::initializer_list<Val> values) {
  for (const Val& v : values) {
    if (!v.is_literal()) return v.builder();
  }
  return nullptr;
}

// The kind that literals take: that of the first operand that is none.
Kind kind_of(std::initializer_list<Val> values) {
  for (const Val& v : values) {
    if (!v.is_literal()) return v.type().kind;
  }
  return Kind::kU32;
}

uint32_t lanes_of(std::initializer_list<Val> values) {
  uint32_t lanes = 1;
  for (const Val& v : values) lanes = std::max(lanes, v.lanes());
  return lanes;
}

// Calls `scalar` with each lane's operands and packs the results.
template <typename F>
Val for_each_lane(uint32_t lanes, F scalar) {
  if (lanes == 1) return scalar(0);
  std::vector<Val> out;
  for (uint32_t i = 0; i < lanes; ++i) out.push_back(scalar(i));
  return make_vec(out);
}

}  // namespace

Val Val::operator[](uint32_t lane) const {
  if (is_literal() || type_.lanes == 1) return *this;
  return builder_->emit(Op::kExtract, {type_.kind, 1}, {*this}, lane);
}

Val apply(Op op, Val a) {
  Builder* b = a.builder();
  if (b == nullptr) return {};  // an operation on literals alone is the compiler's to compute
  return for_each_lane(a.lanes(), [&](uint32_t i) {
    return b->emit(op, {a.type().kind, 1}, {a[i]});
  });
}

Val apply(Op op, Val a, Val c) {
  Builder* b = builder_of({a, c});
  if (b == nullptr) return {};
  const Kind kind = kind_of({a, c});
  const Type type{is_compare(op) ? Kind::kBool : kind, 1};
  // A shift's count is u32 whatever is shifted.
  const Kind second = op == Op::kShl || op == Op::kShr ? Kind::kU32 : kind;
  a = b->materialize(a, kind);
  c = b->materialize(c, second);
  return for_each_lane(lanes_of({a, c}), [&](uint32_t i) {
    return b->emit(op, type, {a[i], c[i]});
  });
}

Val apply(Op op, Val x, Val y, Val z) {
  Builder* b = builder_of({x, y, z});
  if (b == nullptr) return {};
  const Kind kind = kind_of({x, y, z});
  x = b->materialize(x, kind);
  y = b->materialize(y, kind);
  z = b->materialize(z, kind);
  return for_each_lane(lanes_of({x, y, z}), [&](uint32_t i) {
    return b->emit(op, {kind, 1}, {x[i], y[i], z[i]});
  });
}

Val select(Val condition, Val x, Val y) {
  Builder* b = builder_of({condition, x, y});
  if (b == nullptr) return {};
  Kind kind = kind_of({x, y});
  if (x.is_literal() && y.is_literal() && !x.is_integer_literal()) kind = Kind::kF32;
  x = b->materialize(x, kind);
  y = b->materialize(y, kind);
  return for_each_lane(lanes_of({x, y}), [&](uint32_t i) {
    return b->emit(Op::kSelect, {kind, 1}, {condition[i], x[i], y[i]});
  });
}

Val cast(Val a, Kind kind) {
  Builder* b = a.builder();
  if (b == nullptr || a.type().kind == kind) return a;
  return for_each_lane(a.lanes(), [&](uint32_t i) {
    return b->emit(Op::kCast, {kind, 1}, {a[i]});
  });
}

Val bitcast(Val a, Kind kind) {
  Builder* b = a.builder();
  if (b == nullptr || a.type().kind == kind) return a;
  return for_each_lane(a.lanes(), [&](uint32_t i) {
    return b->emit(Op::kBitcast, {kind, 1}, {a[i]});
  });
}

Val make_vec(const std::vector<Val>& lanes) {
  if (lanes.size() == 2) return make_vec({lanes[0], lanes[1]});
  if (lanes.size() == 4) return make_vec({lanes[0], lanes[1], lanes[2], lanes[3]});
  return lanes.size() == 1 ? lanes[0] : Val();
}

Val make_vec(std::initializer_list<Val> lanes) {
  Builder* b = builder_of(lanes);
  if (b == nullptr) return {};
  const Kind kind = kind_of(lanes);
  std::array<Val, 4> v;
  for (size_t i = 0; i < lanes.size() && i < v.size(); ++i) {
    v[i] = b->materialize(lanes.begin()[i], kind);
  }
  if (lanes.size() == 2) return b->emit(Op::kMakeVec, {kind, 2}, {v[0], v[1]});
  if (lanes.size() == 4) return b->emit(Op::kMakeVec, {kind, 4}, {v[0], v[1], v[2], v[3]});
  b->fail(error(Code::kInvalidArgument, "a vector of {} lanes; 2 or 4 exist", lanes.size()));
  return v[0];
}

Val sum_lanes(Val a) {
  if (a.lanes() == 2) return a[0] + a[1];
  if (a.lanes() == 4) return (a[0] + a[1]) + (a[2] + a[3]);
  return a;
}

Val dot(Val a, Val b, Val acc) {
  for (uint32_t i = 0; i < a.lanes(); ++i) acc = fma(a[i], b[i], acc);
  return acc;
}

Val unpack_f16x2(Val word) {
  return word.is_literal() ? Val()
                           : word.builder()->emit(Op::kUnpackF16x2, {Kind::kF32, 2}, {word});
}

Val pack_f16x2(Val low, Val high) {
  Builder* b = builder_of({low, high});
  if (b == nullptr) return {};
  return b->emit(Op::kPackF16x2, kU32,
                 {b->materialize(low, Kind::kF32), b->materialize(high, Kind::kF32)});
}

Val unpack_bf16x2(Val word) {
  return make_vec({as_f32(word << 16), as_f32(word & 0xffff0000u)});
}

Val pack_bf16x2(Val low, Val high) {
  const auto rounded = [](Val x) {
    const Val bits = as_u32(x);
    const Val nearest = bits + ((bits >> 16) & 1u) + 0x7fffu;
    // Rounding must not carry a NaN's payload into infinity.
    return select((bits & 0x7fffffffu) > 0x7f800000u, bits | 0x400000u, nearest);
  };
  return (rounded(low) >> 16) | (rounded(high) & 0xffff0000u);
}

Val dot4(Val a, Val b, Val acc) {
  Builder* k = builder_of({a, b, acc});
  if (k == nullptr) return {};
  return k->emit(Op::kDot4, kI32,
                 {k->materialize(a, Kind::kU32), k->materialize(b, Kind::kU32),
                  k->materialize(acc, Kind::kI32)});
}

Val signed_byte(Val word, uint32_t index) {
  const Val shifted = index == 3 ? word : word << (24 - 8 * index);
  return as_i32(shifted) >> 24;
}

Val pack_i8x4(Val a, Val b, Val c, Val d) {
  return (as_u32(a) & 0xffu) | (as_u32(b) & 0xffu) << 8 | (as_u32(c) & 0xffu) << 16 |
         as_u32(d) << 24;
}

}  // namespace bp::kernels
