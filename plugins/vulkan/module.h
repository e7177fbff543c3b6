// SPDX-License-Identifier: Apache-2.0
// Interface bp.module/1 of the Vulkan plugin: GLSL to SPIR-V to pipelines, and launches.
//
// A binary is SPIR-V in an envelope that names what was compiled.
#pragma once

#include <string>

#include "backplane/launch_check.h"
#include "plugins/vulkan/spirv.h"
#include "plugins/vulkan/stream.h"

namespace bp::vulkan {

struct Module;

struct Function {
  Module* module = nullptr;
};
BP_PLUGIN_HANDLE(bp_function, Function)

// One pipeline; immutable once loaded.
struct Module {
  Device* device = nullptr;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  VkPipeline pipeline = VK_NULL_HANDLE;
  glue::FunctionShape shape;
  Function function;

  ~Module();
};
BP_PLUGIN_HANDLE(bp_module, Module)

extern const bp_module_api kModuleApi;

// SPIR-V of a GLSL text; the compiler's messages go to *log in any case.
bp_status compile_glsl(const Shaderc& shaderc, const bp_module_source& source,
                       std::vector<uint32_t>* words, std::string* log, bp_error* error);

}  // namespace bp::vulkan
