// SPDX-License-Identifier: Apache-2.0
// Reference of linear and linear_glu over many tokens, in double, from docs/ops.md.
#include "kernels/testing/gemm_cases.h"

#include <fmt/format.h>

#include <cmath>

#include "backplane/float16.h"

namespace bp::kernels::testing {
namespace {

struct Operands {
  Weights gate, up;
  std::vector<float> x, bias, residual;
};

double product(const std::vector<float>& w, size_t row, const float* x, size_t columns) {
  double sum = 0;
  for (size_t i = 0; i < columns; ++i) sum += double{w[row * columns + i]} * x[i];
  return sum;
}

// y [tokens, length]; what the launch does not cover is as it was.
std::vector<double> reference(const GemmSpec& spec, const Operands& in, size_t tokens,
                              size_t first_row, size_t length, std::vector<double> y) {
  const bool merged = spec.glu && !spec.separate_up;
  for (size_t t = 0; t < tokens; ++t) {
    const float* x = &in.x[t * spec.columns];
    for (size_t r = 0; r < spec.rows; ++r) {
      const size_t n = first_row + r;
      double sum = product(in.gate.values, r, x, spec.columns) + (spec.bias ? in.bias[n] : 0.0f);
      sum = reference_activation(spec.activation, sum);
      if (spec.glu) {
        const double up = merged ? product(in.gate.values, r + spec.rows, x, spec.columns)
                                 : product(in.up.values, r, x, spec.columns);
        sum *= up + (spec.bias ? in.bias[n + length] : 0.0f);
      }
      if (spec.softcap > 0) sum = spec.softcap * std::tanh(sum / spec.softcap);
      if (spec.residual) sum += in.residual[t * length + n];
      y[t * length + n] = sum;
    }
  }
  return y;
}

// What matrix units get to see.
void round_to_halves(std::vector<float>* values) {
  for (float& v : *values) v = f16_to_f32(f32_to_f16(v));
}

}  // namespace

Result<Case> gemm_case(const GemmSpec& spec, const GemmSchedule& schedule, uint32_t tokens,
                       uint32_t first_row, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_gemm(spec, schedule));
  out.name = fmt::format(
      "{}_{}x{}_x{}_at{}_{}x{}x{}_{}x{}s{}p{}m{}{}{}{}", out.kernel.name, spec.rows, spec.columns,
      tokens, first_row, schedule.tile_tokens, schedule.tile_rows, schedule.tile_columns,
      schedule.thread_tokens, schedule.thread_rows, schedule.stages, schedule.pad, schedule.matrix,
      spec.bias ? "_bias" : "", spec.residual ? "_residual" : "", spec.separate_up ? "_up" : "");
  const GemmGrid grid = gemm_groups(spec, schedule, tokens);
  out.grid_x = grid.x;
  out.grid_y = grid.y;
  out.params = {tokens, first_row};
  const size_t length = spec.y_stride == 0 ? spec.rows : spec.y_stride, size = tokens * length;
  const bool merged = spec.glu && !spec.separate_up;
  Operands in;
  in.gate = random_weights(spec.format, merged ? 2 * spec.rows : spec.rows, spec.columns, &random);
  in.up = random_weights(spec.format, spec.rows, spec.columns, &random);
  in.x = random.uniform(size_t{tokens} * spec.columns, -2, 2);
  in.bias = random.uniform(spec.glu ? 2 * length : length, -1, 1);
  in.residual = random.uniform(size, -1, 1);
  out.buffers = in.gate.planes;
  if (spec.separate_up)
    out.buffers.insert(out.buffers.end(), in.up.planes.begin(), in.up.planes.end());
  out.buffers.push_back(words_of(in.x));
  if (spec.bias) out.buffers.push_back(words_of(in.bias));
  const bool in_place = spec.residual && spec.residual_in_place;
  if (spec.residual && !in_place) out.buffers.push_back(words_of(in.residual));
  out.partly_written = length != spec.rows;
  // Where a launch covers a part of y, the rest holds ones that must survive.
  std::vector<float> before(size, 1.0f);
  if (in_place) before = in.residual;
  const bool blank = !in_place && !out.partly_written;
  out.buffers.push_back(blank ? poison(size) : words_of(before));
  if (schedule.matrix != 0) {
    for (std::vector<float>* values : {&in.x, &in.gate.values, &in.up.values})
      round_to_halves(values);
  }
  const std::vector<double> want = reference(spec, in, tokens, first_row, length,
                                             std::vector<double>(before.begin(), before.end()));
  out.check = [want](const std::vector<Words>& b) -> std::string {
    std::string why;
    return close(floats_of(b.back()), want, 1e-5, &why) ? "" : why;
  };
  return out;
}

}  // namespace bp::kernels::testing
