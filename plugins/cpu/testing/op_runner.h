// SPDX-License-Identifier: Apache-2.0
// Runs one op through the plugin's tables, for tests: every operand is memory of exactly its size,
// imported in place, so that AddressSanitizer sees each byte too far.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "backplane/formats.h"
#include "backplane/plugin_glue.h"
#include "plugins/cpu/testing/test_host.h"

namespace bp::cpu::testing {

// The plugin, initialised for a level of instructions ("" for the best one) on an opened device.
class OpenPlugin {
 public:
  explicit OpenPlugin(const char* isa = "", uint32_t workers = 2);
  ~OpenPlugin();
  OpenPlugin(const OpenPlugin&) = delete;
  OpenPlugin& operator=(const OpenPlugin&) = delete;

  const bp_device_api* device_api = nullptr;
  const bp_memory_api* memory_api = nullptr;
  const bp_stream_api* stream_api = nullptr;
  const bp_kernel_api* kernel_api = nullptr;
  const bp_plugin_api* plugin_api = nullptr;
  bp_device* device = nullptr;
  bp_stream* stream = nullptr;
  bp_target* target = nullptr;
  bool initialised = false;

 private:
  TestHost host_;
};

// One weight: planes of exactly the size its shape needs.
struct TestWeight {
  const WeightFormat* format = nullptr;
  std::vector<uint64_t> dims;
  std::vector<std::vector<std::byte>> planes;

  // Random quants with scales of sensible size; the same for the same seed.
  static TestWeight random(std::string_view format, std::vector<uint64_t> dims, uint32_t seed);
  static TestWeight f32(std::vector<uint64_t> dims, const std::vector<float>& values);
  std::vector<float> dequantized() const;
};

// Uniform in [-1, 1), the same for the same seed.
std::vector<float> random_floats(size_t count, uint32_t seed);

class OpRunner {
 public:
  explicit OpRunner(std::string name) : name_(std::move(name)) {}

  OpRunner& attribute(std::string name, int64_t value);
  OpRunner& attribute(std::string name, double value);
  OpRunner& attribute(std::string name, std::string value);
  OpRunner& absent();
  OpRunner& input(std::vector<uint64_t> dims, const std::vector<float>& values);
  OpRunner& input(std::vector<uint64_t> dims, const std::vector<int32_t>& values);
  OpRunner& weight(const TestWeight& weight);
  // A KV cache, whose bytes state(slot) gives back.
  OpRunner& state(std::string format, std::vector<uint64_t> dims,
                  const std::vector<std::byte>& bytes);
  OpRunner& output(std::vector<uint64_t> dims, std::string format = "f32");
  // The output shares the memory of input `slot`.
  OpRunner& output_in_place(uint32_t slot);

  // match, prepare, enqueue once. The verdict or error text is kept in `message`.
  bp_status run(OpenPlugin& plugin);

  std::vector<float> result(uint32_t slot = 0) const;
  std::vector<int32_t> int_result(uint32_t slot = 0) const;
  const std::vector<std::byte>& state(uint32_t slot) const { return inputs_[slot].bytes; }

  std::string message;
  std::string variant;
  // Replaced before run() by tests of hostile launches.
  std::vector<uint64_t> workspace_limit;

 private:
  struct Slot {
    int32_t role = BP_ROLE_NONE;
    std::string format;
    std::vector<uint64_t> dims;
    std::vector<std::byte> bytes;
    TestWeight weight;
    int shares_input = -1;
  };
  OpRunner& add_input(int32_t role, std::string format, std::vector<uint64_t> dims,
                      const void* data, size_t bytes);
  const Slot& storage(const Slot& slot) const {
    return slot.shares_input < 0 ? slot : inputs_[static_cast<size_t>(slot.shares_input)];
  }

  struct Attribute {
    std::string name;
    int32_t kind;
    int64_t int_value = 0;
    double float_value = 0;
    std::string string_value = {};
  };
  std::string name_;
  std::deque<Attribute> attributes_;
  std::deque<Slot> inputs_;
  std::deque<Slot> outputs_;
};

}  // namespace bp::cpu::testing
