// SPDX-License-Identifier: Apache-2.0
// libnvrtc.so of the stand-in: its "cubin" is a shared object of the host, in an envelope.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/mockgpu/program.h"

#define RTC_API extern "C" __attribute__((visibility("default"))) int

namespace {

constexpr int kArchs[] = {75, 80, 86, 87, 89, 90, 100, 120};
constexpr int kInvalidInput = 3;
constexpr int kInvalidOption = 5;
constexpr int kCompilation = 6;

struct Source {
  std::string text;
  mock::CompileResult result;
};

std::atomic<uint64_t> fail_compile{[] {
  const char* const value = std::getenv("BACKPLANE_MOCK_FAIL_COMPILE");
  return value == nullptr ? uint64_t{0} : std::strtoull(value, nullptr, 0);
}()};
std::atomic<uint64_t> live{0};
std::atomic<uint64_t> compiled{0};

bool is_due() {
  uint64_t left = fail_compile.load();
  while (left != 0 && !fail_compile.compare_exchange_weak(left, left - 1)) {
  }
  return left == 1;
}

// Options that mean nothing here but are NVRTC's.
bool is_known(const std::string& option) {
  for (const char* const known : {"-D", "--define-macro=", "--std=", "--fmad=", "--use_fast_math",
                                  "--maxrregcount=", "--minimal", "-lineinfo"}) {
    if (option.rfind(known, 0) == 0) return true;
  }
  return false;
}

Source* of(void* program) {
  return static_cast<Source*>(program);
}

}  // namespace

RTC_API bp_mock_set(const char* name, uint64_t value) {
  if (std::strcmp(name, "fail_compile") != 0) return 0;
  fail_compile.store(value);
  return 1;
}
extern "C" __attribute__((visibility("default"))) uint64_t bp_mock_get(const char* name) {
  if (std::strcmp(name, "programs") == 0) return live.load();
  return std::strcmp(name, "compiled") == 0 ? compiled.load() : fail_compile.load();
}

extern "C" __attribute__((visibility("default"))) const char* nvrtcGetErrorString(int result) {
  return result == kCompilation ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR of the stand-in";
}
RTC_API nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 0;
  return 0;
}
RTC_API nvrtcGetNumSupportedArchs(int* out) {
  *out = static_cast<int>(std::size(kArchs));
  return 0;
}
RTC_API nvrtcGetSupportedArchs(int* out) {
  std::memcpy(out, kArchs, sizeof kArchs);
  return 0;
}
RTC_API nvrtcCreateProgram(void** out, const char* text, const char*, int headers,
                           const char* const*, const char* const*) {
  if (text == nullptr || headers != 0) return kInvalidInput;
  *out = new Source{text, {}};
  ++live;
  return 0;
}
RTC_API nvrtcDestroyProgram(void** program) {
  delete of(*program);
  *program = nullptr;
  --live;
  return 0;
}
RTC_API nvrtcCompileProgram(void* program, int count, const char* const* options) {
  std::string arch;
  for (int i = 0; i < count; ++i) {
    const std::string option = options[i];
    const std::string wanted = "--gpu-architecture=";
    if (option.rfind(wanted, 0) == 0) {
      arch = option.substr(wanted.size());
    } else if (!is_known(option)) {
      of(program)->result.log = "unrecognized option " + option;
      return kInvalidOption;
    }
  }
  if (is_due()) {
    of(program)->result.log = "kernel(1): error: the test asked for a failure";
    return kCompilation;
  }
  of(program)->result = mock::compile_text(of(program)->text, "CUDA", arch);
  ++compiled;
  return of(program)->result.ok ? 0 : kCompilation;
}
RTC_API nvrtcGetProgramLogSize(void* program, size_t* out) {
  *out = of(program)->result.log.size() + 1;
  return 0;
}
RTC_API nvrtcGetProgramLog(void* program, char* out) {
  std::strcpy(out, of(program)->result.log.c_str());
  return 0;
}
RTC_API nvrtcGetCUBINSize(void* program, size_t* out) {
  *out = of(program)->result.image.size();
  return 0;
}
RTC_API nvrtcGetCUBIN(void* program, char* out) {
  std::memcpy(out, of(program)->result.image.data(), of(program)->result.image.size());
  return 0;
}
