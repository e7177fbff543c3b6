// SPDX-License-Identifier: Apache-2.0
#include "plugins/cuda/driver.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <vector>

#include "backplane/shared_library.h"

namespace bp::cuda {
namespace {

constexpr int kMinDriverVersion = 12000;
constexpr int kEarlyLaunchVersion = 12030;  // the first whose graphs keep it
constexpr int kEarlyLaunch = 6;             // CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
constexpr int kMinCompilerMajor = 12;
constexpr int kMaxCompilerMajor = 13;  // newest whose entry points are known to be as declared
constexpr Driver::Result kStubLibrary = 34;
constexpr Driver::Result kNoDevice = 100;
constexpr char kControlNode[] = "/dev/nvidiactl";

std::mutex probe_mutex;
std::atomic<const Driver*> usable{nullptr};

bp_probe_result verdict(int32_t reason, const std::string& detail) {
  bp_probe_result result{};
  result.size = sizeof result;
  result.reason = reason;
  glue::copy_text(result.detail, sizeof result.detail, detail);
  return result;
}

// "12.4" of 12040.
std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

bool resolve_driver(glue::SharedLibrary* library, Driver* d) {
#define BP_RESOLVE(member, symbol, ...) &&library->resolve(symbol, &d->member)
  return true BP_CUDA_DRIVER_ENTRIES(BP_RESOLVE);
}

bool resolve_compiler(glue::SharedLibrary* library, Driver* d) {
  return library->resolve("nvrtcGetErrorString", &d->compiler_error)
      BP_CUDA_COMPILER_ENTRIES(BP_RESOLVE);
#undef BP_RESOLVE
}

// Folders of packages of the Python environment that is active; NVRTC is often there.
std::vector<std::string> python_packages() {
  namespace fs = std::filesystem;
  std::vector<std::string> folders;
  const char* const root = secure_getenv("VIRTUAL_ENV");
  if (root == nullptr) return folders;
  std::error_code error;
  for (fs::directory_iterator at(fs::path(root) / "lib", error), end; !error && at != end;
       at.increment(error)) {
    if (at->path().filename().string().rfind("python3", 0) == 0) {
      folders.push_back((at->path() / "site-packages").string());
    }
  }
  return folders;
}

}  // namespace

std::vector<std::string> library_places(int driver_version, const char* stem, const char* package,
                                        const char* variable) {
  if (const char* path = secure_getenv(variable)) return {path};
  std::vector<std::string> places;
  std::vector<std::string> roots = {"/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda"};
  for (const char* name : {"CUDA_PATH", "CUDA_HOME"}) {
    if (const char* path = secure_getenv(name)) roots.insert(roots.begin(), path);
  }
  for (int major = std::min(driver_version / 1000, kMaxCompilerMajor); major >= kMinCompilerMajor;
       --major) {
    const std::string name = stem + std::string(".so.") + std::to_string(major);
    places.push_back(name);
    places.push_back("/usr/local/cuda-" + std::to_string(major) + "/lib64/" + name);
    for (const std::string& root : roots) {
      places.push_back(root + "/lib64/" + name);
      places.push_back(root + "/lib/" + name);
    }
    for (const std::string& packages : python_packages()) {
      places.push_back(packages + "/nvidia/cu" + std::to_string(major) + "/lib/" + name);
      places.push_back(packages + "/nvidia/" + package + "/lib/" + name);
    }
  }
  return places;
}

namespace {

bp_probe_result find_compiler(Driver* d) {
  glue::SharedLibrary library;
  if (!library.open_first(
          library_places(d->version, "libnvrtc", "cuda_nvrtc", "BACKPLANE_NVRTC"))) {
    const int newest = std::min(d->version / 1000, kMaxCompilerMajor);
    return verdict(BP_PROBE_MISSING_LIBRARY,
                   "NVRTC (libnvrtc.so." + std::to_string(newest) +
                       ") is missing; install it or name its path in BACKPLANE_NVRTC (" +
                       library.error() + ")");
  }
  if (!resolve_compiler(&library, d) ||
      d->compiler_version(&d->compiler_major, &d->compiler_minor) != 0) {
    return verdict(BP_PROBE_BROKEN, "NVRTC cannot be used: " + library.error());
  }
  return verdict(BP_PROBE_USABLE, "");
}

// What it means that cuInit failed.
bp_probe_result judge_init(const Driver& d, Driver::Result result) {
  if (access(kControlNode, R_OK | W_OK) != 0 && errno == EACCES) {
    return verdict(BP_PROBE_NO_PERMISSION,
                   std::string("no permission to open ") + kControlNode +
                       "; ask for access to it, often by joining the group 'video'");
  }
  if (result == kStubLibrary) {
    return verdict(BP_PROBE_NO_DRIVER, "libcuda.so.1 is a toolkit's stub, not a driver");
  }
  if (result == kNoDevice) {
    return verdict(BP_PROBE_NO_DEVICE, "the NVIDIA driver works but sees no GPU");
  }
  return verdict(BP_PROBE_BROKEN, "cuInit failed: " + d.describe(result));
}

// "… Kernel Module  580.65.06  Release …" of /proc/driver/nvidia/version.
std::string kernel_module_version() {
  std::ifstream file("/proc/driver/nvidia/version");
  std::string word;
  for (int i = 0; i < 32 && file >> word; ++i) {
    if (word.find('.') != std::string::npos && word[0] >= '0' && word[0] <= '9') return word;
  }
  return "";
}

bp_probe_result try_driver() {
  auto d = std::make_unique<Driver>();
  glue::SharedLibrary library;
  std::vector<std::string> names = {"libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"};
  if (const char* path = secure_getenv("BACKPLANE_CUDA_DRIVER")) names = {path};
  if (!library.open_first(names)) {
    return verdict(BP_PROBE_NO_DRIVER, "no NVIDIA driver: " + library.error());
  }
  if (!library.resolve("cuDriverGetVersion", &d->driver_version) ||
      d->driver_version(&d->version) != 0) {
    return verdict(BP_PROBE_BROKEN, "the NVIDIA driver does not tell its version");
  }
  if (d->version < kMinDriverVersion) {
    return verdict(BP_PROBE_DRIVER_TOO_OLD, "the NVIDIA driver supports CUDA " +
                                                version_text(d->version) + "; " +
                                                version_text(kMinDriverVersion) + " is needed");
  }
  if (!resolve_driver(&library, d.get())) return verdict(BP_PROBE_BROKEN, library.error());
  if (d->version >= kEarlyLaunchVersion) (void)library.resolve("cuLaunchKernelEx", &d->launch_with);
  if (const Driver::Result result = d->init(0)) return judge_init(*d, result);
  int count = 0;
  if (const Driver::Result result = d->device_count(&count)) {
    return verdict(BP_PROBE_BROKEN, "cuDeviceGetCount failed: " + d->describe(result));
  }
  if (count == 0) return verdict(BP_PROBE_NO_DEVICE, "the NVIDIA driver works but sees no GPU");
  const bp_probe_result compiler = find_compiler(d.get());
  if (compiler.reason != BP_PROBE_USABLE) return compiler;
  d->kernel_module = kernel_module_version();
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
      return verdict(BP_PROBE_BROKEN, "cuDeviceGetCount failed: " + d.describe(result));
    }
    return verdict(BP_PROBE_USABLE,
                   std::to_string(count) + " GPU(s), CUDA " + version_text(d.version) + ", NVRTC " +
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
  const char* name = nullptr;
  const char* words = nullptr;
  if (error_name == nullptr || error_name(result, &name) != 0 || name == nullptr) {
    return "CUDA error " + std::to_string(result);
  }
  std::string out = name;
  if (error_string(result, &words) == 0 && words != nullptr) out += std::string(": ") + words;
  return out;
}

Driver::Result Driver::launch(FunctionHandle function, const unsigned (&grid)[3], unsigned threads,
                              unsigned shared_bytes, Queue queue, void** arguments,
                              bool early) const noexcept {
  if (!early) {
    return launch_kernel(function, grid[0], grid[1], grid[2], threads, 1, 1, shared_bytes, queue,
                         arguments, nullptr);
  }
  LaunchAttribute attribute{kEarlyLaunch, 0, {1}};
  const LaunchConfig config{
      {grid[0], grid[1], grid[2]}, {threads, 1, 1}, shared_bytes, queue, &attribute, 1};
  return launch_with(&config, function, arguments, nullptr);
}

bp_status Driver::status_of(Result result) noexcept {
  switch (result) {
    case 0:
      return BP_OK;
    case 4:    // deinitialized; this and the others up to 719 end the context
    case 214:  // uncorrectable ECC error
    case 220:  // NVLink error
    case 226:  // contained error
    case 700:  // illegal address
    case 702:  // launch timeout
    case 709:  // context destroyed
    case 710:  // device-side assert
    case 714:  // hardware stack error
    case 715:  // illegal instruction
    case 716:  // misaligned address
    case 717:  // invalid address space
    case 718:  // invalid program counter
    case 719:  // launch failed
      return BP_DEVICE_LOST;
    case kOutOfMemory:
    case 701:  // launch out of resources
      return BP_EXHAUSTED;
    case 1:    // invalid value
    case 400:  // invalid handle
      return BP_INVALID_ARGUMENT;
    case 200:  // invalid image
    case 209:  // no binary for this GPU
    case 218:  // invalid PTX
    case 222:  // PTX of a newer version
      return BP_INCOMPATIBLE;
    case 500:
      return BP_NOT_FOUND;
    case 46:   // device in use by somebody else
    case 802:  // system not ready
      return BP_UNAVAILABLE;
    case 800:  // not permitted
      return BP_DENIED;
    case 801:  // not supported
      return BP_UNIMPLEMENTED;
    default:
      return BP_INTERNAL;
  }
}

}  // namespace bp::cuda
