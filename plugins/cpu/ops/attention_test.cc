// SPDX-License-Identifier: Apache-2.0
// attention at every level of instructions, over scattered pages.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "plugins/cpu/testing/paged_batch.h"

namespace bp::cpu::testing {
namespace {

using ::testing::HasSubstr;

OpRunner make_attention(const Case& c, const Batch& b) {
  OpRunner op("attention");
  const uint64_t width = c.heads * c.head_dim;
  op.attribute("heads", static_cast<int64_t>(c.heads))
      .attribute("kv_heads", static_cast<int64_t>(c.kv_heads))
      .attribute("head_dim", static_cast<int64_t>(c.head_dim))
      .attribute("page_size", static_cast<int64_t>(c.page_size))
      .attribute("window", c.window)
      .attribute("scale", 2.0 / std::sqrt(static_cast<double>(c.head_dim)))
      .attribute("softcap", c.softcap);
  op.input({b.tokens, width}, random_floats(b.tokens * width, 1));
  op.state(c.format, cache_dims(c, b), encode(cache_values(c, b, 2), c.format, c.head_dim));
  op.state(c.format, cache_dims(c, b), encode(cache_values(c, b, 3), c.format, c.head_dim));
  const uint64_t sequences = c.sequences.size();
  op.input({sequences + 1}, b.query_start);
  op.input({sequences}, b.context_length);
  op.input({sequences, b.blocks}, b.page_table);
  op.output({b.tokens, width});
  return op;
}

// The formula of docs/ops.md, in double.
std::vector<float> expected_attention(const Case& c, const Batch& b) {
  const uint64_t width = c.heads * c.head_dim;
  const std::vector<float> q = random_floats(b.tokens * width, 1);
  const std::vector<float> k =
      decode(encode(cache_values(c, b, 2), c.format, c.head_dim), c.format, c.head_dim);
  const std::vector<float> v =
      decode(encode(cache_values(c, b, 3), c.format, c.head_dim), c.format, c.head_dim);
  std::vector<float> y(b.tokens * width);
  for (size_t t = 0; t < b.tokens; ++t) {
    const uint64_t s = static_cast<uint64_t>(b.sequence_of[t]);
    const int64_t position = b.positions[t];
    for (size_t h = 0; h < c.heads; ++h) {
      const auto at = [&](int64_t j) {
        const uint64_t u = static_cast<uint64_t>(j);
        const uint64_t page = static_cast<uint64_t>(b.page_table[s * b.blocks + u / c.page_size]);
        return ((page * c.kv_heads + h * c.kv_heads / c.heads) * c.page_size + u % c.page_size) *
               c.head_dim;
      };
      const int64_t first = c.window > 0 ? std::max<int64_t>(0, position - c.window + 1) : 0;
      std::vector<double> scores;
      double largest = -1e300;
      for (int64_t j = first; j <= position; ++j) {
        double sum = 0;
        for (size_t i = 0; i < c.head_dim; ++i) {
          sum += double{q[t * width + h * c.head_dim + i]} * k[at(j) + i];
        }
        sum *= 2.0 / std::sqrt(static_cast<double>(c.head_dim));
        if (c.softcap > 0) sum = c.softcap * std::tanh(sum / c.softcap);
        scores.push_back(sum);
        largest = std::max(largest, sum);
      }
      double total = 0;
      for (double& score : scores) total += score = std::exp(score - largest);
      for (size_t i = 0; i < c.head_dim; ++i) {
        double sum = 0;
        for (int64_t j = first; j <= position; ++j) {
          sum += scores[static_cast<size_t>(j - first)] * v[at(j) + i];
        }
        y[t * width + h * c.head_dim + i] = static_cast<float>(sum / total);
      }
    }
  }
  return y;
}

void expect_attention(const char* level, const Case& c, const std::string& what) {
  const Batch b(c);
  OpenPlugin plugin(level);
  OpRunner op = make_attention(c, b);
  ASSERT_EQ(op.run(plugin), BP_OK) << op.message;
  const std::vector<float> got = op.result();
  const std::vector<float> want = expected_attention(c, b);
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], 4e-6) << level << " " << what << " at " << i;
  }
}

TEST(Attention, one_and_many_queries_in_every_cache_format) {
  for (const char* level : present_levels()) {
    for (const char* format : {"f32", "f16", "bf16", "q8"}) {
      for (const Sequence s :
           {Sequence{1, 1}, {1, 37}, {2, 100}, {7, 64}, {8, 8}, {9, 75}, {33, 33}, {70, 131}}) {
        Case c{{s}};
        c.format = format;
        expect_attention(level, c, std::to_string(s.queries) + "/" + std::to_string(s.context));
      }
    }
  }
}

TEST(Attention, contexts_long_enough_to_be_divided) {
  for (const char* level : present_levels()) {
    for (const int32_t context : {511, 512, 513, 1300}) {
      expect_attention(level, Case{{{1, context}}}, std::to_string(context));
      expect_attention(level, Case{{{3, context}, {1, 700}, {12, context}}}, "several");
    }
  }
}

TEST(Attention, windows_and_soft_caps) {
  for (const char* level : present_levels()) {
    for (const int64_t window : {1, 5, 16, 64, 1000}) {
      for (const double softcap : {0.0, 1.5}) {
        Case c{{{1, 90}, {40, 120}, {9, 9}, {5, 333}}};
        c.window = window;
        c.softcap = softcap;
        expect_attention(level, c, "window " + std::to_string(window));
      }
    }
  }
}

TEST(Attention, awkward_heads_dimensions_and_pages) {
  for (const char* level : present_levels()) {
    for (const uint64_t head_dim : {1, 7, 16, 40, 80, 96, 129, 256}) {
      for (const uint64_t page_size : {1, 5, 16, 32, 100}) {
        Case c{{{1, 23}, {17, 50}}};
        c.heads = 6;
        c.kv_heads = 3;
        c.head_dim = head_dim;
        c.page_size = page_size;
        expect_attention(level, c, std::to_string(head_dim) + " " + std::to_string(page_size));
      }
    }
    for (const auto& [heads, kv_heads] :
         std::vector<std::pair<uint64_t, uint64_t>>{{1, 1}, {8, 8}, {8, 1}, {35, 1}, {40, 8}}) {
      Case c{{{1, 23}, {17, 50}, {2, 2}}};
      c.heads = heads;
      c.kv_heads = kv_heads;
      c.head_dim = 24;
      expect_attention(level, c, std::to_string(heads) + " heads");
    }
  }
}

TEST(Attention, q8_caches_of_all_heads_and_pages) {
  for (const char* level : present_levels()) {
    for (const uint64_t head_dim : {32, 64, 96, 128, 160, 256, 1024}) {
      for (const uint64_t page_size : {1, 5, 16}) {
        Case c{{{1, 23}, {17, 50}, {1, 600}}};
        c.head_dim = head_dim;
        c.page_size = page_size;
        c.format = "q8";
        expect_attention(level, c, "q8 " + std::to_string(head_dim));
      }
    }
  }
}

TEST(Attention, q8_caches_refuse_heads_of_parts_of_a_block_by_name) {
  for (const char* level : present_levels()) {
    for (const uint64_t head_dim : {8, 48, 80, 129}) {
      Case c{{{1, 5}}};
      c.head_dim = head_dim;
      const Batch b(c);
      OpenPlugin plugin(level);
      OpRunner op("attention");
      op.attribute("heads", int64_t{4}).attribute("kv_heads", int64_t{2});
      op.attribute("head_dim", static_cast<int64_t>(head_dim)).attribute("page_size", int64_t{16});
      op.attribute("scale", 1.0);
      op.input({1, 4 * head_dim}, std::vector<float>(4 * head_dim));
      op.state("q8", cache_dims(c, b), std::vector<std::byte>(1 << 20));
      op.state("q8", cache_dims(c, b), std::vector<std::byte>(1 << 20));
      op.input({2}, b.query_start).input({1}, b.context_length).input({1, b.blocks}, b.page_table);
      op.output({1, 4 * head_dim});
      EXPECT_NE(op.run(plugin), BP_OK);
      EXPECT_THAT(op.message, HasSubstr("q8 takes heads of a multiple of 32"));
    }
  }
}

TEST(Attention, sequences_without_queries_are_passed_over) {
  for (const char* level : present_levels()) {
    expect_attention(level, Case{{{0, 5}, {1, 9}, {0, 0}, {12, 12}, {0, 7}}}, "empty ones");
  }
}

TEST(Attention, pages_that_slid_out_of_the_window_may_be_gone) {
  for (const char* level : present_levels()) {
    for (const int32_t queries : {1, 20}) {
      Case c{{{queries, 200}}};
      c.window = 33;
      Batch b(c);
      for (size_t page = 0; page * 16 + 16 <= static_cast<size_t>(200 - queries - 33 + 1); ++page) {
        b.page_table[page] = -1;
      }
      OpenPlugin plugin(level);
      OpRunner op = make_attention(c, b);
      EXPECT_EQ(op.run(plugin), BP_OK) << op.message;
      for (const float v : op.result()) ASSERT_TRUE(std::isfinite(v));
    }
  }
}

TEST(Attention, scores_that_are_not_finite_do_no_harm) {
  for (const char* level : present_levels()) {
    for (const int32_t queries : {1, 16}) {
      for (const float odd :
           {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
            -std::numeric_limits<float>::infinity(), 3e38f}) {
        const Case c{{{queries, 40}}};
        const Batch b(c);
        OpRunner op("attention");
        op.attribute("heads", int64_t{4}).attribute("kv_heads", int64_t{2});
        op.attribute("head_dim", int64_t{64}).attribute("page_size", int64_t{16});
        op.attribute("scale", 1.0);
        op.input({b.tokens, 256}, std::vector<float>(b.tokens * 256, odd));
        op.state("f16", cache_dims(c, b), encode(cache_values(c, b, 2), "f16", c.head_dim));
        op.state("f16", cache_dims(c, b), encode(cache_values(c, b, 3), "f16", c.head_dim));
        op.input({2}, b.query_start)
            .input({1}, b.context_length)
            .input({1, b.blocks}, b.page_table);
        op.output({b.tokens, 256});
        OpenPlugin plugin(level);
        EXPECT_EQ(op.run(plugin), BP_OK);
      }
    }
  }
}

TEST(Attention, hostile_indices_are_refused) {
  const Case c{{{3, 20}, {9, 40}}};
  for (const char* level : present_levels()) {
    const auto expect_refusal = [&](auto change, const char* reason) {
      Batch b(c);
      change(b);
      OpenPlugin plugin(level);
      OpRunner op = make_attention(c, b);
      EXPECT_EQ(op.run(plugin), BP_INVALID_ARGUMENT) << reason;
      EXPECT_THAT(op.message, HasSubstr(reason));
    };
    expect_refusal([](Batch& b) { b.query_start[0] = 1; }, "query_start runs");
    expect_refusal([](Batch& b) { b.query_start[2] = 11; }, "query_start runs");
    expect_refusal([](Batch& b) { b.query_start[1] = 100; }, "query_start falls");
    expect_refusal([](Batch& b) { b.query_start[1] = -3; }, "query_start falls");
    expect_refusal([](Batch& b) { b.context_length[0] = 2; }, "context length");
    expect_refusal([](Batch& b) { b.context_length[0] = -1; }, "context length");
    expect_refusal([](Batch& b) { b.context_length[1] = 1 << 30; }, "context length");
    expect_refusal([](Batch& b) { b.page_table[0] = -1; }, "page -1");
    expect_refusal([](Batch& b) { b.page_table[b.blocks + 2] = 1 << 30; }, "page 1073741824");
    expect_refusal([](Batch& b) { b.page_table[1] = static_cast<int32_t>(b.pages); }, "page");
  }
}

}  // namespace
}  // namespace bp::cpu::testing
