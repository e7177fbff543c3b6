// SPDX-License-Identifier: Apache-2.0
// Interface bp.kernel/1 of the CPU plugin, and the base class of its kernels.
//
// One object of a Kernel class stands for one op. match() makes one only to ask it; prepare()
// keeps it and attaches the weights. enqueue() checks every buffer against the shapes of the op
// and calls run(), so kernels themselves see memory that is large enough and writable. What
// depends on data (ids, page numbers) kernels check on their own before they compute.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "backplane/op_shapes.h"
#include "plugins/cpu/device.h"
#include "plugins/cpu/isa.h"

namespace bp::cpu {

using namespace ops;  // Op, Operand, Reason, Format, Ranges: every line of this plugin has them

// Bytes of one weight where the host has them mapped.
struct Weight {
  Format format = Format::kF32;
  const WeightFormat* layout = nullptr;
  uint64_t matrices = 1;     // experts
  uint64_t rows = 0;         // of one matrix
  uint64_t matrix_rows = 0;  // from one matrix to the next; larger than rows for a part of it
  uint64_t columns = 0;
  const std::byte* planes[BP_MAX_PLANES] = {};

  uint64_t blocks_per_row() const noexcept { return columns / layout->block_elements; }
  // The rows [first, first + count) of every matrix.
  Weight part(uint64_t first, uint64_t count) const noexcept;
  // One matrix alone.
  Weight matrix(uint64_t index) const noexcept;
};

// One operand of a running kernel. data is NULL for weights and absent operands.
struct Span {
  std::byte* data = nullptr;
  std::array<uint64_t, kMaxRank> dims{};

  float* f32() const noexcept { return reinterpret_cast<float*>(data); }
  const int32_t* i32() const noexcept { return reinterpret_cast<const int32_t*>(data); }
};

struct Run {
  std::array<Span, kMaxInputs> in{};
  std::array<Span, kMaxOutputs> out{};
  std::byte* workspace = nullptr;  // aligned to 64
};

class Kernel {
 public:
  Kernel() = default;
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
  virtual ~Kernel() = default;

  // Takes the shape from the op, or refuses it.
  virtual bool describe(const Op& op, Reason& reason) = 0;
  // Scratch bytes at the largest symbols; false when that is not representable.
  virtual bool workspace_bytes(const Ranges& ranges, uint64_t* out) const {
    (void)ranges;
    *out = 0;
    return true;
  }
  // Keeps the pointers of the weights that describe() asked for; weights[i] belongs to input i
  // and has been checked against its shape.
  virtual void attach(const Weight* weights) { (void)weights; }
  virtual bp_status run(const Run& run, bp_error* error) const = 0;
  // Which implementation this is, for reports: "reference", "avx512 vnni".
  virtual const char* variant() const { return "reference"; }
  // Do the bits of a row depend on nothing but its own inputs?
  virtual bool is_deterministic() const { return true; }
};

extern const bp_kernel_api kKernelApi;

// The kernel for an op at a level of instructions, or NULL for an op that is not known.
std::unique_ptr<Kernel> create_kernel(std::string_view op_name, Isa isa);

}  // namespace bp::cpu
