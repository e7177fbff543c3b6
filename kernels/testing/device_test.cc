// SPDX-License-Identifier: Apache-2.0
// Rendered kernels on the software devices: PoCL (OpenCL C) and lavapipe (GLSL). Results meet the
// plain C++ reference, as the interpreter's do, and integer results the interpreter's to the bit.
#include <gtest/gtest.h>

#include "kernels/builder/builder.h"
#include "kernels/legalize.h"
#include "kernels/render/render.h"
#include "kernels/testing/cases.h"
#include "kernels/testing/compilers.h"
#include "kernels/testing/opencl.h"
#include "kernels/testing/vulkan.h"

namespace bp::kernels::testing {
namespace {

// GroupReduce of random integers at every width that the group allows.
Result<Case> reduce_case(uint32_t threads, uint32_t width, uint64_t seed) {
  Case out;
  Builder k("reduce", threads);
  Buf x = k.in("x"), y = k.out("y");
  const Val at = k.group_x() * threads + k.tid();
  y.store(at, k.sum(x.i32(at), width) ^ k.max_of(x.i32(at), width));
  out.kernel = BP_TRY(k.finish());
  out.name = "reduce_" + std::to_string(threads) + "_" + std::to_string(width);
  out.grid_x = 3;
  Random random(seed);
  Words input;
  for (uint32_t i = 0; i < 3 * threads; ++i) input.push_back(static_cast<uint32_t>(random.next()));
  Words want;
  for (uint32_t first = 0; first < 3 * threads; first += width) {
    uint32_t sum = 0;
    int32_t largest = INT32_MIN;
    for (uint32_t i = 0; i < width; ++i) {
      sum += input[first + i];
      largest = std::max(largest, static_cast<int32_t>(input[first + i]));
    }
    want.insert(want.end(), width, sum ^ static_cast<uint32_t>(largest));
  }
  out.buffers = {input, poison(3 * threads)};
  out.check = [want](const std::vector<Words>& b) { return b[1] == want ? "" : "sums differ"; };
  return out;
}

Result<std::vector<Case>> all_cases(const Caps& caps) {
  std::vector<Case> cases = BP_TRY(sample_cases(caps));
  uint64_t seed = 1000;
  for (uint32_t threads : {32u, 128u, 256u}) {
    for (uint32_t width = 2; width <= threads; width *= 2) {
      cases.push_back(BP_TRY(reduce_case(threads, width, ++seed)));
    }
  }
  return cases;
}

template <typename F>
void run_all(const Caps& caps, F execute) {
  const auto cases = all_cases(caps);
  ASSERT_TRUE(cases.ok()) << cases.status().to_string();
  for (const Case& test : *cases) {
    const auto legal = legalize(test.kernel, caps);
    ASSERT_TRUE(legal.ok()) << legal.status().to_string();
    EXPECT_EQ(run_interpreted(test, *legal), "");
    const auto text = render(*legal, caps);
    ASSERT_TRUE(text.ok()) << text.status().to_string();
    const Executed run = execute(test, *legal, *text);
    if (run.state == Executed::kAbsent) GTEST_SKIP() << "skipped: " << run.log;
    ASSERT_EQ(run.state, Executed::kOk) << test.name << ": " << run.log << *text;
    EXPECT_EQ(test.check(run.buffers), "") << test.name;
  }
}

TEST(OpenCl, kernels_match_reference_on_the_device) {
  const Caps& caps = *find_profile("pocl");
  run_all(caps, [&](const Case& test, const Kernel& kernel, const std::string& text) {
    return run_opencl(test, kernel, text, entry_point(kernel, caps));
  });
}

void run_on_vulkan(uint32_t subgroup) {
  Caps caps = *find_profile("lavapipe");
  caps.subgroup_size = subgroup;
  run_all(caps, [](const Case& test, const Kernel& kernel, const std::string& text) {
    const Compiled compiled = compile_glsl(text);
    Executed out;
    out.log = compiled.log;
    if (compiled.state == Compiled::kFailed) out.state = Executed::kFailed;
    return compiled.state == Compiled::kOk ? run_vulkan(test, kernel, compiled.spirv) : out;
  });
}

TEST(Vulkan, kernels_match_reference_with_subgroups) {
  const uint32_t subgroup = vulkan_subgroup_size();
  if (subgroup < 2)
    GTEST_SKIP() << "skipped: no Vulkan device with subgroups (Debian: mesa-vulkan-drivers)";
  run_on_vulkan(subgroup);
}

TEST(Vulkan, kernels_match_reference_without_subgroups) {
  run_on_vulkan(0);
}

}  // namespace
}  // namespace bp::kernels::testing
