// SPDX-License-Identifier: Apache-2.0
// GroupReduce at every width and subgroup size, and every fallback against its original.
#include "kernels/legalize.h"

#include <gtest/gtest.h>

#include "kernels/builder/builder.h"
#include "kernels/interpreter/interpreter.h"
#include "kernels/render/render.h"
#include "kernels/testing/cases.h"
#include "kernels/verify.h"

namespace bp::kernels {
namespace {

using testing::Random;
using testing::Words;

constexpr uint32_t kSubgroups[] = {0, 8, 16, 32, 64};

Caps device(uint32_t subgroup, bool dot4) {
  Caps caps;
  caps.name = "test" + std::to_string(subgroup);
  caps.subgroup_size = subgroup;
  caps.dot4 = dot4;
  caps.max_threads = 1024;
  return caps;
}

TEST(Legalize, launches_that_begin_early_wait_before_they_touch_memory) {
  Builder k("early", 32);
  Buf w = k.weights("w"), x = k.in("x"), y = k.out("y");
  y.store(k.tid(), w.f32(k.tid()) * x.f32(k.tid()));
  const auto kernel = k.finish();
  ASSERT_TRUE(kernel.ok()) << kernel.status().to_string();
  for (const Caps& profile : profiles()) {
    const auto legal = legalize(*kernel, profile);
    ASSERT_TRUE(legal.ok()) << legal.status().to_string();
    const auto text = render(*legal, profile);
    ASSERT_TRUE(text.ok()) << text.status().to_string();
    const size_t begin = text->find("bp_early("), wait = text->find("bp_await();");
    EXPECT_EQ(wait != std::string::npos, profile.early_launch) << *text;
    if (!profile.early_launch) continue;
    EXPECT_LT(begin, wait) << *text;
    EXPECT_LT(wait, text->find("b_x[")) << *text;
    EXPECT_LT(wait, text->find("b_w[")) << *text;
    // What other launches write may not be promised to stay as it is.
    EXPECT_NE(text->find("const unsigned int* b_x"), std::string::npos) << *text;
    EXPECT_NE(text->find("const unsigned int* __restrict__ b_w"), std::string::npos) << *text;
  }
}

// y[tid] = reduce(x[tid]), twice in a loop so that scratch is used again.
Result<Kernel> reduce_kernel(uint32_t threads, uint32_t width, ReduceOp op, Kind kind,
                             uint8_t lanes) {
  Builder k("reduce", threads);
  Buf x = k.in("x"), y = k.out("y");
  k.loop(0, 2, 1, [&](Val round) {
    const Val at = round * threads + k.tid();
    y.store(at, k.reduce(op, bitcast(x.words(at, lanes), kind), width));
  });
  return k.finish();
}

Result<Words> run(const Kernel& kernel, Words input, uint32_t threads_words) {
  Words output = testing::poison(threads_words);
  const Binding bindings[] = {{input}, {output, false}};
  BP_TRY(interpret(kernel, bindings, {}, {}));
  return output;
}

class Reduce : public ::testing::TestWithParam<std::tuple<uint32_t, uint32_t>> {};

TEST_P(Reduce, is_the_same_on_every_device) {
  const auto [threads, subgroup] = GetParam();
  Random random(threads + subgroup);
  for (uint32_t width = 2; threads % width == 0; width *= 2) {
    for (ReduceOp op : {ReduceOp::kAdd, ReduceOp::kMin, ReduceOp::kMax}) {
      for (Kind kind : {Kind::kF32, Kind::kI32, Kind::kU32}) {
        for (uint8_t lanes : {uint8_t{1}, uint8_t{4}}) {
          const auto kernel = reduce_kernel(threads, width, op, kind, lanes);
          ASSERT_TRUE(kernel.ok()) << kernel.status().to_string();
          const auto legal = legalize(*kernel, device(subgroup, false));
          ASSERT_TRUE(legal.ok()) << legal.status().to_string();
          Words input;
          const uint32_t words = 2 * threads * lanes;
          for (uint32_t i = 0; i < words; ++i) {
            input.push_back(kind == Kind::kF32 ? std::bit_cast<uint32_t>(random.uniform(-1, 1))
                                               : static_cast<uint32_t>(random.next()));
          }
          const auto plain = run(*kernel, input, words);
          const auto lowered = run(*legal, input, words);
          ASSERT_TRUE(plain.ok()) << plain.status().to_string();
          ASSERT_TRUE(lowered.ok()) << lowered.status().to_string() << dump(*legal);
          ASSERT_EQ(*plain, *lowered) << "width " << width;  // to the bit, floats too
          // And it is the reduction: integers exactly, group by group.
          if (kind != Kind::kU32 || lanes != 1) continue;
          for (uint32_t first = 0; first < words; first += width) {
            uint32_t want = input[first];
            for (uint32_t i = 1; i < width; ++i) {
              const uint32_t v = input[first + i];
              want = op == ReduceOp::kAdd   ? want + v
                     : op == ReduceOp::kMin ? std::min(want, v)
                                            : std::max(want, v);
            }
            for (uint32_t i = 0; i < width; ++i) ASSERT_EQ((*lowered)[first + i], want);
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Reduce,
                         ::testing::Combine(::testing::Values(8u, 32u, 96u, 256u, 1024u),
                                            ::testing::ValuesIn(kSubgroups)));

TEST(Legalize, dot4_fallback_is_exact) {
  Builder k("dots", 64);
  Buf a = k.in("a"), b = k.in("b"), y = k.out("y");
  y.store(k.tid(), dot4(a.u32(k.tid()), b.u32(k.tid()), 12345));
  const auto kernel = k.finish();
  ASSERT_TRUE(kernel.ok()) << kernel.status().to_string();
  Random random(7);
  Words x, z;
  for (int i = 0; i < 64; ++i) x.push_back(static_cast<uint32_t>(random.next()));
  for (int i = 0; i < 64; ++i)
    z.push_back(i == 0 ? 0x80808080u : static_cast<uint32_t>(random.next()));
  x[0] = 0x80808080u;
  Words outputs[2];
  for (bool native : {false, true}) {
    const auto legal = legalize(*kernel, device(0, native));
    ASSERT_TRUE(legal.ok());
    outputs[native] = testing::poison(64);
    const Binding bindings[] = {{x}, {z}, {outputs[native], false}};
    const auto counters = interpret(*legal, bindings, {}, {});
    ASSERT_TRUE(counters.ok()) << counters.status().to_string();
    EXPECT_EQ(counters->dot4, native ? 64u : 0u);
  }
  EXPECT_EQ(outputs[0], outputs[1]);
  EXPECT_EQ(outputs[0][0], 4u * 128 * 128 + 12345);
}

TEST(Legalize, refuses_what_exceeds_the_device) {
  const auto kernel = reduce_kernel(1024, 1024, ReduceOp::kAdd, Kind::kF32, 1);
  ASSERT_TRUE(kernel.ok());
  const Caps* floor = find_profile("floor");
  ASSERT_NE(floor, nullptr);
  const auto legal = legalize(*kernel, *floor);
  ASSERT_FALSE(legal.ok());
  EXPECT_EQ(legal.status().code(), Code::kFailedPrecondition);
}

TEST(Legalize, twice_is_refused) {
  const auto kernel = reduce_kernel(64, 32, ReduceOp::kAdd, Kind::kF32, 1);
  ASSERT_TRUE(kernel.ok());
  const auto legal = legalize(*kernel, device(32, false));
  ASSERT_TRUE(legal.ok());
  EXPECT_FALSE(legalize(*legal, device(32, false)).ok());
}

}  // namespace
}  // namespace bp::kernels
