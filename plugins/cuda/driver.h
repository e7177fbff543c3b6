// SPDX-License-Identifier: Apache-2.0
// The CUDA driver and NVRTC as far as this plugin uses them, declared here so that neither headers
// nor a toolkit are needed to build. Names, signatures and numbers are those of CUDA 12 and 13;
// entry points keep their versioned symbol names, which never change meaning.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "backplane/event_driver/device.h"

// Entry points of the driver: member, symbol, arguments.
#define BP_CUDA_DRIVER_ENTRIES(X)                                                            \
  X(init, "cuInit", unsigned)                                                                \
  X(error_name, "cuGetErrorName", Result, const char**)                                      \
  X(error_string, "cuGetErrorString", Result, const char**)                                  \
  X(device_count, "cuDeviceGetCount", int*)                                                  \
  X(device_get, "cuDeviceGet", int*, int)                                                    \
  X(device_name, "cuDeviceGetName", char*, int, int)                                         \
  X(device_uuid, "cuDeviceGetUuid", uint8_t*, int)                                           \
  X(device_bytes, "cuDeviceTotalMem_v2", size_t*, int)                                       \
  X(device_attribute, "cuDeviceGetAttribute", int*, int, int)                                \
  X(context_retain, "cuDevicePrimaryCtxRetain", Context*, int)                               \
  X(context_release, "cuDevicePrimaryCtxRelease_v2", int)                                    \
  X(context_push, "cuCtxPushCurrent_v2", Context)                                            \
  X(context_pop, "cuCtxPopCurrent_v2", Context*)                                             \
  X(memory_info, "cuMemGetInfo_v2", size_t*, size_t*)                                        \
  X(memory_alloc, "cuMemAlloc_v2", Address*, size_t)                                         \
  X(memory_free, "cuMemFree_v2", Address)                                                    \
  X(host_alloc, "cuMemHostAlloc", void**, size_t, unsigned)                                  \
  X(host_free, "cuMemFreeHost", void*)                                                       \
  X(host_address, "cuMemHostGetDevicePointer_v2", Address*, void*, unsigned)                 \
  X(host_register, "cuMemHostRegister_v2", void*, size_t, unsigned)                          \
  X(host_unregister, "cuMemHostUnregister", void*)                                           \
  X(copy_to_device, "cuMemcpyHtoDAsync_v2", Address, const void*, size_t, Queue)             \
  X(copy_to_host, "cuMemcpyDtoHAsync_v2", void*, Address, size_t, Queue)                     \
  X(copy_on_device, "cuMemcpyDtoDAsync_v2", Address, Address, size_t, Queue)                 \
  X(fill_words, "cuMemsetD32Async", Address, unsigned, size_t, Queue)                        \
  X(stream_create, "cuStreamCreate", Queue*, unsigned)                                       \
  X(stream_destroy, "cuStreamDestroy_v2", Queue)                                             \
  X(stream_synchronize, "cuStreamSynchronize", Queue)                                        \
  X(stream_wait_event, "cuStreamWaitEvent", Queue, Event, unsigned)                          \
  X(event_create, "cuEventCreate", Event*, unsigned)                                         \
  X(event_destroy, "cuEventDestroy_v2", Event)                                               \
  X(event_record, "cuEventRecord", Event, Queue)                                             \
  X(event_query, "cuEventQuery", Event)                                                      \
  X(capture_begin, "cuStreamBeginCapture_v2", Queue, int)                                    \
  X(capture_end, "cuStreamEndCapture", Queue, Graph*)                                        \
  X(graph_instantiate, "cuGraphInstantiateWithFlags", GraphExec*, Graph, unsigned long long) \
  X(graph_launch, "cuGraphLaunch", GraphExec, Queue)                                         \
  X(graph_destroy, "cuGraphDestroy", Graph)                                                  \
  X(graph_exec_destroy, "cuGraphExecDestroy", GraphExec)                                     \
  X(module_load, "cuModuleLoadDataEx", ModuleHandle*, const void*, unsigned, int*, void**)   \
  X(module_unload, "cuModuleUnload", ModuleHandle)                                           \
  X(module_function, "cuModuleGetFunction", FunctionHandle*, ModuleHandle, const char*)      \
  X(function_get, "cuFuncGetAttribute", int*, int, FunctionHandle)                           \
  X(function_set, "cuFuncSetAttribute", FunctionHandle, int, int)                            \
  X(launch_kernel, "cuLaunchKernel", FunctionHandle, unsigned, unsigned, unsigned, unsigned, \
    unsigned, unsigned, unsigned, Queue, void**, void**)

// Entry points of NVRTC.
#define BP_CUDA_COMPILER_ENTRIES(X)                                                \
  X(compiler_version, "nvrtcVersion", int*, int*)                                  \
  X(arch_count, "nvrtcGetNumSupportedArchs", int*)                                 \
  X(archs, "nvrtcGetSupportedArchs", int*)                                         \
  X(program_create, "nvrtcCreateProgram", Program*, const char*, const char*, int, \
    const char* const*, const char* const*)                                        \
  X(program_destroy, "nvrtcDestroyProgram", Program*)                              \
  X(program_compile, "nvrtcCompileProgram", Program, int, const char* const*)      \
  X(program_log_bytes, "nvrtcGetProgramLogSize", Program, size_t*)                 \
  X(program_log, "nvrtcGetProgramLog", Program, char*)                             \
  X(program_binary_bytes, "nvrtcGetCUBINSize", Program, size_t*)                   \
  X(program_binary, "nvrtcGetCUBIN", Program, char*)

namespace bp::cuda {

// Both libraries; see backplane/event_driver/device.h for what the members mean there.
struct Driver {
  using Result = int;        // CUresult, nvrtcResult
  using Address = uint64_t;  // CUdeviceptr
  using Context = struct ContextTag*;
  using Queue = struct QueueTag*;  // CUstream
  using Event = struct EventTag*;
  using Graph = struct GraphTag*;
  using GraphExec = struct GraphExecTag*;
  using ModuleHandle = struct ModuleTag*;
  using FunctionHandle = struct FunctionTag*;
  using Program = struct ProgramTag*;
  struct LaunchAttribute {  // CUlaunchAttribute
    int id, padding;
    int value[16];
  };
  struct LaunchConfig {  // CUlaunchConfig
    unsigned grid[3], block[3], shared_bytes;
    Queue queue;
    LaunchAttribute* attributes;
    unsigned attribute_count;
  };

  static constexpr Result kOutOfMemory = 2;
  static constexpr Result kNotReady = 600;
  static constexpr unsigned kStreamFlags = 1;    // not ordered with the default stream
  static constexpr unsigned kEventFlags = 2;     // no timing
  static constexpr unsigned kHostFlags = 3;      // portable, mapped
  static constexpr unsigned kRegisterFlags = 3;  // portable, mapped
  static constexpr unsigned kRegisterReadOnly = 8;
  static constexpr int kCaptureRelaxed = 2;     // CU_STREAM_CAPTURE_MODE_RELAXED
  static constexpr int kStaticSharedBytes = 1;  // CUfunction_attribute
  static constexpr int kMaxDynamicSharedBytes = 8;
  static constexpr uint32_t kMaxBuffers = 16;
  static constexpr const char* kName = "CUDA";
  static constexpr const char* kNativeName = "cuda.context";
  static constexpr const char* kCompilerName = "NVRTC";

  int version = 0;            // 12040 is 12.4
  std::string kernel_module;  // version of the kernel driver, "580.65.06"; empty when unknown
  int compiler_major = 0;
  int compiler_minor = 0;
  const char* (*compiler_error)(Result) = nullptr;
  Result (*driver_version)(int*) = nullptr;
  // cuLaunchKernelEx; null in drivers too old to begin launches early.
  Result (*launch_with)(const LaunchConfig*, FunctionHandle, void**, void**) = nullptr;
#define BP_DECLARE(member, symbol, ...) Result (*member)(__VA_ARGS__) = nullptr;
  BP_CUDA_DRIVER_ENTRIES(BP_DECLARE)
  BP_CUDA_COMPILER_ENTRIES(BP_DECLARE)
#undef BP_DECLARE

  class Scope {
   public:
    Scope(const Driver& driver, Context context) noexcept
        : driver_(driver), pushed_(driver.context_push(context) == 0) {}
    ~Scope() {
      Context popped = nullptr;
      if (pushed_) (void)driver_.context_pop(&popped);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    const Driver& driver_;
    bool pushed_;
  };

  static const Driver* get() noexcept;
  static bp_status status_of(Result result) noexcept;
  // "CUDA_ERROR_OUT_OF_MEMORY: out of memory"
  std::string describe(Result result) const;
  Result facts(int ordinal, event_driver::DeviceFacts* out) const;
  bp_status target_option(const std::string& target, std::string* option, bp_error* error) const;
  Result open_context(int ordinal, Context* out) const noexcept;
  void close_context(int ordinal, bool lost) const noexcept;
  // Groups are one-dimensional. `early`: the function waits itself for what was enqueued before.
  Result launch(FunctionHandle function, const unsigned (&grid)[3], unsigned threads,
                unsigned shared_bytes, Queue queue, void** arguments, bool early) const noexcept;
  void* native(Context context) const noexcept {
    return context;
  }
};

// Whether this machine can run the plugin, found out anew unless it is known to be usable.
bp_probe_result probe_driver() noexcept;

// Places where a library of the toolkit may lie, newest version first: `stem` is "libnvrtc",
// `package` its folder in Python packages, `variable` names a path that replaces them all. What is
// of a newer major version than the driver does not work with it and is not even tried.
std::vector<std::string> library_places(int driver_version, const char* stem, const char* package,
                                        const char* variable);

// The driver of a machine that was probed usable, else NULL. Stays valid until the process ends.
const Driver* driver() noexcept;

}  // namespace bp::cuda
