// SPDX-License-Identifier: Apache-2.0
#include "plugins/opencl/driver.h"

#include <stdlib.h>

#include <atomic>
#include <mutex>

#include "backplane/shared_library.h"

namespace bp::opencl {
namespace {

constexpr const char* kLoader = "libOpenCL.so.1";
std::atomic<const bp_host*> host_services{nullptr};

bool resolve(glue::SharedLibrary* library, Driver* out) {
#define BP_OPENCL_RESOLVE(field, symbol) \
  if (!library->resolve(#symbol, &out->field)) return false;
  BP_OPENCL_ENTRIES(BP_OPENCL_RESOLVE)
#undef BP_OPENCL_RESOLVE
  return true;
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
