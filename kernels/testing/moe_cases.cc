// SPDX-License-Identifier: Apache-2.0
// References of the expert kernels, in double, from docs/ops.md.
#include "kernels/testing/moe_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

namespace bp::kernels::testing {

Result<Case> moe_route_case(const MoeRouteSpec& spec, uint32_t threads, uint32_t tokens,
                            uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_moe_route(spec, threads));
  out.name = fmt::format("{}_{}of{}_t{}{}", out.kernel.name, spec.used, spec.experts, threads,
                         spec.normalize ? "_normalize" : "");
  out.grid_x = tokens;
  std::vector<float> logits;
  Words want_ids;
  std::vector<double> want;
  for (uint32_t t = 0; t < tokens; ++t) {
    std::vector<float> row;
    for (uint32_t e = 0; e < spec.experts; ++e)
      row.push_back(static_cast<float>(random.below(40)) * 0.25f - 5.0f);
    std::vector<uint32_t> order(spec.experts);
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return row[a] > row[b]; });
    order.resize(spec.used);
    double all = 0, chosen = 0;
    for (float x : row) all += std::exp(double{x});
    for (uint32_t e : order) chosen += std::exp(double{row[e]});
    for (uint32_t e : order)
      want.push_back(std::exp(double{row[e]}) / (spec.normalize ? chosen : all));
    want_ids.insert(want_ids.end(), order.begin(), order.end());
    logits.insert(logits.end(), row.begin(), row.end());
  }
  out.buffers = {words_of(logits), poison(want.size()), poison(want.size())};
  out.check = [=](const std::vector<Words>& b) -> std::string {
    std::string why;
    if (b[1] != want_ids) return "other experts";
    return close(floats_of(b[2]), want, 1e-5, &why) ? "" : why;
  };
  return out;
}

Result<Case> moe_linear_case(const MoeLinearSpec& spec, const GemvSchedule& schedule,
                             uint32_t tokens, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_moe_linear(spec, schedule));
  out.name = fmt::format("{}_{}of{}_{}x{}_x{}_t{}l{}r{}{}{}{}", out.kernel.name, spec.used,
                         spec.experts, spec.rows, spec.columns, tokens, schedule.threads,
                         schedule.lanes_per_row, schedule.rows_per_thread, spec.int8 ? "_int8" : "",
                         spec.residual ? "_residual" : "", spec.separate_up ? "_up" : "");
  out.grid_x = moe_linear_groups(spec, schedule);
  out.grid_y = spec.glu ? tokens * spec.used : tokens;
  const size_t rows = spec.rows, columns = spec.columns, used = spec.used;
  const bool merged = spec.glu && !spec.separate_up;
  const size_t matrix_rows = merged ? 2 * rows : rows;
  const Weights gate = random_weights(
      spec.format, static_cast<uint32_t>(spec.experts * matrix_rows), spec.columns, &random);
  const Weights up = random_weights(spec.format, spec.experts * spec.rows, spec.columns, &random);
  std::vector<float> x = random.uniform(tokens * (spec.glu ? 1 : used) * columns, -2, 2);
  const std::vector<float> shares = random.uniform(tokens * used, 0, 1),
                           residual = random.uniform(tokens * rows, -1, 1);
  Words ids;
  for (size_t i = 0; i < tokens * used; ++i) ids.push_back(random.below(spec.experts));
  if (ids.size() > 2) ids[1] = spec.experts, ids[2] = ~0u;
  out.buffers = gate.planes;
  if (spec.separate_up) out.buffers.insert(out.buffers.end(), up.planes.begin(), up.planes.end());
  append_activations(&x, spec.int8, &out.buffers);
  out.buffers.push_back(ids);
  if (!spec.glu) out.buffers.push_back(words_of(shares));
  const bool in_place = spec.residual && spec.residual_in_place;
  if (spec.residual && !in_place) out.buffers.push_back(words_of(residual));
  out.buffers.push_back(in_place ? words_of(residual)
                                 : poison(tokens * rows * (spec.glu ? used : 1)));

  auto want = std::make_shared<std::vector<double>>();
  const auto product = [&](const std::vector<float>& w, size_t row, size_t x_row) {
    double sum = 0;
    for (size_t i = 0; i < columns; ++i)
      sum += double{w[row * columns + i]} * x[x_row * columns + i];
    return sum;
  };
  for (size_t t = 0; t < tokens; ++t) {
    std::vector<double> total(rows, 0.0);
    for (size_t slot = t * used; slot < (t + 1) * used; ++slot) {
      const size_t expert = std::min(ids[slot], spec.experts - 1);
      for (size_t r = 0; r < rows; ++r) {
        const size_t row = expert * matrix_rows + r;
        if (!spec.glu) {
          total[r] += shares[slot] * product(gate.values, row, slot);
          continue;
        }
        const double second =
            merged ? product(gate.values, row + rows, t) : product(up.values, row, t);
        want->push_back(reference_activation(spec.activation, product(gate.values, row, t)) *
                        second);
      }
    }
    for (size_t r = 0; r < rows && !spec.glu; ++r)
      want->push_back(total[r] + (spec.residual ? residual[t * rows + r] : 0.0f));
  }
  out.check = [want](const std::vector<Words>& b) -> std::string {
    std::string why;
    return close(floats_of(b.back()), *want, 1e-5, &why) ? "" : why;
  };
  return out;
}

}  // namespace bp::kernels::testing
