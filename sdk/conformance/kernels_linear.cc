// SPDX-License-Identifier: Apache-2.0
// linear and linear_glu in every weight format.
#include <algorithm>
#include <cmath>

#include "sdk/conformance/check.h"
#include "sdk/conformance/exercise.h"
#include "sdk/conformance/random_values.h"
#include "sdk/conformance/reference.h"

namespace bp::conformance {
namespace {

struct Shape {
  uint64_t rows, columns;
};

// Rows and columns in units of what the format allows: one, primes, one more and one less than a
// power of two, several blocks, an odd number of blocks.
std::vector<Shape> shapes_of(const WeightFormat& format, bool quick) {
  const uint64_t b = format.block_elements;
  if (b == 1) {
    if (quick) return {{1, 1}, {7, 3}, {65, 512}};
    return {{1, 1},     {7, 3},    {33, 31},   {31, 33},   {64, 64},
            {130, 127}, {65, 512}, {19, 1000}, {256, 1024}};
  }
  if (b == 32) {
    if (quick) return {{1, 32}, {7, 96}, {65, 544}};
    return {{1, 32},    {7, 96},     {33, 64},   {31, 160},  {65, 544},
            {128, 512}, {130, 1024}, {17, 2048}, {512, 1024}};
  }
  if (quick) return {{1, b}, {7, 3 * b}, {65, 2 * b}};
  return {{1, b},       {7, 3 * b},   {33, 2 * b}, {31, b},     {65, 5 * b},
          {128, 4 * b}, {130, 2 * b}, {17, 8 * b}, {512, 4 * b}};
}

constexpr uint64_t kMostTokens = 40;
const char* const kActivations[] = {"none", "silu", "gelu", "gelu_tanh"};

struct LinearOptions {
  LinearAttributes attributes;
  bool bias = false, residual = false, in_place = false;
};

RowCase linear_case(const Context& context, std::string_view format, const Shape& shape,
                    uint64_t tokens, const LinearOptions& options, uint64_t seed) {
  RowCase test;
  Weight weight = Weight::random(format, {shape.rows, shape.columns}, seed);
  const std::vector<float> values = weight.dequantized();
  const std::vector<float> x = random_activations(tokens, shape.columns, seed + 1);
  Weight bias = Weight::vector(shape.rows, seed + 2);
  std::vector<float> residual;
  test.record = OpRecord("linear");
  test.record.input("f32", {dim(kTokens), constant(shape.columns)}).weight(std::move(weight));
  test.inputs = {bytes_of(x), {}, {}, {}};
  std::vector<float> bias_values;
  if (options.bias) {
    bias_values = bias.dequantized();
    test.record.weight(std::move(bias));
  } else {
    test.record.absent();
  }
  if (options.residual) {
    residual = random_floats(tokens * shape.rows, seed + 3);
    test.record.input("f32", {dim(kTokens), constant(shape.rows)});
    test.inputs[3] = bytes_of(residual);
  } else {
    test.record.absent();
  }
  test.record.output("f32", {dim(kTokens), constant(shape.rows)});
  test.record.attribute("activation", options.attributes.activation);
  test.record.attribute("softcap", options.attributes.softcap);
  test.rows = test.max_tokens = tokens;
  test.stretches = stretches_of(token_counts(context.options, tokens), tokens);
  if (options.in_place) test.in_place = 3;
  test.expected = linear_reference(x, values, bias_values, residual, options.attributes, tokens,
                                   shape.rows, shape.columns);
  test.tolerance = weight_tolerance(format);
  test.what = fmt::format("linear {} [{}, {}], {}{}{}{}", format, shape.rows, shape.columns,
                          options.attributes.activation, options.bias ? ", bias" : "",
                          options.attributes.softcap > 0 ? ", softcap" : "",
                          options.in_place   ? ", residual in place"
                          : options.residual ? ", residual"
                                             : "");
  return test;
}

// Every column of a small weight on its own: x is 1 there and 0 elsewhere.
RowCase one_hot_case(std::string_view format, uint64_t rows, uint64_t columns, uint64_t seed) {
  RowCase test;
  Weight weight = Weight::random(format, {rows, columns}, seed);
  const uint64_t block = std::max<uint64_t>(weight.format->block_elements, 1);
  const std::vector<float> values = weight.dequantized();
  std::vector<float> x(columns * columns, 0);
  test.expected.columns = rows;
  test.expected.resize(columns * rows);
  for (uint64_t k = 0; k < columns; ++k) {
    x[k * columns + k] = 1;
    for (uint64_t n = 0; n < rows; ++n) {
      // A minimum may cancel a value, so the block says how large its parts were.
      double largest = 0;
      for (uint64_t i = k / block * block; i < (k / block + 1) * block; ++i) {
        largest = std::max(largest, std::abs(double{values[n * columns + i]}));
      }
      test.expected.value[k * rows + n] = values[n * columns + k];
      test.expected.magnitude[k * rows + n] = largest;
      test.expected.slack[k * rows + n] = 0x1p-24;
    }
  }
  test.record = OpRecord("linear");
  test.record.input("f32", {dim(kTokens), constant(columns)}).weight(std::move(weight));
  test.record.absent().absent();
  test.record.output("f32", {dim(kTokens), constant(rows)});
  test.inputs = {bytes_of(x), {}, {}, {}};
  test.rows = columns;
  test.max_tokens = 32;
  for (uint64_t first = 0; first < columns; first += 32) {
    test.stretches.emplace_back(first, std::min<uint64_t>(32, columns - first));
  }
  for (uint64_t k = 0; k < columns; k += 37) test.stretches.emplace_back(k, 1);
  test.tolerance = kOneHotTolerance;
  test.what = fmt::format("linear {} [{}, {}], one column at a time", format, rows, columns);
  return test;
}

Verdict check_linear(Context& context, const WeightFormat& format) {
  Exercise exercise(context, "linear", std::string(format.name));
  uint64_t seed = context.options.seed * 1000;
  uint64_t i = 0;
  for (const Shape& shape : shapes_of(format, context.options.quick)) {
    LinearOptions options;
    options.attributes.activation = kActivations[i % 4];
    options.attributes.softcap = i % 3 == 2 ? 5 : 0;
    options.bias = i % 2 == 1;
    options.residual = i % 4 >= 2 || i == 1;
    options.in_place = i == 1 || i == 6;
    options.residual = options.residual || options.in_place;
    const uint64_t tokens = i == 2 ? 130 : kMostTokens;
    BP_TRY(
        exercise_rows(exercise, linear_case(context, format.name, shape, tokens, options, ++seed)));
    ++i;
  }
  // Matrix units come into play with many tokens.
  const uint64_t block = format.block_elements;
  const Shape wide{48, block == 1 ? 96 : 3 * block};
  if (!context.options.quick) {
    BP_TRY(exercise_rows(exercise, linear_case(context, format.name, wide, 200, {}, ++seed)));
  }
  BP_TRY(exercise_rows(
      exercise,
      one_hot_case(format.name, 13, block == 1 ? 70 : block * (block == 256 ? 1 : 3), ++seed)));
  return exercise.verdict();
}

// Every combination of what follows the product, in one format.
Verdict check_epilogues(Context& context) {
  Exercise exercise(context, "linear", "f32");
  uint64_t seed = context.options.seed * 1000 + 500;
  for (const char* activation : kActivations) {
    for (const double softcap : {0.0, 2.0}) {
      for (const bool bias : {false, true}) {
        for (const int residual : {0, 1, 2}) {
          LinearOptions options{{activation, softcap}, bias, residual != 0, residual == 2};
          RowCase test = linear_case(context, "f32", {45, 48}, 6, options, ++seed);
          test.stretches = {{0, 1}, {1, 5}, {0, 6}};
          BP_TRY(exercise_rows(exercise, test));
        }
      }
    }
  }
  return exercise.verdict();
}

struct GluOptions {
  std::string activation = "silu";
  bool merged = true, bias = false;
};

RowCase glu_case(const Context& context, std::string_view format, std::string_view up_format,
                 const Shape& shape, uint64_t tokens, const GluOptions& options, uint64_t seed) {
  RowCase test;
  const uint64_t f = shape.rows;
  const std::vector<float> x = random_activations(tokens, shape.columns, seed);
  std::vector<float> gate, up, bias_values;
  test.record = OpRecord("linear_glu");
  test.record.input("f32", {dim(kTokens), constant(shape.columns)});
  test.inputs = {bytes_of(x), {}, {}, {}};
  Weight first = Weight::random(format, {options.merged ? 2 * f : f, shape.columns}, seed + 1);
  gate = first.dequantized();
  test.record.weight(std::move(first));
  if (options.bias) {
    Weight bias = Weight::vector(2 * f, seed + 2);
    bias_values = bias.dequantized();
    test.record.weight(std::move(bias));
  } else {
    test.record.absent();
  }
  if (options.merged) {
    up.assign(gate.begin() + static_cast<ptrdiff_t>(f * shape.columns), gate.end());
    gate.resize(f * shape.columns);
    test.record.absent();
  } else {
    Weight second = Weight::random(up_format, {f, shape.columns}, seed + 3);
    up = second.dequantized();
    test.record.weight(std::move(second));
  }
  test.record.output("f32", {dim(kTokens), constant(f)});
  test.record.attribute("activation", options.activation);
  test.rows = test.max_tokens = tokens;
  test.stretches = stretches_of(token_counts(context.options, tokens), tokens);
  test.expected =
      glu_reference(x, gate, up, bias_values, options.activation, tokens, f, shape.columns);
  test.tolerance = weight_tolerance(format);
  if (up_format != format && weight_tolerance(up_format).each > test.tolerance.each) {
    test.tolerance = weight_tolerance(up_format);
  }
  test.what = fmt::format("linear_glu {}{} [{}, {}], {}{}", format,
                          options.merged ? ", merged" : fmt::format(" and {}", up_format), f,
                          shape.columns, options.activation, options.bias ? ", bias" : "");
  return test;
}

Verdict check_glu(Context& context, const WeightFormat& format) {
  Exercise exercise(context, "linear_glu", std::string(format.name));
  uint64_t seed = context.options.seed * 1000 + 200;
  uint64_t i = 0;
  const std::vector<Shape> all = shapes_of(format, context.options.quick);
  for (const Shape& shape : all) {
    if (shape.rows > 130) continue;
    const GluOptions options{kActivations[1 + i % 3], i % 2 == 0, i % 4 >= 2};
    BP_TRY(exercise_rows(exercise, glu_case(context, format.name, format.name, shape, kMostTokens,
                                            options, ++seed)));
    ++i;
  }
  // Gate and up need not have one format.
  const uint64_t columns = format.block_elements == 1 ? 64 : 2 * format.block_elements;
  BP_TRY(exercise_rows(exercise, glu_case(context, format.name, "q8_g32", {37, columns}, 9,
                                          {"gelu_tanh", false, true}, ++seed)));
  return exercise.verdict();
}

// Passes as a prompt has them, in formats of every kind, and what may follow the product.
Verdict check_prompts(Context& context) {
  Exercise exercise(context, "linear", "q4_g32");
  uint64_t seed = context.options.seed * 1000 + 700, i = 0;
  constexpr uint64_t kTokensOfPrompt = 150;
  const auto run = [&](RowCase test) {
    test.stretches = {{0, kTokensOfPrompt}, {21, 129}, {11, 128}, {80, 64}, {3, 63}, {9, 1}};
    return exercise_rows(exercise, test);
  };
  for (const char* format : {"q4_g32", "q6_k", "f16", "bf16", "f32"}) {
    const uint64_t columns = std::string_view(format) == "q6_k" ? 256 : 96;
    for (const uint64_t rows : {uint64_t{37}, uint64_t{400}}) {
      LinearOptions options;
      options.residual = i % 2 == 1;
      options.in_place = i % 4 == 3;
      options.bias = i % 3 == 1;
      options.attributes.softcap = i % 5 == 2 ? 5 : 0;
      options.attributes.activation = kActivations[i % 5 == 1 ? 1 : 0];
      BP_TRY(run(linear_case(context, format, {rows, columns}, kTokensOfPrompt, options, ++seed)));
      const GluOptions glu{kActivations[1 + i % 3], i % 2 == 0, i % 3 == 0};
      BP_TRY(run(
          glu_case(context, format, format, {rows - 1, columns}, kTokensOfPrompt, glu, ++seed)));
      ++i;
    }
  }
  return exercise.verdict();
}

}  // namespace

void add_linear_kernel_checks(std::vector<Check>& out) {
  for (const WeightFormat& format : kWeightFormats) {
    out.push_back({fmt::format("kernels.linear.{}", format.name), Check::Needs::kKernels,
                   "x · weightᵀ with epilogues, and every weight on its own",
                   [&format](Context& context) { return check_linear(context, format); }});
  }
  out.push_back({"kernels.linear.epilogues", Check::Needs::kKernels,
                 "every combination of bias, activation, softcap, residual", check_epilogues});
  out.push_back({"kernels.linear.prompts", Check::Needs::kKernels,
                 "passes of many tokens, linear and linear_glu", check_prompts});
  for (const WeightFormat& format : kWeightFormats) {
    out.push_back({fmt::format("kernels.linear_glu.{}", format.name), Check::Needs::kKernels,
                   "gate and up, merged and separate",
                   [&format](Context& context) { return check_glu(context, format); }});
  }
}

}  // namespace bp::conformance
