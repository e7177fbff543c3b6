// SPDX-License-Identifier: Apache-2.0
// Modules: the compiler's words, binaries, and launches with what they must not be given.
#include <algorithm>
#include <numeric>

#include "plugins/vulkan/testing/open_device.h"

namespace bp::vulkan {
namespace {

using ::testing::HasSubstr;

TEST_F(Vulkan, failing_text_is_told_with_the_compilers_words) {
  const Compiled broken =
      compile(device_, source_of("#version 450\nvoid main() { oops; }", 1, 0, 0));
  EXPECT_EQ(broken.status, BP_INVALID_ARGUMENT);
  EXPECT_THAT(broken.log, HasSubstr("oops"));
  EXPECT_THAT(broken.error.text, HasSubstr("oops"));
  EXPECT_TRUE(broken.binary.empty());
  EXPECT_THAT(compile(device_, source_of(kScaleAdd, 32, 2, 2)).error.text,
              HasSubstr("group_threads"));
  EXPECT_THAT(compile(device_, source_of(kScaleAdd, 64, 1, 2)).error.text,
              HasSubstr("buffer_count"));
  EXPECT_THAT(compile(device_, source_of(kScaleAdd, 64, 99, 2)).error.text,
              HasSubstr("99 buffers"));
  EXPECT_THAT(compile(device_, source_of(kScaleAdd, 1u << 20, 2, 2)).error.text,
              HasSubstr("threads in a group"));
  bp_module_source options =
      source_of("#version 450\nlayout(local_size_x = N) in; void main() { LAST; }", 16, 0, 0);
  options.options = glue::text("-DN=16 -O0  -DLAST");
  EXPECT_EQ(compile(device_, options).status, BP_OK);
  options.options = glue::text("-DN=16 --fast");
  EXPECT_THAT(compile(device_, options).error.text, HasSubstr("--fast"));
}

TEST_F(Vulkan, binaries_load_again_and_foreign_ones_are_refused) {
  bp_module_source source = source_of(kScaleAdd, 64, 2, 2);
  const Compiled compiled = compile(device_, source);
  ASSERT_EQ(compiled.status, BP_OK);
  EXPECT_EQ(compile(device_, source).binary, compiled.binary);
  source.text = {};
  bp_module* module = nullptr;
  const auto load_bytes = [&](const std::string& bytes) {
    return modules().load(device_, &source, bytes.data(), bytes.size(), &module, nullptr);
  };
  ASSERT_EQ(load_bytes(compiled.binary), BP_OK);
  EXPECT_EQ(modules().unload(module, nullptr), BP_OK);
  for (size_t i = 0; i < compiled.binary.size(); i += 5) {
    std::string damaged = compiled.binary;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    ASSERT_EQ(load_bytes(damaged), BP_INCOMPATIBLE) << "byte " << i;
    ASSERT_EQ(load_bytes(compiled.binary.substr(0, i)), BP_INCOMPATIBLE) << "length " << i;
  }
  EXPECT_EQ(load_bytes(compiled.binary + "more"), BP_INCOMPATIBLE);
  source.param_words = 3;
  EXPECT_EQ(load_bytes(compiled.binary), BP_INCOMPATIBLE);
  source.param_words = 2;
  ASSERT_EQ(load_bytes(compiled.binary), BP_OK);
  bp_function* function = nullptr;
  const bp_string other = glue::text("other");
  EXPECT_EQ(modules().function(module, &other, &function, nullptr), BP_NOT_FOUND);
  EXPECT_EQ(modules().unload(module, nullptr), BP_OK);
  std::string id;
  const auto keep = [](void* user, const void* data, uint64_t bytes) {
    static_cast<std::string*>(user)->assign(static_cast<const char*>(data), bytes);
  };
  ASSERT_EQ(modules().compiler_id(device_, keep, &id, nullptr), BP_OK);
  EXPECT_THAT(id, HasSubstr("shaderc"));
}

TEST(Spirv, broken_modules_are_refused_without_being_followed) {
  SpirvInterface interface;
  EXPECT_NE(read_spirv({}, &interface), nullptr);
  EXPECT_NE(read_spirv({0x07230203, 0, 0, 0, 0}, &interface), nullptr);
  EXPECT_NE(read_spirv({0x07230203, 0, 0, 0, 0, 0}, &interface), nullptr);
  EXPECT_NE(read_spirv({0x07230203, 0, 0, 0, 0, 0xffff000f}, &interface), nullptr);
  for (uint32_t opcode : {15u, 30u, 32u, 59u, 71u, 72u}) {
    EXPECT_STREQ(read_spirv({0x07230203, 0, 0, 0, 0, 1u << 16 | opcode}, &interface),
                 "an instruction is too short");
  }
}

TEST(Spirv, components_of_matrices_become_float_types) {
  // Void is 1, u32 2; 3 and 4 are the constants 16 and 32; a float of 32 bits, 8, comes too late.
  const Words header = {0x07230203, 0x10500, 0, 20, 0};
  const Words before = {
      2u << 16 | 19, 1, 4u << 16 | 21, 2, 32, 0, 4u << 16 | 43, 2, 3, 16, 4u << 16 | 43, 2, 4, 32};
  const auto matrix = [](uint32_t id, uint32_t component) {
    return Words{7u << 16 | 4456, id, component, 5, 3, 3, 6};
  };
  const auto join = [](std::initializer_list<Words> parts) {
    Words out;
    for (const Words& part : parts) out.insert(out.end(), part.begin(), part.end());
    return out;
  };
  const Words late = {3u << 16 | 22, 8, 32};
  Words module = join({header, before, matrix(9, 3), late, matrix(10, 4), matrix(11, 3)});
  ASSERT_EQ(name_matrix_components(&module), nullptr);
  Words grown = header;
  grown[3] = 21;  // the float of 16 bits is new
  EXPECT_EQ(module, join({grown,
                          {3u << 16 | 22, 20, 16},
                          late,
                          before,
                          matrix(9, 20),
                          matrix(10, 8),
                          matrix(11, 20)}));
  // What has its types stays, and so does what has no matrices.
  const Words done = module;
  ASSERT_EQ(name_matrix_components(&module), nullptr);
  EXPECT_EQ(module, done);
  module = join({header, before, late});
  ASSERT_EQ(name_matrix_components(&module), nullptr);
  EXPECT_EQ(module, join({header, before, late}));
  module = join({header, before, {7u << 16 | 4456, 9, 3}});
  EXPECT_NE(name_matrix_components(&module), nullptr);
}

// As kernels spell a fragment of 16 × 16 sums; no device is needed to compile it.
TEST_F(Vulkan, matrices_in_text_get_their_component) {
  bp_module_source source = source_of(
      R"(#version 450
#pragma use_vulkan_memory_model
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_spirv_intrinsics : require
const uint bits = 32, scope = 3, size = 16, use = 2, rows = 0, group = 2;
#define sums spirv_type(extensions = ["SPV_KHR_cooperative_matrix"], \
    capabilities = [6022, 9], id = 4456, bits, scope, size, size, use)
spirv_instruction(id = 80) sums fill(float v);
spirv_instruction(id = 4458) void store(spirv_by_reference float at, sums s, uint layout_,
    uint stride, spirv_literal uint operands, uint scope);
layout(local_size_x = 32) in;
layout(std430, binding = 0) restrict writeonly buffer B0 { float y[]; };
shared float s_y[256];
void main() {
  store(s_y[0], fill(2.0f), rows, 16u, 0x28, group);
  barrier();
  y[gl_LocalInvocationIndex] = s_y[gl_LocalInvocationIndex];
})",
      32, 1, 0);
  source.options = glue::text("-O0");
  const Compiled compiled = compile(device_, source);
  ASSERT_EQ(compiled.status, BP_OK) << compiled.log;
  Words words(compiled.binary.size() / 4);
  std::memcpy(words.data(), compiled.binary.data(), 4 * words.size());
  uint32_t float_type = 0, component = 0;
  for (auto at = std::find(words.begin(), words.end(), 0x07230203u) + 5; at < words.end();) {
    if (*at == (3u << 16 | 22) && at[2] == 32) float_type = at[1];
    if ((*at & 0xffff) == 4456) component = at[2];
    at += *at >> 16;
  }
  EXPECT_NE(component, 0u);
  EXPECT_EQ(component, float_type);
}

TEST_F(Vulkan, kernels_see_offsets_params_and_the_order_of_launches) {
  bp_function* const function = scale_add();
  const uint64_t step = std::max<uint64_t>(caps_.buffer_offset_alignment, 4);
  Words input(1024);
  std::iota(input.begin(), input.end(), 0u);
  bp_buffer* const x = buffer_of(input);
  bp_buffer* const y = buffer_of(Words(1024, 1));
  Words want(1024, 1);
  const auto both = [&](uint64_t x_at, uint64_t y_at, uint32_t scale, uint32_t count) {
    ASSERT_EQ(
        launch_on(stream_, function, {x, x_at, count * 4}, {y, y_at, count * 4}, scale, count),
        BP_OK);
    for (uint32_t i = 0; i < count; ++i) {
      uint32_t& out = want[y_at / 4 + i];
      out = out * scale + input[x_at / 4 + i];
    }
  };
  both(3 * step, 5 * step, 3, 100);
  for (uint32_t i = 0; i < 100; ++i) both((i % 7) * step, (i % 3) * step, 2 + i, 64 + i);
  EXPECT_EQ(read(y, 1024), want);
  // From a buffer to itself, at ranges apart and the same.
  ASSERT_EQ(launch_on(stream_, function, {y, 0, 256}, {y, 2048, 256}, 0, 64), BP_OK);
  ASSERT_EQ(launch_on(stream_, function, {y, 2048, 256}, {y, 0, 256}, 1, 64), BP_OK);
  const Words twice = read(y, 64);
  for (uint32_t i = 0; i < 64; ++i) EXPECT_EQ(twice[i], 2 * want[i]);
}

TEST_F(Vulkan, kernels_may_use_atomics_and_float16_words) {
  bp_function* const function = load(source_of(R"(#version 450
layout(local_size_x = 32) in;
layout(std430, set = 0, binding = 0) buffer Y { uint y[]; };
void main() {
  atomicAdd(y[0], 1u);
  memoryBarrierBuffer();
  barrier();
  if (gl_LocalInvocationIndex == 0) y[1] = packHalf2x16(vec2(1.0, -2.0));
}
)",
                                               32, 1, 0));
  bp_buffer* const y = buffer_of({5, 0});
  const bp_launch_buffer buffers[] = {{y, 0, 8}};
  bp_launch launch{};
  launch.size = sizeof launch;
  launch.buffer_count = 1;
  launch.group_threads = 32;
  launch.grid[0] = launch.grid[1] = 3;
  launch.grid[2] = 2;
  launch.buffers = buffers;
  ASSERT_EQ(modules().launch(stream_, function, &launch, nullptr), BP_OK);
  EXPECT_EQ(read(y, 2), (Words{5 + 32 * 18, 0xc0003c00}));
}

TEST_F(Vulkan, kernels_get_the_subgroup_size_they_demand) {
  if (caps_.subgroup_required == 0) GTEST_SKIP() << "skipped: no subgroup size can be demanded";
  const uint32_t size = caps_.subgroup_min;
  const std::string text = R"(#version 450
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
layout(local_size_x = 64) in;
layout(std430, set = 0, binding = 0) writeonly buffer Y { uint y[]; };
void main() {
  uint i = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
  y[i] = gl_SubgroupSize * 1000 + subgroupShuffleXor(i, 1);
}
)";
  bp_module_source source = source_of(text.c_str(), 64, 1, 0);
  source.subgroup_size = size;
  bp_function* const function = load(source);
  bp_buffer* const y = alloc(256);
  const bp_launch_buffer buffers[] = {{y, 0, 256}};
  bp_launch launch{};
  launch.size = sizeof launch;
  launch.buffer_count = 1;
  launch.group_threads = 64;
  launch.grid[0] = launch.grid[1] = launch.grid[2] = 1;
  launch.buffers = buffers;
  ASSERT_EQ(modules().launch(stream_, function, &launch, nullptr), BP_OK);
  const Words out = read(y, 64);
  for (uint32_t i = 0; i < 64; ++i) EXPECT_EQ(out[i], size * 1000 + (i ^ 1));
  source.subgroup_size = caps_.subgroup_max * 2;
  EXPECT_EQ(compile(device_, source).status, BP_INCOMPATIBLE);
  source.subgroup_size = size;
  source.group_threads = size + 1;
  EXPECT_EQ(compile(device_, source).status, BP_INVALID_ARGUMENT);
}

TEST_F(Vulkan, buffers_larger_than_an_argument_are_bound_by_ranges) {
  const uint64_t bytes = caps_.max_buffer_range + (1 << 20);
  if (caps_.max_buffer_range > (256u << 20)) GTEST_SKIP() << "skipped: arguments may be huge here";
  bp_function* const function = scale_add();
  bp_buffer* const x = buffer_of(Words(64, 7));
  bp_buffer* const y = alloc(bytes);
  const uint64_t last = bytes - 256;
  ASSERT_EQ(streams().fill(stream_, y, last, 256, 1, nullptr), BP_OK);
  bp_error error = BP_ERROR_INIT;
  EXPECT_EQ(launch_on(stream_, function, {x, 0, 256}, {y, 0, bytes}, 1, 64, &error),
            BP_INVALID_ARGUMENT);
  EXPECT_THAT(error.text, HasSubstr("spans"));
  ASSERT_EQ(launch_on(stream_, function, {x, 0, 256}, {y, last, 256}, 1, 64), BP_OK);
  EXPECT_EQ(read(y, 64, last), Words(64, 8));
}

TEST_F(Vulkan, wrong_launches_are_told_what_is_wrong) {
  bp_function* const function = scale_add();
  bp_buffer* const x = buffer_of(Words(64, 1));
  bp_buffer* const y = buffer_of(Words(64, 1));
  const auto expect = [&](auto change, const char* words) {
    bp_launch_buffer buffers[] = {{x, 0, 256}, {y, 0, 256}};
    const uint32_t params[] = {1, 64};
    bp_launch launch{};
    launch.size = sizeof launch;
    launch.buffer_count = launch.param_words = 2;
    launch.group_threads = 64;
    launch.grid[0] = launch.grid[1] = launch.grid[2] = 1;
    launch.buffers = buffers;
    launch.params = params;
    change(launch, buffers);
    bp_error error = BP_ERROR_INIT;
    EXPECT_EQ(modules().launch(stream_, function, &launch, &error), BP_INVALID_ARGUMENT) << words;
    EXPECT_THAT(error.text, HasSubstr(words));
  };
  expect([](bp_launch& l, auto*) { l.buffer_count = 1; }, "1 buffers");
  expect([](bp_launch& l, auto*) { l.param_words = 3; }, "3 params");
  expect([](bp_launch& l, auto*) { l.group_threads = 32; }, "32 threads");
  expect([](bp_launch& l, auto*) { l.shared_bytes = 4; }, "shared memory");
  expect([](bp_launch& l, auto*) { l.grid[1] = 0; }, "grid[1] is 0");
  expect([](bp_launch& l, auto*) { l.grid[2] = UINT64_MAX; }, "grid[2]");
  expect([](bp_launch& l, auto*) { l.params = nullptr; }, "are NULL");
  expect([](bp_launch&, auto* b) { b[0].buffer = nullptr; }, "buffer 0 is NULL");
  expect([](bp_launch&, auto* b) { b[1].bytes = 257; }, "buffer 1");
  expect([](bp_launch&, auto* b) { b[1].bytes = 0; }, "buffer 1");
  expect([](bp_launch&, auto* b) { b[1].offset = UINT64_MAX - 15; }, "buffer 1");
  expect([](bp_launch&, auto* b) { b[0] = {b[0].buffer, 1, 8}; }, "multiple of");
  EXPECT_EQ(read(y, 64), Words(64, 1));
}

}  // namespace
}  // namespace bp::vulkan
