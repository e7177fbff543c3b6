// SPDX-License-Identifier: Apache-2.0
#include "plugins/opencl/device.h"

#include <algorithm>
#include <cinttypes>
#include <mutex>

namespace bp::opencl {
namespace {

constexpr uint32_t kMaxBuffers = 16;
constexpr uint64_t kMaxRangeBytes = 16ull << 30;  // kernels count words in 32 bits
// Kernels take offsets in 32 bits, in units of 16 bytes.
constexpr uint64_t kMaxAllocationBytes = 64ull << 30;
constexpr uint32_t kVendorIntel = 0x8086;

template <class T>
T get(const Physical& p, cl_device_info what) {
  T out{};
  if (p.cl->get_device_info(p.id, what, sizeof out, &out, nullptr) != CL_SUCCESS) return T{};
  return out;
}

std::string text_of(const Physical& p, cl_device_info what) {
  return text_of(*p.cl, p.id, what);
}

// "OpenCL C 1.2 vendor" is 120; 0 when the text has no such form.
uint32_t version_in(const std::string& text) {
  unsigned major = 0, minor = 0;
  const size_t at = text.find_first_of("0123456789");
  if (at == std::string::npos || std::sscanf(text.c_str() + at, "%2u.%1u", &major, &minor) != 2) {
    return 0;
  }
  return major * 100 + minor * 10;
}

uint32_t newest_c_version(const Physical& p) {
  uint32_t newest = version_in(text_of(p, CL_DEVICE_OPENCL_C_VERSION));
  if (p.version < 300) return newest;
  cl_name_version versions[16];
  size_t bytes = 0;
  if (p.cl->get_device_info(p.id, CL_DEVICE_OPENCL_C_ALL_VERSIONS, sizeof versions, versions,
                            &bytes) != CL_SUCCESS) {
    return newest;
  }
  for (size_t i = 0; i < bytes / sizeof versions[0]; ++i) {
    const cl_version v = versions[i].version;
    newest = std::max(newest, CL_VERSION_MAJOR(v) * 100 + CL_VERSION_MINOR(v) * 10);
  }
  return newest;
}

void fill_info(Physical* p, bool is_cpu, bool is_unified, const auto& has) {
  bp_device_info& info = p->info;
  info.size = sizeof info;
  const auto type = get<cl_device_type>(*p, CL_DEVICE_TYPE);
  info.kind = is_cpu                         ? BP_DEVICE_CPU
              : !(type & CL_DEVICE_TYPE_GPU) ? BP_DEVICE_OTHER
              : is_unified                   ? BP_DEVICE_INTEGRATED
                                             : BP_DEVICE_DISCRETE;
  info.memory_bytes = get<cl_ulong>(*p, CL_DEVICE_GLOBAL_MEM_SIZE);
  info.unified_memory = p->shares_memory;
  // Drivers for processors put anything into the vendor id.
  const auto vendor = get<cl_uint>(*p, CL_DEVICE_VENDOR_ID);
  if (!is_cpu && vendor <= 0xFFFF) info.pci_vendor = vendor;
  if (has("cl_intel_device_attribute_query")) {
    info.pci_device = get<cl_uint>(*p, CL_DEVICE_ID_INTEL);
  }
  if (has("cl_khr_pci_bus_info")) {
    const auto bus = get<cl_device_pci_bus_info_khr>(*p, CL_DEVICE_PCI_BUS_INFO_KHR);
    const uint32_t place[4] = {bus.pci_domain, bus.pci_bus, bus.pci_device, bus.pci_function};
    std::memcpy(info.pci_domain_bus_device_function, place, sizeof place);
  }
  if (has("cl_khr_device_uuid")) {
    p->cl->get_device_info(p->id, CL_DEVICE_UUID_KHR, sizeof info.uuid, info.uuid, nullptr);
  }
  const std::string name = text_of(*p, CL_DEVICE_NAME);
  const std::string platform = text_of(*p->cl, p->platform, CL_PLATFORM_NAME);
  const std::string driver_version = text_of(*p, CL_DRIVER_VERSION);
  glue::copy_text(info.name, sizeof info.name, name);
  glue::copy_text(info.vendor, sizeof info.vendor, text_of(*p, CL_DEVICE_VENDOR));
  glue::copy_text(info.driver, sizeof info.driver, platform + " " + driver_version);
  if (has("cl_nv_device_attribute_query")) {
    glue::print_text(info.architecture, sizeof info.architecture, "sm_%u%u",
                     get<cl_uint>(*p, CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV),
                     get<cl_uint>(*p, CL_DEVICE_COMPUTE_CAPABILITY_MINOR_NV));
  } else {
    glue::copy_text(info.architecture, sizeof info.architecture, name);
  }
  p->compiler = platform + "\n" + text_of(*p->cl, p->platform, CL_PLATFORM_VERSION) + "\n" + name +
                "\n" + text_of(*p, CL_DEVICE_VERSION) + "\n" + driver_version;
}

// The largest subgroup that hardware has (Qualcomm's Adreno). What a CPU calls a subgroup can be a
// whole workgroup: nothing is shuffled there that shared memory would not do.
constexpr size_t kMaxSubgroup = 128;

// Subgroup operations are promised only where a kernel can demand the size that it was written for.
void fill_subgroups(Physical* p, const auto& has) {
  if (!has("cl_khr_subgroups") || !has("cl_khr_subgroup_shuffle") ||
      !has("cl_intel_required_subgroup_size") || p->c_version < 200) {
    return;
  }
  size_t sizes[16], bytes = 0;
  if (p->cl->get_device_info(p->id, CL_DEVICE_SUB_GROUP_SIZES_INTEL, sizeof sizes, sizes, &bytes) !=
          CL_SUCCESS ||
      bytes < sizeof sizes[0]) {
    return;
  }
  size_t* const end = std::remove_if(sizes, sizes + bytes / sizeof sizes[0],
                                     [](size_t size) { return size == 0 || size > kMaxSubgroup; });
  if (end == sizes) {
    return;
  }
  const auto [least, most] = std::minmax_element(sizes, end);
  p->caps.subgroup_min = static_cast<uint32_t>(*least);
  p->caps.subgroup_max = static_cast<uint32_t>(*most);
  p->caps.subgroup_required = 1;
}

// NVIDIA's driver offers none of those extensions, yet its compiler takes PTX in asm statements.
void fill_ptx(Physical* p, const auto& has) {
  if (!has("cl_nv_device_attribute_query") ||
      get<cl_uint>(*p, CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV) < 7) {
    return;
  }
  p->caps.subgroup_min = p->caps.subgroup_max = get<cl_uint>(*p, CL_DEVICE_WARP_SIZE_NV);
  p->caps.subgroup_required = 1;
  p->caps.has_int8_dot = 1;
}

void fill_caps(Physical* p, const auto& has) {
  bp_device_caps& caps = p->caps;
  caps.size = sizeof caps;
  caps.compute_units = get<cl_uint>(*p, CL_DEVICE_MAX_COMPUTE_UNITS);
  size_t items[16] = {};
  p->cl->get_device_info(p->id, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof items, items, nullptr);
  const size_t threads = std::min(get<size_t>(*p, CL_DEVICE_MAX_WORK_GROUP_SIZE), items[0]);
  caps.max_group_threads = static_cast<uint32_t>(std::min<size_t>(threads, 1u << 16));
  caps.shared_bytes = static_cast<uint32_t>(
      std::min<cl_ulong>(get<cl_ulong>(*p, CL_DEVICE_LOCAL_MEM_SIZE), UINT32_MAX));
  caps.has_f16 = has("cl_khr_fp16");
  if (has("cl_khr_integer_dot_product")) {
    const auto forms = get<cl_bitfield>(*p, CL_DEVICE_INTEGER_DOT_PRODUCT_CAPABILITIES_KHR);
    caps.has_int8_dot = (forms & CL_DEVICE_INTEGER_DOT_PRODUCT_INPUT_4x8BIT_PACKED_KHR) != 0;
  }
  fill_subgroups(p, has);
  fill_ptx(p, has);
  // Each buffer is a pointer and an offset, 16 bytes with padding; scalars get the rest.
  const size_t argument_bytes = get<size_t>(*p, CL_DEVICE_MAX_PARAMETER_SIZE);
  caps.max_param_bytes = static_cast<uint32_t>(
      std::min<size_t>(argument_bytes - std::min<size_t>(argument_bytes, 16 * kMaxBuffers), 65536));
  caps.max_buffers = kMaxBuffers;
  caps.max_buffer_range = std::min(p->max_allocation_bytes, kMaxRangeBytes);
  // OpenCL bounds work items only, by the width of an address; 16 bits are what GPUs have in y, z.
  const bool is_wide = get<cl_uint>(*p, CL_DEVICE_ADDRESS_BITS) == 64;
  caps.max_grid[0] = is_wide ? INT32_MAX : UINT32_MAX / std::max(caps.max_group_threads, 1u);
  caps.max_grid[1] = caps.max_grid[2] = 65535;
  caps.cache_bytes = get<cl_ulong>(*p, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE);
  glue::copy_text(caps.dialect, sizeof caps.dialect, "opencl");
  glue::print_text(caps.dialect_version, sizeof caps.dialect_version, "%u.%u", p->c_version / 100,
                   p->c_version / 10 % 10);
  caps.buffer_offset_alignment = 16;
}

// Fills everything; false with a sentence for a device that this plugin cannot drive.
bool describe_physical(Physical* p, std::string* why) {
  const std::string name = text_of(*p, CL_DEVICE_NAME);
  p->version = version_in(text_of(*p, CL_DEVICE_VERSION));
  p->c_version = newest_c_version(*p);
  if (p->version < 120 || p->c_version < 120) {
    *why = name + " has " + text_of(*p, CL_DEVICE_OPENCL_C_VERSION) + ", needed is OpenCL C 1.2";
  } else if (!get<cl_bool>(*p, CL_DEVICE_AVAILABLE)) {
    *why = name + " is not available now";
  } else if (!get<cl_bool>(*p, CL_DEVICE_COMPILER_AVAILABLE)) {
    *why = "the driver of " + name + " has no compiler";
  } else if (!get<cl_bool>(*p, CL_DEVICE_ENDIAN_LITTLE) ||
             text_of(*p, CL_DEVICE_PROFILE) != "FULL_PROFILE") {
    *why = name + " is big-endian or of the embedded profile, which no kernel was written for";
  }
  if (!why->empty()) return false;
  std::string extensions(1, ' ');
  extensions.append(text_of(*p, CL_DEVICE_EXTENSIONS)).append(1, ' ');
  const auto has = [&](const char* extension) {
    std::string word(1, ' ');
    word.append(extension).append(1, ' ');
    return extensions.find(word) != std::string::npos;
  };
  const bool is_cpu = (get<cl_device_type>(*p, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU) != 0;
  const bool is_unified = is_cpu || get<cl_bool>(*p, CL_DEVICE_HOST_UNIFIED_MEMORY);
  p->max_allocation_bytes =
      std::min<uint64_t>(get<cl_ulong>(*p, CL_DEVICE_MAX_MEM_ALLOC_SIZE), kMaxAllocationBytes);
  // Cards with memory of their own may offer fine grain too, over the bus.
  p->shares_memory =
      is_unified && p->version >= 200 && p->cl->svm_alloc != nullptr &&
      p->cl->svm_free != nullptr &&
      (get<cl_bitfield>(*p, CL_DEVICE_SVM_CAPABILITIES) & CL_DEVICE_SVM_FINE_GRAIN_BUFFER) != 0;
  fill_info(p, is_cpu, is_unified, has);
  fill_caps(p, has);
  // Processors compute where the bytes are. Of unified GPUs, Intel's document that whole pages are
  // used in place; others may keep a copy, which would hold a model twice.
  if (is_cpu) p->import_alignment = 16;
  if (!is_cpu && is_unified && p->info.pci_vendor == kVendorIntel) p->import_alignment = 4096;
  return true;
}

void search(Verdict* verdict, std::vector<Physical*>* out) {
  const Driver* const cl = driver(verdict);
  if (cl == nullptr) return;
  for (const Offer& offer : find_offers(*cl, verdict)) {
    auto found = std::make_unique<Physical>();
    found->cl = cl;
    found->platform = offer.platform;
    found->id = offer.device;
    std::string why;
    if (describe_physical(found.get(), &why)) {
      out->push_back(found.release());
    } else {
      *verdict = {BP_PROBE_NO_DEVICE, why};
    }
  }
  if (!out->empty()) *verdict = {};
}

Physical* find(uint32_t index, bp_error* error) {
  Verdict verdict;
  const auto all = physical_devices(&verdict);
  if (index < all.size()) return all[index];
  glue::fail(error, BP_NOT_FOUND, "there is no OpenCL device %u of %zu", index, all.size());
  return nullptr;
}

bp_status enumerate(uint32_t* count, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    Verdict verdict;
    *count = static_cast<uint32_t>(physical_devices(&verdict).size());
    return BP_OK;
  });
}

template <class T>
bp_status tell(uint32_t index, const T Physical::*what, T* out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Physical* const found = find(index, error);
    if (found == nullptr) return BP_NOT_FOUND;
    glue::write_struct(out, found->*what);
    return BP_OK;
  });
}

bp_status describe(uint32_t index, bp_device_info* out, bp_error* error) {
  return tell(index, &Physical::info, out, error);
}

bp_status capabilities(uint32_t index, bp_device_caps* out, bp_error* error) {
  return tell(index, &Physical::caps, out, error);
}

// What drivers tell about a context beside error codes; on threads of theirs.
void CL_CALLBACK forward_notice(const char* text, const void*, size_t, void*) {
  glue::log(host(), BP_LOG_WARNING, "OpenCL driver: %s", text);
}

bp_status open(uint32_t index, bp_device** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    Physical* const found = find(index, error);
    if (found == nullptr) return BP_NOT_FOUND;
    auto device = std::make_unique<Device>();
    device->physical = found;
    device->cl = found->cl;
    const cl_context_properties properties[] = {
        CL_CONTEXT_PLATFORM, reinterpret_cast<cl_context_properties>(found->platform), 0};
    cl_int code = CL_SUCCESS;
    device->context =
        device->cl->create_context(properties, 1, &found->id, forward_notice, nullptr, &code);
    if (code != CL_SUCCESS) return fail_cl(device.get(), code, "clCreateContext", error);
    device->queue = device->cl->create_queue(device->context, found->id, 0, &code);
    if (code != CL_SUCCESS) return fail_cl(device.get(), code, "clCreateCommandQueue", error);
    *out = wrap(device.release());
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
                        "%" PRIu64 " objects of the device are still alive; destroy them first",
                        children);
    }
    delete device;
    return BP_OK;
  });
}

bp_status status(bp_device* device, bp_error* error) {
  if (!unwrap(device)->is_lost.load()) return BP_OK;
  return glue::fail(error, BP_DEVICE_LOST, "the OpenCL device was lost; close and open it anew");
}

bp_status native(bp_device* handle, const bp_string* name, void** out, bp_error* error) {
  const Device& device = *unwrap(handle);
  const std::string_view wanted = glue::view(name);
  *out = nullptr;
  if (wanted == "opencl.platform") *out = device.physical->platform;
  if (wanted == "opencl.device") *out = device.physical->id;
  if (wanted == "opencl.context") *out = device.context;
  if (wanted == "opencl.queue") *out = device.queue;
  if (*out != nullptr) return BP_OK;
  return glue::fail(error, BP_NOT_FOUND, "an OpenCL device has no native handle '%.*s'",
                    static_cast<int>(std::min<size_t>(wanted.size(), 64)), wanted.data());
}

bp_status status_of(cl_int code) noexcept {
  switch (code) {
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
    case CL_OUT_OF_HOST_MEMORY:
    case CL_OUT_OF_RESOURCES:
    case CL_INVALID_BUFFER_SIZE:
      return BP_EXHAUSTED;
    case CL_DEVICE_NOT_AVAILABLE:
    case CL_INVALID_CONTEXT:
    case CL_INVALID_COMMAND_QUEUE:
      return BP_DEVICE_LOST;
    default:
      return BP_INTERNAL;
  }
}

}  // namespace

Device::~Device() {
  if (queue != nullptr) cl->release_queue(queue);
  if (context != nullptr) cl->release_context(context);
}

std::vector<Physical*> physical_devices(Verdict* verdict) {
  static std::mutex mutex;
  // Lives as long as the driver's own threads, beyond any destructor.
  static auto* const all = new std::vector<Physical*>;
  const std::lock_guard lock(mutex);
  if (all->empty()) search(verdict, all);
  return *all;
}

bp_status fail_cl(Device* device, cl_int code, const char* doing, bp_error* error) noexcept {
  bp_status result = status_of(code);
  // Out of resources is what a launch that asks for too much gets, and every call after a fault.
  if (code == CL_OUT_OF_RESOURCES && device->queue != nullptr &&
      (device->cl->enqueue_marker(device->queue, 0, nullptr, nullptr) != CL_SUCCESS ||
       device->cl->finish(device->queue) != CL_SUCCESS)) {
    result = BP_DEVICE_LOST;
  }
  if (result == BP_DEVICE_LOST) device->is_lost.store(true);
  return glue::fail_native(error, result, code, "%s: %s (%d)", doing, error_name(code), code);
}

bp_status failed_command(Device* device, cl_int code) noexcept {
  if (code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY) {
    return BP_EXHAUSTED;
  }
  // It failed because of another one, which is reported by itself.
  if (code == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) return BP_INTERNAL;
  device->is_lost.store(true);
  return BP_DEVICE_LOST;
}

const bp_device_api kDeviceApi = {
    sizeof(bp_device_api), 0, enumerate, describe, capabilities, open, close, status, native,
};

}  // namespace bp::opencl
