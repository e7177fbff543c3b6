// SPDX-License-Identifier: Apache-2.0
// Folding, sharing, dropping, and mistakes that come out of finish().
#include "kernels/builder/builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/verify.h"

namespace bp::kernels {
namespace {

using ::testing::HasSubstr;

size_t count(const Kernel& kernel, Op op) {
  return static_cast<size_t>(std::count_if(kernel.insts.begin(), kernel.insts.end(),
                                           [&](const Inst& inst) { return inst.op == op; }));
}

TEST(Builder, constants_and_identities_fold) {
  Builder k("fold", 32);
  Buf x = k.in("x"), y = k.out("y");
  const Val t = k.tid();
  const Val same = ((t * 1 + 0) / 1 | 0) << 0;
  EXPECT_EQ(same.id(), t.id());
  uint32_t bits = 0;
  const Val seven = k.constant(Kind::kU32, 3) * 2 + 1;
  EXPECT_TRUE(k.constant_bits(seven, &bits));
  EXPECT_EQ(bits, 7u);
  EXPECT_TRUE(k.constant_bits(t * 0, &bits));
  y.store(t / 8 + t % 8, x.u32(same));
  const auto kernel = k.finish();
  ASSERT_TRUE(kernel.ok()) << kernel.status().to_string();
  EXPECT_EQ(count(*kernel, Op::kDiv) + count(*kernel, Op::kMod) + count(*kernel, Op::kMul), 0u);
  EXPECT_EQ(count(*kernel, Op::kShr), 1u);
}

TEST(Builder, floats_are_not_reassociated_or_dropped) {
  Builder k("floats", 32);
  Buf x = k.in("x"), y = k.out("y");
  const Val v = x.f32(k.tid());
  y.store(k.tid(), (v + 0.0f) + (v * 0.0f));  // -0 and NaN differ from v and 0
  const auto kernel = k.finish();
  ASSERT_TRUE(kernel.ok());
  EXPECT_EQ(count(*kernel, Op::kAdd), 2u);
  EXPECT_EQ(count(*kernel, Op::kMul), 1u);
}

TEST(Builder, equal_pure_values_are_shared_within_their_scope) {
  Builder k("share", 32);
  Buf x = k.in("x"), y = k.out("y");
  const Val t = k.tid();
  k.when(t < 8u, [&] { y.store(t, x.u32(t) * t); });
  k.when(t >= 8u, [&] { y.store(t, x.u32(t) * t + (t ^ 5) + (5 ^ t)); });
  const auto kernel = k.finish();
  ASSERT_TRUE(kernel.ok()) << kernel.status().to_string();
  EXPECT_EQ(count(*kernel, Op::kTid), 1u);
  EXPECT_EQ(count(*kernel, Op::kXor), 1u);
  EXPECT_EQ(count(*kernel, Op::kLoad), 2u);  // memory may change: loads are not shared
}

TEST(Builder, unused_values_and_variables_are_dropped) {
  Builder k("unused", 32);
  Buf x = k.in("x"), y = k.out("y");
  Var never = k.var(0.0f);
  never += x.f32(k.tid());
  k.sum(x.f32(k.tid()), 32);
  y.store(k.tid(), x.u32x4(k.tid())[2]);
  const auto kernel = k.finish();
  ASSERT_TRUE(kernel.ok());
  EXPECT_EQ(
      count(*kernel, Op::kVar) + count(*kernel, Op::kAssign) + count(*kernel, Op::kGroupReduce),
      0u);
  EXPECT_EQ(count(*kernel, Op::kLoad), 1u);
}

TEST(Builder, loops_of_known_length_vanish) {
  Builder k("loops", 32);
  Buf y = k.out("y");
  k.loop(4, 4, 1, [&](Val i) { y.store(i, i); });
  k.loop(4, 5, 1, [&](Val i) { y.store(i + k.tid(), i); });
  const auto kernel = k.finish();
  ASSERT_TRUE(kernel.ok());
  EXPECT_EQ(count(*kernel, Op::kFor), 0u);
  EXPECT_EQ(count(*kernel, Op::kStore), 1u);
}

std::string mistake(const std::function<void(Builder&, Buf, Buf)>& body) {
  Builder k("mistake", 64);
  Buf in = k.in("in"), out = k.out("out");
  body(k, in, out);
  const auto kernel = k.finish();
  if (kernel.ok()) return "";
  EXPECT_EQ(kernel.status().code(), Code::kInvalidArgument);
  return kernel.status().to_string();
}

TEST(Builder, mistakes_come_out_of_finish) {
  EXPECT_THAT(
      mistake([](Builder& k, Buf in, Buf out) { out.store(k.tid(), in.f32(0) + in.u32(0)); }),
      HasSubstr("'add'"));
  EXPECT_THAT(mistake([](Builder& k, Buf, Buf out) { out.store(k.tid(), k.tid() + 0.5f); }),
              HasSubstr("literal"));
  EXPECT_THAT(mistake([](Builder& k, Buf, Buf out) { out.store(k.tid(), Val() + Val()); }),
              HasSubstr(""));
  EXPECT_THAT(mistake([](Builder& k, Buf in, Buf) { in.store(k.tid(), 1u); }),
              HasSubstr("read-only"));
  EXPECT_THAT(mistake([](Builder& k, Buf, Buf out) { out.store(0, out.u32(k.tid())); }),
              HasSubstr("write-only"));
  EXPECT_THAT(
      mistake([](Builder& k, Buf in, Buf out) { out.store(k.tid(), k.sum(in.f32(0), 48)); }),
      HasSubstr("width"));
  EXPECT_THAT(mistake([](Builder& k, Buf in, Buf out) {
                k.when(k.tid() < 3u, [&] { out.store(0, k.sum(in.f32(0), 32)); });
              }),
              HasSubstr("differs between threads"));
  EXPECT_THAT(mistake([](Builder& k, Buf in, Buf out) {
                Val escaped;
                k.when(k.tid() < 3u, [&] { escaped = in.u32(1); });
                out.store(0, escaped);
              }),
              HasSubstr("outside its block"));
  EXPECT_THAT(mistake([](Builder& k, Buf, Buf out) {
                Builder other("other", 32);
                out.store(0, k.tid() + other.tid());
              }),
              HasSubstr("not a value of this kernel"));
  EXPECT_THAT(mistake([](Builder& k, Buf, Buf out) {
                out.store(k.tid(), 1u);
                out.store(k.tid(), make_vec({k.tid(), k.tid()}));
              }),
              HasSubstr("second width"));
  EXPECT_THAT(mistake([](Builder& k, Buf, Buf) { k.in("for__"); }), HasSubstr("no name"));
  EXPECT_THAT(mistake([](Builder& k, Buf, Buf) { k.shared("s", kF32, 1u << 20); }),
              HasSubstr("shared memory"));
}

TEST(Builder, unrolling_gone_wrong_is_refused) {
  EXPECT_THAT(mistake([](Builder& k, Buf in, Buf out) {
                Val sum = k.tid();
                for (uint32_t i = 0; i < 3 * kMaxInstructions; ++i) sum = sum + in.u32(i);
                out.store(0, sum);
              }),
              HasSubstr("instructions"));
}

TEST(Builder, a_loop_variable_that_varies_later_forbids_a_barrier) {
  // The barrier comes first in the text; the second round makes its condition differ.
  EXPECT_THAT(mistake([](Builder& k, Buf, Buf out) {
                Var flag = k.var(0u);
                k.loop(0, 3, 1, [&](Val) {
                  k.when(flag == 0u, [&] { k.barrier(); });
                  flag.set(k.tid());
                });
                out.store(k.tid(), flag);
              }),
              HasSubstr("differs between threads"));
}

constexpr const char* kGroupCondition = "which differs between groups";

TEST(Verify, a_barrier_under_a_condition_on_the_group_is_refused) {
  const auto body = [](const std::function<Val(Builder&, Buf, Buf)>& condition) {
    return mistake([&](Builder& k, Buf in, Buf out) {
      k.when(
          condition(k, in, out), [&] { k.barrier(); }, [&] { out.store(k.tid(), 1u); });
    });
  };
  EXPECT_THAT(body([](Builder& k, Buf, Buf) { return k.group_x() < 3u; }),
              HasSubstr("'barrier' under the condition of instruction"));
  EXPECT_THAT(body([](Builder& k, Buf, Buf) { return k.group_y() < 3u; }),
              HasSubstr(kGroupCondition));
  EXPECT_THAT(body([](Builder& k, Buf in, Buf) { return in.u32(k.group_x() * 2) == 0u; }),
              HasSubstr(kGroupCondition));
  EXPECT_THAT(body([](Builder& k, Buf, Buf) {
                const Shared s = k.shared("s", kU32, 1);
                return s.load(k.constant(Kind::kU32, 0)) == 0u;
              }),
              HasSubstr(kGroupCondition));
  EXPECT_THAT(body([](Builder& k, Buf, Buf) {
                const Buf words = k.in_out("words");
                return words.u32(k.constant(Kind::kU32, 0)) == 0u;
              }),
              HasSubstr(kGroupCondition));
  // The same for all groups: nothing is wrong with these.
  EXPECT_EQ(body([](Builder& k, Buf, Buf) { return k.param_u32("n") == 0u; }), "");
  EXPECT_EQ(body([](Builder& k, Buf in, Buf) { return in.u32(k.constant(Kind::kU32, 0)) == 0u; }),
            "");
}

TEST(Verify, a_condition_on_the_group_is_found_around_other_control) {
  const auto in_loop = [](Builder& k, Buf, Buf) {
    k.when(k.group_x() < 3u, [&] { k.loop(0, k.param_u32("n"), 1, [&](Val) { k.barrier(); }); });
  };
  EXPECT_THAT(mistake(in_loop), HasSubstr(kGroupCondition));
  const auto in_else = [](Builder& k, Buf, Buf out) {
    k.when(
        k.group_x() < 3u, [&] { out.store(k.tid(), 0u); }, [&] { k.barrier(); });
  };
  EXPECT_THAT(mistake(in_else), HasSubstr(kGroupCondition));
  const auto in_inner = [](Builder& k, Buf, Buf) {
    k.when(k.group_x() < 3u, [&] { k.when(k.param_u32("n") < 2u, [&] { k.barrier(); }); });
  };
  EXPECT_THAT(mistake(in_inner), HasSubstr(kGroupCondition));
  // Reductions become barriers where there are no subgroups.
  const auto reduction = [](Builder& k, Buf in, Buf out) {
    k.when(k.group_x() < 3u, [&] { out.store(k.tid(), k.sum(in.f32(k.tid()), 32)); });
  };
  EXPECT_THAT(mistake(reduction), HasSubstr("'group_reduce' under the condition"));
  // Through a variable, which a loop gives its value later in the text.
  const auto variable = [](Builder& k, Buf, Buf) {
    const Var flag = k.var(0u);
    k.loop(0, 3, 1, [&](Val) {
      k.when(flag == 0u, [&] { k.barrier(); });
      flag.set(k.group_x());
    });
  };
  EXPECT_THAT(mistake(variable), HasSubstr(kGroupCondition));
}

TEST(Verify, barriers_may_stand_in_loops_that_differ_between_groups_and_after_conditions) {
  const auto loop = [](Builder& k, Buf, Buf) {
    k.loop(0, k.group_x() + 1u, 1, [&](Val) { k.barrier(); });
  };
  EXPECT_EQ(mistake(loop), "");
  const auto after = [](Builder& k, Buf, Buf out) {
    k.when(k.group_x() < 3u, [&] { out.store(k.tid(), 1u); });
    k.barrier();
  };
  EXPECT_EQ(mistake(after), "");
}

TEST(Verify, limits_of_a_device_hold) {
  Builder k("big", 512);
  Buf y = k.out("y");
  y.store(k.tid(), k.tid());
  const auto kernel = k.finish();
  ASSERT_TRUE(kernel.ok());
  EXPECT_EQ(verify_for(*kernel, *find_profile("floor")).code(), Code::kFailedPrecondition);
  EXPECT_TRUE(verify_for(*kernel, *find_profile("cuda")).ok());
}

TEST(Verify, hand_made_nonsense_is_refused) {
  Kernel kernel;
  kernel.name = "nonsense";
  kernel.threads = 32;
  const auto only = [&](Inst inst) {
    kernel.insts = {inst};
    return verify(kernel).code();
  };
  EXPECT_EQ(only({Op::kEndFor, kNoType}), Code::kInvalidArgument);
  EXPECT_EQ(only({Op::kNeg, kF32, {5, kNoValue, kNoValue, kNoValue}}), Code::kInvalidArgument);
  EXPECT_EQ(only({Op::kNeg, kF32, {0, kNoValue, kNoValue, kNoValue}}), Code::kInvalidArgument);
  EXPECT_EQ(only({static_cast<Op>(200), kF32}), Code::kInvalidArgument);
  EXPECT_EQ(only({Op::kConst, {Kind::kF32, 3}}), Code::kInvalidArgument);
  EXPECT_EQ(only({Op::kParam, kF32, {kNoValue, kNoValue, kNoValue, kNoValue}, 9}),
            Code::kInvalidArgument);
  EXPECT_EQ(only({Op::kLane, kU32}), Code::kInvalidArgument);
  EXPECT_EQ(only({Op::kElse, kNoType}), Code::kInvalidArgument);
  EXPECT_EQ(only({Op::kIf, kNoType, {kNoValue, kNoValue, kNoValue, kNoValue}}),
            Code::kInvalidArgument);
  EXPECT_EQ(only({Op::kConst, kU32}), Code::kOk);
}

TEST(Ir, hash_follows_meaning_and_dump_shows_it) {
  const auto make = [](uint32_t constant) {
    Builder k("h", 32);
    Buf y = k.out("y");
    y.store(k.tid(), k.tid() + constant);
    return *k.finish();
  };
  EXPECT_EQ(hash(make(3)), hash(make(3)));
  EXPECT_NE(hash(make(3)), hash(make(4)));
  EXPECT_THAT(dump(make(3)), HasSubstr("%2 u32 = add %0 %1"));
}

}  // namespace
}  // namespace bp::kernels
