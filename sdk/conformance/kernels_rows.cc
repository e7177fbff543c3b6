// SPDX-License-Identifier: Apache-2.0
// embed, rms_norm, layer_norm, gather_rows, moe_route.
#include <algorithm>
#include <initializer_list>

#include "sdk/conformance/check.h"
#include "sdk/conformance/exercise.h"
#include "sdk/conformance/random_values.h"
#include "sdk/conformance/reference.h"

namespace bp::conformance {
namespace {

constexpr uint64_t kTokenCount = 40;

Verdict check_embed(Context& context, const WeightFormat& format) {
  Exercise exercise(context, "embed", std::string(format.name));
  const uint64_t b = format.block_elements;
  uint64_t seed = context.options.seed * 1000 + 100;
  struct Case {
    uint64_t vocabulary, columns;
    double scale;
  };
  const std::vector<Case> cases =
      b == 1 ? std::vector<Case>{{1, 1, 1}, {97, 33, 1}, {64, 257, 45.25}, {31, 512, -0.5}}
             : std::vector<Case>{{1, b, 1}, {97, b, 1}, {64, 3 * b, 45.25}, {31, 4 * b, -0.5}};
  for (const Case& c : cases) {
    RowCase test;
    Weight table = Weight::random(format.name, {c.vocabulary, c.columns}, ++seed);
    const std::vector<float> values = table.dequantized();
    Random random(seed);
    std::vector<int32_t> ids(kTokenCount);
    for (int32_t& id : ids) id = static_cast<int32_t>(random.below(c.vocabulary));
    ids[0] = static_cast<int32_t>(c.vocabulary - 1);
    ids[1] = 0;
    test.record = OpRecord("embed");
    test.record.input("i32", {dim(kTokens)}).weight(std::move(table));
    test.record.output("f32", {dim(kTokens), constant(c.columns)});
    if (c.scale != 1) test.record.attribute("scale", c.scale);
    test.inputs = {bytes_of(ids), {}};
    test.rows = test.max_tokens = kTokenCount;
    test.stretches = stretches_of(token_counts(context.options, kTokenCount), kTokenCount);
    test.expected = embed_reference(ids, values, c.scale, c.columns);
    test.tolerance = kEmbedTolerance;
    test.what = fmt::format("embed {} [{}, {}]", format.name, c.vocabulary, c.columns);
    BP_TRY(exercise_rows(exercise, test));
  }
  return exercise.verdict();
}

// Of both norms: one, primes, blocks and their neighbours.
constexpr uint64_t kNormColumns[] = {1, 7, 31, 32, 64, 100, 257, 896, 1024, 2048, 4097};

Verdict check_rms_norm(Context& context) {
  Exercise exercise(context, "rms_norm", "f32");
  uint64_t seed = context.options.seed * 1000 + 600;
  for (const uint64_t columns : kNormColumns) {
    for (const int residual : {0, 1, 2}) {
      if (context.options.quick && (columns % 2 == 0 || residual == 1)) continue;
      RowCase test;
      std::vector<float> x = random_activations(kTokenCount, columns, ++seed);
      for (uint64_t c = 0; c < columns; ++c) x[2 * columns + c] *= 1e3f;
      Weight gain = Weight::vector(columns, seed + 1);
      const std::vector<float> gains = gain.dequantized();
      std::vector<float> addend;
      const double eps = columns % 2 == 0 ? 1e-6 : 1e-5;
      test.record = OpRecord("rms_norm");
      test.record.input("f32", {dim(kTokens), constant(columns)}).weight(std::move(gain));
      test.inputs = {bytes_of(x), {}, {}};
      if (residual != 0) {
        addend = random_floats(kTokenCount * columns, seed + 2);
        test.record.input("f32", {dim(kTokens), constant(columns)});
        test.inputs[2] = bytes_of(addend);
      } else {
        test.record.absent();
      }
      test.record.output("f32", {dim(kTokens), constant(columns)});
      test.record.attribute("eps", eps);
      test.rows = test.max_tokens = kTokenCount;
      test.stretches = stretches_of(token_counts(context.options, kTokenCount), kTokenCount);
      if (residual == 2) test.in_place = 2;
      test.expected = rms_norm_reference(x, gains, addend, eps, columns);
      test.tolerance = kRowTolerance;
      const char* const how[] = {"", ", residual", ", residual in place"};
      test.what = fmt::format("rms_norm of {}{}", columns, how[residual]);
      BP_TRY(exercise_rows(exercise, test));
    }
  }
  return exercise.verdict();
}

Verdict check_layer_norm(Context& context) {
  Exercise exercise(context, "layer_norm", "f32");
  uint64_t seed = context.options.seed * 1000 + 650;
  for (const uint64_t columns : kNormColumns) {
    for (const int form : {0, 1, 2, 3}) {
      if (context.options.quick && (columns % 2 == 0 || form == 2)) continue;
      RowCase test;
      std::vector<float> x = random_activations(kTokenCount, columns, ++seed);
      for (uint64_t c = 0; c < columns; ++c) x[2 * columns + c] *= 1e3f;
      for (uint64_t c = 0; c < columns; ++c) x[3 * columns + c] += 30;  // a mean that matters
      Weight gain = Weight::vector(columns, seed + 1), bias = Weight::vector(columns, seed + 3);
      const std::vector<float> gains = gain.dequantized();
      const std::vector<float> biases = form == 0 ? std::vector<float>() : bias.dequantized();
      const double eps = columns % 2 == 0 ? 1e-6 : 1e-5;
      test.record = OpRecord("layer_norm");
      test.record.input("f32", {dim(kTokens), constant(columns)}).weight(std::move(gain));
      if (form == 0) {
        test.record.absent();
      } else {
        test.record.weight(std::move(bias));
      }
      test.inputs = {bytes_of(x), {}, {}, {}};
      std::vector<float> addend;
      if (form >= 2) {
        addend = random_floats(kTokenCount * columns, seed + 2);
        test.record.input("f32", {dim(kTokens), constant(columns)});
        test.inputs[3] = bytes_of(addend);
      } else {
        test.record.absent();
      }
      test.record.output("f32", {dim(kTokens), constant(columns)});
      test.record.attribute("eps", eps);
      test.rows = test.max_tokens = kTokenCount;
      test.stretches = stretches_of(token_counts(context.options, kTokenCount), kTokenCount);
      if (form == 3) test.in_place = 3;
      test.expected = layer_norm_reference(x, gains, biases, addend, eps, columns);
      test.tolerance = kRowTolerance;
      const char* const how[] = {"", ", bias", ", bias and residual", ", residual in place"};
      test.what = fmt::format("layer_norm of {}{}", columns, how[form]);
      BP_TRY(exercise_rows(exercise, test));
    }
  }
  return exercise.verdict();
}

Verdict check_route(Context& context) {
  Exercise exercise(context, "moe_route", "f32");
  uint64_t seed = context.options.seed * 1000 + 700;
  struct Case {
    uint64_t experts, used;
    bool normalize;
  };
  for (const Case& c : {Case{1, 1, true}, Case{8, 2, true}, Case{8, 2, false}, Case{33, 5, true},
                        Case{60, 4, false}, Case{128, 8, true}, Case{7, 7, false}}) {
    RowCase test;
    // Multiples of 1/8 in a narrow range: most rows have ties, and no others are close.
    Random random(++seed);
    std::vector<float> logits(kTokenCount * c.experts);
    for (float& logit : logits) {
      logit = static_cast<float>(static_cast<int>(random.below(60)) - 30) / 8;
    }
    for (uint64_t e = 0; e < c.experts; ++e) logits[3 * c.experts + e] = -1;  // all equal
    const Route route = route_reference(logits, c.experts, c.used, c.normalize);
    test.record = OpRecord("moe_route");
    test.record.input("f32", {dim(kTokens), constant(c.experts)});
    test.record.output("i32", {dim(kTokens), constant(c.used)});
    test.record.output("f32", {dim(kTokens), constant(c.used)});
    test.record.attribute("experts_used", static_cast<int64_t>(c.used));
    test.record.attribute("normalize", c.normalize ? 1 : 0);
    test.inputs = {bytes_of(logits)};
    test.rows = test.max_tokens = kTokenCount;
    test.stretches = stretches_of(token_counts(context.options, kTokenCount), kTokenCount);
    test.what =
        fmt::format("moe_route, {} of {}{}", c.used, c.experts, c.normalize ? ", normalized" : "");
    test.compare = [&](const Outcome& outcome, uint64_t first, uint64_t count) -> Result<double> {
      const std::vector<int32_t> ids = values_of<int32_t>(outcome.outputs[0]);
      for (uint64_t i = 0; i < count * c.used; ++i) {
        const int32_t want = route.ids[first * c.used + i];
        BP_EXPECT(ids[i] == want, "{}: choice {} of token {} is {}, expected {}", test.what,
                  i % c.used, i / c.used, ids[i], want);
      }
      Expected part = route.weights.first(first + count);
      const auto drop = [&](std::vector<double>& from) {
        from.erase(from.begin(), from.begin() + static_cast<ptrdiff_t>(first * c.used));
      };
      drop(part.value);
      drop(part.magnitude);
      drop(part.slack);
      return compare(values_of<float>(outcome.outputs[1]), part, kRowTolerance, test.what);
    };
    BP_TRY(exercise_rows(exercise, test));
  }
  return exercise.verdict();
}

Verdict check_gather(Context& context) {
  Exercise exercise(context, "gather_rows", "f32");
  uint64_t seed = context.options.seed * 1000 + 800;
  for (const uint64_t columns : std::initializer_list<uint64_t>{1, 33, 64, 896, 1001}) {
    OpRecord record("gather_rows");
    record.input("f32", {dim(kTokens), constant(columns)}).input("i32", {dim(kOutputs)});
    record.output("f32", {dim(kOutputs), constant(columns)});
    const SymbolRanges ranges = ranges_up_to({kTokenCount, 8, 12, 1, 1});
    const auto op = BP_TRY(exercise.prepare(record, ranges));
    if (op == nullptr) continue;
    const auto bench = BP_TRY(Bench::create(context, record, ranges, op->match()));
    for (const auto& [tokens, outputs] :
         {std::pair<uint64_t, uint64_t>{1, 1}, {5, 2}, {40, 12}, {40, 1}, {33, 7}}) {
      const std::vector<float> x = random_floats(tokens * columns, ++seed);
      Random random(seed);
      std::vector<int32_t> rows(outputs);
      for (int32_t& row : rows) row = static_cast<int32_t>(random.below(tokens));
      rows.back() = static_cast<int32_t>(tokens - 1);
      std::vector<float> want;
      for (const int32_t row : rows) {
        const auto from = x.begin() + static_cast<ptrdiff_t>(static_cast<uint64_t>(row) * columns);
        want.insert(want.end(), from, from + static_cast<ptrdiff_t>(columns));
      }
      Launch launch;
      launch.symbols = {tokens, 1, outputs, 1, 1};
      launch.inputs = {bytes_of(x), bytes_of(rows)};
      const Outcome outcome = BP_TRY(bench->run(*op, launch));
      BP_TRY(
          expect_bytes(outcome.outputs[0], bytes_of(want),
                       fmt::format("gather_rows, {} of {} rows of {}", outputs, tokens, columns)));
      exercise.count_run(0);
    }
  }
  return exercise.verdict();
}

}  // namespace

void add_row_kernel_checks(std::vector<Check>& out) {
  using N = Check::Needs;
  for (const WeightFormat& format : kWeightFormats) {
    out.push_back({fmt::format("kernels.embed.{}", format.name), N::kKernels,
                   "rows of a table, dequantized and scaled",
                   [&format](Context& context) { return check_embed(context, format); }});
  }
  out.push_back({"kernels.rms_norm", N::kKernels, "with and without residual, also in place",
                 check_rms_norm});
  out.push_back({"kernels.layer_norm", N::kKernels,
                 "with and without bias and residual, also in place", check_layer_norm});
  out.push_back({"kernels.gather_rows", N::kKernels, "rows, bit for bit", check_gather});
  out.push_back({"kernels.moe_route", N::kKernels,
                 "softmax and the largest k; of equals the lowest id first", check_route});
}

}  // namespace bp::conformance
