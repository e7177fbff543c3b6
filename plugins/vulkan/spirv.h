// SPDX-License-Identifier: Apache-2.0
// SPIR-V modules: what one says about its interface, enough to hold launches to it, and what GLSL
// compilers cannot be told to write.
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

// Kernel text gives the component of a cooperative matrix as a constant, its number of bits, since
// compilers take no type there: puts the float type of so many bits in its place. Other modules
// stay as they are. Returns NULL, or what is wrong with the module.
const char* name_matrix_components(std::vector<uint32_t>* words);

}  // namespace bp::vulkan
