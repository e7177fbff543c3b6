// SPDX-License-Identifier: Apache-2.0
// Kernels as code on a device: built once, compiled once, kept.
//
// A kernel is asked for by a key that names everything its builder was given, so that a hundred
// layers share what is equal. get() builds, verifies and legalizes, which is all that matching an
// op needs; ready() renders, compiles or reads from disk, and loads. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "kernels/ir/ir.h"
#include "kernels/plugin/code_store.h"
#include "kernels/plugin/device.h"

namespace bp::kernels {

// A kernel that this device can run. Lives as long as its CodeLibrary.
struct DeviceKernel {
  std::string key;
  Kernel kernel;  // legalized
  bp_module* module = nullptr;
  bp_function* function = nullptr;  // null until ready()
};

class CodeLibrary {
 public:
  CodeLibrary(const Device& device, std::string folder);
  ~CodeLibrary();
  CodeLibrary(const CodeLibrary&) = delete;
  CodeLibrary& operator=(const CodeLibrary&) = delete;

  using Build = std::function<Result<Kernel>()>;
  // The failure says why the library or the device has no such kernel; it is remembered too.
  Result<DeviceKernel*> get(const std::string& key, const Build& build);
  // Loads the code if it is not there. Blocking: up to seconds where the compiler has to run.
  Status ready(DeviceKernel* code);

  uint32_t compiled() const noexcept { return compiled_; }

 private:
  Status load(DeviceKernel* code);
  Result<std::string> compiler_id();
  Status load_binary(const bp_module_source& source, const std::vector<std::byte>& binary,
                     DeviceKernel* code);
  Result<std::vector<std::byte>> compile(const bp_module_source& source);

  struct Entry {
    Status failure;
    DeviceKernel code;
  };
  const Device& device_;
  CodeStore store_;
  std::mutex building_, loading_;
  std::map<std::string, std::unique_ptr<Entry>> entries_;
  std::string compiler_id_;
  uint32_t compiled_ = 0;
};

}  // namespace bp::kernels
