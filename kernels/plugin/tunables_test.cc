// SPDX-License-Identifier: Apache-2.0
// Every schedule that would be tried gives the standard's results, in the interpreter: on the very
// buffers, launches and comparisons that a device gets.
#include "kernels/plugin/tunables.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "kernels/interpreter/interpreter.h"
#include "kernels/legalize.h"
#include "kernels/library/quantize.h"
#include "kernels/plugin/search.h"
#include "kernels/plugin/trial_data.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kMost = 8;

// A bench whose device is the interpreter. Its times are instructions.
class InterpreterBench : public Bench {
 public:
  InterpreterBench(const Tunable& tunable, const Caps& caps) : tunable_(tunable), caps_(caps) {}

  Status check(const ScheduleValues& values) override {
    auto results = BP_TRY(run(values));
    const bool is_first = expected_.empty();
    for (size_t i = 0; i < results.size(); ++i) {
      const auto content = tunable_.buffers[i].content;
      if (!is_compared(content)) continue;
      const std::string wrong =
          is_first ? check_standard(content, results[i])
                   : compare_results(content, expected_[i], results[i], tunable_.tolerance);
      if (!wrong.empty()) return error(Code::kFailedPrecondition, "wrong results: {}", wrong);
    }
    if (is_first) expected_ = std::move(results);
    return {};
  }
  Result<double> measure(const ScheduleValues&, uint32_t) override {
    return static_cast<double>(instructions_);
  }

 private:
  Result<std::vector<std::vector<uint32_t>>> run(const ScheduleValues& values) {
    std::vector<std::vector<uint32_t>> words(tunable_.buffers.size());
    for (uint32_t i = 0; i < words.size(); ++i) {
      words[i].resize(tunable_.buffers[i].bytes / 4);
      fill_words(tunable_.buffers, i, 0, words[i]);
    }
    for (const TrialLaunch& launch : BP_TRY(tunable_.launches(values))) {
      const Kernel legal = BP_TRY(legalize(launch.kernel, caps_));
      if (legal.buffers.size() != launch.buffers.size()) {
        return error(Code::kInternal, "{} buffers for {}", launch.buffers.size(),
                     legal.buffers.size());
      }
      std::vector<Binding> bindings;
      for (const uint32_t index : launch.buffers) bindings.push_back({words[index]});
      RunOptions options;
      options.grid_x = static_cast<uint32_t>(launch.grid_x);
      options.grid_y = static_cast<uint32_t>(launch.grid_y);
      instructions_ = BP_TRY(interpret(legal, bindings, launch.params, options)).instructions;
    }
    return words;
  }

  const Tunable& tunable_;
  const Caps& caps_;
  std::vector<std::vector<uint32_t>> expected_;
  uint64_t instructions_ = 0;
};

void expect_all_agree(const Tunable& tunable, const Caps& caps) {
  InterpreterBench bench(tunable, caps);
  const Status standard = bench.check(tunable.standard);
  ASSERT_TRUE(standard.ok()) << tunable.title << ": " << standard.to_string();
  const auto space = tunable.space(kMost);
  EXPECT_FALSE(space.empty()) << tunable.title;
  for (const ScheduleValues& values : space) {
    const Status status = bench.check(values);
    EXPECT_TRUE(status.ok()) << tunable.title << ", " << describe(values) << ": "
                             << status.to_string();
  }
}

const Caps& caps_named(const char* name) {
  return *find_profile(name);
}

class Formats : public ::testing::TestWithParam<std::string> {};

TEST_P(Formats, gemv_candidates_give_the_standards_results) {
  for (const char* profile : {"floor", "lavapipe", "cuda"}) {
    const Caps& caps = caps_named(profile);
    for (const uint32_t tokens : {1u, 3u}) {
      GemvSpec spec{.format = GetParam(), .rows = 37, .columns = 512, .tokens = tokens};
      spec.residual = spec.residual_in_place = tokens == 3;
      expect_all_agree(tunable_gemv(spec, caps, "key"), caps);
    }
  }
}

TEST_P(Formats, gemm_candidates_give_the_standards_results) {
  for (const char* profile : {"floor", "cuda"}) {
    const Caps& caps = caps_named(profile);
    const GemmSpec spec{.format = GetParam(), .rows = 40, .columns = 256, .y_stride = 50};
    expect_all_agree(tunable_gemm(spec, default_schedule(spec, caps, 20), 20, caps, "key"), caps);
  }
}

INSTANTIATE_TEST_SUITE_P(Weights, Formats,
                         ::testing::Values("f32", "f16", "bf16", "q8_g32", "q4_g32", "q4_g32z",
                                           "q5_g32z", "q2_k", "q3_k", "q6_k", "iq4_nl", "mxfp4"),
                         [](const auto& at) { return at.param; });

TEST(Tunables, gemv_with_int8_pairs_and_biases) {
  const Caps& caps = caps_named("cuda");
  GemvSpec spec{.format = "q4_g32", .int8 = true, .rows = 24, .columns = 1024};
  expect_all_agree(tunable_gemv(spec, caps, "key"), caps);
  spec.glu = spec.separate_up = true;
  spec.bias = true;
  spec.activation = Activation::kSilu;
  spec.y_rows = 60;  // a part of the rows: the others are left alone
  expect_all_agree(tunable_gemv(spec, caps, "key"), caps);
}

TEST(Tunables, gemm_by_matrix_units) {
  const Caps& caps = caps_named("cuda");
  for (const bool glu : {false, true}) {
    const GemmSpec spec{.format = "q8_g32",
                        .rows = 64,
                        .columns = 128,
                        .glu = glu,
                        .activation = glu ? Activation::kSilu : Activation::kNone};
    GemmSchedule standard;
    ASSERT_TRUE(matrix_schedule(spec, caps, 40, &standard));
    expect_all_agree(tunable_gemm(spec, standard, 40, caps, "key"), caps);
  }
}

TEST(Tunables, attention_with_any_number_of_parts) {
  for (const char* profile : {"pocl", "cuda"}) {
    const Caps& caps = caps_named(profile);
    for (const char* cache : {"f16", "f32", "bf16", "q8"}) {
      const AttentionSpec spec{
          .cache = cache, .heads = 8, .kv_heads = 2, .head_dim = 64, .scale = 0.125f};
      const AttentionSchedule standard = default_schedule(spec, caps, 1, 256);
      expect_all_agree(tunable_attention(spec, standard, 1, 256, 4, caps, "key"), caps);
    }
  }
}

TEST(Tunables, experts) {
  const Caps& caps = caps_named("cuda");
  const MoeLinearSpec first{.experts = 4,
                            .used = 2,
                            .rows = 24,
                            .columns = 256,
                            .glu = true,
                            .activation = Activation::kSilu};
  expect_all_agree(tunable_moe_linear(first, caps, "key"), caps);
  const MoeLinearSpec second{.experts = 4,
                             .used = 2,
                             .rows = 24,
                             .columns = 256,
                             .residual = true,
                             .residual_in_place = true};
  expect_all_agree(tunable_moe_linear(second, caps, "key"), caps);
}

TEST(Tunables, norms_to_floats_and_to_int8) {
  const Caps& caps = caps_named("cuda");
  expect_all_agree(tunable_norm({.width = 1536}, caps, "key"), caps);
  expect_all_agree(tunable_norm({.width = 1536, .center = true, .bias = true}, caps, "key"), caps);
  expect_all_agree(
      tunable_norm({.width = 1536, .write_f32 = false, .write_int8 = true}, caps, "key"), caps);
  expect_all_agree(
      tunable_norm({.width = 96, .residual = true, .residual_in_place = true}, caps, "key"), caps);
}

TEST(Tunables, passes_of_similar_size_share_a_bucket) {
  EXPECT_EQ(token_bucket(1), 1u);
  EXPECT_EQ(token_bucket(2), 4u);
  EXPECT_EQ(token_bucket(9), 32u);
  EXPECT_EQ(token_bucket(512), 512u);
  EXPECT_EQ(token_bucket(1u << 20), 1024u);
}

TEST(Tunables, refuse_what_would_need_more_room_or_round_otherwise) {
  const Caps& caps = caps_named("cuda");
  const AttentionSpec attention{.heads = 8, .kv_heads = 2, .head_dim = 64};
  const AttentionSchedule parts{128, 4, 2};
  const Tunable first = tunable_attention(attention, parts, 1, 256, 4, caps, "key");
  EXPECT_TRUE(first.launches(values_of(AttentionSchedule{128, 4, 4})).ok());
  EXPECT_FALSE(first.launches(values_of(AttentionSchedule{128, 4, 5})).ok());
  const GemmSpec gemm{.rows = 64, .columns = 128};
  GemmSchedule by_matrix;
  ASSERT_TRUE(matrix_schedule(gemm, caps, 64, &by_matrix));
  const Tunable second = tunable_gemm(gemm, default_schedule(gemm, caps, 64), 64, caps, "key");
  EXPECT_FALSE(second.launches(values_of(by_matrix)).ok());
}

// ---- wrong kernels ------------------------------------------------------------------------------

// A family whose kernels are right with the standard schedule and wrong with all others: the result
// is that of another spec, or is not written at all.
Tunable sabotaged(const Caps& caps, const GemvSpec& spec, const GemvSpec& other,
                  uint64_t fewer_groups) {
  Tunable out = tunable_gemv(spec, caps, "key");
  out.launches = [right = out, wrong = tunable_gemv(other, caps, "key"),
                  fewer_groups](const ScheduleValues& values) {
    auto launches = (values == right.standard ? right : wrong).launches(values);
    if (launches.ok() && values != right.standard) launches->front().grid_x -= fewer_groups;
    return launches;
  };
  return out;
}

void expect_standard_kept(const Tunable& tunable, const Caps& caps) {
  InterpreterBench bench(tunable, caps);
  uint32_t rejected = 0;
  SearchHooks hooks;
  hooks.stopped = [] { return false; };
  hooks.advanced = [] {};
  hooks.rejected = [&](const ScheduleValues&, const Status& why) {
    ++rejected;
    EXPECT_NE(why.message().find("wrong results"), std::string_view::npos) << why.message();
  };
  const auto found = search(tunable.standard, tunable.space(kMost), bench, hooks);
  ASSERT_TRUE(found.ok()) << found.status().to_string();
  EXPECT_EQ(found->best, tunable.standard);
  EXPECT_EQ(rejected, found->tried);
  EXPECT_GT(rejected, 0u);
}

TEST(WrongCandidates, with_slightly_other_results_are_rejected) {
  const Caps& caps = caps_named("cuda");
  const GemvSpec spec{.format = "q8_g32", .rows = 64, .columns = 256};
  GemvSpec capped = spec;
  capped.softcap = 8;  // bends large results by a few percent
  expect_standard_kept(sabotaged(caps, spec, capped, 0), caps);
}

TEST(WrongCandidates, that_leave_rows_out_are_rejected) {
  const Caps& caps = caps_named("cuda");
  GemvSpec spec{.format = "q8_g32", .rows = 640, .columns = 64};
  expect_standard_kept(sabotaged(caps, spec, spec, 1), caps);
  spec.residual = spec.residual_in_place = true;  // y keeps what it was instead of NaNs
  expect_standard_kept(sabotaged(caps, spec, spec, 1), caps);
}

// ---- comparing ----------------------------------------------------------------------------------

uint32_t word(float value) {
  return std::bit_cast<uint32_t>(value);
}

TEST(Comparing, floats_may_differ_by_the_tolerance_of_the_largest) {
  using Words = std::vector<uint32_t>;
  const auto same = [](const Words& want, const Words& got) {
    return compare_results(TrialBuffer::kOutput, want, got, 1e-3f).empty();
  };
  EXPECT_TRUE(same({word(1), word(100)}, {word(1.05f), word(100)}));
  EXPECT_FALSE(same({word(1), word(100)}, {word(1.2f), word(100)}));
  EXPECT_FALSE(same({word(1), word(100)}, {word(1), word(NAN)}));
  EXPECT_FALSE(same({word(1)}, {kUnwritten}));
  EXPECT_FALSE(same({kUnwritten}, {word(1)}));  // writes where it must not
  EXPECT_TRUE(same({word(1), kUnwritten}, {word(1), kUnwritten}));
  EXPECT_FALSE(same({word(1)}, {word(1), word(1)}));
}

TEST(Comparing, int8_may_round_the_other_way) {
  const std::vector<uint32_t> want{0x7f0180ffu}, near{0x7e0081feu}, far{0x7f0380ffu};
  EXPECT_EQ(compare_results(TrialBuffer::kOutputQuants, want, near, 0), "");
  EXPECT_NE(compare_results(TrialBuffer::kOutputQuants, want, far, 0), "");
}

TEST(Comparing, a_standard_must_have_written_finite_numbers) {
  const std::vector<uint32_t> fine{word(1), kUnwritten}, nothing{kUnwritten, kUnwritten},
      infinite{word(INFINITY)};
  EXPECT_EQ(check_standard(TrialBuffer::kOutput, fine), "");
  EXPECT_NE(check_standard(TrialBuffer::kOutput, nothing), "");
  EXPECT_NE(check_standard(TrialBuffer::kOutput, infinite), "");
}

TEST(Filling, does_not_depend_on_the_piece) {
  const Tunable tunable = tunable_gemv({.format = "q5_k", .int8 = false, .rows = 8, .columns = 512},
                                       caps_named("floor"), "key");
  for (uint32_t i = 0; i < tunable.buffers.size(); ++i) {
    std::vector<uint32_t> whole(tunable.buffers[i].bytes / 4), pieces(whole.size());
    fill_words(tunable.buffers, i, 0, whole);
    const size_t middle = whole.size() / 3;
    fill_words(tunable.buffers, i, 0, std::span(pieces).first(middle));
    fill_words(tunable.buffers, i, middle, std::span(pieces).subspan(middle));
    EXPECT_EQ(whole, pieces);
  }
}

TEST(Filling, scales_of_activations_know_the_sums_of_their_quants) {
  const Tunable tunable =
      tunable_gemv({.int8 = true, .rows = 8, .columns = 64}, caps_named("cuda"), "key");
  uint32_t quants = 0;
  while (tunable.buffers[quants].content != TrialBuffer::kQuants) ++quants;
  std::vector<uint32_t> q(16), scales(4);
  fill_words(tunable.buffers, quants, 0, q);
  fill_words(tunable.buffers, quants + 1, 0, scales);
  for (uint32_t block = 0; block < 2; ++block) {
    int32_t sum = 0;
    for (uint32_t i = 0; i < kActivationBlock; ++i) {
      sum += static_cast<int8_t>(q[block * 8 + i / 4] >> (8 * (i % 4)));
    }
    EXPECT_EQ(static_cast<int32_t>(scales[2 * block + 1]), sum);
  }
}

}  // namespace
}  // namespace bp::kernels
