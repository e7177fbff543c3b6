// SPDX-License-Identifier: Apache-2.0
// rope_kv_write: norms of heads, rotation, and the caches, in every cache format.
#include <algorithm>
#include <cmath>

#include "backplane/formats.h"
#include "sdk/conformance/batch.h"
#include "sdk/conformance/check.h"
#include "sdk/conformance/exercise.h"
#include "sdk/conformance/random_values.h"

namespace bp::conformance {
namespace {

struct RopeCase {
  HeadShape shape;
  RopeAttributes attributes;
  bool merged = false, rope = true, q_norm = false, k_norm = false;
  uint64_t page_size = 16;
};

std::vector<RopeCase> cases_of(bool quick) {
  std::vector<RopeCase> out = {
      {{4, 2, 64}, {64, false, 1e-6}, true, true, false, false},
      {{8, 1, 128}, {128, false, 1e-5}, false, true, true, true},
      {{4, 4, 64}, {32, true, 1e-6}, false, true, false, false},
      {{2, 2, 64}, {0, false, 1e-6}, true, false, false, false},
  };
  if (quick) return out;
  const std::vector<RopeCase> more = {
      {{1, 1, 64}, {64, true, 1e-6}, true, true, true, true},
      {{6, 3, 80}, {80, false, 1e-6}, true, true, false, false},
      {{14, 2, 64}, {64, false, 1e-6}, true, true, false, false},
      {{3, 3, 96}, {48, false, 1e-6}, false, true, false, true},
      {{4, 1, 256}, {256, false, 1e-6}, true, true, true, true},
      {{4, 2, 64}, {64, false, 1e-6}, false, true, true, false, 7},
      {{2, 1, 128}, {64, true, 1e-6}, true, true, false, false, 1},
      {{2, 1, 32}, {32, false, 1e-6}, false, false, true, true},
  };
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

std::string name_of(const RopeCase& test, std::string_view format) {
  return fmt::format("rope_kv_write {}, {} heads on {} of {}, {} rotated{}{}{}{}{}", format,
                     test.shape.heads, test.shape.kv_heads, test.shape.head_dim,
                     test.attributes.rotary_dim, test.attributes.interleaved ? " in pairs" : "",
                     test.merged ? ", merged" : "", test.rope ? "" : ", no table",
                     test.q_norm ? ", q norm" : "", test.k_norm ? ", k norm" : "");
}

struct Gains {
  std::vector<float> q, k;
};

OpRecord record_of(const RopeCase& test, std::string_view format, Gains* gains) {
  const HeadShape& shape = test.shape;
  const uint64_t q_width = shape.heads * shape.head_dim;
  const uint64_t kv_width = shape.kv_heads * shape.head_dim;
  OpRecord out("rope_kv_write");
  out.input("f32", {dim(kTokens), constant(test.merged ? q_width + 2 * kv_width : q_width)});
  for (int i = 0; i < 2; ++i) {
    if (test.merged) {
      out.absent();
    } else {
      out.input("f32", {dim(kTokens), constant(kv_width)});
    }
  }
  if (test.rope) {
    out.input("f32", {dim(kTokens), constant(test.attributes.rotary_dim)});
  } else {
    out.absent();
  }
  const auto gain = [&](bool present, uint64_t seed, std::vector<float>* values) {
    if (!present) return void(out.absent());
    Weight weight = Weight::vector(shape.head_dim, seed);
    *values = weight.dequantized();
    out.weight(std::move(weight));
  };
  gain(test.q_norm, 91, &gains->q);
  gain(test.k_norm, 92, &gains->k);
  out.input("i32", {dim(kTokens)}).input("i32", {dim(kTokens)});
  out.input("i32", {dim(kSequences), dim(kBlocks)});
  const std::vector<bp_dim> cache = {dim(kPages), constant(shape.kv_heads),
                                     constant(test.page_size), constant(shape.head_dim)};
  out.state(std::string(format), cache).state(std::string(format), cache);
  out.output("f32", {dim(kTokens), constant(q_width)});
  out.attribute("heads", static_cast<int64_t>(shape.heads));
  out.attribute("kv_heads", static_cast<int64_t>(shape.kv_heads));
  out.attribute("head_dim", static_cast<int64_t>(shape.head_dim));
  out.attribute("rotary_dim", static_cast<int64_t>(test.attributes.rotary_dim));
  out.attribute("interleaved", test.attributes.interleaved ? 1 : 0);
  out.attribute("page_size", static_cast<int64_t>(test.page_size));
  out.attribute("norm_eps", test.attributes.norm_eps);
  return out;
}

// What one pass is given and what it should leave.
struct Pass {
  Launch launch;
  Expected q;
  Expected k;                     // [tokens, kv_heads, head_dim]
  std::vector<float> v;           // the same shape, copied as it is
  std::vector<uint64_t> entries;  // by token and cache head: row of the caches
  CacheLayout cache;
};

Pass prepare_pass(const RopeCase& test, std::string_view format, const Batch& batch,
                  const Gains& gains, uint64_t seed) {
  Pass out;
  const HeadShape& shape = test.shape;
  const uint64_t d = shape.head_dim;
  const uint64_t tokens = batch.tokens;
  const uint64_t q_width = shape.heads * d;
  const uint64_t kv_width = shape.kv_heads * d;
  const uint64_t r = test.attributes.rotary_dim;
  const std::vector<float> q = random_floats(tokens * q_width, seed + 1, 3);
  const std::vector<float> k = random_floats(tokens * kv_width, seed + 2, 3);
  out.v = random_floats(tokens * kv_width, seed + 3, 3);
  std::vector<float> rope;
  for (uint64_t t = 0; t < tokens && test.rope; ++t) {
    for (const bool sine : {false, true}) {
      for (uint64_t i = 0; i < r / 2; ++i) {
        const double frequency =
            std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(r));
        const double angle = batch.positions[t] * frequency;
        rope.push_back(static_cast<float>(sine ? std::sin(angle) : std::cos(angle)));
      }
    }
  }
  out.q.columns = q_width;
  out.q.resize(tokens * q_width);
  out.k.columns = kv_width;
  out.k.resize(tokens * kv_width);
  for (uint64_t t = 0; t < tokens; ++t) {
    const std::span<const float> table =
        test.rope ? std::span<const float>(rope).subspan(t * r, r) : std::span<const float>();
    for (uint64_t h = 0; h < shape.heads; ++h) {
      const uint64_t at = t * q_width + h * d;
      rope_reference(std::span(q).subspan(at, d), gains.q, table, test.attributes, &out.q, at);
    }
    for (uint64_t g = 0; g < shape.kv_heads; ++g) {
      const uint64_t at = t * kv_width + g * d;
      rope_reference(std::span(k).subspan(at, d), gains.k, table, test.attributes, &out.k, at);
      out.entries.push_back(batch.cache_row(shape, static_cast<uint64_t>(batch.sequence_of[t]),
                                            static_cast<uint64_t>(batch.positions[t]), g));
    }
  }
  std::vector<float> merged;
  for (uint64_t t = 0; t < tokens && test.merged; ++t) {
    const auto take = [&](const std::vector<float>& from, uint64_t width) {
      const auto begin = from.begin() + static_cast<ptrdiff_t>(t * width);
      merged.insert(merged.end(), begin, begin + static_cast<ptrdiff_t>(width));
    };
    take(q, q_width);
    take(k, kv_width);
    take(out.v, kv_width);
  }
  out.cache = {format, batch.limits.pages * shape.kv_heads * test.page_size, d};
  const uint64_t cache_bytes = out.cache.bytes();
  out.launch.symbols = batch.symbols();
  out.launch.inputs = {test.merged ? bytes_of(merged) : bytes_of(q),
                       test.merged ? Bytes() : bytes_of(k),
                       test.merged ? Bytes() : bytes_of(out.v),
                       bytes_of(rope),
                       {},
                       {},
                       bytes_of(batch.positions),
                       bytes_of(batch.sequence_of),
                       bytes_of(batch.page_table),
                       pattern(cache_bytes, static_cast<uint32_t>(seed)),
                       pattern(cache_bytes, static_cast<uint32_t>(seed) + 1)};
  return out;
}

// Rows of q8 against what they should be: scales rounded to f16, and values within half a step.
Status check_steps(const Pass& pass, const Bytes& got, const Expected& want,
                   const std::string& what) {
  const uint64_t d = pass.cache.head_dim;
  for (size_t e = 0; e < pass.entries.size(); ++e) {
    const std::vector<float> row = pass.cache.get(got, pass.entries[e]);
    for (uint64_t first = 0; first < d; first += kCacheBlock) {
      double largest = 0, slack = 0;
      for (uint64_t i = e * d + first; i < e * d + first + kCacheBlock; ++i) {
        largest = std::max(largest, std::abs(want.value[i]));
        slack = std::max(slack, kRowTolerance.each * want.magnitude[i] + want.slack[i]);
      }
      const double step = pass.cache.step(got, pass.entries[e], first / kCacheBlock);
      BP_EXPECT(std::abs(step - largest / 127) <= (0x1p-10 * largest + slack) / 127 + 0x1p-24,
                "{}: entry {} has scale {:.6g} for values up to {:.6g}", what, e, step, largest);
      for (uint64_t i = first; i < first + kCacheBlock; ++i) {
        // A quotient next to the middle of two numbers may fall to either side.
        const double off = std::abs(row[i] - want.value[e * d + i]);
        BP_EXPECT(off <= 0.502 * step + slack, "{}: entry {}, element {}: {:.6g} for {:.6g}", what,
                  e, i, row[i], want.value[e * d + i]);
      }
    }
  }
  return {};
}

// Entries that were written are compared, all others must have kept their bytes.
Result<double> check_q8_caches(const Pass& pass, const Outcome& outcome, const std::string& what) {
  Bytes want_k = pass.launch.inputs[9];
  Bytes want_v = pass.launch.inputs[10];
  Expected v;
  v.resize(pass.v.size());
  std::copy(pass.v.begin(), pass.v.end(), v.value.begin());
  for (const uint64_t row : pass.entries) {
    pass.cache.copy(want_k, outcome.states[9], row);
    pass.cache.copy(want_v, outcome.states[10], row);
  }
  BP_TRY(expect_bytes(outcome.states[10], want_v, what + ": v cache"));
  BP_TRY(expect_bytes(outcome.states[9], want_k, what + ": k cache"));
  BP_TRY(check_steps(pass, outcome.states[10], v, what + ": v cache"));
  BP_TRY(check_steps(pass, outcome.states[9], pass.k, what + ": k cache"));
  return 0.0;
}

Result<double> check_caches(const RopeCase& test, const Pass& pass, const Outcome& outcome,
                            const std::string& what) {
  const CacheLayout& cache = pass.cache;
  if (cache.format == "q8") return check_q8_caches(pass, outcome, what);
  Bytes want_k = pass.launch.inputs[9];
  Bytes want_v = pass.launch.inputs[10];
  const uint64_t d = test.shape.head_dim;
  std::vector<float> got_k;
  Expected rounded = pass.k;
  const bool exact = !test.k_norm && !test.rope;
  // A result next to the middle of two numbers of the format may fall to either side.
  const double ulp = cache.format == "f32" ? 0 : cache.format == "f16" ? 0x1p-10 : 0x1p-7;
  for (size_t e = 0; e < pass.entries.size(); ++e) {
    const uint64_t row = pass.entries[e];
    cache.put(want_v, row, std::span(pass.v).subspan(e * d, d));
    const auto from = pass.k.value.begin() + static_cast<ptrdiff_t>(e * d);
    cache.put(want_k, row, std::vector<float>(from, from + static_cast<ptrdiff_t>(d)));
    const std::vector<float> k = cache.get(want_k, row), got = cache.get(outcome.states[9], row);
    for (uint64_t i = 0; i < d; ++i) {
      rounded.value[e * d + i] = k[i];
      rounded.slack[e * d + i] += ulp * std::abs(double{k[i]}) + (ulp > 0 ? 0x1p-24 : 0);
    }
    got_k.insert(got_k.end(), got.begin(), got.end());
    if (!exact) cache.copy(want_k, outcome.states[9], row);
  }
  BP_TRY(expect_bytes(outcome.states[10], want_v, what + ": v cache"));
  BP_TRY(expect_bytes(outcome.states[9], want_k, what + ": k cache"));
  if (exact) return 0.0;
  // Whole ulps here and there: their root mean square is no measure.
  return compare(got_k, rounded, {kRowTolerance.each, 1}, what + ": k cache");
}

BatchLimits limits_of(const RopeCase& test) {
  BatchLimits out{48, 4, 0, 0, test.page_size};
  out.blocks = 140 / test.page_size + 2;
  out.pages = 340 / test.page_size + 6;
  return out;
}

Status exercise_rope(Exercise& exercise, const RopeCase& test, std::string_view format) {
  const std::string what = name_of(test, format);
  Context& context = exercise.context();
  Gains gains;
  const OpRecord record = record_of(test, format, &gains);
  const BatchLimits limits = limits_of(test);
  if (!CacheLayout{format, 1, test.shape.head_dim}.is_possible()) {
    return expect_declined(context, record, limits.ranges(), what);
  }
  auto op = BP_TRY(exercise.prepare(record, limits.ranges()).with_context("{}", what));
  if (op == nullptr) return {};
  const auto bench = BP_TRY(Bench::create(context, record, limits.ranges(), op->match()));
  const auto check = [&](const Outcome& outcome, const Pass& pass) -> Status {
    // Without norm and rotation q is handed through bit for bit, rounding nothing.
    const double q =
        BP_TRY(compare(values_of<float>(outcome.outputs[0]), pass.q, kRowTolerance, what + ": q"));
    const double k = BP_TRY(check_caches(test, pass, outcome, what));
    exercise.count_run(std::max(q, k));
    return {};
  };
  const std::vector<std::vector<Sequence>> batches = {
      {{1, 1, 1}},
      {{33, 33, 1}},
      {{17, 1, 1}, {100, 1, 1}, {16, 1, 1}},
      {{40, 9, 1}, {139, 2, 1}, {20, 20, 1}, {64, 17, 1}}};
  uint64_t seed = context.options.seed * 1000 + 900;
  for (const std::vector<Sequence>& sequences : batches) {
    seed += 10;
    const Pass pass =
        prepare_pass(test, format, Batch::create(limits, sequences, seed), gains, seed);
    BP_TRY(check(BP_TRY(bench->run(*op, pass.launch).with_context("{}", what)), pass));
  }
  const Pass pass = prepare_pass(test, format, Batch::create(limits, batches[3], 3), gains, 4);
  if (op->is_deterministic()) {
    const Outcome first = BP_TRY(bench->run(*op, pass.launch));
    const Outcome second = BP_TRY(bench->run(*op, pass.launch));
    const std::string again = what + ", claimed to be deterministic, run again";
    BP_TRY(expect_bytes(second.outputs[0], first.outputs[0], again));
    BP_TRY(expect_bytes(second.states[9], first.states[9], again));
  }
  if ((op->match().flags & BP_MATCH_CAPTURE_SAFE) != 0 && can_record(context)) {
    BP_TRY(check(BP_TRY(bench->run_recorded(*op, pass.launch)), pass)
               .with_context("recorded and replayed"));
  }
  const bp_match match = op->match();
  op.reset();
  op = BP_TRY(PreparedOp::prepare(context, record, limits.ranges(), match));
  return check(BP_TRY(bench->run(*op, pass.launch)), pass)
      .with_context("released and prepared again");
}

Verdict check_rope(Context& context, std::string_view format) {
  Exercise exercise(context, "rope_kv_write", std::string(format));
  for (const RopeCase& test : cases_of(context.options.quick)) {
    BP_TRY(exercise_rope(exercise, test, format));
  }
  return exercise.verdict();
}

}  // namespace

void add_rope_kernel_checks(std::vector<Check>& out) {
  for (const std::string_view format : kKvFormats) {
    out.push_back({fmt::format("kernels.rope_kv_write.{}", format), Check::Needs::kKernels,
                   "head norms, rotation, caches: written entries and untouched ones",
                   [format](Context& context) { return check_rope(context, format); }});
  }
}

}  // namespace bp::conformance
