// SPDX-License-Identifier: Apache-2.0
// A device of a plugin, opened: its context, a stream, a timeline, and the kernel providers that
// are bound to it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/plugin/plugin.h"

namespace bp {

// Facts of a device that is not necessarily open.
struct DeviceEntry {
  std::string id;  // "vulkan:1"
  Plugin* plugin = nullptr;
  uint32_t index = 0;
  bp_device_info info{};
  bp_device_caps caps{};
  Status usable;  // OK, or why not
};
// "cpu", "integrated", "discrete", "other".
const char* device_kind_name(int32_t kind);

// A buffer of a device; freed by the destructor.
class Buffer {
 public:
  Buffer() = default;
  Buffer(const bp_memory_api* api, bp_buffer* handle, uint64_t bytes)
      : api_(api), handle_(handle), bytes_(bytes) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer();

  bp_buffer* handle() const noexcept { return handle_; }
  uint64_t bytes() const noexcept { return bytes_; }
  // Host address when the memory is coherently visible, else null.
  std::byte* host() const noexcept { return host_; }
  void set_host(std::byte* host) noexcept { host_ = host; }
  explicit operator bool() const noexcept { return handle_ != nullptr; }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(handle_, other.handle_);
    std::swap(bytes_, other.bytes_);
    std::swap(host_, other.host_);
  }
  const bp_memory_api* api_ = nullptr;
  bp_buffer* handle_ = nullptr;
  uint64_t bytes_ = 0;
  std::byte* host_ = nullptr;
};

// A provider bound to a device; unbound by the device's destructor.
struct Provider {
  Plugin* plugin = nullptr;
  bp_target* target = nullptr;
};

// Thread-safe. Shared by all models and sessions on it; closed when the last of them goes.
class Device {
 public:
  // Opens the device and binds every kernel provider of `plugins` that accepts it.
  static Result<std::shared_ptr<Device>> open(const DeviceEntry& entry,
                                              const std::vector<Plugin*>& plugins);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const DeviceEntry& entry() const noexcept { return entry_; }
  const std::string& id() const noexcept { return entry_.id; }
  bp_device* handle() const noexcept { return handle_; }
  const std::vector<Provider>& providers() const noexcept { return providers_; }
  const bp_stream_api& stream_api() const noexcept { return entry_.plugin->stream_api(); }
  const bp_memory_api& memory_api() const noexcept { return entry_.plugin->memory_api(); }

  // Memory in the best heap; `host_visible` prefers one that the host can address.
  Result<Buffer> allocate(uint64_t bytes, bool host_visible);
  // Free and total bytes, or zeros where the device does not say.
  void budget(uint64_t* free_bytes, uint64_t* total_bytes);
  Status status();

 private:
  explicit Device(const DeviceEntry& entry) : entry_(entry) {}
  Status open_context();
  // A provider that the device is not for is left out; EXHAUSTED when memory ran out.
  Status bind_providers(const std::vector<Plugin*>& plugins);

  DeviceEntry entry_;
  bp_device* handle_ = nullptr;
  std::vector<bp_heap> heaps_;
  std::vector<Provider> providers_;
};

}  // namespace bp
