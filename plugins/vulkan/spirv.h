// SPDX-License-Identifier: Apache-2.0
// What a SPIR-V module says about its interface: enough to hold launches to it.
#pragma once

#include <cstdint>
#include <vector>

namespace bp::vulkan {

struct SpirvInterface {
  uint32_t group[3] = {};  // workgroup size
  uint32_t bindings = 0;   // bit i: a storage buffer at set 0, binding i
  uint32_t written = 0;    // bit i: that buffer is not declared read-only
};

// Reads a module with one compute entry point called main. Returns NULL, or what is wrong with it.
const char* read_spirv(const std::vector<uint32_t>& words, SpirvInterface* out);

}  // namespace bp::vulkan
