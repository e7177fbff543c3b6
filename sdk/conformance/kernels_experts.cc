// SPDX-License-Identifier: Apache-2.0
// moe_linear_glu and moe_linear in every weight format.
#include <cmath>

#include "sdk/conformance/check.h"
#include "sdk/conformance/exercise.h"
#include "sdk/conformance/random_values.h"
#include "sdk/conformance/reference.h"

namespace bp::conformance {
namespace {

struct ExpertShape {
  uint64_t experts, used, rows, columns;
};

std::vector<ExpertShape> shapes_of(const WeightFormat& format, bool quick) {
  const uint64_t b = format.block_elements == 1 ? 32 : format.block_elements;
  const uint64_t odd = format.block_elements == 1 ? 37 : b;
  if (quick) return {{4, 2, 33, 2 * b}};
  return {{1, 1, 7, odd}, {4, 2, 33, 2 * b}, {8, 2, 64, b}, {16, 5, 19, 3 * b}};
}

constexpr uint64_t kTokenCount = 24;

// Ids of `used` different experts for each token.
std::vector<int32_t> random_ids(const ExpertShape& shape, uint64_t tokens, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> out;
  for (uint64_t t = 0; t < tokens; ++t) {
    std::vector<int32_t> all;
    for (uint64_t e = 0; e < shape.experts; ++e) all.push_back(static_cast<int32_t>(e));
    for (uint64_t k = 0; k < shape.used; ++k) {
      std::swap(all[k], all[k + random.below(all.size() - k)]);
      out.push_back(all[k]);
    }
  }
  return out;
}

std::span<const float> matrix_of(const std::vector<float>& all, int32_t id, uint64_t elements) {
  return std::span(all).subspan(static_cast<uint64_t>(id) * elements, elements);
}

void append(Expected& to, const Expected& from) {
  to.value.insert(to.value.end(), from.value.begin(), from.value.end());
  to.magnitude.insert(to.magnitude.end(), from.magnitude.begin(), from.magnitude.end());
  to.slack.insert(to.slack.end(), from.slack.begin(), from.slack.end());
}

RowCase glu_case(const Context& context, std::string_view format, const ExpertShape& shape,
                 bool merged, const std::string& activation, uint64_t seed) {
  RowCase test;
  const uint64_t f = shape.rows;
  const uint64_t elements = f * shape.columns;
  const std::vector<float> x = random_activations(kTokenCount, shape.columns, seed);
  const std::vector<int32_t> ids = random_ids(shape, kTokenCount, seed + 1);
  Weight first =
      Weight::random(format, {shape.experts, merged ? 2 * f : f, shape.columns}, seed + 2);
  Weight second = Weight::random(format, {shape.experts, f, shape.columns}, seed + 3);
  const std::vector<float> gates = first.dequantized();
  const std::vector<float> ups = second.dequantized();
  test.expected.columns = shape.used * f;
  for (uint64_t t = 0; t < kTokenCount; ++t) {
    const auto xt = std::span(x).subspan(t * shape.columns, shape.columns);
    for (uint64_t k = 0; k < shape.used; ++k) {
      const int32_t id = ids[t * shape.used + k];
      const auto both = matrix_of(gates, id, merged ? 2 * elements : elements);
      const auto up = merged ? both.subspan(elements) : matrix_of(ups, id, elements);
      append(test.expected,
             glu_reference(xt, both.first(elements), up, {}, activation, 1, f, shape.columns));
    }
  }
  test.record = OpRecord("moe_linear_glu");
  test.record.input("f32", {dim(kTokens), constant(shape.columns)}).weight(std::move(first));
  test.record.input("i32", {dim(kTokens), constant(shape.used)});
  if (merged) {
    test.record.absent();
  } else {
    test.record.weight(std::move(second));
  }
  test.record.output("f32", {dim(kTokens), constant(shape.used), constant(f)});
  test.record.attribute("activation", activation);
  test.inputs = {bytes_of(x), {}, bytes_of(ids), {}};
  test.rows = test.max_tokens = kTokenCount;
  test.stretches = stretches_of(token_counts(context.options, kTokenCount), kTokenCount);
  test.tolerance = weight_tolerance(format);
  test.what = fmt::format("moe_linear_glu {} [{}, {}, {}], {} of them, {}{}", format, shape.experts,
                          f, shape.columns, shape.used, activation, merged ? ", merged" : "");
  return test;
}

Verdict check_expert_glu(Context& context, const WeightFormat& format) {
  Exercise exercise(context, "moe_linear_glu", std::string(format.name));
  uint64_t seed = context.options.seed * 1000 + 300;
  uint64_t i = 0;
  for (const ExpertShape& shape : shapes_of(format, context.options.quick)) {
    const char* const activation = i % 3 == 0 ? "silu" : i % 3 == 1 ? "gelu_tanh" : "gelu";
    for (const bool merged : {true, false}) {
      BP_TRY(exercise_rows(exercise,
                           glu_case(context, format.name, shape, merged, activation, ++seed)));
    }
    ++i;
  }
  return exercise.verdict();
}

struct DownOptions {
  bool residual = false, in_place = false;
};

RowCase down_case(const Context& context, std::string_view format, const ExpertShape& shape,
                  const DownOptions& options, uint64_t seed) {
  RowCase test;
  const uint64_t n = shape.rows;
  const std::vector<float> x = random_activations(kTokenCount * shape.used, shape.columns, seed);
  const std::vector<int32_t> ids = random_ids(shape, kTokenCount, seed + 1);
  std::vector<float> shares = random_floats(kTokenCount * shape.used, seed + 2);
  for (float& share : shares) share = share < 0 ? -share : share;
  std::vector<float> residual;
  if (options.residual) residual = random_floats(kTokenCount * n, seed + 3);
  Weight weight = Weight::random(format, {shape.experts, n, shape.columns}, seed + 4);
  const std::vector<float> values = weight.dequantized();
  test.expected.columns = n;
  test.expected.resize(kTokenCount * n);
  for (uint64_t t = 0; t < kTokenCount; ++t) {
    for (uint64_t k = 0; k < shape.used; ++k) {
      const uint64_t at = t * shape.used + k;
      const Expected one = linear_reference(std::span(x).subspan(at * shape.columns, shape.columns),
                                            matrix_of(values, ids[at], n * shape.columns), {}, {},
                                            {}, 1, n, shape.columns);
      for (uint64_t c = 0; c < n; ++c) {
        test.expected.value[t * n + c] += shares[at] * one.value[c];
        test.expected.magnitude[t * n + c] += shares[at] * one.magnitude[c];
        test.expected.slack[t * n + c] += shares[at] * one.slack[c];
      }
    }
    for (uint64_t c = 0; c < n && options.residual; ++c) {
      test.expected.value[t * n + c] += residual[t * n + c];
      test.expected.slack[t * n + c] += 4e-6 * std::abs(residual[t * n + c]);
    }
  }
  test.record = OpRecord("moe_linear");
  test.record.input("f32", {dim(kTokens), constant(shape.used), constant(shape.columns)});
  test.record.weight(std::move(weight));
  test.record.input("i32", {dim(kTokens), constant(shape.used)});
  test.record.input("f32", {dim(kTokens), constant(shape.used)});
  if (options.residual) {
    test.record.input("f32", {dim(kTokens), constant(n)});
  } else {
    test.record.absent();
  }
  test.record.output("f32", {dim(kTokens), constant(n)});
  test.inputs = {bytes_of(x), {}, bytes_of(ids), bytes_of(shares), bytes_of(residual)};
  test.rows = test.max_tokens = kTokenCount;
  test.stretches = stretches_of(token_counts(context.options, kTokenCount), kTokenCount);
  if (options.in_place) test.in_place = 4;
  test.tolerance = weight_tolerance(format);
  test.what = fmt::format("moe_linear {} [{}, {}, {}], {} of them{}", format, shape.experts, n,
                          shape.columns, shape.used,
                          options.in_place   ? ", residual in place"
                          : options.residual ? ", residual"
                                             : "");
  return test;
}

Verdict check_expert_down(Context& context, const WeightFormat& format) {
  Exercise exercise(context, "moe_linear", std::string(format.name));
  uint64_t seed = context.options.seed * 1000 + 400;
  uint64_t i = 0;
  for (const ExpertShape& shape : shapes_of(format, context.options.quick)) {
    const DownOptions options{i % 2 == 1, i == 3};
    BP_TRY(exercise_rows(exercise, down_case(context, format.name, shape, options, ++seed)));
    ++i;
  }
  return exercise.verdict();
}

}  // namespace

void add_expert_kernel_checks(std::vector<Check>& out) {
  for (const WeightFormat& format : kWeightFormats) {
    out.push_back({fmt::format("kernels.moe_linear_glu.{}", format.name), Check::Needs::kKernels,
                   "gate and up of each token's experts",
                   [&format](Context& context) { return check_expert_glu(context, format); }});
  }
  for (const WeightFormat& format : kWeightFormats) {
    out.push_back({fmt::format("kernels.moe_linear.{}", format.name), Check::Needs::kKernels,
                   "the weighted sum over each token's experts",
                   [&format](Context& context) { return check_expert_down(context, format); }});
  }
}

}  // namespace bp::conformance
