// SPDX-License-Identifier: Apache-2.0
// bp.device/1: what there is, whether its description can be believed, opening and closing.
#include <cstring>

#include "backplane/plugin_glue.h"
#include "core/base/limits.h"
#include "sdk/conformance/check.h"
#include "sdk/conformance/older_caller.h"
#include "sdk/conformance/queue.h"

namespace bp::conformance {
namespace {

Verdict enumerate_is_stable(Context& context) {
  if (!context.plugin->has_devices()) return skip("the plugin has kernels only");
  const bp_device_api& api = context.plugin->device_api();
  uint32_t first = 0;
  BP_TRY(call_plugin(context.plugin->id(), "enumerate", api.enumerate, &first));
  BP_EXPECT(first <= limits::kMaxDevices, "{} devices, more than any host takes", first);
  for (int i = 0; i < 3; ++i) {
    uint32_t again = 0;
    BP_TRY(call_plugin(context.plugin->id(), "enumerate", api.enumerate, &again));
    BP_EXPECT(again == first, "enumerate gives {}, then {}", first, again);
  }
  for (const uint32_t index : {first, first + 1, UINT32_MAX}) {
    bp_device_info info{};
    info.size = sizeof info;
    bp_device_caps caps{};
    caps.size = sizeof caps;
    bp_device* device = nullptr;
    BP_TRY(expect_status(api.describe(index, &info, nullptr), BP_NOT_FOUND,
                         fmt::format("describe of device {} of {}", index, first)));
    BP_TRY(expect_status(api.capabilities(index, &caps, nullptr), BP_NOT_FOUND,
                         fmt::format("capabilities of device {} of {}", index, first)));
    BP_TRY(expect_status(api.open(index, &device, nullptr), BP_NOT_FOUND,
                         fmt::format("open of device {} of {}", index, first)));
  }
  return pass("{} devices", first);
}

// Every text of a device, by name.
template <size_t N>
Status check_text(const char (&text)[N], const char* what) {
  BP_EXPECT(is_ended_utf8(text, N), "{} is no UTF-8 that ends within {} bytes", what, N);
  return {};
}

Verdict description_is_sound(Context& context) {
  bp_device_info info{};
  info.size = sizeof info;
  BP_TRY(context.call("describe", context.device_api().describe, context.entry.index, &info));
  BP_EXPECT(info.kind >= BP_DEVICE_CPU && info.kind <= BP_DEVICE_OTHER, "kind {} is unknown",
            info.kind);
  BP_EXPECT(info.unified_memory <= 1, "unified_memory is {}", info.unified_memory);
  BP_TRY(check_text(info.name, "the name"));
  BP_TRY(check_text(info.vendor, "the vendor"));
  BP_TRY(check_text(info.architecture, "the architecture"));
  BP_TRY(check_text(info.driver, "the driver"));
  BP_EXPECT(info.name[0] != '\0', "the device has no name");
  bp_device_info again{};
  again.size = sizeof again;
  BP_TRY(context.call("describe", context.device_api().describe, context.entry.index, &again));
  BP_EXPECT(std::strcmp(info.name, again.name) == 0 &&
                std::memcmp(info.uuid, again.uuid, sizeof info.uuid) == 0,
            "a second describe names another device");
  return pass("{}, {}, {} MiB", info.name, device_kind_name(info.kind), info.memory_bytes >> 20);
}

Verdict capabilities_are_sensible(Context& context) {
  bp_device_caps caps{};
  caps.size = sizeof caps;
  BP_TRY(
      context.call("capabilities", context.device_api().capabilities, context.entry.index, &caps));
  BP_TRY(check_text(caps.dialect, "the dialect"));
  BP_TRY(check_text(caps.dialect_version, "the dialect's version"));
  for (const uint32_t flag : {caps.subgroup_required, caps.has_f16, caps.has_bf16,
                              caps.has_int8_dot, caps.has_matrix, caps.has_async_copy}) {
    BP_EXPECT(flag <= 1, "a flag has the value {}", flag);
  }
  BP_EXPECT(caps.subgroup_min <= caps.subgroup_max, "subgroups of {} to {}", caps.subgroup_min,
            caps.subgroup_max);
  const uint32_t alignment = caps.buffer_offset_alignment;
  BP_EXPECT((alignment & (alignment - 1)) == 0 && alignment <= 65536,
            "a buffer offset alignment of {}", alignment);
  const bool has_dialect = caps.dialect[0] != '\0';
  BP_EXPECT(has_dialect == context.owner->has_modules(), "dialect '{}' {} bp.module/1",
            caps.dialect, has_dialect ? "without" : "is empty beside");
  if (!has_dialect) return pass("no dialect: the device compiles nothing");
  // What the generator of kernels cannot do without, as docs of bp.module/1 promise.
  BP_EXPECT(caps.compute_units > 0, "a device that computes has no compute units");
  BP_EXPECT(caps.max_group_threads >= 64, "workgroups of {} threads", caps.max_group_threads);
  BP_EXPECT(caps.shared_bytes >= 1024, "{} bytes of shared memory", caps.shared_bytes);
  BP_EXPECT(caps.max_param_bytes >= 128, "{} bytes of params; 128 are the least that any API has",
            caps.max_param_bytes);
  BP_EXPECT(caps.max_buffers >= 4, "{} buffer arguments", caps.max_buffers);
  BP_EXPECT(caps.max_buffer_range >= 1u << 20, "a buffer range of {}", caps.max_buffer_range);
  BP_EXPECT(caps.max_grid[0] >= 65535 && caps.max_grid[1] >= 1, "a grid of {} x {}",
            caps.max_grid[0], caps.max_grid[1]);
  BP_EXPECT((caps.subgroup_max & (caps.subgroup_max - 1)) == 0 && caps.subgroup_max <= 256,
            "subgroups of {}", caps.subgroup_max);
  return pass("{} {}, groups of {}, subgroups {} to {}, {} KiB shared", caps.dialect,
              caps.dialect_version, caps.max_group_threads, caps.subgroup_min, caps.subgroup_max,
              caps.shared_bytes / 1024);
}

Verdict structs_honour_size(Context& context) {
  const bp_device_api& api = context.device_api();
  const uint32_t index = context.entry.index;
  for (const size_t size : {size_t{4}, offsetof(bp_device_info, name) + 5,
                            offsetof(bp_device_info, driver), sizeof(bp_device_info)}) {
    OlderCaller<bp_device_info> info(size);
    BP_TRY(expect_status(api.describe(index, info.get(), nullptr), BP_OK, "describe"));
    BP_EXPECT(info.is_intact(), "describe wrote behind a caller's {} bytes", size);
    BP_EXPECT(info.keeps_size(), "describe changed the size that a caller of {} bytes set", size);
  }
  for (const size_t size : {size_t{4}, offsetof(bp_device_caps, max_grid),
                            offsetof(bp_device_caps, dialect) + 3, sizeof(bp_device_caps)}) {
    OlderCaller<bp_device_caps> caps(size);
    BP_TRY(expect_status(api.capabilities(index, caps.get(), nullptr), BP_OK, "capabilities"));
    BP_EXPECT(caps.is_intact(), "capabilities wrote behind a caller's {} bytes", size);
    BP_EXPECT(caps.keeps_size(), "capabilities changed the size of a caller of {} bytes", size);
  }
  for (const size_t size : {sizeof(uint32_t), offsetof(bp_error, native), offsetof(bp_error, text),
                            offsetof(bp_error, text) + 16, sizeof(bp_error)}) {
    OlderCaller<bp_error> detail(size);
    bp_device* device = nullptr;
    BP_TRY(expect_status(api.open(UINT32_MAX, &device, detail.get()), BP_NOT_FOUND, "open"));
    BP_EXPECT(detail.is_intact(), "a failure wrote behind an error record of {} bytes", size);
  }
  bp_error detail = BP_ERROR_INIT;
  bp_device* device = nullptr;
  api.open(UINT32_MAX, &device, &detail);
  BP_EXPECT(detail.status == BP_NOT_FOUND, "the error record holds {}", status_name(detail.status));
  BP_EXPECT(detail.text[0] != '\0' && is_ended_utf8(detail.text, sizeof detail.text),
            "a failure without a word in its error record");
  return pass("fields beyond a smaller caller's size stay untouched");
}

Verdict opens_twice(Context& context) {
  const bp_device_api& api = context.device_api();
  bp_device* devices[2] = {};
  for (bp_device*& device : devices) {
    BP_TRY(context.call("open", api.open, context.entry.index, &device));
    BP_EXPECT(device != nullptr, "open returned OK and no device");
    BP_TRY(context.call("status", api.status, device));
  }
  BP_EXPECT(devices[0] != devices[1], "two opens gave the same device");
  BP_TRY(context.call("close", api.close, devices[0]));
  // The other one lives on.
  BP_TRY(context.call("status after closing its sibling", api.status, devices[1]));
  bp_buffer* buffer = nullptr;
  BP_TRY(
      context.call("alloc", context.memory_api().alloc, devices[1], 0u, uint64_t{4096}, &buffer));
  BP_TRY(context.call("free", context.memory_api().free, buffer));
  BP_TRY(context.call("close", api.close, devices[1]));
  return pass("two contexts, closed one after the other");
}

Verdict native_handles(Context& context) {
  void* handle = nullptr;
  const bp_string name = glue::text("nobody.has.this");
  const bp_status status = context.device_api().native(context.device, &name, &handle, nullptr);
  if (status == BP_UNIMPLEMENTED) return skip("native is not offered");
  BP_TRY(expect_status(status, BP_NOT_FOUND, "an unknown native handle"));
  return pass("an unknown name is NOT_FOUND");
}

Verdict device_is_still_fine(Context& context) {
  BP_TRY(context.call("status", context.device_api().status, context.device));
  Queue queue = BP_TRY(Queue::open(context));
  const Buffer buffer = BP_TRY(context.allocate(4096));
  const std::vector<std::byte> wanted = pattern(4096, 77);
  BP_TRY(queue.write(buffer, 0, wanted));
  BP_TRY(expect_bytes(BP_TRY(queue.content(buffer)), wanted, "a buffer after all checks"));
  return pass("the device works after everything that was done to it");
}

}  // namespace

void add_device_checks(std::vector<Check>& out) {
  using N = Check::Needs;
  out.push_back({"device.enumerate", N::kPlugin,
                 "a stable number of devices; an index beyond it is NOT_FOUND",
                 enumerate_is_stable});
  out.push_back(
      {"device.describe", N::kDevice, "kind, texts and ids are sound", description_is_sound});
  out.push_back({"device.capabilities", N::kDevice, "limits are sensible for the dialect",
                 capabilities_are_sensible});
  out.push_back({"device.sizes", N::kDevice, "smaller structs of older callers are honoured",
                 structs_honour_size});
  out.push_back({"device.open", N::kDevice, "two contexts live beside each other", opens_twice});
  out.push_back(
      {"device.native", N::kDevice, "an unknown native handle is NOT_FOUND", native_handles});
}

void add_closing_checks(std::vector<Check>& out) {
  out.push_back({"device.after", Check::Needs::kDevice,
                 "the device still works once all other checks have run", device_is_still_fine});
}

}  // namespace bp::conformance
