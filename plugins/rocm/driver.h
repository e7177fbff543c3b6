// SPDX-License-Identifier: Apache-2.0
// The HIP runtime and hipRTC as far as this plugin uses them, declared here so that neither headers
// nor ROCm are needed to build. Names, signatures and numbers are those of HIP 5, 6 and 7.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "backplane/event_driver/device.h"

// Entry points of the runtime: member, symbol, arguments.
#define BP_ROCM_DRIVER_ENTRIES(X)                                                             \
  X(init, "hipInit", unsigned)                                                                \
  X(device_count, "hipGetDeviceCount", int*)                                                  \
  X(device_get, "hipDeviceGet", int*, int)                                                    \
  X(device_name, "hipDeviceGetName", char*, int, int)                                         \
  X(device_uuid, "hipDeviceGetUuid", uint8_t*, int)                                           \
  X(device_bytes, "hipDeviceTotalMem", size_t*, int)                                          \
  X(device_attribute, "hipDeviceGetAttribute", int*, int, int)                                \
  X(device_set, "hipSetDevice", int)                                                          \
  X(device_current, "hipGetDevice", int*)                                                     \
  X(device_reset, "hipDeviceReset")                                                           \
  X(memory_info, "hipMemGetInfo", size_t*, size_t*)                                           \
  X(memory_alloc, "hipMalloc", Address*, size_t)                                              \
  X(memory_free, "hipFree", Address)                                                          \
  X(host_alloc, "hipHostMalloc", void**, size_t, unsigned)                                    \
  X(host_free, "hipHostFree", void*)                                                          \
  X(host_address, "hipHostGetDevicePointer", Address*, void*, unsigned)                       \
  X(host_register, "hipHostRegister", void*, size_t, unsigned)                                \
  X(host_unregister, "hipHostUnregister", void*)                                              \
  X(copy_to_device, "hipMemcpyHtoDAsync", Address, const void*, size_t, Queue)                \
  X(copy_to_host, "hipMemcpyDtoHAsync", void*, Address, size_t, Queue)                        \
  X(copy_on_device, "hipMemcpyDtoDAsync", Address, Address, size_t, Queue)                    \
  X(fill_words, "hipMemsetD32Async", Address, unsigned, size_t, Queue)                        \
  X(stream_create, "hipStreamCreateWithFlags", Queue*, unsigned)                              \
  X(stream_destroy, "hipStreamDestroy", Queue)                                                \
  X(stream_synchronize, "hipStreamSynchronize", Queue)                                        \
  X(stream_wait_event, "hipStreamWaitEvent", Queue, Event, unsigned)                          \
  X(event_create, "hipEventCreateWithFlags", Event*, unsigned)                                \
  X(event_destroy, "hipEventDestroy", Event)                                                  \
  X(event_record, "hipEventRecord", Event, Queue)                                             \
  X(event_query, "hipEventQuery", Event)                                                      \
  X(capture_begin, "hipStreamBeginCapture", Queue, int)                                       \
  X(capture_end, "hipStreamEndCapture", Queue, Graph*)                                        \
  X(graph_instantiate, "hipGraphInstantiateWithFlags", GraphExec*, Graph, unsigned long long) \
  X(graph_launch, "hipGraphLaunch", GraphExec, Queue)                                         \
  X(graph_destroy, "hipGraphDestroy", Graph)                                                  \
  X(graph_exec_destroy, "hipGraphExecDestroy", GraphExec)                                     \
  X(module_load, "hipModuleLoadDataEx", ModuleHandle*, const void*, unsigned, int*, void**)   \
  X(module_unload, "hipModuleUnload", ModuleHandle)                                           \
  X(module_function, "hipModuleGetFunction", FunctionHandle*, ModuleHandle, const char*)      \
  X(function_get, "hipFuncGetAttribute", int*, int, FunctionHandle)                           \
  X(function_set, "hipFuncSetAttribute", FunctionHandle, int, int)                            \
  X(launch_kernel, "hipModuleLaunchKernel", FunctionHandle, unsigned, unsigned, unsigned,     \
    unsigned, unsigned, unsigned, unsigned, Queue, void**, void**)

// Entry points of hipRTC.
#define BP_ROCM_COMPILER_ENTRIES(X)                                                 \
  X(compiler_version, "hiprtcVersion", int*, int*)                                  \
  X(program_create, "hiprtcCreateProgram", Program*, const char*, const char*, int, \
    const char* const*, const char* const*)                                         \
  X(program_destroy, "hiprtcDestroyProgram", Program*)                              \
  X(program_compile, "hiprtcCompileProgram", Program, int, const char* const*)      \
  X(program_log_bytes, "hiprtcGetProgramLogSize", Program, size_t*)                 \
  X(program_log, "hiprtcGetProgramLog", Program, char*)                             \
  X(program_binary_bytes, "hiprtcGetCodeSize", Program, size_t*)                    \
  X(program_binary, "hiprtcGetCode", Program, char*)

namespace bp::rocm {

// Both libraries; see backplane/event_driver/device.h for what the members mean there.
struct Driver {
  using Result = int;        // hipError_t, hiprtcResult
  using Address = uint64_t;  // hipDeviceptr_t: a pointer, which every ABI of ROCm passes alike
  using Context = int;       // a device is its own context
  using Queue = struct QueueTag*;  // hipStream_t
  using Event = struct EventTag*;
  using Graph = struct GraphTag*;
  using GraphExec = struct GraphExecTag*;
  using ModuleHandle = struct ModuleTag*;
  using FunctionHandle = struct FunctionTag*;
  using Program = struct ProgramTag*;

  static constexpr Result kOutOfMemory = 2;
  static constexpr Result kNotReady = 600;
  static constexpr unsigned kStreamFlags = 1;         // not ordered with the default stream
  static constexpr unsigned kEventFlags = 2;          // no timing
  static constexpr unsigned kHostFlags = 0x40000003;  // portable, mapped, coherent
  static constexpr unsigned kRegisterFlags = 3;       // portable, mapped
  static constexpr unsigned kRegisterReadOnly = 8;
  static constexpr int kCaptureRelaxed = 2;     // hipStreamCaptureModeRelaxed
  static constexpr int kStaticSharedBytes = 1;  // hipFunction_attribute
  static constexpr int kMaxDynamicSharedBytes = 8;
  static constexpr uint32_t kMaxBuffers = 16;
  static constexpr const char* kName = "ROCm";
  static constexpr const char* kNativeName = "hip.device";
  static constexpr const char* kCompilerName = "hipRTC";

  int version = 0;  // 60342131 is 6.3.42131
  int compiler_major = 0;
  int compiler_minor = 0;
  const char* (*compiler_error)(Result) = nullptr;
  const char* (*error_name)(Result) = nullptr;
  const char* (*error_string)(Result) = nullptr;
  Result (*driver_version)(int*) = nullptr;
  // Fills a struct whose layout changed with HIP 6 and whose symbol changed with it; at
  // arch_offset in it stands the name of the architecture.
  Result (*device_properties)(void*, int) = nullptr;
  size_t arch_offset = 0;
#define BP_DECLARE(member, symbol, ...) Result (*member)(__VA_ARGS__) = nullptr;
  BP_ROCM_DRIVER_ENTRIES(BP_DECLARE)
  BP_ROCM_COMPILER_ENTRIES(BP_DECLARE)
#undef BP_DECLARE

  class Scope {
   public:
    Scope(const Driver& driver, Context device) noexcept : driver_(driver) {
      changed_ = driver.device_current(&before_) == 0 && before_ != device &&
                 driver.device_set(device) == 0;
    }
    ~Scope() {
      if (changed_) (void)driver_.device_set(before_);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    const Driver& driver_;
    int before_ = 0;
    bool changed_ = false;
  };

  static const Driver* get() noexcept;
  static bp_status status_of(Result result) noexcept;
  // "hipErrorOutOfMemory: out of memory"
  std::string describe(Result result) const;
  Result facts(int ordinal, event_driver::DeviceFacts* out) const;
  bp_status target_option(const std::string& target, std::string* option, bp_error* error) const;
  Result open_context(int ordinal, Context* out) const noexcept;
  void close_context(int ordinal, bool lost) const noexcept;
  // Groups are one-dimensional. Nothing begins early here.
  Result launch(FunctionHandle function, const unsigned (&grid)[3], unsigned threads,
                unsigned shared_bytes, Queue queue, void** arguments, bool) const noexcept {
    return launch_kernel(function, grid[0], grid[1], grid[2], threads, 1, 1, shared_bytes, queue,
                         arguments, nullptr);
  }
  void* native(Context context) const noexcept {
    return reinterpret_cast<void*>(static_cast<intptr_t>(context));
  }
};

// Whether this machine can run the plugin, found out anew unless it is known to be usable.
bp_probe_result probe_driver() noexcept;

// "libamdhip64.so.7" and the like, newest first, from each place where ROCm may lie.
std::vector<std::string> places(const char* stem, int newest, int oldest);

// The driver of a machine that was probed usable, else NULL. Stays valid until the process ends.
const Driver* driver() noexcept;

}  // namespace bp::rocm
