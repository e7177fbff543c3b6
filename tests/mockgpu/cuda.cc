// SPDX-License-Identifier: Apache-2.0
// libcuda.so.1 of the stand-in: the entry points that plugins/cuda resolves.
#include <cstdio>
#include <cstring>
#include <vector>

#include "tests/mockgpu/engine.h"

#define CU_API extern "C" __attribute__((visibility("default"))) int

namespace {

using mock::Code;
using mock::Kind;

// Contexts are devices plus one, so that none is NULL.
thread_local std::vector<int> current;

int device() {
  return current.empty() ? -1 : current.back();
}

// Every call that works inside a context.
template <class Body>
Code in_context(Kind kind, Body body) {
  if (device() < 0) return mock::kInvalidContext;
  if (const Code code = mock::begin(kind, device())) return code;
  return body();
}
// Calls that release do so even when they report a failure.
template <class Body>
Code releasing(Body body) {
  if (device() < 0) return mock::kInvalidContext;
  const Code failed = mock::begin_release(device());
  const Code code = body();
  return failed != mock::kOk ? failed : code;
}
template <class Body>
Code about_device(int ordinal, Body body) {
  if (const Code code = mock::begin(Kind::kAny, -1)) return code;
  if (ordinal < 0 || ordinal >= mock::device_count()) return mock::kInvalidDevice;
  return body();
}

uint64_t arch() {
  return mock::setting("BACKPLANE_MOCK_ARCH", 90);
}

int attribute(int which, int ordinal) {
  switch (which) {
    case 1:  // threads of a block
      return 1024;
    case 5:
      return 2147483647;
    case 6:
    case 7:
      return 65535;
    case 8:  // shared bytes
      return 48 << 10;
    case 10:
      return 32;
    case 16:
      return 132;
    case 18:  // integrated
      return static_cast<int>(mock::setting("BACKPLANE_MOCK_INTEGRATED", 0));
    case 33:  // bus
      return 1 + ordinal;
    case 38:
      return 50 << 20;
    case 75:
      return static_cast<int>(arch() / 10);
    case 76:
      return static_cast<int>(arch() % 10);
    case 82:
      return 65536;
    case 97:
      return 227 << 10;
    case 99:
    case 113:
      return 1;
    case 139:
      return 0x233010de;
    default:
      return 0;
  }
}

}  // namespace

int mock::current_device() {
  return device();
}

CU_API cuDriverGetVersion(int* out) {
  *out = static_cast<int>(mock::setting("BACKPLANE_MOCK_DRIVER_VERSION", 13000));
  return 0;
}
CU_API cuInit(unsigned) {
  return static_cast<int>(mock::setting("BACKPLANE_MOCK_INIT", 0));
}
CU_API cuGetErrorName(int code, const char** out) {
  static thread_local char name[48];
  std::snprintf(name, sizeof name, "CUDA_ERROR_MOCK_%d", code);
  *out = name;
  return 0;
}
CU_API cuGetErrorString(int code, const char** out) {
  *out = code == mock::kOutOfMemory       ? "out of memory"
         : code == mock::kIllegalAddress  ? "an illegal memory access was encountered"
         : code == mock::kOperatingSystem ? "OS call failed or operation not supported"
                                          : "an error of the stand-in";
  return 0;
}
CU_API cuDeviceGetCount(int* out) {
  if (const Code code = mock::begin(Kind::kAny, -1)) return code;
  *out = mock::device_count();
  return 0;
}
CU_API cuDeviceGet(int* out, int ordinal) {
  return about_device(ordinal, [&] { return *out = ordinal, 0; });
}
CU_API cuDeviceGetName(char* out, int bytes, int ordinal) {
  return about_device(ordinal, [&] {
    std::snprintf(out, static_cast<size_t>(bytes), "Mock GPU %d", ordinal);
    return 0;
  });
}
CU_API cuDeviceGetUuid(unsigned char* out, int ordinal) {
  return about_device(ordinal, [&] {
    for (int i = 0; i < 16; ++i) out[i] = static_cast<unsigned char>(16 * ordinal + i + 1);
    return 0;
  });
}
CU_API cuDeviceTotalMem_v2(size_t* out, int ordinal) {
  return about_device(ordinal, [&] {
    size_t available = 0;
    mock::memory_info(ordinal, &available, out);
    return 0;
  });
}
CU_API cuDeviceGetAttribute(int* out, int which, int ordinal) {
  return about_device(ordinal, [&] { return *out = attribute(which, ordinal), 0; });
}
CU_API cuDevicePrimaryCtxRetain(void** out, int ordinal) {
  return about_device(ordinal, [&] {
    mock::retain(ordinal);
    *out = reinterpret_cast<void*>(static_cast<uintptr_t>(ordinal) + 1);
    return 0;
  });
}
CU_API cuDevicePrimaryCtxRelease_v2(int ordinal) {
  mock::release(ordinal);
  return 0;
}
CU_API cuCtxPushCurrent_v2(void* context) {
  current.push_back(static_cast<int>(reinterpret_cast<uintptr_t>(context)) - 1);
  return 0;
}
CU_API cuCtxPopCurrent_v2(void** out) {
  if (current.empty()) return mock::kInvalidContext;
  *out = reinterpret_cast<void*>(static_cast<uintptr_t>(current.back()) + 1);
  current.pop_back();
  return 0;
}
CU_API cuMemGetInfo_v2(size_t* available, size_t* total) {
  return in_context(Kind::kAny, [&] { return mock::memory_info(device(), available, total), 0; });
}
CU_API cuMemAlloc_v2(uint64_t* out, size_t bytes) {
  return in_context(Kind::kAlloc, [&] {
    void* memory = nullptr;
    const Code code = mock::memory_alloc(device(), bytes, false, &memory);
    *out = reinterpret_cast<uintptr_t>(memory);
    return code;
  });
}
CU_API cuMemFree_v2(uint64_t address) {
  return releasing([&] { return mock::memory_free(reinterpret_cast<void*>(address), false); });
}
CU_API cuMemHostAlloc(void** out, size_t bytes, unsigned) {
  return in_context(Kind::kAlloc, [&] { return mock::memory_alloc(device(), bytes, true, out); });
}
CU_API cuMemFreeHost(void* memory) {
  return releasing([&] { return mock::memory_free(memory, true); });
}
CU_API cuMemHostGetDevicePointer_v2(uint64_t* out, void* memory, unsigned) {
  return in_context(Kind::kAny, [&] { return *out = reinterpret_cast<uintptr_t>(memory), 0; });
}
CU_API cuMemHostRegister_v2(void* memory, size_t bytes, unsigned) {
  return in_context(Kind::kAlloc, [&] { return mock::host_register(memory, bytes); });
}
CU_API cuMemHostUnregister(void* memory) {
  return releasing([&] { return mock::host_unregister(memory); });
}
CU_API cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void* stream) {
  return in_context(Kind::kAny,
                    [&] { return mock::copy(stream, reinterpret_cast<void*>(to), from, bytes); });
}
CU_API cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void* stream) {
  return in_context(Kind::kAny,
                    [&] { return mock::copy(stream, to, reinterpret_cast<void*>(from), bytes); });
}
CU_API cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* stream) {
  return in_context(Kind::kAny, [&] {
    return mock::copy(stream, reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
  });
}
CU_API cuMemsetD32Async(uint64_t to, unsigned word, size_t words, void* stream) {
  return in_context(Kind::kAny,
                    [&] { return mock::fill(stream, reinterpret_cast<void*>(to), word, words); });
}
CU_API cuStreamCreate(void** out, unsigned) {
  return in_context(Kind::kAny, [&] { return mock::stream_create(device(), out); });
}
CU_API cuStreamDestroy_v2(void* stream) {
  return releasing([&] { return mock::stream_destroy(stream); });
}
CU_API cuStreamSynchronize(void* stream) {
  return in_context(Kind::kAny, [&] { return mock::stream_synchronize(stream); });
}
CU_API cuStreamWaitEvent(void* stream, void* event, unsigned) {
  return in_context(Kind::kAny, [&] { return mock::stream_wait_event(stream, event); });
}
CU_API cuEventCreate(void** out, unsigned) {
  return in_context(Kind::kAny, [&] { return mock::event_create(device(), out); });
}
CU_API cuEventDestroy_v2(void* event) {
  return releasing([&] { return mock::event_destroy(event); });
}
CU_API cuEventRecord(void* event, void* stream) {
  return in_context(Kind::kAny, [&] { return mock::event_record(event, stream); });
}
CU_API cuEventQuery(void* event) {
  return in_context(Kind::kAny, [&] { return mock::event_query(event); });
}
CU_API cuStreamBeginCapture_v2(void* stream, int) {
  return in_context(Kind::kAny, [&] { return mock::capture_begin(stream); });
}
CU_API cuStreamEndCapture(void* stream, void** out) {
  return in_context(Kind::kAny, [&] { return mock::capture_end(stream, out); });
}
CU_API cuGraphInstantiateWithFlags(void** out, void* graph, unsigned long long) {
  return in_context(Kind::kAny, [&] { return mock::graph_instantiate(graph, out); });
}
CU_API cuGraphLaunch(void* exec, void* stream) {
  return in_context(Kind::kLaunch, [&] { return mock::graph_launch(exec, stream); });
}
CU_API cuGraphDestroy(void* graph) {
  return releasing([&] { return mock::graph_destroy(graph); });
}
CU_API cuGraphExecDestroy(void* exec) {
  return releasing([&] { return mock::graph_exec_destroy(exec); });
}
CU_API cuModuleLoadDataEx(void** out, const void* image, unsigned, int*, void**) {
  return in_context(Kind::kLoad, [&] {
    return mock::module_load(device(), image, "sm_" + std::to_string(arch()), out);
  });
}
CU_API cuModuleUnload(void* module) {
  return releasing([&] { return mock::module_unload(module); });
}
CU_API cuModuleGetFunction(void** out, void* module, const char* name) {
  return in_context(Kind::kAny, [&] { return mock::module_function(module, name, out); });
}
CU_API cuFuncGetAttribute(int* out, int which, void* function) {
  return in_context(Kind::kAny, [&] {
    if (which != 1) return mock::kInvalidValue;
    *out = static_cast<int>(mock::function_shared_bytes(function));
    return mock::kOk;
  });
}
CU_API cuFuncSetAttribute(void* function, int which, int value) {
  return in_context(Kind::kAny, [&] {
    if (which != 8 || value < 0 || value > attribute(97, 0)) return mock::kInvalidValue;
    mock::function_allow_shared(function, static_cast<uint32_t>(value));
    return mock::kOk;
  });
}
CU_API cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned threads_x,
                      unsigned threads_y, unsigned threads_z, unsigned shared_bytes, void* stream,
                      void** arguments, void**) {
  return in_context(Kind::kLaunch, [&] {
    if (threads_y != 1 || threads_z != 1) return mock::kInvalidValue;
    const uint32_t grid[3] = {x, y, z};
    return mock::launch(function, stream, grid, threads_x, 32, shared_bytes, arguments);
  });
}
// CUlaunchConfig as far as it is looked at. Work runs in order here, so nothing begins early.
struct LaunchConfig {
  unsigned grid[3], block[3], shared_bytes;
  void* stream;
  const void* attributes;
  unsigned attribute_count;
};
CU_API cuLaunchKernelEx(const LaunchConfig* config, void* function, void** arguments, void**) {
  return in_context(Kind::kLaunch, [&] {
    if (config->block[1] != 1 || config->block[2] != 1) return mock::kInvalidValue;
    return mock::launch(function, config->stream, config->grid, config->block[0], 32,
                        config->shared_bytes, arguments);
  });
}
