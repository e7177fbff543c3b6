// SPDX-License-Identifier: Apache-2.0
#include "core/plugin/device.h"

#include "core/base/log.h"
#include "core/plugin/tables.h"

namespace bp {
namespace {
constexpr uint32_t kMaxHeaps = 32;
}

const char* device_kind_name(int32_t kind) {
  switch (kind) {
    case BP_DEVICE_CPU:
      return "cpu";
    case BP_DEVICE_INTEGRATED:
      return "integrated";
    case BP_DEVICE_DISCRETE:
      return "discrete";
    default:
      return "other";
  }
}

Buffer::~Buffer() {
  if (handle_ == nullptr) return;
  bp_error detail = BP_ERROR_INIT;
  if (api_->free(handle_, &detail) != BP_OK) log::warning("freeing a buffer: {}", detail.text);
}

Result<std::shared_ptr<Device>> Device::open(const DeviceEntry& entry,
                                             const std::vector<Plugin*>& plugins) {
  BP_TRY(Status(entry.usable).with_context("device '{}'", entry.id));
  std::shared_ptr<Device> device(new Device(entry));
  BP_TRY(device->open_context().with_context("device '{}'", entry.id));
  BP_TRY(device->bind_providers(plugins).with_context("device '{}'", entry.id));
  return device;
}

Status Device::open_context() {
  const Plugin& plugin = *entry_.plugin;
  BP_TRY(call_plugin(plugin.id(), "opening a device", plugin.device_api().open, entry_.index,
                     &handle_));
  heaps_.resize(kMaxHeaps);
  for (bp_heap& heap : heaps_) heap.size = sizeof(bp_heap);
  uint32_t count = 0;
  BP_TRY(call_plugin(plugin.id(), "listing heaps", plugin.memory_api().heaps, handle_,
                     heaps_.data(), uint64_t{sizeof(bp_heap)}, kMaxHeaps, &count));
  if (count == 0 || count > kMaxHeaps) {
    return error(Code::kCorrupt, "plugin '{}' reports {} memory heaps", plugin.id(), count);
  }
  heaps_.resize(count);
  return {};
}

Status Device::bind_providers(const std::vector<Plugin*>& plugins) {
  providers_.reserve(plugins.size());  // none is lost once it is bound
  for (Plugin* plugin : plugins) {
    if (!plugin->has_kernels()) continue;
    bp_bind_info info{};
    info.size = sizeof(info);
    info.device_index = entry_.index;
    info.plugin_id = {entry_.plugin->id().data(), entry_.plugin->id().size()};
    info.plugin_build_id = {entry_.plugin->build_id().data(), entry_.plugin->build_id().size()};
    info.device = handle_;
    info.info = &entry_.info;
    info.caps = &entry_.caps;
    info.device_api = &entry_.plugin->device_api();
    info.memory_api = &entry_.plugin->memory_api();
    info.stream_api = &entry_.plugin->stream_api();
    info.module_api = &entry_.plugin->module_api();
    info.gemm_api = &entry_.plugin->gemm_api();
    bp_target* target = nullptr;
    Status status = call_plugin(plugin->id(), "binding", plugin->kernel_api().bind, &info, &target);
    if (status.code() == Code::kExhausted) return status;
    if (status.ok() && target != nullptr) {
      providers_.push_back({plugin, target});
    } else {
      log::debug("kernels of '{}' are not for {}: {}", plugin->id(), entry_.id, status.message());
    }
  }
  return {};
}

Device::~Device() {
  bp_error detail = BP_ERROR_INIT;
  for (const Provider& provider : providers_) {
    provider.plugin->kernel_api().unbind(provider.target, &detail);
  }
  if (handle_ != nullptr) entry_.plugin->device_api().close(handle_, &detail);
}

Result<Buffer> Device::allocate(uint64_t bytes, bool host_visible) {
  bytes = bytes == 0 ? 4 : bytes;
  const bp_memory_api& api = memory_api();
  constexpr uint32_t kHost = BP_HEAP_HOST_VISIBLE | BP_HEAP_HOST_COHERENT;
  uint32_t chosen = 0;
  for (uint32_t i = 0; host_visible && i < heaps_.size(); ++i) {
    if ((heaps_[i].flags & kHost) == kHost) {
      chosen = i;
      break;
    }
  }
  if (heaps_[chosen].max_allocation_bytes != 0 && bytes > heaps_[chosen].max_allocation_bytes) {
    return error(Code::kExhausted, "{} allocates at most {} bytes at once, {} are needed", id(),
                 heaps_[chosen].max_allocation_bytes, bytes);
  }
  bp_buffer* handle = nullptr;
  BP_TRY(call_plugin(entry_.plugin->id(), "allocating memory", api.alloc, handle_, chosen, bytes,
                     &handle)
             .with_context("{} bytes on {}", bytes, id()));
  Buffer buffer(&api, handle, bytes);
  if ((heaps_[chosen].flags & kHost) == kHost) {
    void* host = nullptr;
    BP_TRY(call_plugin(entry_.plugin->id(), "mapping memory", api.map, handle, &host));
    buffer.set_host(static_cast<std::byte*>(host));
  }
  return buffer;
}

void Device::budget(uint64_t* free_bytes, uint64_t* total_bytes) {
  *free_bytes = *total_bytes = 0;
  bp_error detail = BP_ERROR_INIT;
  if (memory_api().budget(handle_, free_bytes, total_bytes, &detail) != BP_OK) {
    *free_bytes = *total_bytes = 0;
  }
}

Status Device::status() {
  return call_plugin(entry_.plugin->id(), "device status", entry_.plugin->device_api().status,
                     handle_);
}

}  // namespace bp
