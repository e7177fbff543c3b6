// SPDX-License-Identifier: Apache-2.0
// The probe kernel of every dialect in a real compiler, where there is one, and on software
// devices: what it computes is what module_text.h says.
#include "sdk/conformance/module_text.h"

#include <gtest/gtest.h>

#include "kernels/testing/compilers.h"
#include "kernels/testing/opencl.h"
#include "kernels/testing/vulkan.h"

namespace bp::conformance {
namespace {

using kernels::testing::Case;
using kernels::testing::Compiled;
using kernels::testing::Executed;

constexpr uint32_t kThreads = 64;

void expect_compiles(const Compiled& good, const Compiled& bad) {
  if (good.state == Compiled::kAbsent) GTEST_SKIP() << good.log;
  EXPECT_EQ(good.state, Compiled::kOk) << good.log;
  EXPECT_EQ(bad.state, Compiled::kFailed) << "a text with a mistake compiles";
}

std::string good(const char* dialect) {
  return module_text(dialect, kThreads, 32).text;
}
std::string bad(const char* dialect) {
  return broken_module_text(dialect, kThreads, 32).text;
}

TEST(ModuleText, compiles_as_cuda) {
  using kernels::testing::compile_cuda;
  expect_compiles(compile_cuda(good("cuda"), 80), compile_cuda(bad("cuda"), 80));
}
TEST(ModuleText, compiles_as_hip) {
  using kernels::testing::compile_hip;
  expect_compiles(compile_hip(good("hip"), "gfx1030"), compile_hip(bad("hip"), "gfx1030"));
}
TEST(ModuleText, compiles_as_glsl) {
  using kernels::testing::compile_glsl;
  expect_compiles(compile_glsl(good("glsl")), compile_glsl(bad("glsl")));
}

// 150 columns of 3 rows, 160 words apart.
Case probe_case() {
  Case out;
  out.buffers = {{}, {}};
  for (uint32_t i = 0; i < 480; ++i) {
    out.buffers[0].push_back(i * 2654435761u);
    out.buffers[1].push_back(0xEEEEEEEEu);
  }
  out.params = {150, 7, 160};
  out.grid_x = 3;
  out.grid_y = 3;
  out.kernel.threads = kThreads;
  out.kernel.name = "probe";
  out.kernel.buffers.resize(2);
  out.kernel.params.resize(3);
  return out;
}

void expect_probe(const Executed& done, const Case& test) {
  if (done.state == Executed::kAbsent) GTEST_SKIP() << done.log;
  ASSERT_EQ(done.state, Executed::kOk) << done.log;
  const auto& x = test.buffers[0];
  for (uint32_t row = 0; row < 3; ++row) {
    const auto value = [&](uint32_t column) { return column < 150 ? x[row * 160 + column] : 0; };
    for (uint32_t column = 0; column < 160; ++column) {
      const uint32_t first = column / kThreads * kThreads;
      const uint32_t neighbour = first + (column - first + 1) % kThreads;
      const uint32_t want = column < 150 ? value(column) * 7 + value(neighbour) + row : 0xEEEEEEEEu;
      ASSERT_EQ(done.buffers[1][row * 160 + column], want) << row << ", " << column;
    }
  }
}

TEST(ModuleText, runs_as_opencl) {
  const Case test = probe_case();
  const ModuleText text = module_text("opencl", kThreads, 0);
  expect_probe(run_opencl(test, test.kernel, text.text, text.entry), test);
}

TEST(ModuleText, runs_as_glsl) {
  const Case test = probe_case();
  const Compiled compiled = kernels::testing::compile_glsl(good("glsl"));
  if (compiled.state == Compiled::kAbsent) GTEST_SKIP() << compiled.log;
  expect_probe(run_vulkan(test, test.kernel, compiled.spirv), test);
}

TEST(ModuleText, has_no_text_for_dialects_that_nobody_knows) {
  EXPECT_TRUE(module_text("metal", kThreads, 32).text.empty());
}

}  // namespace
}  // namespace bp::conformance
