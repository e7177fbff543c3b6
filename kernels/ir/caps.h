// SPDX-License-Identifier: Apache-2.0
// What a device gives a kernel, and the profiles that tests hold kernels to.
//
// A kernel is legalized and rendered for one Caps. With the conservative floor() every kernel runs
// on everything; each further capability turns one fallback off. Plain data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace bp::kernels {

enum class DialectId : uint8_t { kCuda, kHip, kOpenCl, kGlsl };

// "cuda", "hip", "opencl" or "glsl", as bp_device_caps.dialect spells it.
std::string_view dialect_name(DialectId id) noexcept;

struct Caps {
  std::string name;  // for people
  DialectId dialect = DialectId::kOpenCl;
  // Architecture where spellings depend on it: 75, 80, 90 for CUDA; 906, 1030 or 0x90a for HIP
  // (the letters and digits after "gfx", read as hexadecimal). 0: unknown.
  uint32_t arch = 0;
  uint32_t subgroup_size = 0;  // size that a launch is sure to get; 0: none
  bool dot4 = false;           // four int8 products summed into i32
  uint32_t max_threads = 256;
  uint32_t shared_bytes = 16u << 10;
  uint32_t max_param_bytes = 128;
  uint32_t max_buffers = 8;
  uint64_t max_buffer_range_bytes = uint64_t{128} << 20;
  uint32_t compute_units = 1;  // for schedules, never for correctness
  bool matrix = false;         // subgroups multiply fragments of 16 × 16 halves with f32 sums
  // A launch may begin before the one before it has ended: its text waits before it touches memory.
  bool early_launch = false;
  bool device_barrier = false;  // barriers that release and acquire between groups; see ir.h
};

// Devices that exist, reduced to what matters here. The first is the floor: a Raspberry Pi 5's
// limits without its subgroups.
std::span<const Caps> profiles() noexcept;
// The profile of that name, or null.
const Caps* find_profile(std::string_view name) noexcept;

}  // namespace bp::kernels
