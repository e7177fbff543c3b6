// SPDX-License-Identifier: Apache-2.0
// Conversions to f16 before a product of halves, and what follows it.
#include "kernels/library/halves.h"

#include <vector>

#include "kernels/builder/builder.h"
#include "kernels/library/weights.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kHalves = 8;       // of a vector of four words
constexpr float kMaxHalf = 65504.0f;  // the largest f16
constexpr uint32_t kMaxColumns = 1u << 20;
constexpr uint32_t kMaxRows = 1u << 24;

// Eight floats as four words. Beyond what a half can hold the largest one stands.
Val halves_of(const std::vector<Val>& floats, uint32_t at) {
  const auto bounded = [](const Val& v) { return min(max(v, -kMaxHalf), kMaxHalf); };
  std::vector<Val> words;
  for (uint32_t i = 0; i < kHalves; i += 2) {
    words.push_back(pack_f16x2(bounded(floats[at + i]), bounded(floats[at + i + 1])));
  }
  return make_vec(words);
}

}  // namespace

uint32_t panel_chunk(const std::string& format, uint32_t columns) {
  const WeightReader* reader = find_weight_reader(format);
  return reader != nullptr ? reader->chunk_elements(columns) : 0;
}

bool has_halves(const std::string& format, uint32_t columns) {
  const uint32_t chunk = panel_chunk(format, columns);
  return columns != 0 && columns <= kMaxColumns && columns % kHalves == 0 && chunk != 0 &&
         chunk % kHalves == 0;
}

Result<Kernel> build_weight_halves(const std::string& format, uint32_t columns) {
  if (!has_halves(format, columns)) {
    return error(Code::kInvalidArgument, "{} rows of {} as halves: no such kernel", format,
                 columns);
  }
  const WeightReader& reader = *find_weight_reader(format);
  const uint32_t chunk = reader.chunk_elements(columns), vectors = chunk / kHalves;
  Builder k("halves_" + format, kHalvesThreads);
  const std::vector<Buf> planes = reader.declare(k, "w");
  Buf panel = k.out("panel");
  const Val first = k.param_u32("first_chunk"), chunks = k.param_u32("chunks");
  const Val t = k.tid(), group = k.group_x() * kHalvesThreads;
  // Threads past the end repeat the last chunk, and nobody stores what they read.
  const Val mine = min(group + t, chunks - 1);
  const std::vector<Val> floats =
      weight_values(reader, reader.load(planes, first + mine, columns), columns);
  if (vectors == 1) {
    k.when(group + t < chunks, [&] { panel.store(group + t, halves_of(floats, 0)); });
    return k.finish();
  }
  // Through shared memory, so that threads side by side write vectors side by side. The odd stride
  // keeps them in different banks.
  const uint32_t stride = vectors | 1;
  const Shared tile = k.shared("tile", Type{Kind::kU32, 4}, kHalvesThreads * stride);
  for (uint32_t i = 0; i < vectors; ++i) {
    tile.store(t * stride + i, halves_of(floats, i * kHalves));
  }
  k.barrier();
  for (uint32_t i = 0; i < vectors; ++i) {
    const Val at = t + i * kHalvesThreads;
    const Val value = tile.load(at / vectors * stride + at % vectors);
    k.when(group * vectors + at < chunks * vectors,
           [&] { panel.store(group * vectors + at, value); });
  }
  return k.finish();
}

Result<Kernel> build_activation_halves(uint32_t columns) {
  if (columns == 0 || columns % kHalves != 0 || columns > kMaxColumns) {
    return error(Code::kInvalidArgument, "activations of {} as halves: no such kernel", columns);
  }
  const uint32_t vectors = columns / kHalves;
  Builder k("halves_f32", kHalvesThreads);
  Buf x = k.in("x"), y = k.out("halves");
  const Val at = k.group_y() * kHalvesThreads + k.tid();
  const auto write = [&] {
    const Val vector = k.group_x() * vectors + at;
    std::vector<Val> floats;
    for (uint32_t half = 0; half < 2; ++half) {
      const Val four = x.f32x4(vector * 2 + half);
      for (uint32_t i = 0; i < 4; ++i) floats.push_back(four[i]);
    }
    y.store(vector, halves_of(floats, 0));
  };
  k.when(at < vectors, write);
  return k.finish();
}

uint32_t product_end_lanes(const ProductEndSpec& spec) {
  return spec.rows % 4 == 0 && spec.y_stride % 4 == 0 ? 4 : 1;
}

Result<Kernel> build_product_end(const ProductEndSpec& spec) {
  if (spec.rows == 0 || spec.rows > kMaxRows || spec.y_stride < spec.rows ||
      spec.y_stride > kMaxRows || (spec.glu && spec.activation == Activation::kNone)) {
    return error(Code::kInvalidArgument, "the end of a product of {} rows of {}: no such kernel",
                 spec.rows, spec.y_stride);
  }
  const uint32_t lanes = product_end_lanes(spec), vectors = spec.rows / lanes;
  Builder k("product_end", kHalvesThreads);
  Buf product = k.in("product");
  Buf up_product = spec.glu ? k.in("up_product") : Buf();
  Buf bias = spec.bias ? k.in("bias") : Buf();
  Buf y = spec.residual ? k.in_out("y") : k.out("y");
  const Val first = k.param_u32("first_row") / lanes;
  const Val token = k.group_x(), at = k.group_y() * kHalvesThreads + k.tid();
  const auto load = [&](const Buf& from, const Val& index) {
    return lanes == 4 ? from.f32x4(index) : from.f32(index);
  };
  const auto write = [&] {
    const uint32_t length = spec.y_stride / lanes;
    const Val row = token * vectors + at, column = first + at;
    const Val place = token * length + column;
    Val gate = load(product, row);
    if (spec.bias) gate = gate + load(bias, column);
    Val up = spec.glu ? load(up_product, row) : Val();
    if (spec.glu && spec.bias) up = up + load(bias, column + length);
    const Val before = spec.residual ? load(y, place) : Val();
    std::vector<Val> results;
    for (uint32_t i = 0; i < lanes; ++i) {
      Val v = activate(spec.activation, gate[i]);
      if (spec.glu) v = v * up[i];
      v = soft_cap(v, spec.softcap);
      if (spec.residual) v = v + before[i];
      results.push_back(v);
    }
    y.store(place, lanes == 4 ? make_vec(results) : results[0]);
  };
  k.when(at < vectors, write);
  return k.finish();
}

}  // namespace bp::kernels
