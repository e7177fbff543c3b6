// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/device.h"

#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "plugins/cpu/host.h"
#include "plugins/cpu/isa.h"

namespace bp::cpu {
namespace {

// Value in bytes of one line of /proc/meminfo ("MemAvailable:   123 kB"), or 0.
uint64_t meminfo_bytes(const char* field) noexcept {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen("/proc/meminfo", "re"),
                                                             &std::fclose);
  if (file == nullptr) return 0;
  char line[256];
  const size_t length = std::strlen(field);
  while (std::fgets(line, sizeof line, file.get()) != nullptr) {
    if (std::strncmp(line, field, length) == 0) {
      return static_cast<uint64_t>(std::strtoull(line + length, nullptr, 10)) * 1024;
    }
  }
  return 0;
}

bp_status check_index(uint32_t index, bp_error* error) noexcept {
  if (index == 0) return BP_OK;
  return glue::fail(error, BP_NOT_FOUND, "the cpu plugin has one device, number 0, not %u", index);
}

bp_status enumerate(uint32_t* count, bp_error*) {
  *count = 1;
  return BP_OK;
}

bp_status describe(uint32_t index, bp_device_info* out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    if (const bp_status status = check_index(index, error)) return status;
    glue::write_struct(out, device_info());
    return BP_OK;
  });
}

bp_status capabilities(uint32_t index, bp_device_caps* out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    if (const bp_status status = check_index(index, error)) return status;
    glue::write_struct(out, device_caps());
    return BP_OK;
  });
}

bp_status open(uint32_t index, bp_device** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    if (const bp_status status = check_index(index, error)) return status;
    *out = wrap(new Device);
    return BP_OK;
  });
}

bp_status close(bp_device* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Device* const device = unwrap(handle);
    if (device == nullptr) return BP_OK;
    const uint64_t children = device->children.load();
    if (children != 0) {
      return glue::fail(error, BP_FAILED_PRECONDITION,
                        "%" PRIu64 " objects of the cpu device are still alive; destroy them first",
                        children);
    }
    delete device;
    return BP_OK;
  });
}

bp_status status(bp_device*, bp_error*) {
  return BP_OK;
}

bp_status native(bp_device*, const bp_string* name, void** out, bp_error* error) {
  *out = nullptr;
  return glue::fail(error, BP_NOT_FOUND, "the cpu device has no native handle '%.*s'",
                    static_cast<int>(name->length < 64 ? name->length : 64), name->data);
}

}  // namespace

uint64_t total_memory_bytes() noexcept {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page_bytes = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) return 0;
  return static_cast<uint64_t>(pages) * static_cast<uint64_t>(page_bytes);
}

uint64_t available_memory_bytes() noexcept {
  return meminfo_bytes("MemAvailable:");
}

bp_device_info device_info() noexcept {
  bp_device_info info{};
  info.size = sizeof info;
  info.kind = BP_DEVICE_CPU;
  info.memory_bytes = total_memory_bytes();
  info.unified_memory = 1;
  describe_processor(info.name, sizeof info.name, info.vendor, sizeof info.vendor);
  describe_isa(info.architecture, sizeof info.architecture);
  glue::copy_text(info.driver, sizeof info.driver, "none");
  return info;
}

bp_device_caps device_caps() noexcept {
  bp_device_caps caps{};
  caps.size = sizeof caps;
  caps.compute_units = worker_count();
  const CpuFeatures& features = cpu_features();
  caps.has_int8_dot = features.avx512_vnni || features.avx_vnni || features.arm_dotprod;
  caps.has_bf16 = features.avx512_bf16;
  caps.has_matrix = features.amx_bf16;
  caps.max_buffer_range = UINT64_MAX;
  const long cache_bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
  caps.cache_bytes = cache_bytes > 0 ? static_cast<uint64_t>(cache_bytes) : 0;
  return caps;
}

const bp_device_api kDeviceApi = {
    sizeof(bp_device_api), 0, enumerate, describe, capabilities, open, close, status, native,
};

}  // namespace bp::cpu
