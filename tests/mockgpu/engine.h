// SPDX-License-Identifier: Apache-2.0
// The devices behind the stand-in drivers: memory, streams, events, graphs, modules, and faults
// asked for by tests. CUDA and HIP are two spellings of it; result numbers are the same in both.
//
// Work runs inside the call that enqueues it. While a test holds the devices ("hold"), it is queued
// instead, events stay unfinished, and everything runs in the order of submission when the hold is
// let go or somebody synchronizes: what an asynchronous device does, without the luck.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/mockgpu/program.h"

// What other libraries of the stand-in use as well.
#define BP_MOCK_EXPORT __attribute__((visibility("default")))

namespace mock {

using Code = int;
inline constexpr Code kOk = 0;
inline constexpr Code kInvalidValue = 1;
inline constexpr Code kOutOfMemory = 2;
inline constexpr Code kNoDevice = 100;
inline constexpr Code kInvalidDevice = 101;
inline constexpr Code kInvalidImage = 200;
inline constexpr Code kInvalidContext = 201;
inline constexpr Code kOperatingSystem = 304;
inline constexpr Code kInvalidHandle = 400;
inline constexpr Code kNotFound = 500;
inline constexpr Code kNotReady = 600;
inline constexpr Code kIllegalAddress = 700;
inline constexpr Code kOutOfResources = 701;
inline constexpr Code kAlreadyRegistered = 712;
inline constexpr Code kNotRegistered = 713;
inline constexpr Code kLaunchFailed = 719;
inline constexpr Code kCaptureUnsupported = 900;
inline constexpr Code kCaptureInvalidated = 901;

// What a call is, for faults.
enum class Kind { kAny, kAlloc, kLoad, kLaunch };

// Numbers from the environment, read at every use.
BP_MOCK_EXPORT uint64_t setting(const char* name, uint64_t otherwise);
std::string setting_text(const char* name, const char* otherwise);

// Counters of live objects and of events, by name; see README.md.
void count(const char* name, int64_t change);

// To be asked at the beginning of every entry point; anything but kOk is to be returned at once.
// `device` −1: a call that belongs to no device, which therefore cannot be lost by it.
Code begin(Kind kind, int device);
// The same for calls that release something: they do so even when they report a failure.
Code begin_release(int device);

int device_count();
void retain(int device);  // of the primary context; the first one makes a lost device well again
void release(int device);
// Ends everything that is on the device, which makes a lost one well again. Handles and addresses
// that somebody still has are dead from now on.
void reset(int device);
void lose(int device, Code code);

// Memory. Addresses of the device are addresses of the host.
Code memory_alloc(int device, size_t bytes, bool host, void** out);
Code memory_free(void* address, bool host);
Code host_register(void* address, size_t bytes);
Code host_unregister(void* address);
void memory_info(int device, size_t* available, size_t* total);

// Streams and events. Handles are checked: one that is not alive counts as misuse.
Code stream_create(int device, void** out);
Code stream_destroy(void* stream);
Code stream_synchronize(void* stream);
Code event_create(int device, void** out);
Code event_destroy(void* event);
Code event_record(void* event, void* stream);
Code event_query(void* event);
Code stream_wait_event(void* stream, void* event);
Code copy(void* stream, void* to, const void* from, size_t bytes);
Code fill(void* stream, void* to, uint32_t word, size_t words);
Code capture_begin(void* stream);
Code capture_end(void* stream, void** graph);
Code graph_instantiate(void* graph, void** exec);
Code graph_launch(void* exec, void* stream);
Code graph_destroy(void* graph);
Code graph_exec_destroy(void* exec);

// Modules.
Code module_load(int device, const void* image, const std::string& arch, void** out);
Code module_unload(void* module);
Code module_function(void* module, const char* name, void** out);
uint32_t function_shared_bytes(void* function);
void function_allow_shared(void* function, uint32_t dynamic_bytes);
Code launch(void* function, void* stream, const uint32_t grid[3], uint32_t threads,
            uint32_t subgroup, uint32_t shared_bytes, void** arguments);

// For the library of matrix products, which is loaded beside the driver and works on its devices.
BP_MOCK_EXPORT int current_device();  // of the calling thread; −1: none
BP_MOCK_EXPORT Code begin_library(Kind kind, int device);
BP_MOCK_EXPORT void count_library(const char* name, int64_t change);
BP_MOCK_EXPORT bool is_memory(const void* address, size_t bytes);
BP_MOCK_EXPORT Code submit_library(void* stream, std::function<Code()> operation);

}  // namespace mock

// For tests, which find the two by dlsym in the stand-in driver.
extern "C" __attribute__((visibility("default"))) int bp_mock_set(const char* name, uint64_t value);
extern "C" __attribute__((visibility("default"))) uint64_t bp_mock_get(const char* name);
