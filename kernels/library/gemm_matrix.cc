// SPDX-License-Identifier: Apache-2.0
// GEMM by matrix units: the tiles hold halves, and each run of `matrix` threads multiplies
// fragments of its own part of them. Sums pass through shared memory at the end, because nobody
// says which thread holds which of them.
#include "kernels/library/gemm_builder.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kOutStride = kFragmentSize + 4;  // floats; spreads rows over banks
constexpr uint32_t kOutElements = kFragmentSize * kOutStride;

}  // namespace

void GemmBuilder::multiply_fragments(const Val& stage) {
  const Val subgroup = k_.tid() / d_.matrix;
  const uint32_t fragment = kFragmentSize * stride_;  // vectors from one to the next
  const Val x_base = stage * x_stage() + subgroup / row_subgroups() * (d_.thread_tokens * fragment);
  const Val w_base = stage * w_stage() + subgroup % row_subgroups() * (d_.thread_rows * fragment);
  for (uint32_t at = 0; at < d_.tile_columns / kHalfVector; at += kFragmentSize / kHalfVector) {
    std::vector<Val> x;
    for (uint32_t i = 0; i < d_.thread_tokens; ++i)
      x.push_back(x_tile_.load_fragment(x_base + (i * fragment + at), stride_, d_.matrix));
    for (uint32_t half = 0; half < halves(); ++half) {
      for (uint32_t j = 0; j < d_.thread_rows; ++j) {
        const uint32_t first = half * d_.tile_rows * stride_ + j * fragment + at;
        const Val w = w_tile_.load_fragment(w_base + first, stride_, d_.matrix);
        for (uint32_t i = 0; i < d_.thread_tokens; ++i)
          sum(half, i, j).set(k_.multiply(x[i], w, sum(half, i, j).get()));
      }
    }
  }
}

void GemmBuilder::finish_fragments() {
  const Shared out = k_.shared("out", kF32, subgroups() * halves() * kOutElements);
  const Val subgroup = k_.tid() / d_.matrix, lane = k_.tid() % d_.matrix;
  const Val base = subgroup * (halves() * kOutElements);
  const Val token_part = subgroup / row_subgroups() * d_.thread_tokens;
  const Val row_part = subgroup % row_subgroups() * d_.thread_rows;
  for (uint32_t i = 0; i < d_.thread_tokens; ++i) {
    for (uint32_t j = 0; j < d_.thread_rows; ++j) {
      for (uint32_t half = 0; half < halves(); ++half)
        out.store_fragment(base + half * kOutElements, kOutStride, sum(half, i, j).get());
      k_.barrier();
      k_.loop(lane, kFragmentElements, d_.matrix, [&](Val element) {
        const Val place = element / kFragmentSize, column = element % kFragmentSize;
        const Val at = base + place * kOutStride + column;
        const Val token = token0_ + (token_part + i) * kFragmentSize + place;
        const Val row = row0_ + (row_part + j) * kFragmentSize + column;
        k_.when(token < tokens_, [&] {
          result(token, row, out.load(at), s_.glu ? out.load(at + kOutElements) : Val());
        });
      });
      if (i + 1 < d_.thread_tokens || j + 1 < d_.thread_rows) k_.barrier();
    }
  }
}

}  // namespace bp::kernels
