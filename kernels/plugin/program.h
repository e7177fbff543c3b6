// SPDX-License-Identifier: Apache-2.0
// An op as launches: what a prepared kernel is. Planning an op yields a program whose numbers may
// depend on symbols only through a few fixed forms, so that running it decides nothing, allocates
// nothing and is the same calls again for the same symbols (which is what makes it replayable).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backplane/op.h"
#include "kernels/plugin/code.h"
#include "kernels/plugin/resident.h"

namespace bp::kernels {

// Where a buffer argument comes from.
struct Argument {
  enum Source : uint8_t { kInput, kOutput, kWeight, kWorkspace, kZeroed };
  Source source = kInput;
  uint32_t index = 0;   // slot of the op; for weights, of the program's planes
  uint64_t offset = 0;  // bytes, beyond the operand's own
  uint64_t bytes = 0;   // of the part of workspace or zeroed; others are bound as they are
};

// A number of a launch: ⌈value of the dimension / divide⌉ × multiply + plus.
struct Count {
  bp_dim dim{-1, 0, 0, 1};
  uint64_t divide = 1;
  uint64_t multiply = 1;
  uint64_t plus = 0;

  static Count of(uint64_t constant) { return {{-1, 0, 0, constant}, 1, 1, 0}; }
  bool evaluate(const bp_kernel_launch& launch, uint64_t* out) const noexcept;
};

// A product by the vendor's library: y = x · wᵀ, or added to what y was.
struct LibraryProduct {
  bp_gemm_shape shape{};    // size 0: the launch is one of a kernel
  bp_gemm* gemm = nullptr;  // null until the op is prepared
};

struct Launch {
  DeviceKernel* kernel = nullptr;   // null: a product of the library, see run_product()
  std::vector<Argument> arguments;  // one a buffer of the kernel
  std::vector<Count> params;        // one a param of the kernel; floats by their bits
  Count grid_x, grid_y;
  LibraryProduct product;  // its arguments: x, w, y, workspace; its one param: tokens
};

// An operand that the kernels expect in the place of an output: copied where it is elsewhere.
struct InPlace {
  uint32_t input = 0;
  uint32_t output = 0;
  Count bytes;
};

// The launches for passes of up to so many tokens.
struct Variant {
  uint64_t max_tokens = 0;
  std::vector<Launch> launches;
  std::vector<Launch> rival{};  // does the same by the library; empty where there is none
};

// Rows of an input's tensor that the program reads; its planes get consecutive numbers.
struct WeightUse {
  uint32_t input = 0;
  const WeightFormat* format = nullptr;
  BlockRange range;
};

struct Program {
  bp_dim tokens{};                // chooses the variant
  std::vector<Variant> variants;  // ascending max_tokens
  std::vector<WeightUse> weights;
  std::vector<InPlace> in_place;
  uint64_t workspace_bytes = 0;
  uint64_t zeroed_bytes = 0;
  bool is_deterministic = true;
  std::string rival_key;  // what a choice between launches and rivals depends on

  // Number of the first plane of weights[use].
  uint32_t plane(size_t use) const noexcept;
};

// A program with its weights on the device and its kernels loaded. Immutable; any thread.
struct PreparedKernel {
  const Device* device = nullptr;
  Program program;
  std::vector<std::shared_ptr<const Resident>> residents;  // as program.weights
  std::vector<Place> planes;
  ops::Op op;  // its shapes; names and attributes belong to the host and are gone

  bp_status enqueue(bp_stream* stream, const bp_kernel_launch& launch, bp_error* error) const;
  // Only these launches, whatever the number of tokens asks for. Operands are not checked.
  bp_status run_all(const std::vector<Launch>& steps, bp_stream* stream,
                    const bp_kernel_launch& launch, bp_error* error) const;

 private:
  bp_status check(const bp_kernel_launch& launch, bp_error* error) const;
  bp_status put_in_place(bp_stream* stream, const bp_kernel_launch& launch, bp_error* error) const;
  bp_status run(const Launch& step, bp_stream* stream, const bp_kernel_launch& launch,
                bp_error* error) const;
  bp_status run_product(const Launch& step, bp_stream* stream, const bp_kernel_launch& launch,
                        bp_error* error) const;
  bp_launch_buffer buffer_of(const Argument& argument, const bp_kernel_launch& launch) const;
};

}  // namespace bp::kernels
