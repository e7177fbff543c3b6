// SPDX-License-Identifier: Apache-2.0
// The text of one small kernel in every dialect, as committed. To renew after a wanted change, run
// this test with BP_WRITE_GOLDEN=1 and read the difference.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "kernels/builder/builder.h"
#include "kernels/legalize.h"
#include "kernels/render/render.h"

namespace bp::kernels {
namespace {

// A scaled sum of squares by runs of 16: loads of two widths, a loop, a branch, a reduction, f16.
Result<Kernel> small_kernel() {
  Builder k("golden", 64);
  Buf x = k.in("x"), y = k.out("y");
  const Val n = k.param_u32("n"), scale = k.param_f32("scale");
  const Val t = k.tid(), first = k.group_x() * 64;
  const Var sum = k.var(0.0f);
  k.loop(
      t, n, 64,
      [&](Val i) {
        const Val v = x.f32x4(first + i);
        sum.set(dot(v, v, sum));
      },
      4);
  const Val total = max(k.sum(sum, 16) * scale + x.f16(t), k.constant(Kind::kF32, 0xff800000u));
  k.when((t % 16) == 0,
         [&] { y.store(k.group_x() * 4 + t / 16, pack_f16x2(total, rsqrt(total))); });
  return k.finish();
}

class Golden : public ::testing::TestWithParam<std::string> {};

TEST_P(Golden, text_is_as_committed) {
  const Caps& caps = *find_profile(GetParam());
  const auto kernel = small_kernel();
  ASSERT_TRUE(kernel.ok()) << kernel.status().to_string();
  const auto legal = legalize(*kernel, caps);
  ASSERT_TRUE(legal.ok()) << legal.status().to_string();
  const auto text = render(*legal, caps);
  ASSERT_TRUE(text.ok()) << text.status().to_string();
  const std::string path = BP_SOURCE_DIR "/kernels/render/golden/" + GetParam() + ".txt";
  if (std::getenv("BP_WRITE_GOLDEN") != nullptr) std::ofstream(path) << *text;
  std::ifstream in(path);
  std::stringstream golden;
  golden << in.rdbuf();
  EXPECT_EQ(*text, golden.str()) << "see the head of golden_test.cc";
}

INSTANTIATE_TEST_SUITE_P(Profiles, Golden,
                         ::testing::Values("cuda", "cdna", "rdna3", "pocl", "lavapipe", "pi5"),
                         [](const auto& at) { return at.param; });

}  // namespace
}  // namespace bp::kernels
