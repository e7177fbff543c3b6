// SPDX-License-Identifier: Apache-2.0
// The ROCm plugin's own: verdicts of the probe, and what it says about devices. Everything that GPU
// plugins have in common is in tests/mockgpu/.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>

#include "plugins/rocm/driver.h"
#include "tests/mockgpu/device_suite.h"

namespace bp::gpu_suite {

const Subject kSubject = {
    "rocm",
    "hip",
    "libamdhip64.so.6",
    "libhiprtc.so.6",
    "hipBLASLt",
    "BACKPLANE_HIPBLASLT",
    "--no-such-option",
    [](const bp_device_info& info, const bp_device_caps& caps) {
      kernels::Caps profile = *kernels::find_profile(caps.subgroup_max == 64 ? "cdna" : "rdna3");
      profile.arch = static_cast<uint32_t>(std::strtoul(info.architecture + 3, nullptr, 16));
      profile.dot4 = caps.has_int8_dot != 0;
      return profile;
    },
};

namespace {

using ::testing::HasSubstr;

TEST(Probe, no_runtime_is_told_with_its_name) {
  const std::string out = probe_with("BACKPLANE_HIP_RUNTIME=/nowhere/libamdhip64.so.6");
  EXPECT_THAT(out, HasSubstr("verdict 1 "));
  EXPECT_THAT(out, HasSubstr("/nowhere/libamdhip64.so.6"));
}

TEST_F(ProbeOnMock, every_reason_is_told_in_words) {
  EXPECT_THAT(probe_with("A=B"), HasSubstr("verdict 0 2 GPU(s), HIP 6.3, hipRTC 13.0"));
  std::string out = probe_with("BACKPLANE_MOCK_DRIVER_VERSION=40421401");
  EXPECT_THAT(out, HasSubstr("verdict 2 "));
  EXPECT_THAT(out, HasSubstr("4.4"));
  EXPECT_THAT(out, HasSubstr("5.2"));
  // Without devices it matters whether the kernel has a driver.
  const char* const none = access("/dev/kfd", F_OK) == 0 ? "verdict 3 " : "verdict 1 ";
  EXPECT_THAT(probe_with("BACKPLANE_MOCK_DEVICES=0"), HasSubstr(none));
  EXPECT_THAT(probe_with("BACKPLANE_MOCK_INIT=100"), HasSubstr(none));
  EXPECT_THAT(probe_with("BACKPLANE_MOCK_INIT=101"), HasSubstr(none));
  out = probe_with("BACKPLANE_MOCK_INIT=303");
  EXPECT_THAT(out, HasSubstr("verdict 6 "));
  EXPECT_THAT(out, HasSubstr("hipErrorMock303"));
  out = probe_with("BACKPLANE_HIPRTC=/nowhere/libhiprtc.so.6");
  EXPECT_THAT(out, HasSubstr("verdict 5 "));
  EXPECT_THAT(out, HasSubstr("libhiprtc.so.6"));
  EXPECT_THAT(probe_with("BACKPLANE_HIP_RUNTIME=libc.so.6"), HasSubstr("verdict 6 "));
  EXPECT_THAT(probe_with("BACKPLANE_HIPRTC=libc.so.6"), HasSubstr("hiprtcGetErrorString"));
}

// AMD's own runtime, not the stand-in: all entry points are there, and it does not mind that there
// is no card.
TEST(Probe, a_real_runtime_without_a_card_is_told_apart) {
  constexpr char kRuntime[] = "libamdhip64.so.5";
  void* const library = dlopen(kRuntime, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) GTEST_SKIP() << "skipped: " << kRuntime << " (Debian: libamdhip64-5)";
  if (access("/dev/kfd", F_OK) == 0) GTEST_SKIP() << "skipped: there may be a card";
  const std::string out = probe_with(std::string("BACKPLANE_HIP_RUNTIME=") + kRuntime);
  EXPECT_THAT(out, HasSubstr("verdict 1 the kernel driver amdgpu is not there"));
}

TEST(Compiler, is_not_asked_for_what_would_end_the_process) {
  rocm::Driver driver;
  std::string option;
  bp_error error = BP_ERROR_INIT;
  driver.version = 50221153;
  EXPECT_EQ(driver.target_option("gfx1100", &option, &error), BP_INCOMPATIBLE);
  EXPECT_THAT(std::string(error.text), HasSubstr("ROCm 5.2 does not compile for gfx1100"));
  EXPECT_EQ(driver.target_option("gfx1030", &option, &error), BP_OK);
  driver.version = 60342131;
  EXPECT_EQ(driver.target_option("gfx1201", &option, &error), BP_OK);
  EXPECT_EQ(option, "--offload-arch=gfx1201");
}

class Rocm : public GpuTest {};

TEST_F(Rocm, capabilities_follow_the_architecture) {
  const std::string arch = info.architecture;
  EXPECT_EQ(arch.rfind("gfx", 0), 0u);
  EXPECT_EQ(arch.find(':'), std::string::npos) << "features belong into the compiler's option";
  EXPECT_EQ(info.pci_vendor, 0x1002u);
  EXPECT_EQ(caps.subgroup_min, caps.subgroup_max);
  EXPECT_TRUE(caps.subgroup_max == 32 || caps.subgroup_max == 64);
  EXPECT_EQ(caps.subgroup_required, 1u);
  EXPECT_LE(caps.max_grid[0] * caps.max_group_threads, UINT32_MAX);
  std::string id;
  ASSERT_EQ(t.module->compiler_id(
                device,
                [](void* user, const void* data, uint64_t bytes) {
                  static_cast<std::string*>(user)->assign(static_cast<const char*>(data), bytes);
                },
                &id, &error),
            BP_OK);
  EXPECT_THAT(id, HasSubstr("hipRTC"));
  if (Mock::present() && arch == "gfx90a") {
    EXPECT_THAT(id, HasSubstr("gfx90a:sramecc+:xnack-"));
  }
}

// One process sees one kind of card, so the facts about others are asked for in processes of their
// own.
TEST_F(ProbeOnMock, features_follow_the_name_of_the_architecture) {
  const auto facts = [](const std::string& arch) {
    return probe_with("BACKPLANE_MOCK_ARCH=" + arch);
  };
  EXPECT_THAT(facts("gfx900"), HasSubstr("gfx900 dot 0 matrix 0"));
  EXPECT_THAT(facts("gfx906:sramecc-:xnack-"), HasSubstr("gfx906 dot 1 matrix 0"));
  EXPECT_THAT(facts("gfx90a:sramecc+:xnack-"), HasSubstr("gfx90a dot 1 matrix 1"));
  EXPECT_THAT(facts("gfx942"), HasSubstr("gfx942 dot 1 matrix 1"));
  EXPECT_THAT(facts("gfx90c"), HasSubstr("gfx90c dot 0 matrix 0"));
  EXPECT_THAT(facts("gfx1010"), HasSubstr("gfx1010 dot 0 matrix 0"));
  EXPECT_THAT(facts("gfx1030"), HasSubstr("gfx1030 dot 1 matrix 0"));
  EXPECT_THAT(facts("gfx1151"), HasSubstr("gfx1151 dot 1 matrix 1"));
  EXPECT_THAT(facts("gfx1201"), HasSubstr("gfx1201 dot 1 matrix 1"));
}

}  // namespace
}  // namespace bp::gpu_suite
