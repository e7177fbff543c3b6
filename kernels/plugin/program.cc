// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/program.h"

namespace bp::kernels {

bool Count::evaluate(const bp_kernel_launch& launch, uint64_t* out) const noexcept {
  uint64_t value = 0;
  if (!ops::evaluate_dim(dim, launch.symbols, launch.symbol_count, &value)) return false;
  return !__builtin_mul_overflow(value / divide + (value % divide != 0 ? 1 : 0), multiply, out) &&
         !__builtin_add_overflow(*out, plus, out);
}

uint32_t Program::plane(size_t use) const noexcept {
  uint32_t first = 0;
  for (size_t i = 0; i < use; ++i) first += weights[i].format->plane_count;
  return first;
}

bp_launch_buffer PreparedKernel::buffer_of(const Argument& argument,
                                           const bp_kernel_launch& launch) const {
  if (argument.source == Argument::kWeight) {
    const Place& place = planes[argument.index];
    return {place.buffer, place.offset + argument.offset, place.bytes - argument.offset};
  }
  const bp_operand_buffer& operand =
      argument.source == Argument::kInput    ? launch.inputs[argument.index]
      : argument.source == Argument::kOutput ? launch.outputs[argument.index]
      : argument.source == Argument::kZeroed ? launch.zeroed
                                             : launch.workspace;
  const uint64_t bytes = argument.bytes != 0               ? argument.bytes
                         : operand.bytes > argument.offset ? operand.bytes - argument.offset
                                                           : 0;
  return {operand.buffer, operand.offset + argument.offset, bytes};
}

namespace {

bp_status check_operand(const ops::Operand& operand, const bp_operand_buffer& where,
                        const bp_kernel_launch& launch, const char* kind, uint32_t slot,
                        bp_error* error) {
  if (!operand.present() || operand.is_weight()) return BP_OK;
  uint64_t extents[ops::kMaxRank] = {}, bytes = 0;
  bool is_valid = true;
  for (uint32_t d = 0; d < operand.rank; ++d) {
    is_valid = is_valid &&
               ops::evaluate_dim(operand.dims[d], launch.symbols, launch.symbol_count, &extents[d]);
  }
  if (!is_valid || !ops::operand_bytes(operand, extents, &bytes)) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "%s %u has no valid shape", kind, slot);
  }
  if (bytes <= where.bytes) return BP_OK;
  return glue::fail(error, BP_INVALID_ARGUMENT, "%s %u needs %llu bytes, %llu were given", kind,
                    slot, static_cast<unsigned long long>(bytes),
                    static_cast<unsigned long long>(where.bytes));
}

}  // namespace

// Kernels index by shape alone, so every shape has to fit where the host says the operand lies.
bp_status PreparedKernel::check(const bp_kernel_launch& launch, bp_error* error) const {
  if (launch.input_count < op.input_count || launch.output_count < op.output_count) {
    return glue::fail(error, BP_INVALID_ARGUMENT,
                      "%u inputs and %u outputs were given, %u and %u are needed",
                      launch.input_count, launch.output_count, op.input_count, op.output_count);
  }
  for (uint32_t i = 0; i < op.input_count; ++i) {
    const bp_status s = check_operand(op.inputs[i], launch.inputs[i], launch, "input", i, error);
    if (s != BP_OK) return s;
  }
  for (uint32_t i = 0; i < op.output_count; ++i) {
    const bp_status s = check_operand(op.outputs[i], launch.outputs[i], launch, "output", i, error);
    if (s != BP_OK) return s;
  }
  if (launch.workspace.bytes < program.workspace_bytes) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "the workspace must have %llu bytes",
                      static_cast<unsigned long long>(program.workspace_bytes));
  }
  if (launch.zeroed.bytes < program.zeroed_bytes) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "the zeroed memory must have %llu bytes",
                      static_cast<unsigned long long>(program.zeroed_bytes));
  }
  return BP_OK;
}

bp_status PreparedKernel::put_in_place(bp_stream* stream, const bp_kernel_launch& launch,
                                       bp_error* error) const {
  for (const InPlace& pair : program.in_place) {
    const bp_operand_buffer& from = launch.inputs[pair.input];
    const bp_operand_buffer& to = launch.outputs[pair.output];
    if (from.buffer == to.buffer && from.offset == to.offset) continue;
    uint64_t bytes = 0;
    if (!pair.bytes.evaluate(launch, &bytes)) {
      return glue::fail(error, BP_INVALID_ARGUMENT, "the launch lacks a symbol");
    }
    const bp_status status =
        device->stream->copy(stream, to.buffer, to.offset, from.buffer, from.offset, bytes, error);
    if (status != BP_OK) return status;
  }
  return BP_OK;
}

bp_status PreparedKernel::run_product(const Launch& step, bp_stream* stream,
                                      const bp_kernel_launch& launch, bp_error* error) const {
  bp_gemm_launch record{};
  record.size = sizeof record;
  if (step.product.gemm == nullptr || !step.params[0].evaluate(launch, &record.tokens)) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "a product is not ready or lacks a symbol");
  }
  record.x = buffer_of(step.arguments[0], launch);
  record.w = buffer_of(step.arguments[1], launch);
  record.y = buffer_of(step.arguments[2], launch);
  record.workspace = buffer_of(step.arguments[3], launch);
  return device->gemm->enqueue(step.product.gemm, stream, &record, error);
}

bp_status PreparedKernel::run(const Launch& step, bp_stream* stream, const bp_kernel_launch& launch,
                              bp_error* error) const {
  if (step.product.shape.size != 0) return run_product(step, stream, launch, error);
  std::array<bp_launch_buffer, kMaxBuffers> buffers;
  std::array<uint32_t, kMaxParams> params;
  for (size_t i = 0; i < step.arguments.size(); ++i) {
    buffers[i] = buffer_of(step.arguments[i], launch);
    if (buffers[i].buffer == nullptr || buffers[i].offset % device->offset_alignment != 0) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "kernel '%s': buffer %zu is missing or not at a multiple of %llu bytes",
                        step.kernel->kernel.name.c_str(), i,
                        static_cast<unsigned long long>(device->offset_alignment));
    }
  }
  for (size_t i = 0; i < step.params.size(); ++i) {
    uint64_t value = 0;
    if (!step.params[i].evaluate(launch, &value) || value > UINT32_MAX) {
      return glue::fail(error, BP_INVALID_ARGUMENT, "kernel '%s': param %zu is out of range",
                        step.kernel->kernel.name.c_str(), i);
    }
    params[i] = static_cast<uint32_t>(value);
  }
  bp_launch record{};
  record.size = sizeof record;
  record.buffer_count = static_cast<uint32_t>(step.arguments.size());
  record.param_words = static_cast<uint32_t>(step.params.size());
  record.group_threads = step.kernel->kernel.threads;
  record.grid[2] = 1;
  record.buffers = buffers.data();
  record.params = params.data();
  if (!step.grid_x.evaluate(launch, &record.grid[0]) ||
      !step.grid_y.evaluate(launch, &record.grid[1])) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "kernel '%s': the grid is out of range",
                      step.kernel->kernel.name.c_str());
  }
  if (record.grid[0] == 0 || record.grid[1] == 0) return BP_OK;
  return device->module->launch(stream, step.kernel->function, &record, error);
}

bp_status PreparedKernel::run_all(const std::vector<Launch>& steps, bp_stream* stream,
                                  const bp_kernel_launch& launch, bp_error* error) const {
  for (const Launch& step : steps) {
    if (const bp_status s = run(step, stream, launch, error)) return s;
  }
  return BP_OK;
}

bp_status PreparedKernel::enqueue(bp_stream* stream, const bp_kernel_launch& launch,
                                  bp_error* error) const {
  if (const bp_status s = check(launch, error)) return s;
  uint64_t tokens = 0;
  if (!ops::evaluate_dim(program.tokens, launch.symbols, launch.symbol_count, &tokens)) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "the launch lacks a symbol");
  }
  if (tokens == 0) return BP_OK;
  for (const Variant& variant : program.variants) {
    if (tokens > variant.max_tokens) continue;
    if (const bp_status s = put_in_place(stream, launch, error)) return s;
    return run_all(variant.launches, stream, launch, error);
  }
  return glue::fail(error, BP_INVALID_ARGUMENT,
                    "%llu tokens are more than the kernel was "
                    "prepared for",
                    static_cast<unsigned long long>(tokens));
}

}  // namespace bp::kernels
