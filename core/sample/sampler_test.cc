// SPDX-License-Identifier: Apache-2.0
#include "core/sample/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

namespace bp {
namespace {

SamplingOptions plain() {
  SamplingOptions options;
  options.temperature = 1;
  options.top_k = 0;
  options.top_p = 1;
  return options;
}

int32_t once(const SamplingOptions& options, const std::vector<float>& logits,
             const std::vector<int32_t>& history = {}, uint64_t position = 0) {
  Sampler sampler = Sampler::create(options, logits.size()).value();
  return sampler.sample(logits, history, position).value();
}

std::map<int32_t, double> shares(const SamplingOptions& options, const std::vector<float>& logits) {
  Sampler sampler = Sampler::create(options, logits.size()).value();
  std::map<int32_t, double> counts;
  constexpr int kDraws = 20000;
  for (uint64_t i = 0; i < kDraws; ++i)
    counts[sampler.sample(logits, {}, i).value()] += 1.0 / kDraws;
  return counts;
}

// Known answers of Philox4x32-10 (Random123's published test vectors).
TEST(Philox, published_vectors) {
  const Philox zero = philox(0, 0, 0);
  EXPECT_EQ(zero.word[0], 0x6627e8d5u);
  EXPECT_EQ(zero.word[1], 0xe169c58du);
  EXPECT_EQ(zero.word[2], 0xbc57ac4cu);
  EXPECT_EQ(zero.word[3], 0x9b00dbd8u);
  const Philox ones = philox(UINT64_MAX, UINT64_MAX, UINT64_MAX);
  EXPECT_EQ(ones.word[0], 0x408f276du);
  EXPECT_EQ(ones.word[1], 0x41c83b0eu);
  EXPECT_EQ(ones.word[2], 0xa20bc7c6u);
  EXPECT_EQ(ones.word[3], 0x6d5451fdu);
}

TEST(Sampler, greedy_takes_the_lowest_of_equal_ids) {
  SamplingOptions options;
  options.temperature = 0;
  EXPECT_EQ(once(options, {1, 3, 2, 3}), 1);
  options.logit_bias = {{3, 0.5f}, {1, -std::numeric_limits<float>::infinity()}};
  EXPECT_EQ(once(options, {1, 3, 2, 3}), 3);
}

TEST(Sampler, draws_follow_the_softmax) {
  const auto got = shares(plain(), {std::log(1.0f), std::log(2.0f), std::log(5.0f)});
  EXPECT_NEAR(got.at(0), 0.125, 0.015);
  EXPECT_NEAR(got.at(1), 0.25, 0.015);
  EXPECT_NEAR(got.at(2), 0.625, 0.015);
}

TEST(Sampler, top_k_top_p_and_min_p_cut_the_tail) {
  const std::vector<float> logits = {std::log(5.0f), std::log(3.0f), std::log(1.5f),
                                     std::log(0.5f)};  // 0.5 0.3 0.15 0.05
  SamplingOptions options = plain();
  options.top_k = 2;
  EXPECT_NEAR(shares(options, logits).at(0), 0.625, 0.015);
  EXPECT_EQ(shares(options, logits).size(), 2u);
  options = plain();
  options.top_p = 0.79f;
  EXPECT_EQ(shares(options, logits).size(), 2u);
  options.top_p = 0.81f;
  EXPECT_EQ(shares(options, logits).size(), 3u);
  options.top_p = 0;
  EXPECT_EQ(shares(options, logits).size(), 1u);
  options = plain();
  options.min_p = 0.25f;
  EXPECT_EQ(shares(options, logits).size(), 3u);
}

TEST(Sampler, penalties_count_the_recent_window_only) {
  SamplingOptions options = plain();
  options.temperature = 0;
  options.repetition_penalty = 2;
  EXPECT_EQ(once(options, {4, 3}, {0}), 1);
  EXPECT_EQ(once(options, {-4, -5}, {0}), 1);  // negative logits are multiplied
  options.penalty_window = 1;
  EXPECT_EQ(once(options, {4, 3}, {0, 7}), 0);
  options = plain();
  options.temperature = 0;
  options.frequency_penalty = 0.4f;
  EXPECT_EQ(once(options, {4, 3.5f}, {0}), 0);
  EXPECT_EQ(once(options, {4, 3.5f}, {0, 0}), 1);
  options.frequency_penalty = 0;
  options.presence_penalty = 0.6f;
  EXPECT_EQ(once(options, {4, 3.5f}, {0, 0, 0}), 1);
}

TEST(Sampler, a_draw_depends_on_seed_and_position_only) {
  SamplingOptions options = plain();
  const std::vector<float> logits(100, 0.0f);
  std::vector<int32_t> first, again, other;
  Sampler a = Sampler::create(options, 100).value();
  Sampler b = Sampler::create(options, 100).value();
  options.seed = 1;
  Sampler c = Sampler::create(options, 100).value();
  for (uint64_t i = 0; i < 50; ++i) first.push_back(a.sample(logits, {}, i).value());
  for (uint64_t i = 50; i-- > 0;) again.insert(again.begin(), b.sample(logits, {}, i).value());
  for (uint64_t i = 0; i < 50; ++i) other.push_back(c.sample(logits, {}, i).value());
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
}

TEST(Sampler, values_that_are_no_numbers_are_an_error) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (const auto& logits : {std::vector<float>{1, nan}, {inf, 1}, {-inf, -inf}}) {
    Sampler sampler = Sampler::create(plain(), 2).value();
    EXPECT_EQ(sampler.sample(logits, {}, 3).status().code(), Code::kCorrupt);
  }
}

// Many ties, and vocabularies that end within whatever is looked at together.
std::vector<float> coarse_logits(size_t count, uint64_t seed) {
  std::vector<float> logits(count);
  for (size_t i = 0; i < count; ++i) {
    logits[i] = static_cast<float>(philox(seed, i, 0).word[0] >> 27) * 0.25f;
  }
  return logits;
}

TEST(Sampler, large_vocabularies_give_what_sorting_gives) {
  for (const size_t count : {1u, 15u, 17u, 511u, 512u, 513u, 1300u}) {
    const std::vector<float> logits = coarse_logits(count, count);
    std::vector<int32_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
    });
    SamplingOptions options = plain();
    options.temperature = 0;
    EXPECT_EQ(once(options, logits), order[0]);
    for (const uint32_t top_k : {1u, 2u, 7u, 40u, 600u}) {
      if (top_k >= count) continue;
      std::vector<float> cut(count, -std::numeric_limits<float>::infinity());
      for (uint32_t i = 0; i < top_k; ++i) {
        cut[static_cast<size_t>(order[i])] = logits[static_cast<size_t>(order[i])];
      }
      SamplingOptions some = plain();
      some.top_k = top_k;
      Sampler wanted = Sampler::create(plain(), count).value();
      Sampler got = Sampler::create(some, count).value();
      for (uint64_t position = 0; position < 40; ++position) {
        EXPECT_EQ(got.sample(logits, {}, position).value(),
                  wanted.sample(cut, {}, position).value())
            << count << " top " << top_k;
      }
    }
  }
}

TEST(Sampler, one_value_that_is_no_number_is_found_anywhere) {
  SamplingOptions greedy = plain();
  greedy.temperature = 0;
  for (const size_t count : {1u, 16u, 33u, 513u}) {
    Sampler sampler = Sampler::create(greedy, count).value();
    for (size_t at = 0; at < count; ++at) {
      for (const float bad :
           {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
        std::vector<float> logits = coarse_logits(count, 7);
        logits[at] = bad;
        EXPECT_EQ(sampler.sample(logits, {}, 0).status().code(), Code::kCorrupt) << at;
      }
    }
  }
}

TEST(Sampler, options_out_of_range_are_named) {
  SamplingOptions options;
  options.top_p = 1.5f;
  EXPECT_NE(Sampler::create(options, 4).status().message().find("top_p"), std::string::npos);
  options = {};
  options.temperature = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(Sampler::create(options, 4).ok());
  options = {};
  options.logit_bias = {{4, 1.0f}};
  EXPECT_FALSE(Sampler::create(options, 4).ok());
}

}  // namespace
}  // namespace bp
