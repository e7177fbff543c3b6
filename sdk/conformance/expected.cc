// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/expected.h"

#include <algorithm>
#include <cmath>

namespace bp::conformance {
namespace {
// Fewer outputs say little about their root mean square.
constexpr size_t kLeastForRms = 64;
}  // namespace

Tolerance weight_tolerance(std::string_view format) {
  if (format == "f32") return {1e-4, 2e-5};
  if (format == "f16" || format == "bf16") return {1.2e-2, 3e-3};
  return {3e-2, 1e-2};
}

Tolerance attention_tolerance(std::string_view kv_format) {
  if (kv_format == "f32") return {1e-3, 2e-4};
  if (kv_format == "f16" || kv_format == "q8") return {5e-3, 1e-3};
  return {2e-2, 5e-3};
}

Expected Expected::first(uint64_t rows) const {
  const auto cut = [&](const std::vector<double>& all) {
    const auto end =
        all.begin() + static_cast<ptrdiff_t>(std::min<uint64_t>(rows * columns, all.size()));
    return std::vector<double>(all.begin(), end);
  };
  return {columns, cut(value), cut(magnitude), cut(slack)};
}

Result<double> compare(const std::vector<float>& got, const Expected& want, Tolerance tolerance,
                       std::string_view what) {
  BP_EXPECT(got.size() == want.value.size(), "{}: {} outputs, expected {}", what, got.size(),
            want.value.size());
  double worst = 0;
  size_t worst_at = 0;
  double squares = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double bound = tolerance.each * want.magnitude[i] + want.slack[i] + 1e-30;
    const double difference = std::abs(got[i] - want.value[i]);
    const double share = std::isfinite(got[i]) ? difference / bound : 1e9;
    squares += share * share;
    if (share > worst) {
      worst = share;
      worst_at = i;
    }
  }
  BP_EXPECT(worst <= 1,
            "{}: output [{}, {}] is {:.7g}, expected {:.7g}; off by {:.3g}, allowed is {:.3g}",
            what, worst_at / want.columns, worst_at % want.columns, got[worst_at],
            want.value[worst_at], std::abs(got[worst_at] - want.value[worst_at]),
            tolerance.each * want.magnitude[worst_at] + want.slack[worst_at]);
  const double rms = std::sqrt(squares / static_cast<double>(std::max<size_t>(got.size(), 1)));
  const double allowed = tolerance.rms / tolerance.each;
  BP_EXPECT(got.size() < kLeastForRms || rms <= allowed,
            "{}: no output is far off, but together they use {:.3g} of the bound (root mean "
            "square over {} outputs), allowed is {:.3g}",
            what, rms, got.size(), allowed);
  return worst;
}

}  // namespace bp::conformance
