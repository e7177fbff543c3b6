// SPDX-License-Identifier: Apache-2.0
// References of argmax and of the k largest.
#include "kernels/testing/sampling_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace bp::kernels::testing {
namespace {

struct Largest {
  std::vector<float> values;
  Words ids;
};

// Appends the `count` largest of x[from, to), filled up with −infinity and −1.
void append_largest(const std::vector<float>& x, uint32_t from, uint32_t to, uint32_t count,
                    Largest* out) {
  std::vector<uint32_t> order(to - from);
  std::iota(order.begin(), order.end(), from);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return std::isnan(x[b]) ? !std::isnan(x[a]) : x[a] > x[b];
  });
  for (uint32_t i = 0; i < count; ++i) {
    out->values.push_back(i < order.size() ? x[order[i]] : -INFINITY);
    out->ids.push_back(i < order.size() ? order[i] : ~0u);
  }
}

std::vector<float> logits(uint32_t columns, bool odd, Random* random) {
  std::vector<float> x;
  for (uint32_t i = 0; i < columns; ++i)
    x.push_back(static_cast<float>(random->below(200)) * 0.25f - 20.0f);
  const float oddities[] = {-0.0f, 0.0f, INFINITY, -INFINITY, NAN, -NAN, 1e-40f, -1e-40f};
  for (uint32_t i = 0; odd && i < 16; ++i) x[random->below(columns)] = oddities[i % 8];
  return x;
}

std::string compare(const Words& values, const Words& ids, const Largest& want) {
  const std::vector<float> got = floats_of(values);
  for (size_t i = 0; i < want.ids.size(); ++i) {
    if (ids[i] != want.ids[i])
      return fmt::format("id {} is {} instead of {}", i, ids[i], want.ids[i]);
    const bool same = std::isnan(want.values[i]) ? std::isnan(got[i]) : got[i] == want.values[i];
    if (!same) return fmt::format("value {} is {} instead of {}", i, got[i], want.values[i]);
  }
  return "";
}

std::string describe(const std::string& name, const TopKSpec& spec, const TopKSchedule& schedule) {
  return fmt::format("{}_{}of{}_t{}h{}", name, spec.count, spec.columns, schedule.threads,
                     schedule.held);
}

}  // namespace

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

Result<Case> top_k_case(const TopKSpec& spec, const TopKSchedule& schedule, uint32_t rows,
                        uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_top_k(spec, schedule));
  out.name = describe(out.kernel.name, spec, schedule);
  const uint32_t parts = top_k_parts(spec, schedule), part = schedule.threads * schedule.held;
  out.grid_x = parts;
  out.grid_y = rows;
  std::vector<float> all;
  Largest want;
  for (uint32_t r = 0; r < rows; ++r) {
    const std::vector<float> x = logits(spec.columns, r == 0, &random);
    all.insert(all.end(), x.begin(), x.end());
    for (uint32_t p = 0; p < parts; ++p)
      append_largest(x, p * part, std::min((p + 1) * part, spec.columns), spec.count, &want);
  }
  out.buffers = {words_of(all), poison(want.ids.size()), poison(want.ids.size())};
  out.check = [want](const std::vector<Words>& b) { return compare(b[1], b[2], want); };
  return out;
}

Result<Case> top_k_join_case(const TopKSpec& spec, const TopKSchedule& schedule, uint32_t rows,
                             uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_top_k_join(spec, schedule));
  out.name = describe(out.kernel.name, spec, schedule);
  const uint32_t parts = top_k_parts(spec, schedule), part = schedule.threads * schedule.held;
  out.grid_x = rows;
  Largest of_parts, want;
  for (uint32_t r = 0; r < rows; ++r) {
    const std::vector<float> x = logits(spec.columns, r == 0, &random);
    for (uint32_t p = 0; p < parts; ++p)
      append_largest(x, p * part, std::min((p + 1) * part, spec.columns), spec.count, &of_parts);
    append_largest(x, 0, spec.columns, spec.count, &want);
  }
  out.buffers = {words_of(of_parts.values), of_parts.ids, poison(want.ids.size()),
                 poison(want.ids.size())};
  out.check = [want](const std::vector<Words>& b) { return compare(b[2], b[3], want); };
  return out;
}

}  // namespace bp::kernels::testing
