// SPDX-License-Identifier: Apache-2.0
#include "plugins/opencl/driver.h"

#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "backplane/shared_library.h"

namespace bp::opencl {
namespace {

constexpr const char* kLoader = "libOpenCL.so.1";
constexpr cl_uint kMaxPlatforms = 64;
constexpr cl_uint kMaxDevices = 64;  // of one platform
std::atomic<const bp_host*> host_services{nullptr};

bool resolve(glue::SharedLibrary* library, Driver* out) {
#define BP_OPENCL_RESOLVE(field, symbol) \
  if (!library->resolve(#symbol, &out->field)) return false;
  BP_OPENCL_ENTRIES(BP_OPENCL_RESOLVE)
#undef BP_OPENCL_RESOLVE
  return true;
}

// call(bytes, to, needed) is one of the two queries.
template <class Call>
std::string get_text(const Call& call) {
  size_t bytes = 0;
  if (call(size_t{0}, nullptr, &bytes) != CL_SUCCESS || bytes == 0) return {};
  std::string out(bytes, '\0');
  if (call(bytes, out.data(), nullptr) != CL_SUCCESS) return {};
  out.resize(std::strlen(out.c_str()));
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

Verdict broken(const std::string& who, cl_int code) {
  return {BP_PROBE_BROKEN,
          who + " answers " + error_name(code) + " (" + std::to_string(code) + ")"};
}

}  // namespace

const Driver* driver(Verdict* verdict) {
  static std::mutex mutex;
  static Driver table;
  static bool is_loaded = false;
  const std::lock_guard lock(mutex);
  if (is_loaded) return &table;
  const char* const chosen = secure_getenv("BACKPLANE_OPENCL_LIBRARY");
  const char* const name = chosen != nullptr && *chosen != '\0' ? chosen : kLoader;
  glue::SharedLibrary library;
  if (!library.open({name})) {
    *verdict = {BP_PROBE_NO_DRIVER,
                "the OpenCL loader cannot be opened (Debian: "
                "ocl-icd-libopencl1): " +
                    library.error()};
    return nullptr;
  }
  Driver entries;
  if (!resolve(&library, &entries)) {
    *verdict = {BP_PROBE_DRIVER_TOO_OLD,
                std::string(name) + " is older than OpenCL 1.2: " + library.error()};
    return nullptr;
  }
  library.resolve("clSVMAlloc", &entries.svm_alloc);
  library.resolve("clSVMFree", &entries.svm_free);
  table = entries;
  is_loaded = true;
  return &table;
}

std::vector<Offer> find_offers(const Driver& cl, Verdict* verdict) {
  cl_platform_id platforms[kMaxPlatforms];
  cl_uint count = 0;
  cl_int code = cl.get_platform_ids(kMaxPlatforms, platforms, &count);
  if (code == CL_PLATFORM_NOT_FOUND_KHR || (code == CL_SUCCESS && count == 0)) {
    *verdict = {BP_PROBE_NO_DRIVER,
                "the OpenCL loader knows no driver: no usable .icd file in /etc/OpenCL/vendors "
                "(Debian: intel-opencl-icd, mesa-opencl-icd, nvidia-opencl-icd, pocl-opencl-icd)"};
    return {};
  }
  if (code != CL_SUCCESS) return *verdict = broken("clGetPlatformIDs", code), std::vector<Offer>{};
  // The loader reads its folder in any order; names make it the same in every process.
  std::vector<std::pair<std::string, cl_platform_id>> named;
  for (cl_uint i = 0; i < std::min(count, kMaxPlatforms); ++i) {
    named.emplace_back(text_of(cl, platforms[i], CL_PLATFORM_NAME), platforms[i]);
  }
  std::stable_sort(named.begin(), named.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  *verdict = {BP_PROBE_NO_DEVICE, "the OpenCL drivers see no device"};
  std::vector<Offer> out;
  for (const auto& [name, platform] : named) {
    cl_device_id devices[kMaxDevices];
    code = cl.get_device_ids(platform, CL_DEVICE_TYPE_ALL, kMaxDevices, devices, &count);
    if (code == CL_SUCCESS) {
      for (cl_uint i = 0; i < std::min(count, kMaxDevices); ++i)
        out.push_back({platform, devices[i]});
    } else if (code != CL_DEVICE_NOT_FOUND) {
      *verdict = broken(name + ", asked for devices,", code);
    }
  }
  return out;
}

std::string text_of(const Driver& cl, cl_platform_id platform, cl_platform_info what) {
  return get_text([&](size_t bytes, void* to, size_t* needed) {
    return cl.get_platform_info(platform, what, bytes, to, needed);
  });
}

std::string text_of(const Driver& cl, cl_device_id device, cl_device_info what) {
  return get_text([&](size_t bytes, void* to, size_t* needed) {
    return cl.get_device_info(device, what, bytes, to, needed);
  });
}

const char* error_name(cl_int code) noexcept {
#define BP_OPENCL_NAME(name) \
  case name:                 \
    return #name;
  switch (code) {
    BP_OPENCL_NAME(CL_DEVICE_NOT_AVAILABLE)
    BP_OPENCL_NAME(CL_COMPILER_NOT_AVAILABLE)
    BP_OPENCL_NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE)
    BP_OPENCL_NAME(CL_OUT_OF_RESOURCES)
    BP_OPENCL_NAME(CL_OUT_OF_HOST_MEMORY)
    BP_OPENCL_NAME(CL_BUILD_PROGRAM_FAILURE)
    BP_OPENCL_NAME(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST)
    BP_OPENCL_NAME(CL_INVALID_VALUE)
    BP_OPENCL_NAME(CL_INVALID_CONTEXT)
    BP_OPENCL_NAME(CL_INVALID_COMMAND_QUEUE)
    BP_OPENCL_NAME(CL_INVALID_BINARY)
    BP_OPENCL_NAME(CL_INVALID_BUILD_OPTIONS)
    BP_OPENCL_NAME(CL_INVALID_KERNEL_NAME)
    BP_OPENCL_NAME(CL_INVALID_WORK_GROUP_SIZE)
    default:
      return "an OpenCL error";
  }
#undef BP_OPENCL_NAME
}

const bp_host* host() noexcept {
  return host_services.load();
}

void set_host(const bp_host* services) noexcept {
  host_services.store(services);
}

}  // namespace bp::opencl
