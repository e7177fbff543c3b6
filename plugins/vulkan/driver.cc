// SPDX-License-Identifier: Apache-2.0
#include "plugins/vulkan/driver.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

#include "backplane/shared_library.h"

namespace bp::vulkan {
namespace {

constexpr const char* kValidationLayer = "VK_LAYER_KHRONOS_validation";

std::atomic<const bp_host*> current_host{nullptr};
std::atomic<uint64_t> error_count{0};
std::atomic<bool> validating{false};
std::mutex driver_mutex;
Driver* the_driver = nullptr;  // guarded by driver_mutex; left alone when the process exits, for
                               // the driver's libraries may have been torn down before us

VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                          VkDebugUtilsMessageTypeFlagsEXT,
                                          const VkDebugUtilsMessengerCallbackDataEXT* data, void*) {
  const bool is_error = severity >= VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  if (is_error) error_count.fetch_add(1);
  glue::log(host(), is_error ? BP_LOG_ERROR : BP_LOG_WARNING, "vulkan: %s",
            data->pMessage != nullptr ? data->pMessage : "");
  return VK_FALSE;
}

bool validation_wanted() {
  const char* const value = std::getenv("BACKPLANE_VULKAN_VALIDATION");
  return value != nullptr && std::strcmp(value, "1") == 0;
}

bool layer_exists(PFN_vkGetInstanceProcAddr get) {
  const auto enumerate = reinterpret_cast<PFN_vkEnumerateInstanceLayerProperties>(
      get(nullptr, "vkEnumerateInstanceLayerProperties"));
  uint32_t count = 0;
  if (enumerate == nullptr || enumerate(&count, nullptr) < VK_SUCCESS) return false;
  std::vector<VkLayerProperties> layers(count);
  if (enumerate(&count, layers.data()) < VK_SUCCESS) return false;
  for (uint32_t i = 0; i < count; ++i) {
    if (std::strcmp(layers[i].layerName, kValidationLayer) == 0) return true;
  }
  return false;
}

}  // namespace

void Driver::conclude(int32_t reason, const char* format, ...) {
  verdict.size = sizeof verdict;
  verdict.reason = reason;
  va_list arguments;
  va_start(arguments, format);
  glue::print_text_v(verdict.detail, sizeof verdict.detail, format, arguments);
  va_end(arguments);
}

void Driver::load(std::initializer_list<const char*> loaders,
                  std::initializer_list<const char*> shadercs) {
  if (!load_instance(loaders) || !create_instance() || !load_adapters() ||
      !load_shaderc(shadercs)) {
    return;
  }
  conclude(BP_PROBE_USABLE, "%zu device%s, first: %s, %s", adapters.size(),
           adapters.size() == 1 ? "" : "s", adapters[0].info.name, adapters[0].info.driver);
}

bool Driver::load_instance(std::initializer_list<const char*> names) {
  glue::SharedLibrary library;
  if (!library.open(names)) {
    conclude(BP_PROBE_NO_DRIVER, "no Vulkan loader (Debian: libvulkan1): %s",
             library.error().c_str());
    return false;
  }
  if (!library.resolve("vkGetInstanceProcAddr", &GetInstanceProcAddr)) {
    conclude(BP_PROBE_BROKEN, "Vulkan loader: %s", library.error().c_str());
    return false;
  }
  const auto version = reinterpret_cast<PFN_vkEnumerateInstanceVersion>(
      GetInstanceProcAddr(nullptr, "vkEnumerateInstanceVersion"));
  uint32_t found = VK_API_VERSION_1_0;
  if (version != nullptr) version(&found);
  if (found < VK_API_VERSION_1_2) {
    conclude(BP_PROBE_DRIVER_TOO_OLD, "the Vulkan loader has version %u.%u, 1.2 is needed",
             VK_API_VERSION_MAJOR(found), VK_API_VERSION_MINOR(found));
    return false;
  }
  return true;
}

bool Driver::create_instance() {
  const VkApplicationInfo application{.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                      .pApplicationName = "backplane",
                                      .apiVersion = VK_API_VERSION_1_2};
  VkInstanceCreateInfo info{.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                            .pApplicationInfo = &application};
  const VkValidationFeatureEnableEXT synchronisation =
      VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
  const VkValidationFeaturesEXT features{.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
                                         .enabledValidationFeatureCount = 1,
                                         .pEnabledValidationFeatures = &synchronisation};
  const VkDebugUtilsMessengerCreateInfoEXT messages{
      .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
      .pNext = &features,
      .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT |
                         VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT,
      .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
      .pfnUserCallback = on_message};
  const char* const extension = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
  validating = validation_wanted() && layer_exists(GetInstanceProcAddr);
  if (validating) {
    info.pNext = &messages;
    info.enabledLayerCount = 1;
    info.ppEnabledLayerNames = &kValidationLayer;
    info.enabledExtensionCount = 1;
    info.ppEnabledExtensionNames = &extension;
  } else if (validation_wanted()) {
    glue::log(host(), BP_LOG_WARNING, "vulkan: %s is not installed", kValidationLayer);
  }
  const auto create =
      reinterpret_cast<PFN_vkCreateInstance>(GetInstanceProcAddr(nullptr, "vkCreateInstance"));
  const VkResult result = create(&info, nullptr, &instance);
  if (result == VK_ERROR_INCOMPATIBLE_DRIVER) {
    conclude(BP_PROBE_NO_DEVICE, "the Vulkan loader found no driver (Debian: mesa-vulkan-drivers)");
    return false;
  }
  if (result != VK_SUCCESS) {
    conclude(BP_PROBE_BROKEN, "vkCreateInstance answered %s", result_name(result));
    return false;
  }
#define BP_VK_RESOLVE(name)                                                         \
  name = reinterpret_cast<PFN_vk##name>(GetInstanceProcAddr(instance, "vk" #name)); \
  if (name == nullptr) return conclude(BP_PROBE_BROKEN, "the Vulkan loader has no vk" #name), false;
  BP_VK_INSTANCE_FUNCTIONS(BP_VK_RESOLVE)
#undef BP_VK_RESOLVE
  const auto listen = reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(
      GetInstanceProcAddr(instance, "vkCreateDebugUtilsMessengerEXT"));
  if (validating && listen != nullptr) {
    VkDebugUtilsMessengerCreateInfoEXT later = messages;
    later.pNext = nullptr;
    listen(instance, &later, nullptr, &messenger);
  }
  return true;
}

bool Driver::load_adapters() {
  uint32_t count = 0;
  VkResult result = EnumeratePhysicalDevices(instance, &count, nullptr);
  std::vector<VkPhysicalDevice> devices(count);
  if (result == VK_SUCCESS) result = EnumeratePhysicalDevices(instance, &count, devices.data());
  if (result < VK_SUCCESS) {
    conclude(BP_PROBE_BROKEN, "vkEnumeratePhysicalDevices answered %s", result_name(result));
    return false;
  }
  std::string refusals;
  int32_t reason = BP_PROBE_NO_DEVICE;
  for (VkPhysicalDevice device : devices) {
    Adapter adapter;
    const char* why = "";
    const int32_t verdict_of_one = describe_adapter(*this, device, &adapter, &why);
    if (verdict_of_one == BP_PROBE_USABLE) {
      adapters.push_back(std::move(adapter));
      continue;
    }
    if (verdict_of_one == BP_PROBE_DRIVER_TOO_OLD) reason = BP_PROBE_DRIVER_TOO_OLD;
    refusals += std::string(refusals.empty() ? ": " : "; ") + adapter.info.name + " " + why;
  }
  if (!adapters.empty()) return true;
  conclude(reason, "no device that this plugin can drive%s", refusals.c_str());
  return false;
}

bool Driver::load_shaderc(std::initializer_list<const char*> names) {
  glue::SharedLibrary library;
  bool complete = true;
#ifdef BP_SHADERC_LINKED
#define BP_SHADERC_TAKE(name) shaderc.name = &::shaderc_##name;
  if (names.size() == 0) {
    BP_SHADERC_FUNCTIONS(BP_SHADERC_TAKE)
  }
#endif
  if (shaderc.compiler_initialize == nullptr) {
    if (!library.open(names)) {
      conclude(BP_PROBE_MISSING_LIBRARY, "no GLSL compiler shaderc (Debian: libshaderc1): %s",
               library.error().c_str());
      return false;
    }
#define BP_SHADERC_RESOLVE(name) \
  complete = complete && library.resolve("shaderc_" #name, &shaderc.name);
    BP_SHADERC_FUNCTIONS(BP_SHADERC_RESOLVE)
  }
  if (complete) shaderc.compiler = shaderc.compiler_initialize();
  if (shaderc.compiler != nullptr) return true;
  conclude(BP_PROBE_BROKEN, "shaderc: %s", complete ? "cannot start" : library.error().c_str());
  return false;
}

Driver::~Driver() {
  if (shaderc.compiler != nullptr) shaderc.compiler_release(shaderc.compiler);
  if (messenger != VK_NULL_HANDLE) {
    reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(GetInstanceProcAddr(
        instance, "vkDestroyDebugUtilsMessengerEXT"))(instance, messenger, nullptr);
  }
  if (instance != VK_NULL_HANDLE && DestroyInstance != nullptr) DestroyInstance(instance, nullptr);
}

const Driver* driver() {
  const std::lock_guard lock(driver_mutex);
  if (the_driver == nullptr) {
    the_driver = new Driver;
#ifdef BP_SHADERC_LINKED
    the_driver->load({"libvulkan.so.1", "libvulkan.so"}, {});
#else
    the_driver->load({"libvulkan.so.1", "libvulkan.so"},
                     {"libshaderc_shared.so.1", "libshaderc.so.1", "libshaderc_shared.so"});
#endif
  }
  return the_driver;
}

void unload_driver() {
  const std::lock_guard lock(driver_mutex);
  delete the_driver;
  the_driver = nullptr;
}

const bp_host* host() noexcept {
  return current_host.load(std::memory_order_acquire);
}

void set_host(const bp_host* host) noexcept {
  current_host.store(host, std::memory_order_release);
}

uint64_t validation_errors() noexcept {
  return error_count.load();
}

bool validation_active() noexcept {
  return validating.load();
}

const char* result_name(VkResult result) noexcept {
  switch (result) {
#define BP_VK_NAME(name) \
  case name:             \
    return #name;
    BP_VK_NAME(VK_ERROR_OUT_OF_HOST_MEMORY)
    BP_VK_NAME(VK_ERROR_OUT_OF_DEVICE_MEMORY)
    BP_VK_NAME(VK_ERROR_INITIALIZATION_FAILED)
    BP_VK_NAME(VK_ERROR_DEVICE_LOST)
    BP_VK_NAME(VK_ERROR_MEMORY_MAP_FAILED)
    BP_VK_NAME(VK_ERROR_EXTENSION_NOT_PRESENT)
    BP_VK_NAME(VK_ERROR_FEATURE_NOT_PRESENT)
    BP_VK_NAME(VK_ERROR_INCOMPATIBLE_DRIVER)
    BP_VK_NAME(VK_ERROR_TOO_MANY_OBJECTS)
    BP_VK_NAME(VK_ERROR_INVALID_EXTERNAL_HANDLE)
#undef BP_VK_NAME
    default:
      return "an error that only its number names";
  }
}

}  // namespace bp::vulkan
