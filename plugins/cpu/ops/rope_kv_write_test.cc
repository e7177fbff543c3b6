// SPDX-License-Identifier: Apache-2.0
// rope_kv_write at every level of instructions, over scattered pages.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "plugins/cpu/testing/paged_batch.h"

namespace bp::cpu::testing {
namespace {

using ::testing::HasSubstr;

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
  op.state(c.format, {b.pages, c.kv_heads, 16, c.head_dim}, encode(zeros, c.format, c.head_dim));
  op.state(c.format, {b.pages, c.kv_heads, 16, c.head_dim}, encode(zeros, c.format, c.head_dim));
  op.output({b.tokens, q_width});
  OpenPlugin plugin(level);
  EXPECT_EQ(op.run(plugin), expected) << op.message;
  if (message != nullptr) *message = op.message;
  return {op.result(), decode(op.state(9), c.format, c.head_dim),
          decode(op.state(10), c.format, c.head_dim)};
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
    for (const char* format : {"f32", "f16", "bf16", "q8"}) {
      for (int form = 0; form < 16; ++form) {
        RopeCase c;
        c.merged = (form & 1) != 0;
        c.rope = (form & 2) != 0;
        c.norms = (form & 4) != 0;
        c.interleaved = (form & 8) != 0 ? 1 : 0;
        c.format = format;
        for (const auto& [dim, rotary] : std::vector<std::pair<uint64_t, uint64_t>>{
                 {32, 32}, {32, 8}, {80, 20}, {128, 128}, {10, 6}, {96, 32}}) {
          if (c.format == "q8" && dim % kGroup != 0) continue;
          c.head_dim = dim;
          c.rotary_dim = rotary;
          const RopeResult got = run_rope(level, c);
          const RopeResult want = run_rope("reference", c);
          // A value at a rounding border may fall to the other side; a step of q8 is what the
          // largest of 32 is divided into.
          const float step = c.format == "f32"    ? 1e-6f
                             : c.format == "f16"  ? 2e-3f
                             : c.format == "bf16" ? 1.6e-2f
                                                  : 2.5e-2f;
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

TEST(RopeKvWrite, q8_keeps_every_value_within_half_a_step) {
  for (const char* level : present_levels()) {
    for (const uint64_t dim : {32, 64, 96}) {
      RopeCase c;
      c.head_dim = dim;
      c.rope = false;
      c.format = "q8";
      Case shape{{{1, 18}, {5, 9}, {30, 30}}};
      shape.head_dim = dim;
      const Batch b(shape);
      const RopeResult got = run_rope(level, c);
      const std::vector<float> all = random_floats(b.tokens * dim * 8, 1);
      for (size_t t = 0; t < b.tokens; ++t) {
        const size_t s = static_cast<size_t>(b.sequence_of[t]);
        const size_t p = static_cast<size_t>(b.positions[t]);
        const size_t page = static_cast<size_t>(b.page_table[s * b.blocks + p / 16]);
        for (size_t i = 0; i < 2 * dim; ++i) {
          const size_t row = (page * 2 + i / dim) * 16 + p % 16;
          const float* const k = &all[t * dim * 8 + dim * 4];
          float largest_k = 0, largest_v = 0;
          for (size_t e = i / kGroup * kGroup; e < i / kGroup * kGroup + kGroup; ++e) {
            largest_k = std::fmax(largest_k, std::abs(k[e]));
            largest_v = std::fmax(largest_v, std::abs(k[2 * dim + e]));
          }
          ASSERT_NEAR(got.k[row * dim + i % dim], k[i], 0.5005f * largest_k / 127) << level;
          ASSERT_NEAR(got.v[row * dim + i % dim], k[2 * dim + i], 0.5005f * largest_v / 127);
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
