// SPDX-License-Identifier: Apache-2.0
// Kernels with one planted fault each: a barrier dropped, an index shifted, a mask or comparison
// changed. The interpreter must catch every one, by a finding or by a wrong result. This is what
// says that the other tests can fail.
#include <gtest/gtest.h>

#include "kernels/legalize.h"
#include "kernels/testing/gemm_cases.h"
#include "kernels/testing/moe_cases.h"
#include "kernels/testing/paged_cases.h"
#include "kernels/testing/sampling_cases.h"

namespace bp::kernels {
namespace {

struct Mutant {
  std::string what;
  Kernel kernel;
};

// The kernel with `inst` put before position `at`; names after it move by one.
Kernel insert_before(Kernel kernel, ValueId at, const Inst& inst) {
  for (Inst& other : kernel.insts) {
    for (ValueId& arg : other.arg) {
      if (arg != kNoValue && arg >= at) ++arg;
    }
  }
  kernel.insts.insert(kernel.insts.begin() + at, inst);
  return kernel;
}

Mutant shifted_index(const Kernel& kernel, ValueId at) {
  const ValueId index = kernel.insts[at].arg[0];
  Kernel out =
      insert_before(kernel, at, {Op::kConst, kU32, {kNoValue, kNoValue, kNoValue, kNoValue}, 1});
  out = insert_before(out, at + 1, {Op::kAdd, kU32, {index, at, kNoValue, kNoValue}, 0});
  out.insts[at + 2].arg[0] = at + 1;
  return {"index of instruction " + std::to_string(at) + " shifted", out};
}

std::vector<Mutant> mutants(const Kernel& kernel) {
  std::vector<Mutant> out;
  uint32_t accesses = 0;
  for (ValueId at = 0; at < kernel.insts.size(); ++at) {
    const Inst& inst = kernel.insts[at];
    Kernel changed = kernel;
    Inst& target = changed.insts[at];
    const std::string name = std::string(op_info(inst.op).name) + " at " + std::to_string(at);
    switch (inst.op) {
      case Op::kBarrier:  // replaced by something that does nothing
        target = {Op::kConst, kU32, {kNoValue, kNoValue, kNoValue, kNoValue}, 0};
        out.push_back({"dropped " + name, changed});
        if (inst.imm <= (kBarrierShared | kBarrierGlobal)) break;
        changed = kernel;
        changed.insts[at].imm = kBarrierShared | kBarrierGlobal;
        out.push_back({"no order between groups by " + name, changed});
        break;
      case Op::kShuffleXor:
        target.imm = inst.imm == 1 ? 2 : inst.imm / 2;
        out.push_back({"wrong mask of " + name, changed});
        break;
      case Op::kLt:
        target.op = Op::kLe;
        out.push_back({"< became <= in " + name, changed});
        break;
      case Op::kEq:
        target.op = Op::kNe;
        out.push_back({"== became != in " + name, changed});
        break;
      case Op::kLoad:
      case Op::kStore:
      case Op::kLoadShared:
      case Op::kStoreShared:
        if (accesses++ % 3 == 0) out.push_back(shifted_index(kernel, at));
        break;
      default:
        break;
    }
  }
  return out;
}

class Mutants : public ::testing::TestWithParam<std::string> {};

TEST_P(Mutants, are_all_caught) {
  const Caps& caps = *find_profile(GetParam());
  // Shapes that give every lane something to add: shifting among zeros would change nothing.
  std::vector<Result<testing::Case>> cases;
  cases.push_back(testing::norm_case({.width = 160, .residual = true}, {64}, 2, 1));
  cases.push_back(testing::norm_case({.width = 320, .write_int8 = true}, {64}, 2, 2));
  // Three tokens by twos, so that the end of the tokens matters.
  cases.push_back(testing::gemv_case({.rows = 7, .columns = 1184, .tokens = 2, .bias = true},
                                     {128, 32, 2, 1}, 3, 3, 0));
  cases.push_back(testing::gemv_case(
      {.format = "q8_g32", .int8 = true, .rows = 9, .columns = 1184, .residual = true},
      {64, 16, 2, 1}, 4));
  cases.push_back(testing::gemv_case(
      {.format = "f16", .rows = 5, .columns = 600, .glu = true, .activation = Activation::kSilu},
      {128, 64, 1, 1}, 5));
  // A super-block's eighths and halves; minima; experts and their sum; repeated maxima.
  cases.push_back(testing::gemv_case({.format = "q2_k", .int8 = true, .rows = 5, .columns = 512},
                                     {64, 16, 1, 1}, 6));
  cases.push_back(testing::gemv_case({.format = "q5_g32z", .rows = 5, .columns = 512, .tokens = 2},
                                     {64, 16, 1, 1}, 7, 3, 0));
  cases.push_back(testing::moe_linear_case(
      {.experts = 4, .used = 2, .rows = 5, .columns = 512, .residual = true}, {64, 16, 1, 1}, 2,
      8));
  cases.push_back(testing::moe_linear_case({.format = "f32",
                                            .experts = 4,
                                            .used = 2,
                                            .rows = 5,
                                            .columns = 64,
                                            .glu = true,
                                            .activation = Activation::kSilu},
                                           {64, 16, 1, 1}, 2, 9));
  cases.push_back(testing::moe_route_case({60, 4, false}, 64, 3, 10));
  cases.push_back(testing::top_k_case({150, 20}, {64, 1}, 4, 11));
  cases.push_back(testing::top_k_join_case({150, 20}, {64, 1}, 4, 12));
  cases.push_back(testing::gemm_case({.rows = 16, .columns = 64, .bias = true},
                                     {16, 16, 32, 1, 4, 1, 1}, 15, 0, 6));
  cases.push_back(testing::gemm_case({.format = "f32", .rows = 15, .columns = 24, .residual = true},
                                     {16, 16, 8, 1, 1, 2, 0}, 15, 0, 7));
  cases.push_back(testing::gemm_case(
      {.rows = 16, .columns = 64, .bias = true},
      {16, 16, 32, 1, 1, 1, 1, caps.matrix ? caps.subgroup_size : 32}, 15, 0, 9));
  if (caps.device_barrier && caps.max_buffers >= kJoiningBuffers && caps.subgroup_size <= 32) {
    cases.push_back(testing::attention_case({.heads = 2,
                                             .kv_heads = 1,
                                             .head_dim = 32,
                                             .page_size = 4,
                                             .scale = 0.4f,
                                             .write_int8 = true},
                                            {32, 2, 3, 1}, 14));
  }
  // Reductions in shared memory would bring barriers of their own and, for a maximum that cancels
  // out, differences that do not show.
  if (caps.subgroup_size >= 8 && caps.subgroup_size <= 32) {
    cases.push_back(testing::gemv_case({.format = "q8_g32",
                                        .int8 = true,
                                        .rows = 96,
                                        .columns = 512,
                                        .tokens = 2,
                                        .glu = true,
                                        .write_int8 = true,
                                        .activation = Activation::kSilu},
                                       {128, 16, 8, 1}, 13, 3, 0));
    cases.push_back(testing::prompt_attention_case(
        {.heads = 2, .kv_heads = 1, .head_dim = 32, .page_size = 4, .window = 9, .scale = 0.4f},
        {4, 2, 8, 2, 1, 16}, {7, 4}, {24, 4}, 8));
  }
  size_t planted = 0;
  for (const auto& made : cases) {
    ASSERT_TRUE(made.ok()) << made.status().to_string();
    const auto legal = legalize(made->kernel, caps);
    ASSERT_TRUE(legal.ok()) << legal.status().to_string();
    ASSERT_EQ(testing::run_interpreted(*made, *legal), "");
    for (const Mutant& mutant : mutants(*legal)) {
      ++planted;
      EXPECT_NE(testing::run_interpreted(*made, mutant.kernel), "")
          << made->name << ": " << mutant.what;
    }
  }
  EXPECT_GT(planted, 50u);
  RecordProperty("planted", static_cast<int>(planted));
}

INSTANTIATE_TEST_SUITE_P(Profiles, Mutants,
                         ::testing::Values("floor", "lavapipe", "pi5", "cuda", "cdna"),
                         [](const auto& at) { return at.param; });

}  // namespace
}  // namespace bp::kernels
