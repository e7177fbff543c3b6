// SPDX-License-Identifier: Apache-2.0
#include "kernels/library/row_sums.h"

#include "kernels/builder/builder.h"

namespace bp::kernels {
namespace {
constexpr uint32_t kUnroll = 4;  // vectors of a thread on their way at once
}

Result<Kernel> build_row_sums(const RowSumsSpec& spec, uint32_t threads) {
  if (spec.columns == 0 || spec.columns % 4 != 0 || !is_power_of_two(threads) ||
      threads > kMaxThreads) {
    return error(Code::kInvalidArgument, "row_sums of {} with {} threads: no such kernel",
                 spec.columns, threads);
  }
  Builder k("row_sums", threads);
  Buf x = k.in("x"), y = k.out("y");
  const uint32_t vectors = spec.columns / 4;
  const Val t = k.tid(), row = k.group_x() * vectors;
  std::vector<Var> sums;
  for (uint32_t i = 0; i < kUnroll; ++i) sums.push_back(k.var(0.0f));
  // Independent sums, so that loads need not wait for each other.
  k.loop(0, vectors / (threads * kUnroll), 1, [&](Val step) {
    for (uint32_t i = 0; i < kUnroll; ++i) {
      sums[i] += sum_lanes(x.f32x4(row + (step * kUnroll + i) * threads + t));
    }
  });
  const uint32_t done = vectors / (threads * kUnroll) * (threads * kUnroll);
  k.loop(t + done, vectors, threads, [&](Val c) { sums[0] += sum_lanes(x.f32x4(row + c)); });
  const Val total =
      k.sum((sums[0].get() + sums[1].get()) + (sums[2].get() + sums[3].get()), threads);
  k.when(t == 0, [&] { y.store(k.group_x(), total); });
  return k.finish();
}

}  // namespace bp::kernels
