// SPDX-License-Identifier: Apache-2.0
// What every check is given: the plugin under test, an opened device of it, a kernel provider
// where the check is about kernels, and the options of the run. Used by one thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/plugin/device.h"
#include "core/plugin/tables.h"
#include "sdk/conformance/verdict.h"

namespace bp::conformance {

struct Options {
  bool quick = false;
  uint64_t seed = 1;
  uint64_t timeout_ns = 60'000'000'000;  // longest that any single wait may take
};

// How often a provider was asked for kernels of one op in one format, and what came of it.
struct Coverage {
  uint64_t asked = 0;    // records shown to match()
  uint64_t claimed = 0;  // answered YES
  uint64_t runs = 0;     // executions that were compared with the reference
};
using CoverageKey = std::pair<std::string, std::string>;  // op, format

struct Context {
  Options options;
  std::function<void()> alive;  // tells the supervisor that the check is at work

  // The plugin that is certified.
  const Candidate* candidate = nullptr;
  Plugin* plugin = nullptr;

  // The device that checks run on; its plugin is `owner`, the certified one or, when that has
  // kernels only, a neighbour of it. `device` is null in checks of the plugin as a whole.
  Plugin* owner = nullptr;
  DeviceEntry entry;
  bp_device* device = nullptr;
  std::vector<bp_heap> heaps;

  // For checks of kernels: who offers them.
  Plugin* provider = nullptr;
  bp_target* target = nullptr;
  std::map<CoverageKey, Coverage> coverage;

  const bp_device_api& device_api() const { return owner->device_api(); }
  const bp_memory_api& memory_api() const { return owner->memory_api(); }
  const bp_stream_api& stream_api() const { return owner->stream_api(); }
  const bp_module_api& module_api() const { return owner->module_api(); }
  const bp_kernel_api& kernel_api() const { return provider->kernel_api(); }
  const bp_gemm_api& gemm_api() const { return owner->gemm_api(); }

  // Calls a slot of the device's plugin. The failure names the call.
  template <typename... Params, typename... Args>
  Status call(std::string_view what, bp_status (*slot)(Params...), Args... args) const {
    return call_plugin(owner->id(), what, slot, args...);
  }
  // A new buffer in a heap.
  Result<Buffer> allocate(uint64_t bytes, uint32_t heap = 0) const;
};

// "DEADLINE" for the number; "status 17" for one that the contract does not have.
std::string status_name(bp_status status);

// A failure unless `got` is `want`; `what` names the call and its arguments.
Status expect_status(bp_status got, bp_status want, std::string_view what);
// A failure unless `got` is a failure that the contract has.
Status expect_refusal(bp_status got, std::string_view what);

// Is it UTF-8 that ends with a NUL inside the array?
bool is_ended_utf8(const char* text, size_t capacity);

}  // namespace bp::conformance
