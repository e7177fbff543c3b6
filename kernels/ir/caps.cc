// SPDX-License-Identifier: Apache-2.0
// Device profiles.
#include "kernels/ir/caps.h"

#include <array>

namespace bp::kernels {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;

// name, dialect, arch, subgroup, dot4, threads, shared, param bytes, buffers, range, units, matrix,
// early launch, device barrier
const std::array<Caps, 9>& table() noexcept {
  static const std::array<Caps, 9> kTable = {{
      {"floor", DialectId::kOpenCl, 0, 0, false, 256, 16u << 10, 128, 8, kGiB / 8, 1},
      {"pocl", DialectId::kOpenCl, 0, 0, false, 1024, 48u << 10, 1024, 16, kGiB, 2},
      {"pi5", DialectId::kGlsl, 0, 16, false, 256, 16u << 10, 128, 8, kGiB / 8, 2, false, false,
       true},
      {"lavapipe", DialectId::kGlsl, 0, 8, false, 1024, 32u << 10, 128, 16, kGiB / 8, 2, false,
       false, true},
      {"vulkan32", DialectId::kGlsl, 0, 32, true, 1024, 32u << 10, 128, 16, 4 * kGiB - 1, 32, true,
       false, true},
      {"cuda", DialectId::kCuda, 90, 32, true, 1024, 48u << 10, 4096, 16, 16 * kGiB, 132, true,
       true, true},
      {"rdna", DialectId::kHip, 0x1030, 32, true, 1024, 64u << 10, 4096, 16, 4 * kGiB, 40, false,
       false, true},
      {"rdna3", DialectId::kHip, 0x1100, 32, true, 1024, 64u << 10, 4096, 16, 4 * kGiB, 48, true,
       false, true},
      {"cdna", DialectId::kHip, 0x90a, 64, true, 1024, 64u << 10, 4096, 16, 4 * kGiB, 104, true,
       false, true},
  }};
  return kTable;
}

}  // namespace

std::string_view dialect_name(DialectId id) noexcept {
  switch (id) {
    case DialectId::kCuda:
      return "cuda";
    case DialectId::kHip:
      return "hip";
    case DialectId::kOpenCl:
      return "opencl";
    case DialectId::kGlsl:
      return "glsl";
  }
  return "";
}

std::span<const Caps> profiles() noexcept {
  return table();
}

const Caps* find_profile(std::string_view name) noexcept {
  for (const Caps& caps : table()) {
    if (caps.name == name) return &caps;
  }
  return nullptr;
}

}  // namespace bp::kernels
