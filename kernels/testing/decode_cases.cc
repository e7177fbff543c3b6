// SPDX-License-Identifier: Apache-2.0
// References of the row kernels, in double, from docs/ops.md.
#include "kernels/testing/decode_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bp::kernels::testing {
namespace {

std::string compare(const std::vector<float>& got, const std::vector<double>& want,
                    double tolerance) {
  std::string why;
  return close(got, want, tolerance, &why) ? "" : why;
}

}  // namespace

Result<Case> embed_case(const EmbedSpec& spec, uint32_t threads, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_embed(spec, threads));
  out.name = fmt::format("{}_{}x{}", out.kernel.name, spec.rows, spec.columns);
  const Weights table = random_weights(spec.format, spec.rows, spec.columns, &random);
  const Words ids = {0, spec.rows - 1, spec.rows / 2, spec.rows, ~0u};  // two are outside
  std::vector<double> want;
  for (uint32_t id : ids) {
    for (uint32_t i = 0; i < spec.columns; ++i) {
      want.push_back(
          id < spec.rows ? double{table.values[size_t{id} * spec.columns + i]} * spec.scale : 0.0);
    }
  }
  out.grid_x = static_cast<uint32_t>(ids.size());
  out.buffers = {ids};
  out.buffers.insert(out.buffers.end(), table.planes.begin(), table.planes.end());
  const size_t y = out.buffers.size();
  out.buffers.push_back(poison(want.size()));
  out.buffers.push_back({0});
  out.check = [want, y](const std::vector<Words>& b) -> std::string {
    if (b[y + 1][0] != 2) return fmt::format("{} errors counted", b[y + 1][0]);
    return compare(floats_of(b[y]), want, 1e-6);
  };
  return out;
}

Result<Case> argmax_case(uint32_t rows, uint32_t columns, uint32_t threads, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_argmax(columns, threads));
  out.name = fmt::format("argmax_{}x{}", rows, columns);
  out.grid_x = rows;
  std::vector<float> x = random.uniform(size_t{rows} * columns, -1, 1);
  Words want;
  for (uint32_t r = 0; r < rows; ++r) {
    float* row = &x[size_t{r} * columns];
    const uint32_t a = random.below(columns), b = random.below(columns);
    if (r % 2 == 0) row[a] = row[b] = 7;  // a tie: the lower index wins
    if (r == 1) std::fill_n(row, columns, -INFINITY);
    want.push_back(static_cast<uint32_t>(std::max_element(row, row + columns) - row));
  }
  out.buffers = {words_of(x), poison(rows)};
  out.check = [want](const std::vector<Words>& b) { return b[1] == want ? "" : "another index"; };
  return out;
}

}  // namespace bp::kernels::testing
