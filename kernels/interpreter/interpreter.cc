// SPDX-License-Identifier: Apache-2.0
// Checks a launch, then runs its groups in shuffled order.
#include "kernels/interpreter/interpreter.h"

#include <utility>

#include "kernels/interpreter/machine.h"
#include "kernels/verify.h"

namespace bp::kernels {
namespace {

constexpr uint64_t kMaxGroups = 1u << 20;         // beyond this a test has lost its way
constexpr uint64_t kMaxRegisterWords = 1u << 28;  // 1 GiB of lane values

// SplitMix64: enough to shuffle with, and the same everywhere.
uint64_t next_random(uint64_t* state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

Status check_launch(const Kernel& kernel, std::span<const Binding> bindings,
                    std::span<const uint32_t> params, const RunOptions& options) {
  if (bindings.size() != kernel.buffers.size() || params.size() != kernel.params.size()) {
    return error(Code::kInvalidArgument,
                 "kernel '{}' takes {} buffers and {} params, not {} and {}", kernel.name,
                 kernel.buffers.size(), kernel.params.size(), bindings.size(), params.size());
  }
  if (uint64_t{options.grid_x} * options.grid_y > kMaxGroups) {
    return error(Code::kInvalidArgument, "{} x {} groups; the interpreter takes {}", options.grid_x,
                 options.grid_y, kMaxGroups);
  }
  uint64_t words = 0;
  for (const Inst& inst : kernel.insts) words += uint64_t{inst.type.lanes} * kernel.threads;
  if (words > kMaxRegisterWords) {
    return error(Code::kInvalidArgument, "kernel '{}' needs {} lane values", kernel.name, words);
  }
  for (size_t i = 0; i < bindings.size(); ++i) {
    if (bindings[i].written != nullptr && bindings[i].written->size() != bindings[i].words.size()) {
      return error(Code::kInvalidArgument, "binding {}: 'written' has another length", i);
    }
  }
  return {};
}

}  // namespace

Result<Counters> interpret(const Kernel& kernel, std::span<const Binding> bindings,
                           std::span<const uint32_t> params, const RunOptions& options) {
  BP_TRY(verify(kernel));
  BP_TRY(check_launch(kernel, bindings, params, options));
  Machine machine(kernel, bindings, params, options);
  BP_TRY(machine.prepare());
  std::vector<std::pair<uint32_t, uint32_t>> order;
  for (uint32_t y = 0; y < options.grid_y; ++y) {
    for (uint32_t x = 0; x < options.grid_x; ++x) order.emplace_back(x, y);
  }
  uint64_t state = options.seed;
  for (size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[next_random(&state) % i]);
  }
  for (const auto& [x, y] : order) {
    BP_TRY(machine.run_group(x, y).with_context("kernel '{}'", kernel.name));
  }
  return machine.counters();
}

}  // namespace bp::kernels
