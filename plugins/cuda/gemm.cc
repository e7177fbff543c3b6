// SPDX-License-Identifier: Apache-2.0
#include "plugins/cuda/gemm.h"

#include <memory>
#include <mutex>

namespace bp::cuda {
namespace {

// Numbers of cublasLt.h and cublas_api.h, the same in CUDA 12 and 13.
constexpr size_t kMinMajor = 12;
constexpr size_t kMaxMajor = 13;
constexpr event_driver::GemmNumbers kNumbers = {
    68,  // CUBLAS_COMPUTE_32F
    1,   // CUBLAS_OP_T
    3,   // CUBLASLT_MATMUL_DESC_TRANSA
    1,   // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES
    5,   // CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES
    64,  // sizeof(cublasLtMatmulAlgo_t)
};

event_driver::GemmFailure meaning(int status) {
  switch (status) {
    case 1:
      return {BP_UNAVAILABLE, "not initialized"};
    case 3:
      return {BP_EXHAUSTED, "allocation failed"};
    case 7:
      return {BP_INVALID_ARGUMENT, "invalid value"};
    case 8:
      return {BP_INCOMPATIBLE, "not for this architecture"};
    case 15:
      return {BP_UNIMPLEMENTED, "not supported"};
    default:
      return {BP_INTERNAL, "internal error"};
  }
}

// "13.0.2" of 130002 and "12.6.4" of 120604.
std::string version_text(size_t version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

struct CublasLt {
  static const event_driver::GemmLibrary* get(const Driver& driver, bp_error* error) {
    static std::mutex mutex;
    static const event_driver::GemmLibrary* opened = nullptr;  // never closed once it is there
    const std::lock_guard lock(mutex);
    if (opened != nullptr) return opened;
    constexpr char kStem[] = "libcublasLt";
    std::vector<std::string> places =
        library_places(driver.version, kStem, "cublas", "BACKPLANE_CUBLASLT");
    if (places.size() > 1) places.push_back("libcublasLt.so");
    glue::SharedLibrary library;
    if (!library.open_first(places)) {
      glue::fail(error, BP_UNAVAILABLE,
                 "cuBLASLt (%s.so.%d) is missing; install it or name its path in "
                 "BACKPLANE_CUBLASLT (%s)",
                 kStem, driver.version / 1000, library.error().c_str());
      return nullptr;
    }
    auto made = std::make_unique<event_driver::GemmLibrary>();
    size_t (*version)() = nullptr;
    if (!made->resolve(&library, "cublasLt") || !library.resolve("cublasLtGetVersion", &version)) {
      glue::fail(error, BP_UNAVAILABLE, "cuBLASLt cannot be used: %s", library.error().c_str());
      return nullptr;
    }
    const size_t major = version() / 10000;
    if (major < kMinMajor || major > kMaxMajor) {
      glue::fail(error, BP_UNAVAILABLE, "cuBLASLt %s cannot be used; %zu to %zu are known",
                 version_text(version()).c_str(), kMinMajor, kMaxMajor);
      return nullptr;
    }
    made->numbers = kNumbers;
    made->meaning = meaning;
    made->name = "cuBLASLt";
    made->version = version_text(version());
    return opened = made.release();
  }
};

}  // namespace

const bp_gemm_api kGemmApi = event_driver::GemmSlots<Driver, CublasLt>::kTable;

}  // namespace bp::cuda
