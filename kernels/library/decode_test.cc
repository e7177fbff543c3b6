// SPDX-License-Identifier: Apache-2.0
// Embedding, rope with cache write and attention: profile × shape against the reference.
#include <gtest/gtest.h>

#include "backplane/formats.h"
#include "kernels/legalize.h"
#include "kernels/library/paged_cache.h"
#include "kernels/library/weights.h"
#include "kernels/testing/decode_cases.h"
#include "kernels/testing/paged_cases.h"

namespace bp::kernels {
namespace {

class Decode : public ::testing::TestWithParam<std::string> {
 protected:
  const Caps& caps() const { return *find_profile(GetParam()); }
  void expect_right(const Result<testing::Case>& made) {
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    Caps device = caps();
    device.max_buffers = std::max<uint32_t>(device.max_buffers, 13);
    const auto legal = legalize(made->kernel, device);
    ASSERT_TRUE(legal.ok()) << legal.status().to_string();
    EXPECT_EQ(testing::run_interpreted(*made, made->kernel, 3), "");
    EXPECT_EQ(testing::run_interpreted(*made, *legal, 4), "");
  }
};

TEST_P(Decode, embedding_rows) {
  for (std::string_view format : weight_reader_formats()) {
    const uint32_t block = std::max(32u, find_weight_format(format)->block_elements);
    for (uint32_t columns : {block, block == 32 ? 160u : 512u}) {
      const EmbedSpec spec{.format = std::string(format), .columns = columns, .scale = 2.5f};
      expect_right(testing::embed_case(spec, 11, 0, 32, columns));
      expect_right(testing::embed_case(spec, 11, 5, 32, columns));
    }
  }
  expect_right(testing::embed_case({.format = "f32", .columns = 7}, 3, 0, 64, 1));
}

TEST_P(Decode, rope_and_cache_write) {
  uint64_t seed = 0;
  for (const char* cache : {"f16", "f32", "bf16"}) {
    for (bool separate : {false, true}) {
      for (bool interleaved : {false, true}) {
        RopeSpec spec{.cache = cache,
                      .separate = separate,
                      .heads = 4,
                      .kv_heads = 2,
                      .head_dim = 48,
                      .rotary_dim = 48};
        spec.interleaved = interleaved;
        expect_right(testing::rope_case(spec, 4, ++seed));
        spec.rotary_dim = 12;
        spec.q_norm = spec.k_norm = true;
        expect_right(testing::rope_case(spec, 3, ++seed));
      }
    }
  }
  expect_right(
      testing::rope_case({.rope = false, .heads = 1, .kv_heads = 1, .head_dim = 256}, 2, ++seed));
}

TEST_P(Decode, rope_and_cache_write_to_q8) {
  uint64_t seed = 100;
  for (uint32_t head_dim : {32u, 64u, 96u, 128u, 160u, 256u, 512u}) {
    for (RopePart part : {RopePart::kAll, RopePart::kKey, RopePart::kValue}) {
      RopeSpec spec{.cache = "q8",
                    .separate = head_dim == 64,
                    .k_norm = head_dim == 128,
                    .heads = 4,
                    .kv_heads = 2,
                    .head_dim = head_dim,
                    .rotary_dim = head_dim / 2,
                    .part = part};
      expect_right(testing::rope_case(spec, 3, ++seed));
      spec.interleaved = true;
      expect_right(testing::rope_case(spec, 1, ++seed));
    }
  }
}

TEST_P(Decode, rope_and_cache_write_in_parts_of_eight_buffers) {
  uint64_t seed = 50;
  for (RopePart part : {RopePart::kQuery, RopePart::kKey, RopePart::kValue}) {
    for (bool separate : {false, true}) {
      const RopeSpec spec{.separate = separate,
                          .q_norm = true,
                          .k_norm = true,
                          .heads = 4,
                          .kv_heads = 2,
                          .head_dim = 24,
                          .rotary_dim = 12,
                          .part = part};
      const auto made = testing::rope_case(spec, 4, ++seed);
      expect_right(made);
      ASSERT_TRUE(made.ok());
      EXPECT_LE(made->kernel.buffers.size(), find_profile("floor")->max_buffers);
    }
  }
}

TEST_P(Decode, a_token_finds_its_sequence_among_many) {
  // Numbers of sequences around powers of two, empty ones at the ends and in rows.
  for (uint32_t sequences : {1u, 2u, 3u, 4u, 5u, 8u, 9u, 33u}) {
    Builder k("find", 32);
    Buf starts = k.in("starts"), out = k.out("out");
    const Val value = k.tid();
    const Val count = k.param_u32("sequences");
    out.store(value, find_sequence(k, count, value, [&](Val s) { return starts.u32(s); }));
    const auto kernel = k.finish();
    ASSERT_TRUE(kernel.ok()) << kernel.status().to_string();
    testing::Random random(sequences);
    testing::Words first = {0}, want, got = testing::poison(32);
    for (uint32_t s = 1; s < sequences; ++s) first.push_back(first.back() + random.below(3));
    for (uint32_t i = 0; i < 32; ++i) {
      uint32_t s = sequences - 1;
      while (first[s] > i) --s;
      want.push_back(s);
    }
    const std::vector<Binding> bindings = {{first}, {got, false}};
    const testing::Words params = {sequences};
    const auto run = interpret(*kernel, bindings, params, {});
    ASSERT_TRUE(run.ok()) << run.status().to_string();
    EXPECT_EQ(got, want) << sequences;
  }
}

TEST_P(Decode, attention_over_pages) {
  uint64_t seed = 0;
  for (const char* cache : {"f16", "f32", "bf16"}) {
    for (uint32_t head_dim : {2u, 6u, 8u, 40u, 64u, 96u, 128u}) {
      AttentionSpec spec{.cache = cache,
                         .heads = 6,
                         .kv_heads = 2,
                         .head_dim = head_dim,
                         .page_size = 4,
                         .scale = 0.2f};
      expect_right(testing::attention_case(spec, {64, 1, 1}, ++seed));
      expect_right(testing::attention_case(spec, {64, 1, 1, 0, 4}, ++seed));
      spec.window = 13;
      expect_right(testing::attention_case(spec, {32, 3, 2}, ++seed));
      expect_right(testing::attention_case(spec, {32, 3, 2, 0, 3}, ++seed));
    }
  }
  for (uint32_t head_dim : {32u, 64u, 96u, 128u, 160u, 256u}) {
    AttentionSpec spec{.cache = "q8",
                       .heads = 6,
                       .kv_heads = 2,
                       .head_dim = head_dim,
                       .page_size = 3,
                       .scale = 0.2f};
    expect_right(testing::attention_case(spec, {64, 1, 1}, ++seed));
    spec.window = 13;
    expect_right(testing::attention_case(spec, {64, 3, 2, 0, 2}, ++seed));
    expect_right(testing::attention_case(spec, default_schedule(spec, caps(), 3, 77), ++seed));
  }
  for (uint32_t head_dim : {32u, 96u, 128u}) {
    AttentionSpec spec{.heads = 6,
                       .kv_heads = 2,
                       .head_dim = head_dim,
                       .page_size = 4,
                       .scale = 0.2f,
                       .write_int8 = true};
    expect_right(testing::attention_case(spec, {64, 1, 1}, ++seed));
    expect_right(testing::attention_case(spec, {32, 3, 1}, ++seed));
  }
  AttentionSpec spec{.heads = 8, .kv_heads = 1, .head_dim = 128, .scale = 0.1f, .softcap = 5.0f};
  expect_right(testing::attention_case(spec, default_schedule(spec, caps(), 3, 77), ++seed));
  expect_right(testing::attention_case(spec, {64, 8, 40}, ++seed));  // more parts than keys
  expect_right(testing::attention_case(spec, {64, 2, 3, 0, kMaxKeysAtOnce}, ++seed));
  for (uint32_t keys : {0u, kMaxKeysAtOnce + 1})
    EXPECT_FALSE(build_attention(spec, {64, 8, 1, 0, keys}).ok());
}

// By whichever group ends last, in any order of groups; where a device has no order between groups
// or too few buffers, the kernel is refused.
TEST_P(Decode, attention_joins_its_own_parts) {
  uint64_t seed = 200;
  const auto expect_joined = [&](const AttentionSpec& spec, const AttentionSchedule& schedule) {
    const auto made = testing::attention_case(spec, schedule, ++seed);
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    if (!caps().device_barrier || caps().max_buffers < kJoiningBuffers) {
      EXPECT_FALSE(legalize(made->kernel, caps()).ok());
      EXPECT_EQ(default_schedule(spec, caps(), 3, 4096).joins, 0u);
    } else {
      const auto legal = legalize(made->kernel, caps());
      ASSERT_TRUE(legal.ok()) << legal.status().to_string();
      EXPECT_EQ(testing::run_interpreted(*made, *legal, seed), "");
    }
    EXPECT_EQ(testing::run_interpreted(*made, made->kernel, seed), "");
  };
  for (const char* cache : {"f16", "q8"}) {
    for (uint32_t head_dim : {32u, 96u, 128u}) {
      for (bool int8 : {false, true}) {
        AttentionSpec spec{.cache = cache,
                           .heads = 6,
                           .kv_heads = 2,
                           .head_dim = head_dim,
                           .page_size = 4,
                           .scale = 0.2f,
                           .write_int8 = int8};
        expect_joined(spec, {64, 1, 2, 1});
        expect_joined(spec, {64, 3, 7, 1, 2});
        spec.window = 13;
        expect_joined(spec, {32, 3, 40, 1});  // more parts than keys
      }
    }
  }
  for (uint32_t head_dim : {6u, 40u}) {
    expect_joined({.heads = 6, .kv_heads = 2, .head_dim = head_dim, .scale = 0.2f}, {64, 3, 3, 1});
  }
}

TEST_P(Decode, attention_parts_are_joined) {
  for (uint32_t splits : {1u, 2u, 7u}) {
    expect_right(
        testing::combine_case({.heads = 1, .kv_heads = 1, .head_dim = 72}, splits, false, splits));
    expect_right(
        testing::combine_case({.heads = 1, .kv_heads = 1, .head_dim = 7}, splits, false, splits));
    for (uint32_t d : {32u, 64u, 160u}) {
      expect_right(
          testing::combine_case({.heads = 1, .kv_heads = 1, .head_dim = d}, splits, true, splits));
    }
  }
}

TEST(DecodeSpecs, impossible_ones_are_refused) {
  AttentionSpec int8{.heads = 2, .kv_heads = 1, .head_dim = 64, .write_int8 = true};
  EXPECT_TRUE(build_attention(int8, {64, 1, 1}).ok());
  EXPECT_FALSE(build_attention(int8, {64, 1, 2}).ok());
  EXPECT_TRUE(build_attention(int8, {64, 1, 2, 1}).ok());
  EXPECT_FALSE(build_attention(int8, {64, 1, 1, 1}).ok());  // nothing to join
  EXPECT_FALSE(build_attention(int8, {64, 1, 2, 2}).ok());
  EXPECT_FALSE(build_attention(int8, {8, 1, 1}).ok());
  int8.head_dim = 48;
  EXPECT_FALSE(build_attention(int8, {64, 1, 1}).ok());
  EXPECT_FALSE(build_embed({.format = "f32", .columns = 0}, 32).ok());
  EXPECT_FALSE(
      build_rope_kv_write({.heads = 2, .kv_heads = 1, .head_dim = 64, .rotary_dim = 2}, 0).ok());
  EXPECT_FALSE(
      build_rope_kv_write({.heads = 2, .kv_heads = 1, .head_dim = 63, .rotary_dim = 2}, 4).ok());
  EXPECT_FALSE(build_rope_kv_write(
                   {.cache = "q4", .heads = 2, .kv_heads = 1, .head_dim = 64, .rotary_dim = 2}, 4)
                   .ok());
  EXPECT_FALSE(build_rope_kv_write(
                   {.cache = "q8", .heads = 2, .kv_heads = 1, .head_dim = 80, .rotary_dim = 2}, 4)
                   .ok());
  EXPECT_FALSE(
      build_attention({.cache = "q8", .heads = 2, .kv_heads = 1, .head_dim = 80}, {}).ok());
  EXPECT_FALSE(build_attention({.heads = 6, .kv_heads = 4, .head_dim = 64}, {}).ok());
  EXPECT_FALSE(build_attention({.heads = 4, .kv_heads = 4, .head_dim = 63}, {}).ok());
  EXPECT_FALSE(build_attention({.heads = 4, .kv_heads = 4, .head_dim = 64}, {128, 4, 1}).ok());
  EXPECT_FALSE(build_attention({.heads = 4, .kv_heads = 1, .head_dim = 64}, {128, 4, 0}).ok());
}

INSTANTIATE_TEST_SUITE_P(Profiles, Decode, ::testing::ValuesIn(testing::profile_names()),
                         [](const auto& at) { return at.param; });

}  // namespace
}  // namespace bp::kernels
