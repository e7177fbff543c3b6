// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/device_caps.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "kernels/ir/ir.h"

namespace bp::kernels {
namespace {

// Subgroups that reductions through shuffles gain from, and that every device with a choice has.
constexpr uint32_t kLikedSubgroup = 32;

// OpenCL tells how many threads a kernel may have only once it is compiled: fewer than the device's
// limit where it takes many registers. So many have been enough for, and granted to, all of ours.
constexpr uint32_t kSureOpenClThreads = 256;

// Text of a fixed array that a plugin filled.
template <size_t N>
std::string_view text_of(const char (&from)[N]) {
  return {from, strnlen(from, N)};
}

// "sm_90" is 90, "gfx90a" in HIP 0x90a; anything else is unknown.
uint32_t arch_of(DialectId dialect, std::string_view name) {
  const bool is_amd = dialect == DialectId::kHip;
  const std::string_view prefix = is_amd ? "gfx" : "sm_";
  if (dialect == DialectId::kGlsl || !name.starts_with(prefix)) return 0;
  name.remove_prefix(prefix.size());
  uint32_t number = 0;
  std::from_chars(name.data(), name.data() + name.size(), number, is_amd ? 16 : 10);
  return number;
}

// The size that every launch is sure to get: the only one, or one that a kernel may demand.
uint32_t subgroup_of(const bp_device_caps& caps) {
  uint32_t size = caps.subgroup_max;
  if (caps.subgroup_min == 0 || caps.subgroup_min > caps.subgroup_max) return 0;
  if (caps.subgroup_min != caps.subgroup_max) {
    if (caps.subgroup_required == 0) return 0;
    size = std::clamp(kLikedSubgroup, caps.subgroup_min, caps.subgroup_max);
  }
  return is_power_of_two(size) && size > 1 && size <= 128 ? size : 0;
}

// Matrix units, unless BACKPLANE_MATRIX is "off". Fragments have run on NVIDIA's cards, through
// CUDA from sm_75 on and through Vulkan; what is spelled for AMD's own compiler has been compiled
// and not yet run on a card, so it is used only with "on".
bool matrix_of(const Caps& caps, const bp_device_caps& said) {
  const char* const text = std::getenv("BACKPLANE_MATRIX");
  const std::string_view wish = text == nullptr ? "" : text;
  if (said.has_matrix == 0 || caps.subgroup_size == 0 || wish == "off") return false;
  switch (caps.dialect) {
    case DialectId::kCuda:
      return caps.arch >= 75;
    case DialectId::kHip:
      return wish == "on";
    case DialectId::kGlsl:
      return std::all_of(std::begin(said.matrix_shape), std::end(said.matrix_shape),
                         [](uint32_t size) { return size == kFragmentSize; });
    case DialectId::kOpenCl:
      return false;
  }
  return false;
}

uint32_t or_else(uint32_t said, uint32_t floor) {
  return said != 0 ? said : floor;
}

}  // namespace

Result<Caps> caps_of(const bp_device_info& info, const bp_device_caps& caps) {
  const std::string_view dialect = text_of(caps.dialect);
  const DialectId all[] = {DialectId::kCuda, DialectId::kHip, DialectId::kOpenCl, DialectId::kGlsl};
  const auto* found = std::find_if(std::begin(all), std::end(all),
                                   [&](DialectId id) { return dialect == dialect_name(id); });
  if (found == std::end(all)) {
    return error(Code::kIncompatible,
                 "the device takes {}{}; kernels are rendered for cuda, hip, "
                 "opencl and glsl",
                 dialect.empty() ? "no source text" : "the dialect ", dialect);
  }
  Caps out;
  out.name = text_of(info.name);
  out.dialect = *found;
  out.arch = arch_of(*found, text_of(info.architecture));
  out.subgroup_size = subgroup_of(caps);
  out.dot4 = caps.has_int8_dot != 0;
  out.max_threads = std::min(or_else(caps.max_group_threads, out.max_threads), kMaxThreads);
  if (out.dialect == DialectId::kOpenCl) {
    out.max_threads = std::min(out.max_threads, kSureOpenClThreads);
  }
  out.shared_bytes = std::min(or_else(caps.shared_bytes, out.shared_bytes), kMaxSharedBytes);
  out.max_param_bytes = or_else(caps.max_param_bytes, out.max_param_bytes);
  out.max_buffers = std::min(or_else(caps.max_buffers, out.max_buffers), kMaxBuffers);
  if (caps.max_buffer_range != 0) out.max_buffer_range_bytes = caps.max_buffer_range;
  out.compute_units = or_else(caps.compute_units, 1);
  out.matrix = matrix_of(out, caps);
  out.early_launch = out.dialect == DialectId::kCuda && caps.has_early_launch != 0;
  // OpenCL 1.2 orders nothing between groups of a launch; NVIDIA's takes PTX that does.
  out.device_barrier = out.dialect != DialectId::kOpenCl || out.arch >= 70;
  return out;
}

}  // namespace bp::kernels
