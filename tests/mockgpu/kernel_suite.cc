// SPDX-License-Identifier: Apache-2.0
// Kernels through a plugin: those of the library, as rendered, against plain C++.
#include <time.h>

#include "backplane/float16.h"
#include "kernels/legalize.h"
#include "kernels/testing/cases.h"
#include "tests/mockgpu/device_suite.h"

namespace bp::gpu_suite {
namespace {

// Time that this thread has computed: what a launch costs on the stand-in, whoever else is busy.
double thread_milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

// Loads a case's kernel, runs it on the case's buffers, and says what is wrong with the result.
class CaseRun : public GpuTest {
 protected:
  std::string run(const kernels::testing::Case& test, const kernels::Caps& profile,
                  double* milliseconds = nullptr) {
    const auto legal = kernels::legalize(test.kernel, profile);
    if (!legal.ok()) return legal.status().to_string();
    const Loaded kernel(device, text_of(*legal, profile));
    if (kernel.function == nullptr) return "not loaded";
    std::vector<bp_launch_buffer> buffers;
    for (const Words& words : test.buffers) {
      buffers.push_back({alloc(words.size() * 4), 0, words.size() * 4});
      write(buffers.back().buffer, words);
    }
    finish();
    const bp_launch launch = launch_of(kernel.text, buffers, test.params, test.grid_x, test.grid_y);
    const double start = thread_milliseconds();
    EXPECT_EQ(t.module->launch(stream, kernel.function, &launch, &error), BP_OK) << error.text;
    if (milliseconds != nullptr) *milliseconds = thread_milliseconds() - start;
    finish();
    std::vector<Words> got;
    for (size_t i = 0; i < buffers.size(); ++i) {
      got.push_back(read(buffers[i].buffer, test.buffers[i].size()));
      free(buffers[i].buffer);
    }
    return test.check(got);
  }
};

// The proof of plugin and stand-in together: every family of kernels, as rendered, against plain
// C++.
TEST_F(CaseRun, kernels_of_the_library_match_their_references) {
  const kernels::Caps profile = kSubject.profile(info, caps);
  const auto cases = kernels::testing::sample_cases(profile);
  ASSERT_TRUE(cases.ok()) << cases.status().to_string();
  for (const kernels::testing::Case& test : *cases) {
    EXPECT_EQ(run(test, profile), "") << test.name;
  }
}

// Fragments are spelled by hand: their layout is the stand-in's own, which the library's kernels
// cannot tell. d = a times b transposed, 16 by 16 each.
TEST_F(CaseRun, matrix_fragments_multiply) {
  if (!Mock::present()) GTEST_SKIP() << "skipped: on a card this is the renderer's text";
  const bool hip = std::string(kSubject.dialect) == "hip";
  const std::string wave = std::to_string(caps.subgroup_max);
  Text text;
  text.text = (hip ? "#define BP_SUBGROUP " + wave + "\nBP_KERNEL" : "extern \"C\" __global__") +
              std::string(
                  " void bp_fragments(const unsigned int* a, const unsigned int* b, "
                  "float* d) {\n  bp_frag_sum s = bp_frag_fill(1.0f);\n"
                  "  s = bp_mma(bp_frag_load(a, 8), bp_frag_load(b, 8), s);\n"
                  "  bp_frag_store(d, 16, s);\n}\n");
  text.entry = "bp_fragments";
  text.group_threads = caps.subgroup_max;
  text.buffer_count = 3;
  const Loaded kernel(device, text);
  ASSERT_NE(kernel.function, nullptr);
  Words a, b;
  for (uint32_t i = 0; i < 128; ++i) {  // small integers, exact in halves
    a.push_back(f32_to_f16(static_cast<float>(i % 7)) |
                uint32_t{f32_to_f16(static_cast<float>(i % 5) - 2)} << 16);
    b.push_back(f32_to_f16(static_cast<float>(i % 3)) |
                uint32_t{f32_to_f16(static_cast<float>(i % 11))} << 16);
  }
  const std::vector<bp_launch_buffer> buffers = {
      {alloc(512), 0, 512}, {alloc(512), 0, 512}, {alloc(1024), 0, 1024}};
  write(buffers[0].buffer, a);
  write(buffers[1].buffer, b);
  const bp_launch launch = launch_of(text, buffers, {}, 1);
  ASSERT_EQ(t.module->launch(stream, kernel.function, &launch, &error), BP_OK) << error.text;
  const std::vector<float> got = kernels::testing::floats_of(read(buffers[2].buffer, 256));
  const auto half = [](const Words& words, uint32_t row, uint32_t k) {
    return f16_to_f32(static_cast<uint16_t>(words[row * 8 + k / 2] >> 16 * (k % 2)));
  };
  for (uint32_t m = 0; m < 16; ++m) {
    for (uint32_t n = 0; n < 16; ++n) {
      float want = 1;
      for (uint32_t k = 0; k < 16; ++k) want += half(a, m, k) * half(b, n, k);
      EXPECT_EQ(got[m * 16 + n], want) << m << ", " << n;
    }
  }
  for (const bp_launch_buffer& buffer : buffers) free(buffer.buffer);
}

// Three million weights: whole models run on the stand-in, so it should take milliseconds.
TEST_F(CaseRun, a_large_product_matches_its_reference) {
  const kernels::Caps profile = kSubject.profile(info, caps);
  for (const bool int8 : {false, true}) {
    const kernels::GemvSpec spec{
        .format = "q4_g32", .int8 = int8, .rows = 1024, .columns = 3072, .tokens = 1};
    const auto test =
        kernels::testing::gemv_case(spec, kernels::default_schedule(spec, profile), 91);
    ASSERT_TRUE(test.ok()) << test.status().to_string();
    double milliseconds = 0;
    EXPECT_EQ(run(*test, profile, &milliseconds), "");
    RecordProperty(int8 ? "int8_us" : "f32_us", static_cast<int>(milliseconds * 1000));
  }
}

}  // namespace
}  // namespace bp::gpu_suite
