// SPDX-License-Identifier: Apache-2.0
// The driver as this plugin sees it: Vulkan's loader and the GLSL compiler, opened at run time and
// resolved once, the instance, and the verdict of the probe.
#pragma once

#include <shaderc/shaderc.h>
#include <vulkan/vulkan_core.h>

#include <atomic>
#include <initializer_list>
#include <memory>
#include <vector>

#include "backplane/plugin_glue.h"
#include "plugins/vulkan/adapter.h"

namespace bp::vulkan {

// clang-format off
#define BP_VK_INSTANCE_FUNCTIONS(X) \
  X(DestroyInstance) X(EnumeratePhysicalDevices) X(GetPhysicalDeviceProperties2) \
  X(GetPhysicalDeviceFeatures2) X(GetPhysicalDeviceMemoryProperties2) \
  X(GetPhysicalDeviceQueueFamilyProperties) X(EnumerateDeviceExtensionProperties) \
  X(CreateDevice) X(GetDeviceProcAddr)
// clang-format on

// clang-format off
#define BP_SHADERC_FUNCTIONS(X) \
  X(compiler_initialize) X(compiler_release) X(compile_options_initialize) \
  X(compile_options_release) X(compile_options_add_macro_definition) \
  X(compile_options_set_optimization_level) X(compile_options_set_target_env) \
  X(compile_into_spv) X(result_release) X(result_get_length) X(result_get_bytes) \
  X(result_get_compilation_status) X(result_get_error_message) X(get_spv_version)
// clang-format on

#define BP_VK_MEMBER(name) PFN_vk##name name = nullptr;
#define BP_SHADERC_MEMBER(name) decltype(&::shaderc_##name) name = nullptr;

struct Shaderc {
  BP_SHADERC_FUNCTIONS(BP_SHADERC_MEMBER)
  shaderc_compiler_t compiler = nullptr;  // thread-safe
};

// Resolved entry points and what was found with them. Immutable after load().
struct Driver {
  BP_VK_INSTANCE_FUNCTIONS(BP_VK_MEMBER)
  PFN_vkGetInstanceProcAddr GetInstanceProcAddr = nullptr;
  Shaderc shaderc;
  VkInstance instance = VK_NULL_HANDLE;
  VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE;
  std::vector<Adapter> adapters;  // that this plugin can drive, in the loader's order
  bp_probe_result verdict{};

  // Opens the libraries, the first name found of each, and fills everything. No name for shaderc
  // means the one that is linked in. verdict says how it went; usable only with BP_PROBE_USABLE.
  void load(std::initializer_list<const char*> loaders,
            std::initializer_list<const char*> shadercs);
  ~Driver();

 private:
  void conclude(int32_t reason, const char* format, ...) __attribute__((format(printf, 3, 4)));
  bool load_instance(std::initializer_list<const char*> names);
  bool create_instance();
  bool load_adapters();
  bool load_shaderc(std::initializer_list<const char*> names);
};

// The driver of this process, loaded at the first call; never NULL. Thread-safe.
const Driver* driver();
// Forgets it; devices must have been closed. The next call of driver() looks again.
void unload_driver();

// The host this plugin was initialised by, or NULL outside init … shutdown.
const bp_host* host() noexcept;
void set_host(const bp_host* host) noexcept;

// Errors that the validation layer has reported so far; it is asked for by the environment
// variable BACKPLANE_VULKAN_VALIDATION=1 and includes synchronisation.
uint64_t validation_errors() noexcept;
// Whether the layer was asked for and is there.
bool validation_active() noexcept;

// "VK_ERROR_DEVICE_LOST", or a number in words.
const char* result_name(VkResult result) noexcept;

}  // namespace bp::vulkan
