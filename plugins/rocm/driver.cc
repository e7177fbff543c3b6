// SPDX-License-Identifier: Apache-2.0
#include "plugins/rocm/driver.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "backplane/shared_library.h"

namespace bp::rocm {
namespace {

constexpr int kMinDriverVersion = 50200000;
constexpr int kMinMajor = 5;
constexpr int kMaxMajor = 7;  // newest whose entry points are known to be as declared
constexpr Driver::Result kNoDevice = 100;
constexpr Driver::Result kInvalidDevice = 101;  // what HIP 5 says instead
constexpr char kComputeNode[] = "/dev/kfd";
// Where the name of the architecture stands in hipDeviceProp_t.
constexpr size_t kArchOffsetR0000 = 396;
constexpr size_t kArchOffsetR0600 = 1160;

std::mutex probe_mutex;
std::atomic<const Driver*> usable{nullptr};

bp_probe_result verdict(int32_t reason, const std::string& detail) {
  bp_probe_result result{};
  result.size = sizeof result;
  result.reason = reason;
  glue::copy_text(result.detail, sizeof result.detail, detail);
  return result;
}

// "6.3" of 60342131.
std::string version_text(int version) {
  return std::to_string(version / 10000000) + "." + std::to_string(version / 100000 % 100);
}

bool resolve_driver(glue::SharedLibrary* library, Driver* d) {
  if (library->resolve("hipGetDevicePropertiesR0600", &d->device_properties)) {
    d->arch_offset = kArchOffsetR0600;
  } else if (library->resolve("hipGetDeviceProperties", &d->device_properties)) {
    d->arch_offset = kArchOffsetR0000;
  } else {
    return false;
  }
#define BP_RESOLVE(member, symbol, ...) &&library->resolve(symbol, &d->member)
  return library->resolve("hipGetErrorName", &d->error_name) &&
         library->resolve("hipGetErrorString", &d->error_string) BP_ROCM_DRIVER_ENTRIES(BP_RESOLVE);
}

bool resolve_compiler(glue::SharedLibrary* library, Driver* d) {
  return library->resolve("hiprtcGetErrorString", &d->compiler_error)
      BP_ROCM_COMPILER_ENTRIES(BP_RESOLVE);
#undef BP_RESOLVE
}

// Folders where ROCm may lie besides those that the loader knows.
std::vector<std::string> rocm_folders() {
  namespace fs = std::filesystem;
  std::vector<std::string> folders;
  if (const char* path = secure_getenv("ROCM_PATH")) folders.push_back(std::string(path) + "/lib");
  folders.push_back("/opt/rocm/lib");
  // Python packages of AMD, for an environment that is active.
  const char* const root = secure_getenv("VIRTUAL_ENV");
  if (root == nullptr) return folders;
  std::error_code error;
  for (fs::directory_iterator at(fs::path(root) / "lib", error), end; !error && at != end;
       at.increment(error)) {
    if (at->path().filename().string().rfind("python3", 0) == 0) {
      folders.push_back((at->path() / "site-packages/_rocm_sdk_core/lib").string());
    }
  }
  return folders;
}

}  // namespace

std::vector<std::string> places(const char* stem, int newest, int oldest) {
  std::vector<std::string> out;
  for (int major = newest; major >= oldest; --major) {
    const std::string name = std::string(stem) + std::to_string(major);
    out.push_back(name);
    for (const std::string& folder : rocm_folders()) out.push_back(folder + "/" + name);
  }
  return out;
}

namespace {

// hipRTC of the same major version; before it had a library of its own it was in the runtime.
bp_probe_result find_compiler(glue::SharedLibrary* runtime, Driver* d) {
  const int major = d->version / 10000000;
  glue::SharedLibrary library;
  std::vector<std::string> names = places("libhiprtc.so.", major, major);
  const char* const path = secure_getenv("BACKPLANE_HIPRTC");
  if (path != nullptr) names = {path};
  const bool opened = library.open_first(names);
  if (!opened && (path != nullptr || !resolve_compiler(runtime, d))) {
    return verdict(BP_PROBE_MISSING_LIBRARY,
                   "hipRTC (libhiprtc.so." + std::to_string(major) +
                       ") is missing; install it or name its path in BACKPLANE_HIPRTC (" +
                       library.error() + ")");
  }
  if ((opened && !resolve_compiler(&library, d)) ||
      d->compiler_version(&d->compiler_major, &d->compiler_minor) != 0) {
    return verdict(BP_PROBE_BROKEN, "hipRTC cannot be used: " + library.error());
  }
  return verdict(BP_PROBE_USABLE, "");
}

// What it means that the runtime failed, or found no device.
bp_probe_result judge_failure(const Driver& d, const char* what, Driver::Result result) {
  const bool sees_none = result == 0 || result == kNoDevice || result == kInvalidDevice;
  if (access(kComputeNode, R_OK | W_OK) != 0) {
    if (errno == EACCES) {
      return verdict(BP_PROBE_NO_PERMISSION, std::string("no permission to open ") + kComputeNode +
                                                 "; join the groups 'render' and 'video'");
    }
    if (sees_none) {
      return verdict(BP_PROBE_NO_DRIVER, std::string("the kernel driver amdgpu is not there (") +
                                             kComputeNode + " does not exist)");
    }
  }
  if (sees_none) {
    return verdict(BP_PROBE_NO_DEVICE, "the HIP runtime works but sees no GPU");
  }
  return verdict(BP_PROBE_BROKEN, std::string(what) + " failed: " + d.describe(result));
}

bp_probe_result try_driver() {
  auto d = std::make_unique<Driver>();
  glue::SharedLibrary library;
  std::vector<std::string> names = places("libamdhip64.so.", kMaxMajor, kMinMajor);
  if (const char* path = secure_getenv("BACKPLANE_HIP_RUNTIME")) names = {path};
  if (!library.open_first(names)) {
    return verdict(BP_PROBE_NO_DRIVER, "no HIP runtime (libamdhip64.so." +
                                           std::to_string(kMaxMajor) + " to ." +
                                           std::to_string(kMinMajor) + "): " + library.error());
  }
  if (!library.resolve("hipDriverGetVersion", &d->driver_version) ||
      d->driver_version(&d->version) != 0) {
    return verdict(BP_PROBE_BROKEN, "the HIP runtime does not tell its version");
  }
  if (d->version < kMinDriverVersion) {
    return verdict(BP_PROBE_DRIVER_TOO_OLD, "the HIP runtime is " + version_text(d->version) +
                                                "; " + version_text(kMinDriverVersion) +
                                                " is needed");
  }
  if (!resolve_driver(&library, d.get())) return verdict(BP_PROBE_BROKEN, library.error());
  if (const Driver::Result result = d->init(0)) return judge_failure(*d, "hipInit", result);
  int count = 0;
  const Driver::Result result = d->device_count(&count);
  if (result != 0 || count == 0) return judge_failure(*d, "hipGetDeviceCount", result);
  const bp_probe_result compiler = find_compiler(&library, d.get());
  if (compiler.reason != BP_PROBE_USABLE) return compiler;
  usable.store(d.release(), std::memory_order_release);  // kept: drivers are never unloaded
  return verdict(BP_PROBE_USABLE, "");
}

}  // namespace

bp_probe_result probe_driver() noexcept {
  try {
    const std::lock_guard lock(probe_mutex);
    if (driver() == nullptr) {
      const bp_probe_result failed = try_driver();
      if (failed.reason != BP_PROBE_USABLE) return failed;
    }
    const Driver& d = *driver();
    int count = 0;
    if (const Driver::Result result = d.device_count(&count)) {
      return verdict(BP_PROBE_BROKEN, "hipGetDeviceCount failed: " + d.describe(result));
    }
    return verdict(BP_PROBE_USABLE,
                   std::to_string(count) + " GPU(s), HIP " + version_text(d.version) + ", hipRTC " +
                       std::to_string(d.compiler_major) + "." + std::to_string(d.compiler_minor));
  } catch (...) {
    bp_probe_result result{};
    result.size = sizeof result;
    result.reason = BP_PROBE_BROKEN;
    glue::copy_text(result.detail, sizeof result.detail, "out of memory while probing");
    return result;
  }
}

const Driver* driver() noexcept {
  return usable.load(std::memory_order_acquire);
}

const Driver* Driver::get() noexcept {
  return driver();
}

std::string Driver::describe(Result result) const {
  const char* const name = error_name == nullptr ? nullptr : error_name(result);
  if (name == nullptr) return "HIP error " + std::to_string(result);
  const char* const words = error_string(result);
  return words == nullptr ? name : std::string(name) + ": " + words;
}

bp_status Driver::status_of(Result result) noexcept {
  switch (result) {
    case 0:
      return BP_OK;
    case 4:    // deinitialized; this and the others up to 719 end the work of a process
    case 53:   // prior launch failure
    case 214:  // uncorrectable ECC error
    case 700:  // illegal address
    case 702:  // launch timeout
    case 709:  // context destroyed
    case 710:  // device-side assert
    case 719:  // launch failed
      return BP_DEVICE_LOST;
    case kOutOfMemory:
    case 701:  // launch out of resources
      return BP_EXHAUSTED;
    case 1:    // invalid value
    case 9:    // invalid configuration
    case 400:  // invalid handle
      return BP_INVALID_ARGUMENT;
    case 98:   // invalid device function
    case 200:  // invalid image
    case 209:  // no binary for this GPU
    case 218:  // invalid kernel file
      return BP_INCOMPATIBLE;
    case 500:
      return BP_NOT_FOUND;
    case 801:  // not supported
      return BP_UNIMPLEMENTED;
    default:
      return BP_INTERNAL;
  }
}

}  // namespace bp::rocm
