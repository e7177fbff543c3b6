// SPDX-License-Identifier: Apache-2.0
// libamdhip64.so of the stand-in: the entry points that plugins/rocm resolves.
#include <cstdio>
#include <cstring>

#include "tests/mockgpu/engine.h"

#define HIP_API extern "C" __attribute__((visibility("default"))) int

namespace {

using mock::Code;
using mock::Kind;

thread_local int current = 0;

int device() {
  return current;
}

// Every call that works on the current device.
template <class Body>
Code on_device(Kind kind, Body body) {
  if (const Code code = mock::begin(kind, device())) return code;
  return body();
}
// Calls that release do so even when they report a failure.
template <class Body>
Code releasing(Body body) {
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

std::string arch() {
  return mock::setting_text("BACKPLANE_MOCK_ARCH", "gfx1100");
}

uint32_t warp() {
  return static_cast<uint32_t>(mock::setting("BACKPLANE_MOCK_WARP", 32));
}

int attribute(int which, int ordinal) {
  switch (which) {
    case 16:  // integrated
      return static_cast<int>(mock::setting("BACKPLANE_MOCK_INTEGRATED", 0));
    case 19:
      return 6 << 20;
    case 29:
      return 2147483647;
    case 30:
    case 31:
      return 65536;
    case 56:
      return 1024;
    case 63:
      return 48;
    case 67:  // bus
      return 3 + ordinal;
    case 72:
      return 65536;
    case 74:  // shared bytes
      return 64 << 10;
    case 87:
      return static_cast<int>(warp());
    default:
      return 0;
  }
}

// What fills hipDeviceProp_t, of which the plugin reads one name at a place that HIP 6 moved.
int properties(void* out, size_t bytes, size_t arch_offset, int ordinal) {
  if (const Code code = mock::begin(Kind::kAny, -1)) return code;
  if (ordinal < 0 || ordinal >= mock::device_count()) return mock::kInvalidDevice;
  std::memset(out, 0xee, bytes);
  std::snprintf(static_cast<char*>(out) + arch_offset, 256, "%s", arch().c_str());
  return 0;
}

}  // namespace

int mock::current_device() {
  return device();
}

HIP_API hipDriverGetVersion(int* out) {
  *out = static_cast<int>(mock::setting("BACKPLANE_MOCK_DRIVER_VERSION", 60342131));
  return 0;
}
HIP_API hipInit(unsigned) {
  return static_cast<int>(mock::setting("BACKPLANE_MOCK_INIT", 0));
}
extern "C" __attribute__((visibility("default"))) const char* hipGetErrorName(int code) {
  static thread_local char name[48];
  std::snprintf(name, sizeof name, "hipErrorMock%d", code);
  return name;
}
extern "C" __attribute__((visibility("default"))) const char* hipGetErrorString(int code) {
  return code == mock::kOutOfMemory       ? "out of memory"
         : code == mock::kIllegalAddress  ? "an illegal memory access was encountered"
         : code == mock::kOperatingSystem ? "OS call failed or operation not supported"
                                          : "an error of the stand-in";
}
HIP_API hipGetDeviceCount(int* out) {
  if (const Code code = mock::begin(Kind::kAny, -1)) return code;
  *out = mock::device_count();
  return 0;
}
HIP_API hipDeviceGet(int* out, int ordinal) {
  return about_device(ordinal, [&] { return *out = ordinal, 0; });
}
HIP_API hipDeviceGetName(char* out, int bytes, int ordinal) {
  return about_device(ordinal, [&] {
    std::snprintf(out, static_cast<size_t>(bytes), "Mock GPU %d", ordinal);
    return 0;
  });
}
HIP_API hipDeviceGetUuid(unsigned char* out, int ordinal) {
  return about_device(ordinal, [&] {
    for (int i = 0; i < 16; ++i) out[i] = static_cast<unsigned char>(16 * ordinal + i + 1);
    return 0;
  });
}
HIP_API hipDeviceTotalMem(size_t* out, int ordinal) {
  return about_device(ordinal, [&] {
    size_t available = 0;
    mock::memory_info(ordinal, &available, out);
    return 0;
  });
}
HIP_API hipDeviceGetAttribute(int* out, int which, int ordinal) {
  return about_device(ordinal, [&] { return *out = attribute(which, ordinal), 0; });
}
// The unversioned symbol fills the layout of HIP 5, in every version of the runtime.
HIP_API hipGetDevicePropertiesR0600(void* out, int ordinal) {
  return properties(out, 1472, 1160, ordinal);
}
HIP_API hipGetDeviceProperties(void* out, int ordinal) {
  return properties(out, 792, 396, ordinal);
}
HIP_API hipSetDevice(int ordinal) {
  if (ordinal < 0 || ordinal >= mock::device_count()) return mock::kInvalidDevice;
  current = ordinal;
  return 0;
}
HIP_API hipGetDevice(int* out) {
  *out = current;
  return 0;
}
HIP_API hipDeviceReset() {
  mock::reset(device());
  return 0;
}
HIP_API hipMemGetInfo(size_t* available, size_t* total) {
  return on_device(Kind::kAny, [&] { return mock::memory_info(device(), available, total), 0; });
}
HIP_API hipMalloc(uint64_t* out, size_t bytes) {
  return on_device(Kind::kAlloc, [&] {
    void* memory = nullptr;
    const Code code = mock::memory_alloc(device(), bytes, false, &memory);
    *out = reinterpret_cast<uintptr_t>(memory);
    return code;
  });
}
HIP_API hipFree(uint64_t address) {
  return releasing([&] { return mock::memory_free(reinterpret_cast<void*>(address), false); });
}
HIP_API hipHostMalloc(void** out, size_t bytes, unsigned) {
  return on_device(Kind::kAlloc, [&] { return mock::memory_alloc(device(), bytes, true, out); });
}
HIP_API hipHostFree(void* memory) {
  return releasing([&] { return mock::memory_free(memory, true); });
}
HIP_API hipHostGetDevicePointer(uint64_t* out, void* memory, unsigned) {
  return on_device(Kind::kAny, [&] { return *out = reinterpret_cast<uintptr_t>(memory), 0; });
}
HIP_API hipHostRegister(void* memory, size_t bytes, unsigned) {
  return on_device(Kind::kAlloc, [&] { return mock::host_register(memory, bytes); });
}
HIP_API hipHostUnregister(void* memory) {
  return releasing([&] { return mock::host_unregister(memory); });
}
HIP_API hipMemcpyHtoDAsync(uint64_t to, const void* from, size_t bytes, void* stream) {
  return on_device(Kind::kAny,
                   [&] { return mock::copy(stream, reinterpret_cast<void*>(to), from, bytes); });
}
HIP_API hipMemcpyDtoHAsync(void* to, uint64_t from, size_t bytes, void* stream) {
  return on_device(Kind::kAny,
                   [&] { return mock::copy(stream, to, reinterpret_cast<void*>(from), bytes); });
}
HIP_API hipMemcpyDtoDAsync(uint64_t to, uint64_t from, size_t bytes, void* stream) {
  return on_device(Kind::kAny, [&] {
    return mock::copy(stream, reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
  });
}
HIP_API hipMemsetD32Async(uint64_t to, unsigned word, size_t words, void* stream) {
  return on_device(Kind::kAny,
                   [&] { return mock::fill(stream, reinterpret_cast<void*>(to), word, words); });
}
HIP_API hipStreamCreateWithFlags(void** out, unsigned) {
  return on_device(Kind::kAny, [&] { return mock::stream_create(device(), out); });
}
HIP_API hipStreamDestroy(void* stream) {
  return releasing([&] { return mock::stream_destroy(stream); });
}
HIP_API hipStreamSynchronize(void* stream) {
  return on_device(Kind::kAny, [&] { return mock::stream_synchronize(stream); });
}
HIP_API hipStreamWaitEvent(void* stream, void* event, unsigned) {
  return on_device(Kind::kAny, [&] { return mock::stream_wait_event(stream, event); });
}
HIP_API hipEventCreateWithFlags(void** out, unsigned) {
  return on_device(Kind::kAny, [&] { return mock::event_create(device(), out); });
}
HIP_API hipEventDestroy(void* event) {
  return releasing([&] { return mock::event_destroy(event); });
}
HIP_API hipEventRecord(void* event, void* stream) {
  return on_device(Kind::kAny, [&] { return mock::event_record(event, stream); });
}
HIP_API hipEventQuery(void* event) {
  return on_device(Kind::kAny, [&] { return mock::event_query(event); });
}
HIP_API hipStreamBeginCapture(void* stream, int) {
  return on_device(Kind::kAny, [&] { return mock::capture_begin(stream); });
}
HIP_API hipStreamEndCapture(void* stream, void** out) {
  return on_device(Kind::kAny, [&] { return mock::capture_end(stream, out); });
}
HIP_API hipGraphInstantiateWithFlags(void** out, void* graph, unsigned long long) {
  return on_device(Kind::kAny, [&] { return mock::graph_instantiate(graph, out); });
}
HIP_API hipGraphLaunch(void* exec, void* stream) {
  return on_device(Kind::kLaunch, [&] { return mock::graph_launch(exec, stream); });
}
HIP_API hipGraphDestroy(void* graph) {
  return releasing([&] { return mock::graph_destroy(graph); });
}
HIP_API hipGraphExecDestroy(void* exec) {
  return releasing([&] { return mock::graph_exec_destroy(exec); });
}
HIP_API hipModuleLoadDataEx(void** out, const void* image, unsigned, int*, void**) {
  return on_device(Kind::kLoad, [&] { return mock::module_load(device(), image, arch(), out); });
}
HIP_API hipModuleUnload(void* module) {
  return releasing([&] { return mock::module_unload(module); });
}
HIP_API hipModuleGetFunction(void** out, void* module, const char* name) {
  return on_device(Kind::kAny, [&] { return mock::module_function(module, name, out); });
}
HIP_API hipFuncGetAttribute(int* out, int which, void* function) {
  return on_device(Kind::kAny, [&] {
    if (which != 1) return mock::kInvalidValue;
    *out = static_cast<int>(mock::function_shared_bytes(function));
    return mock::kOk;
  });
}
// Takes the host's stub of a kernel, not a function of a module; the plugin must not come here.
HIP_API hipFuncSetAttribute(const void*, int, int) {
  mock::count("misuse", 1);
  return mock::kInvalidValue;
}
HIP_API hipModuleLaunchKernel(void* function, unsigned x, unsigned y, unsigned z,
                              unsigned threads_x, unsigned threads_y, unsigned threads_z,
                              unsigned shared_bytes, void* stream, void** arguments, void**) {
  return on_device(Kind::kLaunch, [&] {
    // Threads of a dimension are counted in 32 bits.
    if (uint64_t{x} * threads_x > UINT32_MAX) return mock::kInvalidValue;
    if (threads_y != 1 || threads_z != 1) return mock::kInvalidValue;
    const uint32_t grid[3] = {x, y, z};
    return mock::launch(function, stream, grid, threads_x, warp(), shared_bytes, arguments);
  });
}
