// SPDX-License-Identifier: Apache-2.0
// Kernel text to an image, through the host's compiler, and an image to functions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/mockgpu/fiber.h"

namespace mock {

struct CompileResult {
  bool ok = false;
  std::string log;
  std::string image;  // header and shared object
};

// `dialect` is "CUDA" or "HIP". The compiler is BACKPLANE_MOCK_CXX or the one this was built with;
// results are kept in BACKPLANE_MOCK_CACHE when that is set.
CompileResult compile_text(const std::string& text, const std::string& dialect,
                           const std::string& arch);

// A loaded image. Groups of one program run one after the other.
struct Kernel {
  void (*entry)(void**) = nullptr;
  std::vector<uint32_t> argument_bytes;
};
class Program {
 public:
  ~Program();
  // NULL when the bytes are no image of compile_text, or one for another architecture.
  static std::shared_ptr<Program> load(const void* image, const std::string& arch);
  // False when there is no such kernel.
  bool find(const std::string& name, Kernel* out) const;
  uint32_t shared_bytes() const {
    return static_cast<uint32_t>(bound_.shared_end - bound_.shared_begin);
  }
  // Runs a whole grid. NULL, or why the kernel is wrong.
  const char* run(const Kernel& kernel, const uint32_t grid[3], uint32_t threads, uint32_t subgroup,
                  void** arguments);

 private:
  struct Lock;
  void* library_ = nullptr;
  Bound bound_{};
  std::unique_ptr<Lock> lock_;
};

}  // namespace mock
