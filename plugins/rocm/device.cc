// SPDX-License-Identifier: Apache-2.0
#include "plugins/rocm/device.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>

namespace bp::rocm {
namespace {

constexpr uint32_t kVendorAmd = 0x1002;
constexpr uint32_t kKernelArgumentBytes = 4096;
constexpr uint64_t kMaxBufferRange = uint64_t{16} << 30;  // 32-bit indices of 4-byte words
constexpr size_t kPropertiesBytes = 8192;                 // far more than any version fills

// hipDeviceAttribute_t; the same in HIP 5, 6 and 7
constexpr int kIntegrated = 16;
constexpr int kL2Bytes = 19;
constexpr int kMaxGridX = 29;  // y and z follow
constexpr int kMaxThreadsPerBlock = 56;
constexpr int kProcessorCount = 63;
constexpr int kPciBus = 67;
constexpr int kPciDevice = 68;
constexpr int kPciDomain = 69;
constexpr int kRegistersPerProcessor = 72;
constexpr int kSharedBytesPerBlock = 74;
constexpr int kWarpSize = 87;

// Reads attributes and keeps the first failure. What an older runtime does not know is 0.
struct Attributes {
  static constexpr Driver::Result kUnknown = 1;  // hipErrorInvalidValue

  const Driver& driver;
  int ordinal;
  Driver::Result failure = 0;

  uint32_t operator()(int which) {
    int value = 0;
    const Driver::Result result = driver.device_attribute(&value, which, ordinal);
    keep(result == kUnknown ? 0 : result);
    return result != 0 || value < 0 ? 0 : static_cast<uint32_t>(value);
  }
  void keep(Driver::Result result) {
    if (failure == 0) failure = result;
  }
};

// "gfx90a:sramecc+:xnack-"
std::string target_of(const Driver& driver, Attributes& get) {
  std::string properties(kPropertiesBytes, '\0');
  get.keep(driver.device_properties(properties.data(), get.ordinal));
  properties.back() = '\0';
  return properties.c_str() + driver.arch_offset;
}

// What stands between "gfx" and the features, read as hexadecimal: 0x90a, 0x1100. 0: unknown.
unsigned long number_of(const std::string& target) {
  if (target.rfind("gfx", 0) != 0) return 0;
  return std::strtoul(target.c_str() + 3, nullptr, 16);
}

bool has_int8_dot(unsigned long arch) {
  switch (arch) {
    case 0x906:
    case 0x908:
    case 0x90a:
    case 0x950:
    case 0x1011:
    case 0x1012:
      return true;
    default:
      return (arch >= 0x940 && arch <= 0x942) || arch >= 0x1030;
  }
}

// MFMA on CDNA, WMMA from RDNA 3 on.
bool has_matrix(unsigned long arch) {
  return arch == 0x908 || arch == 0x90a || (arch >= 0x940 && arch <= 0x942) || arch == 0x950 ||
         arch >= 0x1100;
}

bp_device_info info_of(const Driver& driver, const std::string& target, Attributes& get) {
  bp_device_info info{};
  info.size = sizeof info;
  info.unified_memory = get(kIntegrated) != 0 ? 1 : 0;
  info.kind = info.unified_memory != 0 ? BP_DEVICE_INTEGRATED : BP_DEVICE_DISCRETE;
  size_t bytes = 0;
  get.keep(driver.device_bytes(&bytes, get.ordinal));
  info.memory_bytes = bytes;
  info.pci_vendor = kVendorAmd;
  const uint32_t place[4] = {get(kPciDomain), get(kPciBus), get(kPciDevice), 0};
  std::memcpy(info.pci_domain_bus_device_function, place, sizeof place);
  get.keep(driver.device_uuid(info.uuid, get.ordinal));
  get.keep(driver.device_name(info.name, sizeof info.name, get.ordinal));
  if (info.name[0] == '\0') glue::copy_text(info.name, sizeof info.name, "AMD GPU " + target);
  glue::copy_text(info.vendor, sizeof info.vendor, "AMD");
  glue::copy_text(info.architecture, sizeof info.architecture, target.substr(0, target.find(':')));
  glue::print_text(info.driver, sizeof info.driver, "HIP %d.%d.%d", driver.version / 10000000,
                   driver.version / 100000 % 100, driver.version % 100000);
  return info;
}

bp_device_caps caps_of(const Driver& driver, const std::string& target, Attributes& get) {
  const unsigned long arch = number_of(target);
  bp_device_caps caps{};
  caps.size = sizeof caps;
  caps.compute_units = get(kProcessorCount);
  caps.subgroup_min = caps.subgroup_max = get(kWarpSize);
  caps.subgroup_required = 1;
  caps.max_group_threads = get(kMaxThreadsPerBlock);
  caps.shared_bytes = get(kSharedBytesPerBlock);
  caps.registers_per_unit = get(kRegistersPerProcessor);
  caps.has_f16 = arch >= 0x900;
  caps.has_bf16 = has_matrix(arch) && arch != 0x908;
  caps.has_int8_dot = has_int8_dot(arch);
  caps.has_matrix = has_matrix(arch);
  if (caps.has_matrix != 0) {
    const uint32_t shape[3] = {16, 16, 16};
    std::memcpy(caps.matrix_shape, shape, sizeof shape);
  }
  caps.max_param_bytes = kKernelArgumentBytes - Driver::kMaxBuffers * sizeof(Driver::Address);
  caps.max_buffers = Driver::kMaxBuffers;
  caps.max_buffer_range = kMaxBufferRange;
  for (int i = 0; i < 3; ++i) caps.max_grid[i] = get(kMaxGridX + i);
  // Threads of a whole dimension are counted in 32 bits.
  const uint64_t threads = std::max<uint64_t>(caps.max_group_threads, 1);
  caps.max_grid[0] = std::min<uint64_t>(caps.max_grid[0], UINT32_MAX / threads);
  caps.cache_bytes = get(kL2Bytes);
  glue::copy_text(caps.dialect, sizeof caps.dialect, "hip");
  glue::print_text(caps.dialect_version, sizeof caps.dialect_version, "%d.%d",
                   driver.compiler_major, driver.compiler_minor);
  caps.buffer_offset_alignment = 16;
  return caps;
}

}  // namespace

Driver::Result Driver::facts(int ordinal, event_driver::DeviceFacts* out) const {
  Attributes get{*this, ordinal};
  out->target = target_of(*this, get);
  out->info = info_of(*this, out->target, get);
  out->caps = caps_of(*this, out->target, get);
  // Nothing is to be asked for: a group has all of its unit's local memory.
  out->shared_bytes_opt_in = out->caps.shared_bytes;
  // Memory that may not be written cannot be registered on most cards; it is copied.
  out->registers_host_memory = true;
  out->registers_read_only = false;
  return get.failure;
}

namespace {

// Who has a device open in this process.
struct Users {
  uint64_t count = 0;
  bool lost = false;  // one of them has seen a loss
};
struct AllUsers {
  std::mutex mutex;
  std::map<int, Users> of;  // by ordinal
};
// Never destroyed: devices may be closed while the process ends.
AllUsers& users() {
  static AllUsers* const kept = new AllUsers;
  return *kept;
}

}  // namespace

// A device that is lost is lost for the whole process until it is reset, which ends everything that
// anybody has on it. So the last one to close it does that, or whoever opens it alone.
Driver::Result Driver::open_context(int ordinal, Context* out) const noexcept try {
  *out = ordinal;
  const std::lock_guard lock(users().mutex);
  Users& mine = users().of[ordinal];
  const Scope scope(*this, ordinal);
  size_t available = 0, total = 0;
  Result result = memory_info(&available, &total);
  if (status_of(result) == BP_DEVICE_LOST && mine.count == 0) {
    (void)device_reset();
    result = memory_info(&available, &total);
  }
  if (result == 0) ++mine.count;
  return result;
} catch (...) {
  return kOutOfMemory;
}

void Driver::close_context(int ordinal, bool lost) const noexcept {
  const std::lock_guard lock(users().mutex);
  const auto mine = users().of.find(ordinal);
  if (mine == users().of.end()) return;
  mine->second.lost = mine->second.lost || lost;
  if (--mine->second.count != 0) return;
  const Scope scope(*this, ordinal);
  if (mine->second.lost) (void)device_reset();
  users().of.erase(mine);
}

const bp_device_api kDeviceApi = event_driver::DeviceSlots<Driver>::kTable;

}  // namespace bp::rocm
