// SPDX-License-Identifier: Apache-2.0
// rope_kv_write and attention at every level of instructions, over scattered pages.
#include "plugins/cpu/ops/attention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backplane/float16.h"
#include "plugins/cpu/testing/op_runner.h"

namespace bp::cpu::testing {
namespace {

using ::testing::HasSubstr;

constexpr const char* kLevels[] = {"reference", "avx2", "avx512", "amx", "neon"};

std::vector<const char*> present_levels() {
  std::vector<const char*> out;
  for (const char* level : kLevels) {
    OpenPlugin plugin(level);
    if (std::string_view(isa_name(active_isa())) == level) out.push_back(level);
  }
  return out;
}

struct Sequence {
  int32_t queries;
  int32_t context;  // with the queries
};

struct Case {
  std::vector<Sequence> sequences;
  uint64_t heads = 4, kv_heads = 2, head_dim = 64, page_size = 16;
  int64_t window = 0;
  double softcap = 0;
  std::string format = "f32";
};

// Pages of all sequences, spread over the pool backwards.
struct Batch {
  explicit Batch(const Case& c) {
    int32_t most = 0;
    query_start.push_back(0);
    for (const Sequence& s : c.sequences) {
      most = std::max(most, s.context);
      query_start.push_back(query_start.back() + s.queries);
      context_length.push_back(s.context);
    }
    tokens = static_cast<uint64_t>(query_start.back());
    blocks = (static_cast<uint64_t>(most) + c.page_size - 1) / c.page_size + 1;
    pages = c.sequences.size() * blocks + 3;
    for (size_t s = 0; s < c.sequences.size(); ++s) {
      const uint64_t used =
          (static_cast<uint64_t>(c.sequences[s].context) + c.page_size - 1) / c.page_size;
      for (uint64_t b = 0; b < blocks; ++b) {
        const uint64_t page = pages - 1 - (b * c.sequences.size() + s);
        page_table.push_back(b < used ? static_cast<int32_t>(page) : -1);
      }
      for (int32_t i = 0; i < c.sequences[s].queries; ++i) {
        positions.push_back(c.sequences[s].context - c.sequences[s].queries + i);
        sequence_of.push_back(static_cast<int32_t>(s));
      }
    }
  }
  uint64_t tokens = 0, blocks = 0, pages = 0;
  std::vector<int32_t> query_start, context_length, page_table, positions, sequence_of;
};

std::vector<std::byte> encode(const std::vector<float>& values, const std::string& format) {
  const size_t bytes = format == "f32" ? 4 : 2;
  std::vector<std::byte> out(values.size() * bytes);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = format == "f16" ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    if (bytes == 4) {
      std::memcpy(out.data() + 4 * i, &values[i], 4);
    } else {
      std::memcpy(out.data() + 2 * i, &half, 2);
    }
  }
  return out;
}

std::vector<float> decode(const std::vector<std::byte>& bytes, const std::string& format) {
  const size_t element = format == "f32" ? 4 : 2;
  std::vector<float> out(bytes.size() / element);
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t half = 0;
    if (element == 4) {
      std::memcpy(&out[i], bytes.data() + 4 * i, 4);
      continue;
    }
    std::memcpy(&half, bytes.data() + 2 * i, 2);
    out[i] = format == "f16" ? f16_to_f32(half) : bf16_to_f32(half);
  }
  return out;
}

std::vector<uint64_t> cache_dims(const Case& c, const Batch& b) {
  return {b.pages, c.kv_heads, c.page_size, c.head_dim};
}

std::vector<float> cache_values(const Case& c, const Batch& b, uint32_t seed) {
  return random_floats(b.pages * c.kv_heads * c.page_size * c.head_dim, seed);
}

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
  op.state(c.format, cache_dims(c, b), encode(cache_values(c, b, 2), c.format));
  op.state(c.format, cache_dims(c, b), encode(cache_values(c, b, 3), c.format));
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
  const std::vector<float> k = decode(encode(cache_values(c, b, 2), c.format), c.format);
  const std::vector<float> v = decode(encode(cache_values(c, b, 3), c.format), c.format);
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
    for (const char* format : {"f32", "f16", "bf16"}) {
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
        op.state("f16", cache_dims(c, b), encode(cache_values(c, b, 2), "f16"));
        op.state("f16", cache_dims(c, b), encode(cache_values(c, b, 3), "f16"));
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

// ---- rope_kv_write --------------------------------------------------------------------------

struct RopeCase {
  bool merged = true, rope = true, norms = false;
  int64_t interleaved = 0;
  uint64_t heads = 4, kv_heads = 2, head_dim = 32, rotary_dim = 32;
  std::string format = "f32";
};

struct RopeResult {
  std::vector<float> q, k, v;
};

RopeResult run_rope(const char* level, const RopeCase& c, Batch* changed = nullptr,
                    std::string* message = nullptr, bp_status expected = BP_OK) {
  Case shape{{{1, 18}, {5, 9}, {30, 30}}};
  shape.kv_heads = c.kv_heads;
  shape.head_dim = c.head_dim;
  const Batch b = changed == nullptr ? Batch(shape) : *changed;
  const uint64_t q_width = c.heads * c.head_dim;
  const uint64_t kv_width = c.kv_heads * c.head_dim;
  OpRunner op("rope_kv_write");
  op.attribute("heads", static_cast<int64_t>(c.heads))
      .attribute("kv_heads", static_cast<int64_t>(c.kv_heads))
      .attribute("head_dim", static_cast<int64_t>(c.head_dim))
      .attribute("rotary_dim", static_cast<int64_t>(c.rotary_dim))
      .attribute("interleaved", c.interleaved)
      .attribute("page_size", int64_t{16})
      .attribute("norm_eps", 1e-6);
  const uint64_t width = q_width + 2 * kv_width;
  const std::vector<float> all = random_floats(b.tokens * width, 1);
  if (c.merged) {
    op.input({b.tokens, width}, all).absent().absent();
  } else {
    std::vector<float> q, k, v;
    for (size_t t = 0; t < b.tokens; ++t) {
      const auto row = all.begin() + static_cast<ptrdiff_t>(t * width);
      const auto k_at = row + static_cast<ptrdiff_t>(q_width);
      const auto v_at = k_at + static_cast<ptrdiff_t>(kv_width);
      q.insert(q.end(), row, k_at);
      k.insert(k.end(), k_at, v_at);
      v.insert(v.end(), v_at, row + static_cast<ptrdiff_t>(width));
    }
    op.input({b.tokens, q_width}, q).input({b.tokens, kv_width}, k).input({b.tokens, kv_width}, v);
  }
  if (c.rope) {
    op.input({b.tokens, c.rotary_dim}, random_floats(b.tokens * c.rotary_dim, 2));
  } else {
    op.absent();
  }
  for (uint32_t i = 0; i < 2; ++i) {
    if (c.norms) {
      op.weight(TestWeight::f32({c.head_dim}, random_floats(c.head_dim, 3 + i)));
    } else {
      op.absent();
    }
  }
  op.input({b.tokens}, b.positions).input({b.tokens}, b.sequence_of);
  op.input({3, b.blocks}, b.page_table);
  const std::vector<float> zeros(b.pages * c.kv_heads * 16 * c.head_dim);
  op.state(c.format, {b.pages, c.kv_heads, 16, c.head_dim}, encode(zeros, c.format));
  op.state(c.format, {b.pages, c.kv_heads, 16, c.head_dim}, encode(zeros, c.format));
  op.output({b.tokens, q_width});
  OpenPlugin plugin(level);
  EXPECT_EQ(op.run(plugin), expected) << op.message;
  if (message != nullptr) *message = op.message;
  return {op.result(), decode(op.state(9), c.format), decode(op.state(10), c.format)};
}

TEST(RopeKvWrite, reference_rotates_pairs_and_writes_the_right_slots) {
  for (const int64_t interleaved : {0, 1}) {
    RopeCase c;
    c.interleaved = interleaved;
    const RopeResult got = run_rope("reference", c);
    Case shape{{{1, 18}, {5, 9}, {30, 30}}};
    shape.head_dim = 32;
    const Batch b(shape);
    const std::vector<float> all = random_floats(b.tokens * 256, 1);
    const std::vector<float> table = random_floats(b.tokens * 32, 2);
    for (size_t t = 0; t < b.tokens; ++t) {
      for (size_t i = 0; i < 16; ++i) {
        const size_t lo = interleaved != 0 ? 2 * i : i;
        const size_t hi = interleaved != 0 ? 2 * i + 1 : i + 16;
        const float cosine = table[t * 32 + i];
        const float sine = table[t * 32 + 16 + i];
        for (size_t h = 0; h < 4; ++h) {
          const float* const x = &all[t * 256 + h * 32];
          EXPECT_NEAR(got.q[(t * 4 + h) * 32 + lo], x[lo] * cosine - x[hi] * sine, 1e-6);
          EXPECT_NEAR(got.q[(t * 4 + h) * 32 + hi], x[hi] * cosine + x[lo] * sine, 1e-6);
        }
        const size_t s = static_cast<size_t>(b.sequence_of[t]);
        const size_t p = static_cast<size_t>(b.positions[t]);
        const size_t page = static_cast<size_t>(b.page_table[s * b.blocks + p / 16]);
        for (size_t g = 0; g < 2; ++g) {
          const float* const x = &all[t * 256 + 128 + g * 32];
          const size_t at = ((page * 2 + g) * 16 + p % 16) * 32;
          EXPECT_NEAR(got.k[at + lo], x[lo] * cosine - x[hi] * sine, 1e-6);
          EXPECT_EQ(got.v[at + lo], all[t * 256 + 192 + g * 32 + lo]);
        }
      }
    }
  }
}

TEST(RopeKvWrite, every_level_agrees_in_every_form) {
  for (const char* level : present_levels()) {
    for (const char* format : {"f32", "f16", "bf16"}) {
      for (int form = 0; form < 16; ++form) {
        RopeCase c;
        c.merged = (form & 1) != 0;
        c.rope = (form & 2) != 0;
        c.norms = (form & 4) != 0;
        c.interleaved = (form & 8) != 0 ? 1 : 0;
        c.format = format;
        for (const auto& [dim, rotary] : std::vector<std::pair<uint64_t, uint64_t>>{
                 {32, 32}, {32, 8}, {80, 20}, {128, 128}, {10, 6}}) {
          c.head_dim = dim;
          c.rotary_dim = rotary;
          const RopeResult got = run_rope(level, c);
          const RopeResult want = run_rope("reference", c);
          // A value at a rounding border may fall to the other side.
          const float step = c.format == "f32" ? 1e-6f : c.format == "f16" ? 2e-3f : 1.6e-2f;
          for (size_t i = 0; i < got.q.size(); ++i) ASSERT_NEAR(got.q[i], want.q[i], 2e-6f);
          for (size_t i = 0; i < got.k.size(); ++i) {
            ASSERT_NEAR(got.k[i], want.k[i], step * std::max(1.0f, std::abs(want.k[i])));
            ASSERT_EQ(got.v[i], want.v[i]) << level << " " << format;
          }
        }
      }
    }
  }
}

TEST(RopeKvWrite, hostile_indices_are_refused) {
  for (const char* level : present_levels()) {
    const auto expect_refusal = [&](auto change, const char* reason) {
      Case shape{{{1, 18}, {5, 9}, {30, 30}}};
      shape.head_dim = 32;
      Batch b(shape);
      change(b);
      std::string message;
      run_rope(level, RopeCase{}, &b, &message, BP_INVALID_ARGUMENT);
      EXPECT_THAT(message, HasSubstr(reason));
    };
    expect_refusal([](Batch& b) { b.positions[4] = -1; }, "position -1");
    expect_refusal([](Batch& b) { b.positions[4] = INT32_MAX; }, "position 2147483647");
    expect_refusal([](Batch& b) { b.sequence_of[2] = 3; }, "sequence 3 of 3");
    expect_refusal([](Batch& b) { b.sequence_of[2] = -1; }, "sequence -1");
    // The first sequence writes position 17, on its second page.
    expect_refusal([](Batch& b) { b.page_table[1] = static_cast<int32_t>(b.pages); }, "page");
    expect_refusal([](Batch& b) { b.page_table[1] = -1; }, "page -1");
  }
}

}  // namespace
}  // namespace bp::cpu::testing
