// SPDX-License-Identifier: Apache-2.0
#include "plugins/cuda/device.h"

namespace bp::cuda {
namespace {

constexpr uint32_t kVendorNvidia = 0x10de;
constexpr uint32_t kKernelArgumentBytes = 4096;  // all arguments; more needs both 12.1 and sm_70
constexpr uint64_t kMaxBufferRange = uint64_t{16} << 30;  // 32-bit indices of 4-byte words

// CUdevice_attribute
constexpr int kMaxThreadsPerBlock = 1;
constexpr int kMaxGridX = 5;  // y and z follow
constexpr int kSharedBytesPerBlock = 8;
constexpr int kWarpSize = 10;
constexpr int kProcessorCount = 16;
constexpr int kIntegrated = 18;
constexpr int kPciBus = 33;
constexpr int kPciDevice = 34;
constexpr int kL2Bytes = 38;
constexpr int kPciDomain = 50;
constexpr int kCapabilityMajor = 75;
constexpr int kCapabilityMinor = 76;
constexpr int kRegistersPerProcessor = 82;
constexpr int kSharedBytesOptIn = 97;
constexpr int kHostRegisterSupported = 99;
constexpr int kReadOnlyRegisterSupported = 113;
constexpr int kGpuPciId = 139;  // CUDA 12.8 and later

// Reads attributes and keeps the first failure. What an older driver does not know is 0.
struct Attributes {
  static constexpr Driver::Result kUnknown = 1;  // CUDA_ERROR_INVALID_VALUE

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

bp_device_info info_of(const Driver& driver, Attributes& get) {
  bp_device_info info{};
  info.size = sizeof info;
  info.unified_memory = get(kIntegrated) != 0 ? 1 : 0;
  info.kind = info.unified_memory != 0 ? BP_DEVICE_INTEGRATED : BP_DEVICE_DISCRETE;
  size_t bytes = 0;
  get.keep(driver.device_bytes(&bytes, get.ordinal));
  info.memory_bytes = bytes;
  info.pci_vendor = kVendorNvidia;
  info.pci_device = get(kGpuPciId) >> 16;
  const uint32_t place[4] = {get(kPciDomain), get(kPciBus), get(kPciDevice), 0};
  std::memcpy(info.pci_domain_bus_device_function, place, sizeof place);
  get.keep(driver.device_uuid(info.uuid, get.ordinal));
  get.keep(driver.device_name(info.name, sizeof info.name, get.ordinal));
  glue::copy_text(info.vendor, sizeof info.vendor, "NVIDIA");
  glue::print_text(info.architecture, sizeof info.architecture, "sm_%u%u", get(kCapabilityMajor),
                   get(kCapabilityMinor));
  glue::print_text(info.driver, sizeof info.driver, "CUDA %d.%d%s%s", driver.version / 1000,
                   driver.version % 1000 / 10, driver.kernel_module.empty() ? "" : ", driver ",
                   driver.kernel_module.c_str());
  return info;
}

bp_device_caps caps_of(const Driver& driver, Attributes& get) {
  const uint32_t arch = get(kCapabilityMajor) * 10 + get(kCapabilityMinor);
  bp_device_caps caps{};
  caps.size = sizeof caps;
  caps.compute_units = get(kProcessorCount);
  caps.subgroup_min = caps.subgroup_max = get(kWarpSize);
  caps.subgroup_required = 1;
  caps.max_group_threads = get(kMaxThreadsPerBlock);
  caps.shared_bytes = get(kSharedBytesPerBlock);
  caps.registers_per_unit = get(kRegistersPerProcessor);
  caps.has_f16 = arch >= 53;
  caps.has_bf16 = arch >= 80;
  caps.has_int8_dot = arch >= 61;
  caps.has_matrix = arch >= 75;
  if (caps.has_matrix != 0) {
    const uint32_t shape[3] = {16, 8, 16};
    std::memcpy(caps.matrix_shape, shape, sizeof shape);
  }
  caps.has_async_copy = arch >= 80;
  caps.max_param_bytes = kKernelArgumentBytes - Driver::kMaxBuffers * sizeof(Driver::Address);
  caps.max_buffers = Driver::kMaxBuffers;
  caps.max_buffer_range = kMaxBufferRange;
  for (int i = 0; i < 3; ++i) caps.max_grid[i] = get(kMaxGridX + i);
  caps.cache_bytes = get(kL2Bytes);
  glue::copy_text(caps.dialect, sizeof caps.dialect, "cuda");
  glue::print_text(caps.dialect_version, sizeof caps.dialect_version, "%d.%d",
                   driver.compiler_major, driver.compiler_minor);
  caps.buffer_offset_alignment = 16;
  caps.has_early_launch = arch >= 90 && driver.launch_with != nullptr ? 1 : 0;
  return caps;
}

}  // namespace

Driver::Result Driver::facts(int ordinal, event_driver::DeviceFacts* out) const {
  Attributes get{*this, ordinal};
  out->info = info_of(*this, get);
  out->caps = caps_of(*this, get);
  out->target = out->info.architecture;
  out->shared_bytes_opt_in = get(kSharedBytesOptIn);
  out->registers_host_memory = get(kHostRegisterSupported) != 0;
  out->registers_read_only = get(kReadOnlyRegisterSupported) != 0;
  return get.failure;
}

// A context that somebody still holds may be a lost one, which retaining does not tell.
Driver::Result Driver::open_context(int ordinal, Context* out) const noexcept {
  if (const Result result = context_retain(out, ordinal)) return result;
  Result result = 0;
  {
    const Scope scope(*this, *out);
    size_t available = 0, total = 0;
    result = memory_info(&available, &total);
  }
  if (result != 0) (void)context_release(ordinal);
  return result;
}

// The last one to let go of a lost context ends it, so that the next one is a good one.
void Driver::close_context(int ordinal, bool) const noexcept {
  (void)context_release(ordinal);
}

const bp_device_api kDeviceApi = event_driver::DeviceSlots<Driver>::kTable;

}  // namespace bp::cuda
