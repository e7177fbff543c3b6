// SPDX-License-Identifier: Apache-2.0
// References of the row kernels, in double, from docs/ops.md.
#include "kernels/testing/decode_cases.h"

#include <fmt/format.h>

namespace bp::kernels::testing {
namespace {

std::string compare(const std::vector<float>& got, const std::vector<double>& want,
                    double tolerance) {
  std::string why;
  return close(got, want, tolerance, &why) ? "" : why;
}

}  // namespace

Result<Case> embed_case(const EmbedSpec& spec, uint32_t vocabulary, uint32_t first_row,
                        uint32_t threads, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_embed(spec, threads));
  const uint32_t rows = vocabulary - first_row;
  out.name = fmt::format("{}_{}x{}_from{}", out.kernel.name, vocabulary, spec.columns, first_row);
  const Weights table = random_weights(spec.format, rows, spec.columns, &random);
  const Words ids = {0, vocabulary - 1, vocabulary / 2, vocabulary, ~0u};  // two are outside
  const Words before = poison(ids.size() * spec.columns);
  std::vector<double> want;
  for (uint32_t id : ids) {
    for (uint32_t i = 0; i < spec.columns; ++i) {
      const bool inside = id >= first_row && id < vocabulary;
      want.push_back(inside ? double{table.values[size_t{id - first_row} * spec.columns + i]} *
                                  spec.scale
                            : 0.0);
    }
  }
  out.grid_x = static_cast<uint32_t>(ids.size());
  out.params = {first_row, rows, vocabulary};
  out.partly_written = first_row != 0;
  out.buffers = {ids};
  out.buffers.insert(out.buffers.end(), table.planes.begin(), table.planes.end());
  const size_t y = out.buffers.size();
  out.buffers.push_back(before);
  out.check = [=](const std::vector<Words>& b) -> std::string {
    Words got = b[y];
    for (size_t i = 0; i < got.size(); ++i) {
      const uint32_t id = ids[i / spec.columns];
      // A part leaves alone what belongs to other parts.
      if (first_row == 0 || (id >= first_row && id < vocabulary)) continue;
      if (got[i] != before[i]) return fmt::format("id {} was written by the wrong part", id);
      got[i] = 0;
    }
    return compare(floats_of(got), want, 1e-6);
  };
  return out;
}

}  // namespace bp::kernels::testing
