// SPDX-License-Identifier: Apache-2.0
// Each finding of the interpreter, provoked; and what must not be one.
#include "kernels/interpreter/interpreter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <functional>

#include "kernels/builder/builder.h"

namespace bp::kernels {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<uint32_t>;

struct Launch {
  uint32_t threads = 32;
  RunOptions options;
  Words in = Words(64, 1), out = Words(64, 0);
  uint32_t offset_words = 0;
};

// Builds a kernel with buffers "in" and "out" (out uninitialised) and runs it.
Result<Counters> run(const std::function<void(Builder&, Buf, Buf)>& body, Launch* setup) {
  Builder k("test", setup->threads);
  Buf in = k.in("in"), out = k.in_out("out");
  body(k, in, out);
  const Kernel kernel = BP_TRY(k.finish());
  const Binding bindings[] = {{setup->in, true, setup->offset_words}, {setup->out, false}};
  return interpret(kernel, bindings, {}, setup->options);
}

std::string finding(const std::function<void(Builder&, Buf, Buf)>& body, Launch setup = {}) {
  const auto result = run(body, &setup);
  return result.ok() ? "" : result.status().to_string();
}

TEST(Interpreter, load_out_of_bounds_is_found) {
  EXPECT_THAT(
      finding([](Builder& k, Buf in, Buf out) { out.store(k.tid(), in.u32(k.tid() + 33)); }),
      HasSubstr("out of bounds"));
  EXPECT_THAT(
      finding([](Builder& k, Buf in, Buf out) { out.store(k.tid(), in.u32x4(k.tid())[0]); }),
      HasSubstr("out of bounds"));
}

TEST(Interpreter, store_and_shared_out_of_bounds_are_found) {
  EXPECT_THAT(finding([](Builder& k, Buf, Buf out) { out.store(k.tid() - 1, 1u); }),
              HasSubstr("out of bounds"));
  EXPECT_THAT(
      finding([](Builder& k, Buf, Buf) { k.shared("s", kU32, 31).store(k.tid(), k.tid()); }),
      HasSubstr("out of bounds"));
}

TEST(Interpreter, misaligned_binding_is_found) {
  Launch setup;
  setup.offset_words = 2;
  const auto quads = [](Builder& k, Buf in, Buf out) {
    k.when(k.tid() == 0, [&] { out.store(0, in.u32x4(0)[1]); });
  };
  const auto pairs = [](Builder& k, Buf in, Buf out) {
    k.when(k.tid() == 0, [&] { out.store(0, in.u32x2(0)[1]); });
  };
  EXPECT_THAT(finding(quads, setup), HasSubstr("misaligned"));
  EXPECT_EQ(finding(pairs, setup), "");
}

TEST(Interpreter, uninitialized_reads_are_found) {
  EXPECT_THAT(finding([](Builder& k, Buf, Buf out) { out.store(k.tid(), out.u32(k.tid())); }),
              HasSubstr("uninitialized read"));
  EXPECT_THAT(finding([](Builder& k, Buf, Buf out) {
                out.store(k.tid(), k.shared("s", kU32, 64).load(k.tid()));
              }),
              HasSubstr("uninitialized read"));
}

TEST(Interpreter, shared_memory_of_another_group_is_uninitialized) {
  Launch setup;
  setup.options.grid_x = 2;
  EXPECT_THAT(finding(
                  [](Builder& k, Buf, Buf out) {
                    Shared s = k.shared("s", kU32, 64);
                    const Val at = k.tid() + k.group_x() * 32;
                    s.store(at, at);
                    k.barrier();
                    out.store(at, s.load(k.tid()) + s.load(k.tid() + 32));
                  },
                  setup),
              HasSubstr("uninitialized read"));
}

TEST(Interpreter, missing_barrier_is_a_race) {
  const auto exchange = [](bool with_barrier) {
    return [=](Builder& k, Buf, Buf out) {
      Shared s = k.shared("s", kU32, 32);
      s.store(k.tid(), k.tid());
      if (with_barrier) k.barrier();
      out.store(k.tid(), s.load(k.tid() ^ 1));
    };
  };
  EXPECT_THAT(finding(exchange(false)), HasSubstr("race"));
  EXPECT_EQ(finding(exchange(true)), "");
}

TEST(Interpreter, write_after_read_is_a_race_also_with_several_readers) {
  EXPECT_THAT(finding([](Builder& k, Buf, Buf out) {
                Shared s = k.shared("s", kU32, 1);
                k.when(k.tid() == 0, [&] { s.store(0, 7u); });
                k.barrier();
                out.store(k.tid(), s.load(0));
                k.when(k.tid() == 31, [&] { s.store(0, 8u); });  // the last of all readers
              }),
              HasSubstr("race"));
}

TEST(Interpreter, same_instruction_collision_is_a_race) {
  EXPECT_THAT(finding([](Builder& k, Buf, Buf out) { out.store(k.tid() / 2, 5u); }),
              HasSubstr("race"));
}

TEST(Interpreter, groups_are_never_ordered) {
  Launch setup;
  setup.options.grid_x = 2;
  EXPECT_THAT(finding([](Builder& k, Buf, Buf out) { out.store(k.tid(), k.group_x()); }, setup),
              HasSubstr("race"));
  EXPECT_THAT(finding(
                  [](Builder& k, Buf, Buf out) {
                    const Val at = k.group_x() * 32 + k.tid();
                    out.store(at, at);
                    k.barrier(true);
                    out.store(at, out.u32(at ^ 32));
                  },
                  setup),
              HasSubstr(""));  // race or uninitialised, depending on the order
}

TEST(Interpreter, global_memory_needs_the_global_flag) {
  const auto exchange = [](bool global) {
    return [=](Builder& k, Buf, Buf out) {
      out.store(k.tid(), k.tid());
      k.barrier(global);
      out.store(k.tid() + 32, out.u32(31 - k.tid()));
    };
  };
  EXPECT_THAT(finding(exchange(false)), HasSubstr("race"));
  EXPECT_EQ(finding(exchange(true)), "");
}

TEST(Interpreter, atomics_do_not_race_with_each_other) {
  Launch setup;
  setup.options.grid_x = 3;
  Builder k("count", 32);
  Buf total = k.in_out("total");
  total.atomic_add(0, k.tid());
  const auto kernel = k.finish();
  ASSERT_TRUE(kernel.ok());
  Words words = {0};
  const Binding bindings[] = {{words}};
  ASSERT_TRUE(interpret(*kernel, bindings, {}, setup.options).ok());
  EXPECT_EQ(words[0], 3u * 31 * 16);
  EXPECT_THAT(finding([](Builder& b, Buf, Buf out) {
                out.store(b.tid(), 0u);
                out.atomic_add(0, 1u);
              }),
              HasSubstr("race"));
}

TEST(Interpreter, divergent_barrier_is_found_where_verify_cannot_see_it) {
  // A load at a uniform index is uniform for the verifier; here threads' own masks decide.
  Kernel kernel;
  Launch setup;
  EXPECT_THAT(finding([](Builder& k, Buf, Buf) { k.when(k.tid() < 16u, [&] { k.barrier(); }); }),
              HasSubstr("differs between threads"));
  EXPECT_EQ(finding([](Builder& k, Buf in, Buf) { k.when(in.u32(0) == 1u, [&] { k.barrier(); }); }),
            "");
}

// Each subgroup of 32 multiplies what lies in `words`; `between` stands between load and product.
std::string fragment_finding(const std::function<Val(Builder&)>& index, bool barrier,
                             const std::function<void(Builder&, Shared)>& between) {
  Launch setup;
  setup.threads = 64;
  return finding(
      [&](Builder& k, Buf, Buf out) {
        Shared words = k.shared("words", kU32, 256), sums = k.shared("sums", kF32, 512);
        for (uint32_t i = 0; i < 4; ++i) words.store(k.tid() + 64 * i, 0x3c003c00u);  // ones
        if (barrier) k.barrier();
        const Val a = words.load_fragment(index(k), 8, 32);
        const Val b = words.load_fragment(index(k), 8, 32);
        if (between) between(k, words);
        const Val sum = k.multiply(a, b, k.fill_fragment(2.0f, 32));
        sums.store_fragment(k.tid() / 32 * 256, 16, sum);
        if (barrier) k.barrier();
        out.store(k.tid(), to_u32(sums.load(k.tid() * 8)));
      },
      setup);
}

TEST(Interpreter, fragments_multiply_and_their_mistakes_are_found) {
  const auto own = [](Builder& k) { return k.tid() / 32 * 128; };
  EXPECT_EQ(fragment_finding(own, true, nullptr), "");
  EXPECT_THAT(fragment_finding(own, false, nullptr), HasSubstr("race"));
  EXPECT_THAT(fragment_finding([](Builder& k) { return k.tid(); }, true, nullptr),
              HasSubstr("index or stride differ"));
  EXPECT_THAT(fragment_finding([](Builder& k) { return k.tid() / 32 * 129; }, true, nullptr),
              HasSubstr("out of bounds"));
  for (const auto& between : std::vector<std::function<void(Builder&, Shared)>>{
           [](Builder&k, Shared) { k.barrier(); },
           [](Builder&k, Shared words) { words.store(k.tid(), 0u); }}) {
    EXPECT_THAT(fragment_finding(own, true, between), HasSubstr("not loaded just before"));
  }
}

TEST(Verify, a_fragment_is_one_input_of_products_or_the_other) {
  Builder k("twice", 32);
  Buf out = k.out("out");
  Shared words = k.shared("words", kU32, 128), sums = k.shared("sums", kF32, 256);
  for (uint32_t i = 0; i < 4; ++i) words.store(k.tid() + 32 * i, 0u);
  k.barrier();
  const Val a = words.load_fragment(0, 8, 32);
  sums.store_fragment(0, 16, k.multiply(a, a, k.fill_fragment(0.0f, 32)));
  k.barrier();
  out.store(k.tid(), to_u32(sums.load(k.tid())));
  EXPECT_THAT(k.finish().status().to_string(), HasSubstr("load it twice"));
}

TEST(Interpreter, fragments_hold_sums_of_products) {
  // a has ones in row 3, b twos in row 5: only element (3, 5) differs from the start.
  Launch setup;
  setup.out = Words(256, 0);
  const auto result = run(
      [](Builder& k, Buf, Buf out) {
        Shared a = k.shared("a", {Kind::kU32, 4}, 32), b = k.shared("b", kU32, 160);
        Shared sums = k.shared("sums", kF32, 320);
        const Val t = k.tid();
        const Val one = select(t / 2 == 3, k.constant(Kind::kU32, 0x3c003c00u), 0u);
        a.store(t, make_vec({one, one, one, one}));
        for (uint32_t i = 0; i < 5; ++i) {
          const Val row = (t + 32 * i) / 10;
          b.store(t + 32 * i, select(row == 5, k.constant(Kind::kU32, 0x40004000u), 0u));
        }
        k.barrier();
        const Var sum = k.var(k.fill_fragment(0.5f, 32));
        const Val zero = k.constant(Kind::kU32, 0);
        sum.set(k.multiply(a.load_fragment(zero, 2, 32), b.load_fragment(zero, 10, 32), sum.get()));
        sums.store_fragment(zero, 20, sum.get());
        k.barrier();
        k.loop(t, 256, 32, [&](Val i) { out.store(i, sums.load(i / 16 * 20 + i % 16)); });
      },
      &setup);
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  EXPECT_EQ(result->mma, 1u);
  for (uint32_t i = 0; i < 256; ++i)
    EXPECT_EQ(std::bit_cast<float>(setup.out[i]), i == 3 * 16 + 5 ? 32.5f : 0.5f) << i;
}

TEST(Interpreter, undefined_arithmetic_is_found) {
  EXPECT_THAT(
      finding([](Builder& k, Buf in, Buf out) { out.store(k.tid(), k.tid() / (in.u32(0) - 1u)); }),
      HasSubstr("undefined arithmetic"));
  EXPECT_THAT(
      finding([](Builder& k, Buf in, Buf out) { out.store(k.tid(), in.u32(0) << (k.tid() + 1)); }),
      HasSubstr("undefined arithmetic"));
  EXPECT_THAT(finding([](Builder& k, Buf in, Buf out) {
                out.store(k.tid(), to_u32(to_f32(in.u32(0)) - 2.0f));
              }),
              HasSubstr("cast out of range"));
}

TEST(Interpreter, non_finite_results_are_found_unless_allowed) {
  const auto body = [](Builder& k, Buf in, Buf out) {
    out.store(k.tid(), log2(to_f32(in.u32(0)) - 1.0f));
  };
  EXPECT_THAT(finding(body), HasSubstr("non-finite"));
  Launch setup;
  setup.options.trap_nonfinite = false;
  EXPECT_EQ(finding(body, setup), "");
  // Infinity that was put there may be compared and passed on.
  EXPECT_EQ(finding([](Builder& k, Buf in, Buf out) {
              out.store(k.tid(), max(as_f32(in.u32(0)), k.constant(Kind::kF32, 0xff800000u)));
            }),
            "");
  EXPECT_THAT(finding([](Builder& k, Buf in, Buf out) {
                out.store(k.tid(), pack_f16x2(to_f32(in.u32(0)) * 70000.0f, 0.0f));
              }),
              HasSubstr("non-finite"));
}

TEST(Interpreter, endless_loops_end) {
  EXPECT_THAT(finding([](Builder& k, Buf in, Buf out) {
                k.loop(0, in.u32(0) + 4, in.u32(0) - 1, [&](Val i) { out.store(i, i); });
              }),
              HasSubstr("endless loop"));
  EXPECT_THAT(finding([](Builder& k, Buf in, Buf) {
                Var v = k.var(0u);
                Shared s = k.shared("s", kU32, 32);
                k.loop(0, in.u32(0) + 0xfffffffdu, 0x80000000u, [&](Val i) { v += i; });
                s.store(k.tid(), v);
              }),
              HasSubstr("endless loop"));
  Launch setup;
  setup.options.max_steps = 1000;
  EXPECT_THAT(finding(
                  [](Builder& k, Buf in, Buf) {
                    Shared s = k.shared("s", kU32, 32);
                    k.loop(0, in.u32(0) << 30, 1, [&](Val i) { s.store(k.tid(), i); });
                  },
                  setup),
              HasSubstr("gave up"));
}

TEST(Interpreter, control_and_variables_compute_per_thread) {
  Launch setup;
  const auto result = run(
      [](Builder& k, Buf, Buf out) {
        Var sum = k.var(0u);
        k.loop(k.tid(), 20, 3, [&](Val i) {
          k.when((i & 1) == 0, [&] { sum += i; }, [&] { k.when(i > 10u, [&] { sum += 100u; }); });
        });
        out.store(k.tid(), sum);
      },
      &setup);
  ASSERT_TRUE(result.ok()) << result.status().to_string();
  for (uint32_t t = 0; t < 32; ++t) {
    uint32_t want = 0;
    for (uint32_t i = t; i < 20; i += 3) want += i % 2 == 0 ? i : i > 10 ? 100 : 0;
    EXPECT_EQ(setup.out[t], want) << t;
  }
}

TEST(Interpreter, launches_that_do_not_fit_the_kernel_are_refused) {
  Builder k("p", 8);
  Buf out = k.out("out");
  out.store(k.tid(), k.param_u32("n"));
  const auto kernel = k.finish();
  ASSERT_TRUE(kernel.ok());
  Words words(8);
  const Binding bindings[] = {{words}, {words}};
  const uint32_t params[] = {5};
  EXPECT_FALSE(interpret(*kernel, {bindings, 1}, {}, {}).ok());
  EXPECT_FALSE(interpret(*kernel, bindings, params, {}).ok());
  EXPECT_FALSE(interpret(*kernel, {bindings, 1}, params, {.grid_x = 1u << 21}).ok());
  EXPECT_TRUE(interpret(*kernel, {bindings, 1}, params, {}).ok());
  EXPECT_EQ(words, Words(8, 5));
}

}  // namespace
}  // namespace bp::kernels
