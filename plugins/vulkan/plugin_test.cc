// SPDX-License-Identifier: Apache-2.0
// The plugin's border: entry, probe, devices here and on paper, loss and shutdown.
#include <cstdio>
#include <thread>

#include "plugins/vulkan/testing/open_device.h"

namespace bp::vulkan {
namespace {

using ::testing::HasSubstr;

TEST(Plugin, says_who_it_is) {
  bp_plugin_desc desc{};
  desc.size = sizeof desc;
  ASSERT_EQ(bp_plugin_query_1(nullptr, &desc, nullptr), BP_OK);
  EXPECT_EQ(glue::view(desc.id), "vulkan");
  const bp_string kernels = glue::text(BP_INTERFACE_KERNEL);
  const void* out = &desc;
  ASSERT_EQ(desc.api->get_interface(&kernels, &out, nullptr), BP_OK);
  EXPECT_EQ(out, nullptr);
}

TEST(Probe, names_what_is_missing) {
  Driver no_loader;
  no_loader.load({"libbackplane-no-such-loader.so.1"}, {"libshaderc.so.1"});
  EXPECT_EQ(no_loader.verdict.reason, BP_PROBE_NO_DRIVER);
  EXPECT_THAT(no_loader.verdict.detail, HasSubstr("libbackplane-no-such-loader.so.1"));
  Driver no_vulkan;
  no_vulkan.load({"libm.so.6"}, {"libshaderc.so.1"});
  EXPECT_EQ(no_vulkan.verdict.reason, BP_PROBE_BROKEN);
  EXPECT_THAT(no_vulkan.verdict.detail, HasSubstr("vkGetInstanceProcAddr"));
}

TEST_F(Vulkan, probe_names_a_missing_compiler_and_missing_drivers) {
  Driver no_compiler;
  no_compiler.load({"libvulkan.so.1"}, {"libbackplane-no-such-compiler.so.1"});
  EXPECT_EQ(no_compiler.verdict.reason, BP_PROBE_MISSING_LIBRARY);
  EXPECT_THAT(no_compiler.verdict.detail, HasSubstr("libbackplane-no-such-compiler.so.1"));
  setenv("VK_ICD_FILENAMES", "/nonexistent.json", 1);
  setenv("VK_DRIVER_FILES", "/nonexistent.json", 1);
  Driver no_device;
  no_device.load({"libvulkan.so.1"}, {});
  unsetenv("VK_ICD_FILENAMES");
  unsetenv("VK_DRIVER_FILES");
  EXPECT_EQ(no_device.verdict.reason, BP_PROBE_NO_DEVICE) << no_device.verdict.detail;
}

// A driver that exists only as answers, to see what is made of devices that are not here.
struct Described {
  uint32_t version = VK_API_VERSION_1_2;
  VkPhysicalDeviceType type = VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
  VkBool32 timelines = VK_TRUE;
  std::vector<std::pair<uint32_t, VkMemoryPropertyFlags>> types;  // heap, flags
  std::vector<uint64_t> heaps;
};
Described described;

int32_t describe_fake(const Described& what, Adapter* out) {
  described = what;
  Driver fake;
  fake.GetPhysicalDeviceProperties2 = [](VkPhysicalDevice, VkPhysicalDeviceProperties2* p) {
    p->properties.apiVersion = described.version;
    p->properties.deviceType = described.type;
    std::snprintf(p->properties.deviceName, sizeof p->properties.deviceName, "paper tiger");
  };
  fake.GetPhysicalDeviceFeatures2 = [](VkPhysicalDevice, VkPhysicalDeviceFeatures2* f) {
    auto* const twelve = static_cast<VkPhysicalDeviceVulkan12Features*>(f->pNext);
    twelve->timelineSemaphore = described.timelines;
  };
  fake.GetPhysicalDeviceMemoryProperties2 = [](VkPhysicalDevice,
                                               VkPhysicalDeviceMemoryProperties2* m) {
    for (const auto& [heap, flags] : described.types) {
      m->memoryProperties.memoryTypes[m->memoryProperties.memoryTypeCount++] = {flags, heap};
    }
    for (const uint64_t bytes : described.heaps) {
      m->memoryProperties.memoryHeaps[m->memoryProperties.memoryHeapCount++].size = bytes;
    }
  };
  fake.GetPhysicalDeviceQueueFamilyProperties = [](VkPhysicalDevice, uint32_t* count,
                                                   VkQueueFamilyProperties* families) {
    if (families != nullptr) {
      families[0].queueFlags = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT;
      families[1].queueFlags = VK_QUEUE_COMPUTE_BIT;
    }
    *count = 2;
  };
  fake.EnumerateDeviceExtensionProperties = [](VkPhysicalDevice, const char*, uint32_t* count,
                                               VkExtensionProperties*) {
    *count = 0;
    return VK_SUCCESS;
  };
  const char* why = nullptr;
  return describe_adapter(fake, VK_NULL_HANDLE, out, &why);
}

constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
constexpr VkMemoryPropertyFlags kVisible =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
constexpr uint64_t kGiB = uint64_t{1} << 30;

TEST(Adapter, a_small_video_memory_does_not_limit_a_device_that_shares_the_hosts) {
  Described deck;
  deck.heaps = {11 * kGiB, 1 * kGiB};
  deck.types = {{1, kLocal}, {0, kVisible}, {1, kLocal | kVisible}, {0, kVisible | kCached}};
  Adapter adapter;
  ASSERT_EQ(describe_fake(deck, &adapter), BP_PROBE_USABLE);
  ASSERT_EQ(adapter.heaps.size(), 1u);
  EXPECT_EQ(adapter.heaps[0].bytes, 12 * kGiB);
  EXPECT_EQ(adapter.heaps[0].types, (std::vector<uint32_t>{2, 1}));
  EXPECT_EQ(adapter.heaps[0].flags, BP_HEAP_HOST_VISIBLE | BP_HEAP_HOST_COHERENT);
  EXPECT_EQ(adapter.info.memory_bytes, 12 * kGiB);
  EXPECT_EQ(adapter.info.unified_memory, 1u);
  EXPECT_EQ(adapter.staging.types, (std::vector<uint32_t>{3}));
  EXPECT_EQ(adapter.queue_family, 1u);
}

TEST(Adapter, a_card_offers_its_own_memory_first_and_a_small_window_not_at_all) {
  Described card;
  card.type = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
  card.heaps = {24 * kGiB, 32 * kGiB, kGiB / 4};
  card.types = {{0, kLocal}, {1, kVisible}, {1, kVisible | kCached}, {2, kLocal | kVisible}};
  Adapter adapter;
  ASSERT_EQ(describe_fake(card, &adapter), BP_PROBE_USABLE);
  ASSERT_EQ(adapter.heaps.size(), 2u);
  EXPECT_EQ(adapter.heaps[0].flags, BP_HEAP_DEVICE_LOCAL);
  EXPECT_EQ(adapter.heaps[0].bytes, 24 * kGiB);
  EXPECT_EQ(adapter.heaps[1].types, (std::vector<uint32_t>{2}));
  card.types[3].first = 0;  // resizable BAR: the window is all of it
  Adapter large;
  ASSERT_EQ(describe_fake(card, &large), BP_PROBE_USABLE);
  ASSERT_EQ(large.heaps.size(), 3u);
  EXPECT_EQ(large.heaps[1].types, (std::vector<uint32_t>{3}));
}

TEST(Adapter, old_drivers_and_missing_features_are_told_apart) {
  Described old;
  old.version = VK_API_VERSION_1_1;
  Adapter adapter;
  EXPECT_EQ(describe_fake(old, &adapter), BP_PROBE_DRIVER_TOO_OLD);
  Described poor;
  poor.timelines = VK_FALSE;
  EXPECT_EQ(describe_fake(poor, &adapter), BP_PROBE_NO_DEVICE);
}

TEST_F(Vulkan, describes_its_devices) {
  uint32_t count = 0;
  ASSERT_EQ(devices().enumerate(&count, nullptr), BP_OK);
  ASSERT_GT(count, 0u);
  for (uint32_t i = 0; i < count; ++i) {
    bp_device_info info{};
    info.size = sizeof info;
    ASSERT_EQ(devices().describe(i, &info, nullptr), BP_OK);
    EXPECT_NE(info.name[0], '\0');
    EXPECT_NE(info.driver[0], '\0');
    EXPECT_GT(info.memory_bytes, 1u << 20);
    bp_device_caps caps{};
    caps.size = sizeof caps;
    ASSERT_EQ(devices().capabilities(i, &caps, nullptr), BP_OK);
    EXPECT_STREQ(caps.dialect, "glsl");
    EXPECT_GE(caps.max_param_bytes, 128u);
    EXPECT_GE(caps.shared_bytes, 16384u);
    EXPECT_GE(caps.max_buffers, 4u);
    EXPECT_LE(caps.subgroup_min, caps.subgroup_max);
    if (std::string_view(info.name).find("llvmpipe") != std::string_view::npos) {
      EXPECT_EQ(info.kind, BP_DEVICE_CPU);
      EXPECT_EQ(info.unified_memory, 1u);
      EXPECT_EQ(caps.subgroup_required, 1u);
      EXPECT_EQ(caps.has_matrix, 0u);
    }
  }
  bp_device_info info{};
  info.size = sizeof info;
  EXPECT_EQ(devices().describe(count, &info, nullptr), BP_NOT_FOUND);
  void* native = nullptr;
  const bp_string known = glue::text("vulkan.device"), unknown = glue::text("cuda.context");
  EXPECT_EQ(devices().native(device_, &known, &native, nullptr), BP_OK);
  EXPECT_NE(native, nullptr);
  EXPECT_EQ(devices().native(device_, &unknown, &native, nullptr), BP_NOT_FOUND);
}

TEST_F(Vulkan, is_not_closed_while_its_objects_live) {
  bp_error error = BP_ERROR_INIT;
  EXPECT_EQ(devices().close(device_, &error), BP_FAILED_PRECONDITION);
  EXPECT_THAT(error.text, HasSubstr("alive"));
  bp_device* second = nullptr;
  ASSERT_EQ(devices().open(0, &second, nullptr), BP_OK);
  EXPECT_NE(second, device_);
  EXPECT_EQ(devices().status(second, nullptr), BP_OK);
  EXPECT_EQ(devices().close(second, nullptr), BP_OK);
}

TEST_F(Vulkan, a_lost_device_fails_every_waiter_and_stays_lost) {
  const bp_stream_api& api = streams();
  bp_buffer* const buffer = buffer_of(Words(4, 1));
  std::thread waiter([&] {
    bp_error error = BP_ERROR_INIT;
    EXPECT_EQ(api.host_wait(timeline_, 7, kForever, &error), BP_DEVICE_LOST);
    EXPECT_THAT(error.text, HasSubstr("lost"));
  });
  ASSERT_EQ(api.fill(stream_, buffer, 0, 16, 3, nullptr), BP_OK);
  unwrap(device_)->vk.QueueSubmit = [](VkQueue, uint32_t, const VkSubmitInfo*, VkFence) {
    return VK_ERROR_DEVICE_LOST;
  };
  EXPECT_EQ(api.signal(stream_, timeline_, 7, nullptr), BP_DEVICE_LOST);
  waiter.join();
  uint64_t value = 0;
  EXPECT_EQ(api.query(timeline_, &value, nullptr), BP_DEVICE_LOST);
  EXPECT_EQ(devices().status(device_, nullptr), BP_DEVICE_LOST);
  EXPECT_EQ(api.fill(stream_, buffer, 0, 16, 3, nullptr), BP_DEVICE_LOST);
  EXPECT_EQ(api.signal(stream_, timeline_, 8, nullptr), BP_DEVICE_LOST);
  bp_buffer* none = nullptr;
  EXPECT_EQ(memory().alloc(device_, 0, 16, &none, nullptr), BP_DEVICE_LOST);
  EXPECT_EQ(none, nullptr);
}

TEST_F(Vulkan, quiescing_releases_every_waiter) {
  const bp_stream_api& api = streams();
  std::thread waiter(
      [&] { EXPECT_EQ(api.host_wait(timeline_, 9, kForever, nullptr), BP_CANCELLED); });
  ASSERT_EQ(api.wait(stream_, timeline_, 8, nullptr), BP_OK);  // held back for ever
  ASSERT_EQ(api.signal(stream_, timeline_, 9, nullptr), BP_OK);
  EXPECT_EQ(plugin().quiesce(kLongNs, nullptr), BP_OK);
  waiter.join();
  EXPECT_EQ(api.signal(stream_, timeline_, 10, nullptr), BP_CANCELLED);
}

TEST_F(Vulkan, the_validation_layer_is_heard_when_it_objects) {
  if (!validation_active()) GTEST_SKIP() << "skipped: no layer (Debian: vulkan-validationlayers)";
  const Device& device = *unwrap(device_);
  VkBufferCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  info.size = 64;  // and no usage, which is an error
  VkBuffer buffer = VK_NULL_HANDLE;
  if (device.vk.CreateBuffer(device.handle, &info, nullptr, &buffer) == VK_SUCCESS) {
    device.vk.DestroyBuffer(device.handle, buffer, nullptr);
  }
  EXPECT_GT(validation_errors(), errors_before_);
  errors_before_ = validation_errors();
}

}  // namespace
}  // namespace bp::vulkan
