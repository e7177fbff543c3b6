// SPDX-License-Identifier: Apache-2.0
// Rendered text goes through the real compilers, one kernel of every family and format.
#include <gtest/gtest.h>

#include "kernels/builder/builder.h"
#include "kernels/legalize.h"
#include "kernels/render/render.h"
#include "kernels/testing/cases.h"
#include "kernels/testing/compilers.h"

namespace bp::kernels {
namespace {

using testing::Compiled;

// Every operation once, so that each spelling meets a compiler.
Result<Kernel> everything() {
  Builder k("everything", 64);
  Buf in = k.in("in"), out = k.out("out"), both = k.in_out("both");
  const Val n = k.param_u32("n"), scale = k.param_f32("scale");
  Shared tile = k.shared("tile", {Kind::kU32, 4}, 64), counts = k.shared("counts", kI32, 64);
  const Val t = k.tid(), i = k.group_x() * 64 + t + k.group_y();
  const Val x = in.f32(i), w = in.u32(i), j = as_i32(w);
  const Val v = in.u32x4(i), u = in.u32x2(i);
  tile.store(t, v);
  counts.store(t, j);
  k.barrier(true);
  Var f = k.var(x), g = k.var(j), h = k.var(x < scale);
  k.loop(
      0, n, 2,
      [&](Val c) {
        k.when((c == 4) | (x != scale), [&] { f += select(tile.load(c & 63)[1] > 3u, x, scale); },
               [&] { g.set(counts.load(c & 63) - 1); });
        f.set(f * 0.5f + floor(x) / 3.0f);
      },
      4);
  for (Val y : {-x, abs(x), floor(x), rint(x), exp2(x), log2(x), sqrt(x), rsqrt(x), rcp(x),
                min(x, scale), max(x, scale), fma(x, x, scale), to_f32(j), to_f32(w), k.sum(x, 64),
                k.max_of(x, 8), select(h, x, -0.25f), x + as_f32(0x7f800000u | (w & 0))}) {
    f += y;
  }
  for (Val y :
       {-j, ~j, abs(j), j / 3, j % 3, min(j, 4), max(j, -4), j << 2, j >> 2, to_i32(x), to_i32(w),
        k.sum(j, 64), k.min_of(j, 16), dot4(w, v[2], j), j & 7, j | 8, j ^ (-2147483647 - 1)}) {
    g += y;
  }
  const Val q = min(w, n) + max(w, 2u) + (w >> 3) / 7 % 5 + to_u32(x) + ~w + k.sum(w, 32);
  h.set((~h.get() & (x <= scale)) ^ (w >= n));
  const Val pair = unpack_f16x2(pack_f16x2(f, x)) + unpack_bf16x2(w);
  out.store(i, make_vec({as_u32(f), as_u32(g) + u[0] + u[1], q,
                         select(h, as_u32(pair[0]), as_u32(pair[1]))}));
  both.store(both.atomic_add(0, 1u) + 1, both.u32(i));
  return k.finish();
}

std::vector<Kernel> kernels_for(const Caps& caps) {
  std::vector<Kernel> out;
  const auto whole = everything();
  EXPECT_TRUE(whole.ok()) << whole.status().to_string();
  if (whole.ok()) out.push_back(*whole);
  const auto samples = testing::sample_cases(caps);
  EXPECT_TRUE(samples.ok()) << samples.status().to_string();
  if (!samples.ok()) return out;
  for (const testing::Case& sample : *samples) out.push_back(sample.kernel);
  for (Kernel& kernel : out) {
    auto legal = legalize(kernel, caps);
    EXPECT_TRUE(legal.ok()) << legal.status().to_string();
    if (legal.ok()) kernel = *std::move(legal);
  }
  return out;
}

// Compiles all kernels for caps; joins the assembly. Null when the compiler is absent.
template <typename F>
void compile_all(const Caps& caps, F compile, std::string* assembly) {
  for (const Kernel& kernel : kernels_for(caps)) {
    const auto text = render(kernel, caps);
    ASSERT_TRUE(text.ok()) << text.status().to_string();
    const Compiled compiled = compile(*text);
    if (compiled.state == Compiled::kAbsent) GTEST_SKIP() << "skipped: " << compiled.log;
    ASSERT_EQ(compiled.state, Compiled::kOk) << compiled.log << *text;
    *assembly += compiled.assembly;
  }
}

class Cuda : public ::testing::TestWithParam<uint32_t> {};
TEST_P(Cuda, text_compiles_with_nvrtc) {
  Caps caps = *find_profile("cuda");
  caps.arch = GetParam();
  std::string ptx;
  compile_all(
      caps, [&](const std::string& text) { return testing::compile_cuda(text, caps.arch); }, &ptx);
  if (ptx.empty()) return;
  EXPECT_NE(ptx.find("dp4a"), std::string::npos);
  EXPECT_NE(ptx.find("ld.global.nc.v4"), std::string::npos);
  EXPECT_NE(ptx.find("shfl.sync.bfly"), std::string::npos);
  EXPECT_NE(ptx.find(".minnctapersm"), std::string::npos) << "registers for loads";
  EXPECT_NE(ptx.find(caps.arch >= 80 ? "mma.sync.aligned.m16n8k16" : "mma.sync.aligned.m16n8k8"),
            std::string::npos);
}
INSTANTIATE_TEST_SUITE_P(Compute, Cuda, ::testing::Values(75u, 80u, 90u));

struct HipTarget {
  const char* arch;
  uint32_t id, subgroup;
  const char* dot;
  const char* matrix = nullptr;  // instruction of its matrix units
};
class Hip : public ::testing::TestWithParam<HipTarget> {};
TEST_P(Hip, text_compiles_without_device_libraries) {
  Caps caps = *find_profile(GetParam().subgroup == 64 ? "cdna" : "rdna");
  caps.arch = GetParam().id;
  caps.matrix = GetParam().matrix != nullptr;
  std::string assembly;
  compile_all(
      caps, [&](const std::string& text) { return testing::compile_hip(text, GetParam().arch); },
      &assembly);
  if (assembly.empty()) return;
  EXPECT_NE(assembly.find(GetParam().dot), std::string::npos);
  if (caps.matrix) {
    EXPECT_NE(assembly.find(GetParam().matrix), std::string::npos);
  }
  EXPECT_TRUE(assembly.find("global_load_dwordx4") != std::string::npos ||
              assembly.find("global_load_b128") != std::string::npos);
  EXPECT_EQ(assembly.find("s_swappc"), std::string::npos) << "calls what no library will provide";
  EXPECT_NE(assembly.find("ds_bpermute_b32"), std::string::npos);
}
INSTANTIATE_TEST_SUITE_P(
    Targets, Hip,
    ::testing::Values(HipTarget{"gfx906", 0x906, 64, "v_dot4_i32_i8"},
                      HipTarget{"gfx90a", 0x90a, 64, "v_dot4", "v_mfma_f32_16x16x16"},
                      HipTarget{"gfx1030", 0x1030, 32, "v_dot4"},
                      HipTarget{"gfx1100", 0x1100, 32, "v_dot4_i32_iu8", "v_wmma_f32_16x16x16"}),
    [](const auto& at) { return std::string(at.param.arch); });

// What the plugin itself uses. Version 5.2 knows no gfx11; see plugins/rocm/module.cc.
class HipRtc : public ::testing::TestWithParam<HipTarget> {};
TEST_P(HipRtc, text_compiles_with_amds_own_compiler) {
  Caps caps = *find_profile(GetParam().subgroup == 64 ? "cdna" : "rdna");
  caps.arch = GetParam().id;
  caps.matrix = GetParam().matrix != nullptr;
  std::string binaries;
  compile_all(
      caps, [&](const std::string& text) { return testing::compile_hiprtc(text, GetParam().arch); },
      &binaries);
  if (binaries.empty()) return;
  EXPECT_NE(binaries.find("\x7f"
                          "ELF"),
            std::string::npos);
}
INSTANTIATE_TEST_SUITE_P(Targets, HipRtc,
                         ::testing::Values(HipTarget{"gfx906", 0x906, 64, ""},
                                           HipTarget{"gfx90a", 0x90a, 64, "",
                                                     "v_mfma_f32_16x16x16"},
                                           HipTarget{"gfx1030", 0x1030, 32, ""}),
                         [](const auto& at) { return std::string(at.param.arch); });

// NVIDIA's OpenCL compiler is not here, but another that takes the same text.
TEST(OpenCl, text_for_nvidia_compiles_to_ptx) {
  Caps caps = *find_profile("cuda");
  caps.dialect = DialectId::kOpenCl;
  caps.arch = 75;
  caps.max_threads = 256;
  caps.matrix = caps.early_launch = false;
  std::string ptx;
  compile_all(
      caps, [&](const std::string& text) { return testing::compile_opencl_ptx(text, caps.arch); },
      &ptx);
  if (ptx.empty()) return;
  for (const char* instruction : {"dp4a.s32.s32", "shfl.sync.bfly.b32", "membar.gl"})
    EXPECT_NE(ptx.find(instruction), std::string::npos) << instruction;
}

class Glsl : public ::testing::TestWithParam<std::string> {};
TEST_P(Glsl, text_compiles_and_validates) {
  std::string none;
  compile_all(
      *find_profile(GetParam()),
      [](const std::string& text) { return testing::compile_glsl(text); }, &none);
}
INSTANTIATE_TEST_SUITE_P(Profiles, Glsl, ::testing::Values("pi5", "lavapipe", "vulkan32"),
                         [](const auto& at) { return at.param; });

TEST(Render, refuses_what_was_not_legalized) {
  Builder k("sum", 64);
  Buf x = k.in("x"), y = k.out("y");
  y.store(k.tid(), k.sum(x.f32(k.tid()), 64));
  const auto kernel = k.finish();
  ASSERT_TRUE(kernel.ok());
  const auto text = render(*kernel, *find_profile("cuda"));
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.status().code(), Code::kFailedPrecondition);
}

TEST(Render, is_deterministic) {
  const Caps& caps = *find_profile("cuda");
  for (const Kernel& kernel : kernels_for(caps)) {
    EXPECT_EQ(*render(kernel, caps), *render(kernel, caps));
  }
}

}  // namespace
}  // namespace bp::kernels
