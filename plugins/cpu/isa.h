// SPDX-License-Identifier: Apache-2.0
// Which instructions this processor and this system let us use, found out once.
//
// The environment variable BACKPLANE_CPU_ISA, read when the plugin is initialised, lowers the
// choice: "reference", "avx2", "avx512", "amx" or "neon". A level that the machine does not have
// falls to the best one below it, with a warning in the log.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bp::cpu {

// Families of kernels, each including what stands before it (neon apart).
enum class Isa : uint8_t {
  kReference,  // portable C++
  kAvx2,       // AVX2, FMA, F16C; AVX-VNNI where present
  kAvx512,     // AVX-512 F BW DQ VL and VNNI
  kAmx,        // AVX-512 as above with BF16 and VBMI, and AMX tiles of bf16
  kNeon,       // ARMv8.2 with NEON and dot products
};

struct CpuFeatures {
  bool avx2 = false, fma = false, f16c = false, avx_vnni = false;
  bool avx512 = false;  // F BW DQ VL
  bool avx512_vnni = false, avx512_bf16 = false, avx512_vbmi = false;
  bool amx_bf16 = false;  // and amx_tile, and the system has granted the tile state
  bool neon = false, arm_dotprod = false;
};

// What was found, the same for the life of the process. First use asks the system for AMX.
const CpuFeatures& cpu_features() noexcept;

// Highest level of this machine.
Isa best_isa() noexcept;

// Level that kernels are made for now: best_isa() unless the environment lowered it.
Isa active_isa() noexcept;
// Reads BACKPLANE_CPU_ISA; called by init. Returns false when it asks for something unknown or
// absent, in which case the next lower level is active.
bool choose_isa_from_environment() noexcept;

const char* isa_name(Isa isa) noexcept;

// Text for bp_device_info.
void describe_isa(char* out, size_t capacity) noexcept;
void describe_processor(char* name, size_t name_capacity, char* vendor,
                        size_t vendor_capacity) noexcept;

}  // namespace bp::cpu
