// SPDX-License-Identifier: Apache-2.0
// The CUDA plugin's own: verdicts of the probe, and what it says about devices. Everything that GPU
// plugins have in common is in tests/mockgpu/.
#include <cstdlib>

#include "tests/mockgpu/device_suite.h"

namespace bp::gpu_suite {

const Subject kSubject = {
    "cuda",
    "cuda",
    "libcuda.so.1",
    "libnvrtc.so.13",
    "cuBLASLt",
    "BACKPLANE_CUBLASLT",
    "--no-such-option",
    [](const bp_device_info& info, const bp_device_caps& caps) {
      kernels::Caps profile = *kernels::find_profile("cuda");
      profile.arch = static_cast<uint32_t>(std::atoi(info.architecture + 3));
      profile.dot4 = caps.has_int8_dot != 0;
      return profile;
    },
};

namespace {

using ::testing::HasSubstr;

TEST(Probe, no_driver_is_told_with_its_name) {
  const std::string out = probe_with("BACKPLANE_CUDA_DRIVER=/nowhere/libcuda.so.1");
  EXPECT_THAT(out, HasSubstr("verdict 1 "));
  EXPECT_THAT(out, HasSubstr("/nowhere/libcuda.so.1"));
}

TEST_F(ProbeOnMock, every_reason_is_told_in_words) {
  EXPECT_THAT(probe_with("A=B"), HasSubstr("verdict 0 2 GPU(s), CUDA 13.0, NVRTC 13.0"));
  std::string out = probe_with("BACKPLANE_MOCK_DRIVER_VERSION=11040");
  EXPECT_THAT(out, HasSubstr("verdict 2 "));
  EXPECT_THAT(out, HasSubstr("11.4"));
  EXPECT_THAT(out, HasSubstr("12.0"));
  EXPECT_THAT(probe_with("BACKPLANE_MOCK_DEVICES=0"), HasSubstr("verdict 3 "));
  EXPECT_THAT(probe_with("BACKPLANE_MOCK_INIT=100"), HasSubstr("verdict 3 "));
  out = probe_with("BACKPLANE_MOCK_INIT=803");
  EXPECT_THAT(out, HasSubstr("verdict 6 "));
  EXPECT_THAT(out, HasSubstr("CUDA_ERROR_MOCK_803"));
  EXPECT_THAT(probe_with("BACKPLANE_MOCK_INIT=34"), HasSubstr("verdict 1 "));
  out = probe_with("BACKPLANE_NVRTC=/nowhere/libnvrtc.so.13");
  EXPECT_THAT(out, HasSubstr("verdict 5 "));
  EXPECT_THAT(out, HasSubstr("libnvrtc.so.13"));
  // A library that is no driver.
  out = probe_with("BACKPLANE_CUDA_DRIVER=libc.so.6");
  EXPECT_THAT(out, HasSubstr("verdict 6 "));
  EXPECT_THAT(probe_with("BACKPLANE_NVRTC=libc.so.6"), HasSubstr("nvrtcGetErrorString"));
}

class Cuda : public GpuTest {};

TEST_F(Cuda, capabilities_follow_the_architecture) {
  const int arch = std::atoi(info.architecture + 3);
  EXPECT_EQ(std::string(info.architecture).rfind("sm_", 0), 0u);
  EXPECT_EQ(info.pci_vendor, 0x10deu);
  EXPECT_EQ(caps.subgroup_min, 32u);
  EXPECT_EQ(caps.subgroup_max, 32u);
  EXPECT_EQ(caps.subgroup_required, 1u);
  EXPECT_EQ(caps.has_int8_dot, arch >= 61 ? 1u : 0u);
  EXPECT_EQ(caps.has_bf16, arch >= 80 ? 1u : 0u);
  EXPECT_EQ(caps.has_matrix, arch >= 75 ? 1u : 0u);
  EXPECT_EQ(caps.max_buffer_range, uint64_t{16} << 30);
  void* context = nullptr;
  const bp_string name = glue::text("cuda.context");
  EXPECT_EQ(t.device->native(device, &name, &context, &error), BP_OK);
  EXPECT_NE(context, nullptr);
}

// Dynamic shared memory beyond the 48 KiB that need no asking.
TEST_F(Cuda, large_shared_memory_is_asked_for_at_load) {
  Text text = scale_text(kSubject.profile(info, caps));
  const Compiled compiled = compile(device, text, &error);
  ASSERT_EQ(compiled.status, BP_OK) << error.text;
  text.shared_bytes = 64u << 10;
  const auto load = [&](bp_function** function) {
    const bp_module_source source = text.source();
    bp_module* module = nullptr;
    EXPECT_EQ(t.module->load(device, &source, compiled.binary.data(), compiled.binary.size(),
                             &module, &error),
              BP_OK);
    const bp_string name = glue::text(text.entry);
    const bp_status status = t.module->function(module, &name, function, &error);
    EXPECT_EQ(*function != nullptr, status == BP_OK);
    return module;
  };
  bp_function* function = nullptr;
  bp_module* module = load(&function);
  ASSERT_NE(function, nullptr) << error.text;
  bp_buffer* a = alloc(512);
  const bp_launch_buffer buffers[] = {{a, 0, 256}, {a, 256, 256}};
  const uint32_t params[] = {1, 64};
  bp_launch launch{};
  launch.size = sizeof launch;
  launch.buffer_count = launch.param_words = 2;
  launch.group_threads = 64;
  launch.grid[0] = launch.grid[1] = launch.grid[2] = 1;
  launch.buffers = buffers;
  launch.params = params;
  launch.shared_bytes = 64u << 10;
  EXPECT_EQ(t.module->launch(stream, function, &launch, &error), BP_OK) << error.text;
  finish();
  launch.shared_bytes += 16;
  EXPECT_EQ(t.module->launch(stream, function, &launch, &error), BP_INVALID_ARGUMENT);
  free(a);
  EXPECT_EQ(t.module->unload(module, nullptr), BP_OK);
  text.shared_bytes = 1u << 20;
  module = load(&function);
  EXPECT_EQ(function, nullptr);
  EXPECT_THAT(error.text, HasSubstr("1048576"));
  EXPECT_EQ(t.module->unload(module, nullptr), BP_OK);
}

}  // namespace
}  // namespace bp::gpu_suite
