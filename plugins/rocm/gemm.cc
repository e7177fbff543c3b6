// SPDX-License-Identifier: Apache-2.0
#include "plugins/rocm/gemm.h"

#include <memory>
#include <mutex>

namespace bp::rocm {
namespace {

// Numbers of hipblaslt.h and hipblas-common.h since hipBLASLt 0.7, which came with ROCm 6.1.
constexpr int kMinVersion = 700;
constexpr event_driver::GemmNumbers kNumbers = {
    2,    // HIPBLAS_COMPUTE_32F
    112,  // HIPBLAS_OP_T
    0,    // HIPBLASLT_MATMUL_DESC_TRANSA
    1,    // HIPBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
    -1,   // alignment is not asked for
    24,   // sizeof(hipblasLtMatmulAlgo_t)
};

event_driver::GemmFailure meaning(int status) {
  switch (status) {
    case 1:
    case 9:
      return {BP_UNAVAILABLE, "not initialized"};
    case 2:
      return {BP_EXHAUSTED, "allocation failed"};
    case 3:
    case 10:
      return {BP_INVALID_ARGUMENT, "invalid value"};
    case 7:
      return {BP_UNIMPLEMENTED, "not supported"};
    case 8:
      return {BP_INCOMPATIBLE, "not for this architecture"};
    default:
      return {BP_INTERNAL, "internal error"};
  }
}

// "1.0.0" of 100000 and "0.10.0" of 1000.
std::string version_text(int version) {
  return std::to_string(version / 100000) + "." + std::to_string(version / 100 % 1000) + "." +
         std::to_string(version % 100);
}

// The library of the same ROCm as the runtime: one of another would bring a second runtime.
std::vector<std::string> library_names(const Driver& driver) {
  if (const char* path = secure_getenv("BACKPLANE_HIPBLASLT")) return {path};
  const int major = driver.version / 10000000 >= 7 ? 1 : 0;
  std::vector<std::string> names = places("libhipblaslt.so.", major, major);
  names.push_back("libhipblaslt.so");
  return names;
}

struct HipblasLt {
  static const event_driver::GemmLibrary* get(const Driver& driver, bp_error* error) {
    static std::mutex mutex;
    static const event_driver::GemmLibrary* opened = nullptr;  // never closed once it is there
    const std::lock_guard lock(mutex);
    if (opened != nullptr) return opened;
    glue::SharedLibrary library;
    if (!library.open_first(library_names(driver))) {
      glue::fail(error, BP_UNAVAILABLE,
                 "hipBLASLt (libhipblaslt.so) is missing; install it or name its path in "
                 "BACKPLANE_HIPBLASLT (%s)",
                 library.error().c_str());
      return nullptr;
    }
    auto made = std::make_unique<event_driver::GemmLibrary>();
    int (*get_version)(void*, int*) = nullptr;
    if (!made->resolve(&library, "hipblasLt") ||
        !library.resolve("hipblasLtGetVersion", &get_version)) {
      glue::fail(error, BP_UNAVAILABLE, "hipBLASLt cannot be used: %s", library.error().c_str());
      return nullptr;
    }
    // Only a context of the library tells its version.
    void* context = nullptr;
    int version = 0;
    int result = made->create(&context);
    if (result == 0) result = get_version(context, &version);
    if (context != nullptr) (void)made->destroy(context);
    if (result != 0 || version < kMinVersion) {
      glue::fail_native(error, BP_UNAVAILABLE, result,
                        "hipBLASLt cannot be used: version %s, 0.7.0 is needed (%s)",
                        version_text(version).c_str(), result != 0 ? meaning(result).words : "old");
      return nullptr;
    }
    made->numbers = kNumbers;
    made->meaning = meaning;
    made->name = "hipBLASLt";
    made->version = version_text(version);
    return opened = made.release();
  }
};

}  // namespace

const bp_gemm_api kGemmApi = event_driver::GemmSlots<Driver, HipblasLt>::kTable;

}  // namespace bp::rocm
