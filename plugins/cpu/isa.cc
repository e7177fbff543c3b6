// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/isa.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "backplane/plugin_glue.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace bp::cpu {
namespace {

#if defined(__x86_64__)
uint64_t read_xcr0() noexcept {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

// Linux gives tile registers only to processes that ask; the larger signal frames are the reason.
bool request_tile_state() noexcept {
#if defined(__linux__) && defined(SYS_arch_prctl)
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

bool bit(uint32_t word, int index) noexcept {
  return (word >> index & 1u) != 0;
}

CpuFeatures detect() noexcept {
  CpuFeatures found;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || !bit(c, 27)) return found;  // OSXSAVE
  const uint64_t xcr0 = read_xcr0();
  const bool ymm_saved = (xcr0 & 0x6) == 0x6;
  const bool zmm_saved = (xcr0 & 0xE6) == 0xE6;
  const bool tiles_saved = (xcr0 & 0x60000) == 0x60000;
  found.fma = ymm_saved && bit(c, 12);
  found.f16c = ymm_saved && bit(c, 29);
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return found;
  found.avx2 = ymm_saved && bit(b, 5);
  found.avx512 = zmm_saved && bit(b, 16) && bit(b, 17) && bit(b, 30) && bit(b, 31);
  found.avx512_vnni = found.avx512 && bit(c, 11);
  found.avx512_vbmi = found.avx512 && bit(c, 1);
  const bool amx = tiles_saved && bit(d, 24) && bit(d, 22);
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) {
    found.avx_vnni = found.avx2 && bit(a, 4);
    found.avx512_bf16 = found.avx512 && bit(a, 5);
  }
  found.amx_bf16 = amx && request_tile_state();
  return found;
}
#elif defined(__aarch64__)
CpuFeatures detect() noexcept {
  CpuFeatures found;
  found.neon = true;
#if defined(__linux__)
  found.arm_dotprod = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#endif
  return found;
}
#else
CpuFeatures detect() noexcept {
  return {};
}
#endif

std::atomic<int> active{-1};

bool is_supported(Isa isa) noexcept {
  const CpuFeatures& f = cpu_features();
  const bool avx2 = f.avx2 && f.fma && f.f16c;
  const bool avx512 = avx2 && f.avx512 && f.avx512_vnni;
  switch (isa) {
    case Isa::kReference:
      return true;
    case Isa::kAvx2:
      return avx2;
    case Isa::kAvx512:
      return avx512;
    case Isa::kAmx:
      return avx512 && f.avx512_bf16 && f.avx512_vbmi && f.amx_bf16;
    case Isa::kNeon:
      return f.neon && f.arm_dotprod;
  }
  return false;
}

constexpr Isa kAll[] = {Isa::kReference, Isa::kAvx2, Isa::kAvx512, Isa::kAmx, Isa::kNeon};

}  // namespace

const CpuFeatures& cpu_features() noexcept {
  static const CpuFeatures found = detect();
  return found;
}

Isa best_isa() noexcept {
  Isa best = Isa::kReference;
  for (const Isa isa : kAll) {
    if (is_supported(isa)) best = isa;
  }
  return best;
}

Isa active_isa() noexcept {
  const int chosen = active.load();
  return chosen < 0 ? best_isa() : static_cast<Isa>(chosen);
}

bool choose_isa_from_environment() noexcept {
  active.store(-1);
  const char* const wanted = std::getenv("BACKPLANE_CPU_ISA");
  if (wanted == nullptr || *wanted == '\0') return true;
  for (const Isa isa : kAll) {
    if (std::string_view(wanted) != isa_name(isa)) continue;
    Isa level = isa;
    while (!is_supported(level)) level = static_cast<Isa>(static_cast<int>(level) - 1);
    active.store(static_cast<int>(level));
    return level == isa;
  }
  return false;
}

const char* isa_name(Isa isa) noexcept {
  switch (isa) {
    case Isa::kReference:
      return "reference";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAmx:
      return "amx";
    case Isa::kNeon:
      return "neon";
  }
  return "unknown";
}

void describe_isa(char* out, size_t capacity) noexcept {
  const CpuFeatures& f = cpu_features();
#if defined(__x86_64__)
  glue::print_text(out, capacity, "x86-64%s%s%s%s%s%s", f.avx2 ? " avx2" : "",
                   f.avx_vnni ? " avxvnni" : "", f.avx512 ? " avx512" : "",
                   f.avx512_vnni ? " vnni" : "", f.avx512_bf16 ? " bf16" : "",
                   f.amx_bf16 ? " amx" : "");
#elif defined(__aarch64__)
  glue::print_text(out, capacity, "aarch64 neon%s", f.arm_dotprod ? " dotprod" : "");
#else
  (void)f;
  glue::copy_text(out, capacity, "portable");
#endif
}

void describe_processor(char* name, size_t name_capacity, char* vendor,
                        size_t vendor_capacity) noexcept {
  glue::copy_text(name, name_capacity, "CPU");
  glue::copy_text(vendor, vendor_capacity, "");
#if defined(__x86_64__)
  uint32_t words[12] = {};
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(0, &a, &b, &c, &d) != 0) {
    const uint32_t text[3] = {b, d, c};
    glue::copy_text(vendor, vendor_capacity, {reinterpret_cast<const char*>(text), sizeof text});
  }
  if (__get_cpuid(0x80000000u, &a, &b, &c, &d) == 0 || a < 0x80000004u) return;
  for (uint32_t leaf = 0; leaf < 3; ++leaf) {
    uint32_t* const w = words + 4 * leaf;
    __get_cpuid(0x80000002u + leaf, w, w + 1, w + 2, w + 3);
  }
  std::string_view brand(reinterpret_cast<const char*>(words), sizeof words);
  brand = brand.substr(0, brand.find('\0'));
  while (!brand.empty() && brand.front() == ' ') brand.remove_prefix(1);
  while (!brand.empty() && brand.back() == ' ') brand.remove_suffix(1);
  if (!brand.empty()) glue::copy_text(name, name_capacity, brand);
#endif
}

}  // namespace bp::cpu
