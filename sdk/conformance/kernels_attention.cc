// SPDX-License-Identifier: Apache-2.0
// attention over paged caches in every cache format.
#include <algorithm>
#include <cmath>

#include "sdk/conformance/batch.h"
#include "sdk/conformance/check.h"
#include "sdk/conformance/exercise.h"

namespace bp::conformance {
namespace {

struct AttentionCase {
  HeadShape shape;
  uint64_t page_size = 16;
  AttentionAttributes attributes;
};

std::vector<AttentionCase> cases_of(bool quick) {
  const auto scale = [](uint64_t dim) { return 1 / std::sqrt(static_cast<double>(dim)); };
  std::vector<AttentionCase> out = {
      {{4, 2, 64}, 16, {0, scale(64), 0}},
      {{8, 1, 128}, 16, {0, scale(128), 0}},
      {{4, 4, 64}, 16, {24, scale(64), 0}},
      {{4, 2, 256}, 16, {0, 1.0 / 16, 30}},
  };
  if (quick) return out;
  const std::vector<AttentionCase> more = {
      {{1, 1, 64}, 16, {0, scale(64), 0}},   {{6, 3, 80}, 16, {0, scale(80), 0}},
      {{14, 2, 64}, 16, {0, scale(64), 0}},  {{3, 3, 96}, 16, {0, scale(96), 0}},
      {{2, 1, 32}, 16, {1, 0.2, 0}},         {{8, 2, 128}, 16, {16, scale(128), 20}},
      {{2, 2, 128}, 32, {0, scale(128), 0}}, {{4, 2, 64}, 1, {0, scale(64), 0}},
      {{4, 1, 64}, 7, {33, scale(64), 50}},  {{5, 5, 16}, 16, {0, 0.25, 0}},
      {{2, 2, 160}, 5, {0, scale(160), 0}},
  };
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

// Batches by what is hard about them: alone, one of many, page borders, whole prompts.
std::vector<std::vector<Sequence>> batches_of(bool quick) {
  std::vector<std::vector<Sequence>> out = {
      {{1, 1, 11}},
      {{33, 33, 12}},
      {{97, 1, 13}, {16, 1, 14}, {17, 1, 15}},
      {{70, 5, 16}, {15, 15, 17}, {128, 1, 18}, {64, 9, 19}},
  };
  if (quick) return out;
  out.insert(out.end(), {{{2, 2, 21}},
                         {{16, 8, 22}},
                         {{255, 1, 23}},
                         {{120, 64, 24}},
                         {{31, 2, 25}, {32, 1, 26}, {33, 2, 27}, {48, 17, 28}}});
  return out;
}

OpRecord record_of(const AttentionCase& test, std::string_view format) {
  const uint64_t width = test.shape.heads * test.shape.head_dim;
  OpRecord out("attention");
  const std::vector<bp_dim> cache = {dim(kPages), constant(test.shape.kv_heads),
                                     constant(test.page_size), constant(test.shape.head_dim)};
  out.input("f32", {dim(kTokens), constant(width)});
  out.state(std::string(format), cache).state(std::string(format), cache);
  out.input("i32", {dim(kSequences, 1)}).input("i32", {dim(kSequences)});
  out.input("i32", {dim(kSequences), dim(kBlocks)});
  out.output("f32", {dim(kTokens), constant(width)});
  out.attribute("heads", static_cast<int64_t>(test.shape.heads));
  out.attribute("kv_heads", static_cast<int64_t>(test.shape.kv_heads));
  out.attribute("head_dim", static_cast<int64_t>(test.shape.head_dim));
  out.attribute("window", test.attributes.window);
  out.attribute("page_size", static_cast<int64_t>(test.page_size));
  out.attribute("scale", test.attributes.scale);
  out.attribute("softcap", test.attributes.softcap);
  return out;
}

// Launch and expected output of a batch. Cache entries that no query may see are NaN.
struct Prepared {
  Launch launch;
  Expected expected;
};

Prepared prepare_batch(const AttentionCase& test, std::string_view format, const Batch& batch) {
  Prepared out;
  const HeadShape& shape = test.shape;
  const uint64_t width = shape.heads * shape.head_dim;
  const CacheLayout cache{format, batch.limits.pages * shape.kv_heads * test.page_size,
                          shape.head_dim};
  Bytes k_cache(cache.bytes(), std::byte{0xFF}), v_cache(cache.bytes(), std::byte{0xFF});
  std::vector<float> q;
  out.expected.columns = width;
  out.expected.resize(batch.tokens * width);
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    const Sequence& sequence = batch.sequences[s];
    const std::vector<float> keys = keys_of(sequence, shape);
    const std::vector<float> values = values_of_sequence(sequence, shape);
    const std::vector<float> queries = queries_of(sequence, shape);
    // By cache head, as the reference takes them, after rounding to the cache's format.
    std::vector<std::vector<float>> k(shape.kv_heads), v(shape.kv_heads);
    for (uint64_t p = 0; p < sequence.context; ++p) {
      for (uint64_t g = 0; g < shape.kv_heads; ++g) {
        const uint64_t to = batch.cache_row(shape, s, p, g);
        const uint64_t from = (p * shape.kv_heads + g) * shape.head_dim;
        const auto round = [&](const std::vector<float>& all, Bytes& bytes,
                               std::vector<float>& of) {
          cache.put(bytes, to, std::span(all).subspan(from, shape.head_dim));
          const std::vector<float> rounded = cache.get(bytes, to);
          of.insert(of.end(), rounded.begin(), rounded.end());
        };
        round(keys, k_cache, k[g]);
        round(values, v_cache, v[g]);
      }
    }
    for (uint64_t i = 0; i < sequence.queries; ++i) {
      const uint64_t token = static_cast<uint64_t>(batch.query_start[s]) + i;
      for (uint64_t h = 0; h < shape.heads; ++h) {
        const uint64_t g = h / (shape.heads / shape.kv_heads);
        attention_reference(
            std::span(queries).subspan(i * width + h * shape.head_dim, shape.head_dim), k[g], v[g],
            sequence.context - sequence.queries + i, test.attributes, &out.expected,
            token * width + h * shape.head_dim);
      }
    }
    q.insert(q.end(), queries.begin(), queries.end());
  }
  out.launch.symbols = batch.symbols();
  out.launch.inputs = {bytes_of(q),
                       std::move(k_cache),
                       std::move(v_cache),
                       bytes_of(batch.query_start),
                       bytes_of(batch.context_length),
                       bytes_of(batch.page_table)};
  return out;
}

BatchLimits limits_of(const AttentionCase& test) {
  BatchLimits out{70, 4, 0, 0, test.page_size};
  out.blocks = 255 / test.page_size + 2;
  out.pages = 320 / test.page_size + 6;
  return out;
}

Status exercise_attention(Exercise& exercise, const AttentionCase& test, std::string_view format) {
  const std::string what = fmt::format(
      "attention {}, {} heads on {} of {}, pages of {}{}{}", format, test.shape.heads,
      test.shape.kv_heads, test.shape.head_dim, test.page_size,
      test.attributes.window > 0 ? fmt::format(", window {}", test.attributes.window) : "",
      test.attributes.softcap > 0 ? ", softcap" : "");
  Context& context = exercise.context();
  const OpRecord record = record_of(test, format);
  const BatchLimits limits = limits_of(test);
  if (!CacheLayout{format, 1, test.shape.head_dim}.is_possible()) {
    return expect_declined(context, record, limits.ranges(), what);
  }
  auto op = BP_TRY(exercise.prepare(record, limits.ranges()).with_context("{}", what));
  if (op == nullptr) return {};
  const auto bench = BP_TRY(Bench::create(context, record, limits.ranges(), op->match()));
  const auto check = [&](const Outcome& outcome, const Prepared& batch,
                         std::string_view how) -> Status {
    for (const size_t slot : {size_t{1}, size_t{2}}) {
      BP_TRY(expect_bytes(outcome.states[slot], batch.launch.inputs[slot],
                          fmt::format("{}: a cache, which attention only reads", what)));
    }
    exercise.count_run(
        BP_TRY(compare(values_of<float>(outcome.outputs[0]), batch.expected,
                       attention_tolerance(format), fmt::format("{}, {}", what, how))));
    return {};
  };
  uint64_t seed = context.options.seed;
  for (const std::vector<Sequence>& sequences : batches_of(context.options.quick)) {
    const Prepared batch = prepare_batch(test, format, Batch::create(limits, sequences, ++seed));
    const Outcome outcome = BP_TRY(bench->run(*op, batch.launch).with_context("{}", what));
    BP_TRY(check(outcome, batch,
                 fmt::format("{} sequences, the first of {} with {} queries", sequences.size(),
                             sequences[0].context, sequences[0].queries)));
  }
  const std::vector<Sequence> mixed = batches_of(true).back();
  const Prepared batch = prepare_batch(test, format, Batch::create(limits, mixed, 77));
  if (op->is_deterministic()) {
    // A sequence alone, in other pages, gives the bits that it gives among others.
    const Outcome together = BP_TRY(bench->run(*op, batch.launch));
    uint64_t token = 0;
    const uint64_t row_bytes = 4 * test.shape.heads * test.shape.head_dim;
    for (const Sequence& sequence : mixed) {
      const Prepared alone = prepare_batch(test, format, Batch::create(limits, {sequence}, 5));
      const Outcome outcome = BP_TRY(bench->run(*op, alone.launch));
      BP_TRY(expect_bytes(
          outcome.outputs[0],
          {together.outputs[0].data() + token * row_bytes, sequence.queries * row_bytes},
          fmt::format("{}, claimed to be deterministic, a sequence alone", what)));
      token += sequence.queries;
    }
  }
  if ((op->match().flags & BP_MATCH_CAPTURE_SAFE) != 0 && can_record(context)) {
    BP_TRY(check(BP_TRY(bench->run_recorded(*op, batch.launch)), batch, "recorded and replayed"));
  }
  const bp_match match = op->match();
  op.reset();
  op = BP_TRY(PreparedOp::prepare(context, record, limits.ranges(), match));
  return check(BP_TRY(bench->run(*op, batch.launch)), batch, "released and prepared again");
}

Verdict check_attention(Context& context, std::string_view format) {
  Exercise exercise(context, "attention", std::string(format));
  for (const AttentionCase& test : cases_of(context.options.quick)) {
    BP_TRY(exercise_attention(exercise, test, format));
  }
  return exercise.verdict();
}

}  // namespace

void add_attention_kernel_checks(std::vector<Check>& out) {
  for (const std::string_view format : kKvFormats) {
    out.push_back({fmt::format("kernels.attention.{}", format), Check::Needs::kKernels,
                   "groups of heads, windows, soft caps, page borders, mixed batches",
                   [format](Context& context) { return check_attention(context, format); }});
  }
}

}  // namespace bp::conformance
