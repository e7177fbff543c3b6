// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/module_text.h"

#include <fmt/format.h>

namespace bp::conformance {
namespace {

constexpr std::string_view kCuda = R"(struct bp_params {{
  unsigned int n;
  unsigned int mul;
  unsigned int stride;
}};
extern "C" __global__ void __launch_bounds__({threads}) bp_probe(const unsigned int* __restrict__ b_x, unsigned int* __restrict__ b_y, const bp_params p) {{
  __shared__ unsigned int s_value[{threads}];
  const unsigned int tid = threadIdx.x;
  const unsigned int column = blockIdx.x * {threads}u + tid;
  const unsigned int at = blockIdx.y * p.stride + column;
  const unsigned int value = column < p.n ? b_x[at] : 0u;
  s_value[tid] = value;
  __syncthreads();
  if (column < p.n) {{
    b_y[at] = value * p.mul + s_value[(tid + 1u) % {threads}u] + blockIdx.y{mistake};
  }}
}}
)";

// As the renderer's: compiler builtins alone, inside a prologue that may be replaced.
constexpr std::string_view kHip = R"(#define BP_SUBGROUP {subgroup}
#ifndef BACKPLANE_PROLOGUE
#define BP_DEVICE static __attribute__((device, always_inline)) inline
#define BP_KERNEL extern "C" __attribute__((global))
#define BP_SHARED static __attribute__((shared))
#define bp_tid() __builtin_amdgcn_workitem_id_x()
#define bp_group_x() __builtin_amdgcn_workgroup_id_x()
#define bp_group_y() __builtin_amdgcn_workgroup_id_y()
BP_DEVICE void bp_barrier() {{
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}}
#endif
struct bp_params {{
  unsigned int n;
  unsigned int mul;
  unsigned int stride;
}};
BP_KERNEL __attribute__((amdgpu_flat_work_group_size({threads}, {threads}))) void bp_probe(const unsigned int* __restrict__ b_x, unsigned int* __restrict__ b_y, const bp_params p) {{
  BP_SHARED unsigned int s_value[{threads}];
  const unsigned int tid = bp_tid();
  const unsigned int row = bp_group_y();
  const unsigned int column = bp_group_x() * {threads}u + tid;
  const unsigned int at = row * p.stride + column;
  const unsigned int value = column < p.n ? b_x[at] : 0u;
  s_value[tid] = value;
  bp_barrier();
  if (column < p.n) {{
    b_y[at] = value * p.mul + s_value[(tid + 1u) % {threads}u] + row{mistake};
  }}
}}
)";

constexpr std::string_view kOpenCl =
    R"(__kernel __attribute__((reqd_work_group_size({threads}, 1, 1)))
void bp_probe(__global const uint* restrict a_x, const uint o_x, __global uint* restrict a_y, const uint o_y, const uint p_n, const uint p_mul, const uint p_stride) {{
  __global const uint* restrict b_x = a_x + 4 * (size_t)o_x;
  __global uint* restrict b_y = a_y + 4 * (size_t)o_y;
  __local uint s_value[{threads}];
  const uint tid = get_local_id(0);
  const uint row = get_group_id(1);
  const uint column = get_group_id(0) * {threads}u + tid;
  const uint at = row * p_stride + column;
  const uint value = column < p_n ? b_x[at] : 0u;
  s_value[tid] = value;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (column < p_n) {{
    b_y[at] = value * p_mul + s_value[(tid + 1u) % {threads}u] + row{mistake};
  }}
}}
)";

constexpr std::string_view kGlsl = R"(#version 450
layout(local_size_x = {threads}) in;
layout(std430, set = 0, binding = 0) restrict readonly buffer B0 {{ uint b_x[]; }};
layout(std430, set = 0, binding = 1) restrict writeonly buffer B1 {{ uint b_y[]; }};
layout(push_constant) uniform bp_params {{
  uint p_n;
  uint p_mul;
  uint p_stride;
}};
shared uint s_value[{threads}];
void main() {{
  const uint tid = gl_LocalInvocationIndex;
  const uint row = gl_WorkGroupID.y;
  const uint column = gl_WorkGroupID.x * {threads}u + tid;
  const uint at = row * p_stride + column;
  const uint value = column < p_n ? b_x[at] : 0u;
  s_value[tid] = value;
  barrier();
  if (column < p_n) {{
    b_y[at] = value * p_mul + s_value[(tid + 1u) % {threads}u] + row{mistake};
  }}
}}
)";

ModuleText write(std::string_view dialect, uint32_t threads, uint32_t subgroup,
                 std::string_view mistake) {
  const auto with = [&](std::string_view text) {
    return fmt::format(fmt::runtime(text), fmt::arg("threads", threads),
                       fmt::arg("subgroup", subgroup == 0 ? 64 : subgroup),
                       fmt::arg("mistake", mistake));
  };
  if (dialect == "cuda") return {with(kCuda), "bp_probe"};
  if (dialect == "hip") return {with(kHip), "bp_probe"};
  if (dialect == "opencl") return {with(kOpenCl), "bp_probe"};
  if (dialect == "glsl") return {with(kGlsl), "main"};
  return {};
}

}  // namespace

ModuleText module_text(std::string_view dialect, uint32_t threads, uint32_t subgroup) {
  return write(dialect, threads, subgroup, "");
}

ModuleText broken_module_text(std::string_view dialect, uint32_t threads, uint32_t subgroup) {
  return write(dialect, threads, subgroup, " + nobody_declared_this");
}

}  // namespace bp::conformance
