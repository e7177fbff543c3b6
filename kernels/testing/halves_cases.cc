// SPDX-License-Identifier: Apache-2.0
// References of the conversions to f16 and of the end of a product.
#include "kernels/testing/halves_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "backplane/float16.h"

namespace bp::kernels::testing {
namespace {

constexpr float kMaxHalf = 65504.0f;

uint32_t groups(uint32_t work) {
  return (work + kHalvesThreads - 1) / kHalvesThreads;
}

Words halves_of(const std::vector<float>& values) {
  Words out(values.size() / 2);
  for (size_t i = 0; i < values.size(); ++i) {
    const float bounded = std::clamp(values[i], -kMaxHalf, kMaxHalf);
    out[i / 2] |= uint32_t{f32_to_f16(bounded)} << 16 * (i % 2);
  }
  return out;
}

std::function<std::string(const std::vector<Words>&)> equal_last(Words want) {
  return [want = std::move(want)](const std::vector<Words>& got) -> std::string {
    for (size_t i = 0; i < want.size(); ++i) {
      if (got.back()[i] == want[i]) continue;
      return fmt::format("word {} is {:08x} instead of {:08x}", i, got.back()[i], want[i]);
    }
    return "";
  };
}

}  // namespace

Result<Case> weight_halves_case(const std::string& format, uint32_t all_rows, uint32_t first_row,
                                uint32_t rows, uint32_t columns, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_weight_halves(format, columns));
  out.name = fmt::format("{}_{}of{}x{}_at{}", out.kernel.name, rows, all_rows, columns, first_row);
  const Weights weights = random_weights(format, all_rows, columns, &random);
  out.buffers = weights.planes;
  const auto first = weights.values.begin() + static_cast<ptrdiff_t>(first_row) * columns;
  const std::vector<float> part(first, first + static_cast<ptrdiff_t>(rows) * columns);
  out.buffers.push_back(poison(part.size() / 2));
  const uint32_t per_row = columns / panel_chunk(format, columns);
  out.params = {first_row * per_row, rows * per_row};
  out.grid_x = groups(rows * per_row);
  out.check = equal_last(halves_of(part));
  return out;
}

Result<Case> activation_halves_case(uint32_t tokens, uint32_t columns, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_activation_halves(columns));
  out.name = fmt::format("{}_{}x{}", out.kernel.name, tokens, columns);
  std::vector<float> x = random.uniform(size_t{tokens} * columns, -3, 3);
  x[0] = 1e30f;  // beyond a half
  x[1] = -70000.0f;
  x[2] = 1e-9f;
  out.buffers = {words_of(x), poison(x.size() / 2)};
  out.grid_x = tokens;
  out.grid_y = groups(columns / 8);
  out.check = equal_last(halves_of(x));
  return out;
}

Result<Case> product_end_case(const ProductEndSpec& spec, uint32_t tokens, uint32_t first_row,
                              uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_product_end(spec));
  const uint32_t halves = spec.glu ? 2 : 1, length = spec.y_stride;
  out.name = fmt::format("{}_{}of{}_x{}_at{}_g{}b{}r{}", out.kernel.name, spec.rows, length, tokens,
                         first_row, spec.glu, spec.bias, spec.residual);
  const auto product = random.uniform(size_t{tokens} * spec.rows, -3, 3);
  const auto up = random.uniform(product.size(), -3, 3);
  const auto bias = random.uniform(size_t{length} * halves, -1, 1);
  const auto before = random.uniform(size_t{tokens} * length, -1, 1);
  const bool partly = spec.rows != length;
  out.buffers = {words_of(product)};
  if (spec.glu) out.buffers.push_back(words_of(up));
  if (spec.bias) out.buffers.push_back(words_of(bias));
  out.buffers.push_back(spec.residual ? words_of(before) : poison(before.size()));
  out.params = {first_row};
  out.grid_x = tokens;
  out.grid_y = groups(spec.rows / product_end_lanes(spec));
  out.partly_written = partly;
  std::vector<double> want(before.begin(), before.end());
  for (uint32_t t = 0; t < tokens; ++t) {
    for (uint32_t r = 0; r < spec.rows; ++r) {
      const size_t at = size_t{t} * spec.rows + r, n = first_row + r;
      double sum = double{product[at]} + (spec.bias ? bias[n] : 0.0f);
      sum = reference_activation(spec.activation, sum);
      if (spec.glu) sum *= double{up[at]} + (spec.bias ? bias[n + length] : 0.0f);
      if (spec.softcap > 0) sum = spec.softcap * std::tanh(sum / spec.softcap);
      double& y = want[size_t{t} * length + n];
      y = sum + (spec.residual ? y : 0.0);
    }
  }
  const Words poisoned = out.buffers.back();
  out.check = [=, rows = spec.rows](const std::vector<Words>& buffers) -> std::string {
    std::vector<float> got = floats_of(buffers.back());
    std::vector<double> expected = want;
    for (size_t i = 0; i < got.size(); ++i) {
      const size_t n = i % length;
      if (n >= first_row && n < first_row + rows) continue;
      if (buffers.back()[i] != poisoned[i]) return fmt::format("word {} was written", i);
      got[i] = 0;
      expected[i] = 0;
    }
    std::string why;
    return close(got, expected, 1e-5, &why) ? "" : why;
  };
  return out;
}

Status add_halves_samples(std::vector<Case>* out) {
  out->push_back(BP_TRY(weight_halves_case("q4_g32", 40, 3, 33, 96, 71)));
  out->push_back(BP_TRY(weight_halves_case("q6_k", 3, 1, 2, 512, 72)));
  out->push_back(BP_TRY(weight_halves_case("bf16", 5, 0, 5, 24, 73)));
  out->push_back(BP_TRY(activation_halves_case(3, 1048, 74)));
  const ProductEndSpec gated{
      .rows = 36, .y_stride = 52, .glu = true, .bias = true, .activation = Activation::kSilu};
  out->push_back(BP_TRY(product_end_case(gated, 3, 16, 75)));
  const ProductEndSpec capped{
      .rows = 37, .y_stride = 37, .bias = true, .residual = true, .softcap = 2.0f};
  out->push_back(BP_TRY(product_end_case(capped, 2, 0, 76)));
  return {};
}

}  // namespace bp::kernels::testing
