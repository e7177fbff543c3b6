// SPDX-License-Identifier: Apache-2.0
// What every GPU plugin's test shares: the plugin through its tables alone, and the stand-in
// driver's faults and counters where it runs on that. Each plugin_test.cc links plugin.cc and the
// suites and says in kSubject who it is.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "backplane/plugin_glue.h"
#include "kernels/ir/caps.h"
#include "kernels/ir/ir.h"

namespace bp::gpu_suite {

struct Subject {
  const char* id;        // "cuda"
  const char* dialect;   // "cuda"
  const char* driver;    // soname of the driver, "libcuda.so.1"
  const char* compiler;  // soname of the stand-in's compiler
  const char* library;   // of matrix products, "cuBLASLt", and the variable that names its path
  const char* library_variable;
  const char* bad_option;  // a compiler option that does not exist
  kernels::Caps (*profile)(const bp_device_info& info, const bp_device_caps& caps);
};
extern const Subject kSubject;

// The stand-in driver, when that is what the process has loaded.
class Mock {
 public:
  static bool present();
  static void set(const char* name, uint64_t value);
  static uint64_t get(const char* name);
  // All kinds of live objects together; what must not grow.
  static uint64_t live();
  static void clear_faults();
};

// The tables of the plugin, initialised. `detail` says why it is unusable.
struct Tables {
  const bp_plugin_api* plugin = nullptr;
  const bp_device_api* device = nullptr;
  const bp_memory_api* memory = nullptr;
  const bp_stream_api* stream = nullptr;
  const bp_module_api* module = nullptr;
  const bp_gemm_api* gemm = nullptr;
  bool usable = false;
  std::string detail;
};
const Tables& tables();

// The last line that begins with `prefix` of what a disabled test prints in a process of its own,
// with `environment` ("A=B C=D").
std::string ask_child(const std::string& environment, const std::string& test,
                      const std::string& prefix);
// The driver is found once in a process, so a verdict for other circumstances is asked for in one
// of its own: "verdict <reason> <detail>", and what the first device is, with `environment` ("A=B
// C=D").
std::string probe_with(const std::string& environment);

// For tests of the probe that need the stand-in.
class ProbeOnMock : public ::testing::Test {
 protected:
  void SetUp() override;
};

using Words = std::vector<uint32_t>;

// Text, size and entry of a kernel, as bp.module/1 wants them.
struct Text {
  std::string text, entry, options;
  uint32_t group_threads = 0, buffer_count = 0, param_words = 0, shared_bytes = 0;
  bp_module_source source() const;
};
// y[i] = x[i] * factor + i for i < n, in groups of 64, in the dialect of the device.
Text scale_text(const kernels::Caps& caps);

struct Compiled {
  bp_status status = BP_OK;
  std::string binary, log;
};
Compiled compile(bp_device* device, const Text& text, bp_error* error);

// The text of a legalized kernel.
Text text_of(const kernels::Kernel& kernel, const kernels::Caps& caps);

// A loaded kernel, unloaded at the end of its scope. `function` is NULL when it could not be
// loaded.
struct Loaded {
  bp_module* module = nullptr;
  bp_function* function = nullptr;
  Text text;

  Loaded(bp_device* device, Text what);
  ~Loaded();
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;
};

// A launch in groups as the text says; buffers and params must outlive it.
bp_launch launch_of(const Text& text, const std::vector<bp_launch_buffer>& buffers,
                    const Words& params, uint64_t x, uint64_t y = 1);

// Skips where there is no driver; opens device 0 and a stream otherwise, and checks at the end that
// nothing leaked.
class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  bp_buffer* alloc(uint64_t bytes, uint32_t heap = 0);
  void free(bp_buffer* buffer);
  // Everything on the stream has run, and reads have arrived.
  void finish();
  Words read(bp_buffer* buffer, uint64_t words);
  void write(bp_buffer* buffer, const Words& words);

  const Tables& t = tables();
  bp_device* device = nullptr;
  bp_stream* stream = nullptr;
  bp_timeline* timeline = nullptr;
  uint64_t ticks = 0;
  uint64_t live_before = 0;
  bp_device_info info{};
  bp_device_caps caps{};
  bp_error error = BP_ERROR_INIT;
};

}  // namespace bp::gpu_suite
