// SPDX-License-Identifier: Apache-2.0
#include "plugins/cpu/kernel.h"

#include <cinttypes>

#include "plugins/cpu/host.h"
#include "plugins/cpu/memory.h"
#include "plugins/cpu/stream.h"

namespace bp::cpu {

// A provider bound to the device.
struct Target {
  Device* device = nullptr;
};
BP_PLUGIN_HANDLE(bp_target, Target)

// A prepared op: the kernel and what is needed to check a launch against it.
struct Prepared {
  Op op;  // its views point into name and are not used otherwise
  char name[32] = {};
  Device* device = nullptr;
  uint64_t workspace_bytes = 0;
  std::unique_ptr<Kernel> kernel;
};
BP_PLUGIN_HANDLE(bp_kernel, Prepared)

namespace {

// Bytes per nanosecond that one pass over weights reaches, and operations per nanosecond of a
// matrix product; only the order of magnitude matters, for placement.
constexpr double kStreamBytesPerNs = 20;
constexpr double kMatrixOpsPerNs = 500;

uint64_t estimate_ns(const Op& op, const Ranges& ranges) noexcept {
  double bytes = 0;
  double operations = 0;
  double rows = 1;
  if (op.output_count > 0) {
    uint64_t extent = 0;
    if (ranges.typical(op.outputs[0].dims[0], &extent)) rows = static_cast<double>(extent);
  }
  for (uint32_t i = 0; i < op.input_count; ++i) {
    if (!op.inputs[i].is_weight() || op.name == "embed") continue;
    double elements = 1;
    for (uint32_t d = 0; d < op.inputs[i].rank; ++d) {
      elements *= static_cast<double>(op.inputs[i].dims[d].offset);
    }
    const WeightFormat& format = kWeightFormats[static_cast<size_t>(op.inputs[i].format)];
    bytes +=
        elements / format.block_elements * static_cast<double>(format.bytes(format.block_elements));
    operations += 2 * elements * rows;
  }
  const double ns = bytes / kStreamBytesPerNs > operations / kMatrixOpsPerNs
                        ? bytes / kStreamBytesPerNs
                        : operations / kMatrixOpsPerNs;
  return ns < 1000 ? 1000 : ns > 1e15 ? uint64_t{1'000'000'000'000'000} : static_cast<uint64_t>(ns);
}

bp_status bind(const bp_bind_info* record, bp_target** out, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    const bp_bind_info info = glue::read_struct(record);
    if (glue::view(info.plugin_id) != "cpu" || info.device == nullptr) {
      return glue::fail(error, BP_INCOMPATIBLE, "the cpu kernels run on the cpu device only");
    }
    auto target = std::make_unique<Target>();
    target->device = unwrap(info.device);
    target->device->children.fetch_add(1);
    *out = wrap(target.release());
    return BP_OK;
  });
}

bp_status unbind(bp_target* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const std::unique_ptr<Target> target(unwrap(handle));
    if (target != nullptr) target->device->children.fetch_sub(1);
    return BP_OK;
  });
}

// Every symbol of a shape must be one that the host gave a range for.
bool symbols_are_known(const Operand& operand, const Ranges& ranges, Reason& reason) {
  for (uint32_t d = 0; d < operand.rank; ++d) {
    const int32_t symbol = operand.dims[d].symbol;
    if (symbol >= 0 && static_cast<uint32_t>(symbol) >= ranges.count) {
      return reason.no("symbol %d of %u", symbol, ranges.count);
    }
  }
  return true;
}

// A described kernel for the record, or NULL with the reason.
std::unique_ptr<Kernel> describe(const bp_op& record, const Ranges& ranges, Op* op,
                                 uint64_t* workspace_bytes, Reason& reason) {
  if (!parse_op(record, op, reason)) return nullptr;
  for (uint32_t i = 0; i < op->input_count; ++i) {
    if (!symbols_are_known(op->inputs[i], ranges, reason)) return nullptr;
  }
  for (uint32_t i = 0; i < op->output_count; ++i) {
    if (!symbols_are_known(op->outputs[i], ranges, reason)) return nullptr;
  }
  std::unique_ptr<Kernel> kernel = create_kernel(op->name, active_isa());
  if (kernel == nullptr) {
    reason.no("the op is not known");
    return nullptr;
  }
  if (!kernel->describe(*op, reason)) {
    // What a level has no inner loop for, portable code runs.
    kernel = create_kernel(op->name, Isa::kReference);
    Reason portable_reason;
    if (!kernel->describe(*op, portable_reason)) {
      reason = portable_reason;
      return nullptr;
    }
  }
  if (!kernel->workspace_bytes(ranges, workspace_bytes)) {
    reason.no("the symbol ranges are too large");
    return nullptr;
  }
  // Kernels align their workspace themselves, whatever the arena does.
  if (*workspace_bytes != 0) *workspace_bytes += 64;
  return kernel;
}

bp_status match(bp_target*, const bp_op* ops, uint64_t op_stride, uint32_t op_count,
                const bp_symbol_range* symbols, uint32_t symbol_count, bp_match* results,
                uint64_t result_stride, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Ranges ranges{symbols, symbol_count};
    for (uint32_t i = 0; i < op_count; ++i) {
      const bp_op record = glue::read_struct(glue::strided(ops, i, op_stride));
      Reason reason;
      Op op;
      bp_match answer{};
      answer.size = sizeof answer;
      const std::unique_ptr<Kernel> kernel =
          describe(record, ranges, &op, &answer.workspace_bytes, reason);
      if (kernel == nullptr) {
        answer.verdict = BP_MATCH_NO;
        glue::copy_text(answer.reason, sizeof answer.reason, reason.text());
      } else {
        answer.verdict = BP_MATCH_YES;
        const std::string_view variant = kernel->variant();
        if (kernel->is_deterministic()) answer.flags |= BP_MATCH_DETERMINISTIC;
        if (variant == "reference") answer.flags |= BP_MATCH_REFERENCE;
        answer.estimated_ns = estimate_ns(op, ranges);
        glue::copy_text(answer.reason, sizeof answer.reason, variant);
      }
      glue::write_struct(glue::strided(results, i, result_stride), answer);
    }
    return BP_OK;
  });
}

// Checks the planes of one weight against its shape.
bp_status read_weight(const Operand& operand, const bp_weight& record, uint32_t slot, Weight* out,
                      bp_error* error) {
  out->format = operand.format;
  out->layout = &kWeightFormats[static_cast<size_t>(operand.format)];
  out->columns = operand.dims[operand.rank - 1].offset;
  out->rows = operand.rank >= 2 ? operand.dims[operand.rank - 2].offset : 1;
  out->matrix_rows = out->rows;
  out->matrices = operand.rank >= 3 ? operand.dims[operand.rank - 3].offset : 1;
  if (record.plane_count != out->layout->plane_count) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "weight of input %u has %u planes, %s has %u",
                      slot, record.plane_count, out->layout->name.data(), out->layout->plane_count);
  }
  const uint64_t blocks = out->matrices * out->rows * out->blocks_per_row();
  for (uint32_t p = 0; p < record.plane_count; ++p) {
    const uint64_t needed = blocks * out->layout->planes[p].bytes_per_block;
    if (record.planes[p] == nullptr || record.bytes[p] < needed) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "weight of input %u: plane '%s' has %" PRIu64 " bytes, needed are %" PRIu64,
                        slot, out->layout->planes[p].name.data(), record.bytes[p], needed);
    }
    if (reinterpret_cast<uintptr_t>(record.planes[p]) % 4 != 0) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "weight of input %u: plane '%s' is not aligned to 4 bytes", slot,
                        out->layout->planes[p].name.data());
    }
    out->planes[p] = static_cast<const std::byte*>(record.planes[p]);
  }
  return BP_OK;
}

bp_status prepare(bp_target* target, const bp_op* record, const bp_symbol_range* symbols,
                  uint32_t symbol_count, const bp_weight* weights, uint64_t weight_stride,
                  bp_kernel** out, uint32_t* flags, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    *out = nullptr;
    if (flags != nullptr) *flags = 0;
    auto prepared = std::make_unique<Prepared>();
    Reason reason;
    prepared->kernel = describe(glue::read_struct(record), Ranges{symbols, symbol_count},
                                &prepared->op, &prepared->workspace_bytes, reason);
    if (prepared->kernel == nullptr) {
      return glue::fail(error, BP_UNIMPLEMENTED, "the cpu cannot run this op: %s", reason.text());
    }
    std::array<Weight, kMaxInputs> views;
    for (uint32_t i = 0; i < prepared->op.input_count; ++i) {
      if (!prepared->op.inputs[i].is_weight()) continue;
      const bp_weight weight = glue::read_struct(glue::strided(weights, i, weight_stride));
      const bp_status status = read_weight(prepared->op.inputs[i], weight, i, &views[i], error);
      if (status != BP_OK) return status;
    }
    prepared->kernel->attach(views.data());
    glue::copy_text(prepared->name, sizeof prepared->name, prepared->op.name);
    prepared->op.name = {};
    prepared->op.attributes = {};  // their strings belong to the host
    prepared->op.attribute_count = 0;
    prepared->device = unwrap(target)->device;
    *out = wrap(prepared.release());
    return BP_OK;
  });
}

// Evaluates the shape of one operand and checks that its buffer holds it.
bp_status resolve(const Prepared& prepared, const Operand& operand, const bp_operand_buffer& where,
                  const bp_kernel_launch& launch, bool writes, const char* kind, uint32_t slot,
                  Span* out, bp_error* error) {
  if (!operand.present() || operand.is_weight()) return BP_OK;
  bool is_valid = true;
  for (uint32_t d = 0; d < operand.rank; ++d) {
    is_valid = is_valid &&
               evaluate_dim(operand.dims[d], launch.symbols, launch.symbol_count, &out->dims[d]);
  }
  uint64_t bytes = 0;
  if (!is_valid || !operand_bytes(operand, out->dims.data(), &bytes)) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "%s in layer %d: %s %u has no valid shape",
                      prepared.name, prepared.op.layer, kind, slot);
  }
  if (bytes == 0) return BP_OK;
  const Buffer* const buffer = unwrap(where.buffer);
  if (bytes > where.bytes || !range_fits(buffer, where.offset, bytes)) {
    return glue::fail(error, BP_INVALID_ARGUMENT,
                      "%s in layer %d: %s %u needs %" PRIu64 " bytes, its buffer offers less",
                      prepared.name, prepared.op.layer, kind, slot, bytes);
  }
  if (writes && buffer->read_only) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "%s in layer %d: %s %u was imported read-only",
                      prepared.name, prepared.op.layer, kind, slot);
  }
  out->data = buffer->data + where.offset;
  if (reinterpret_cast<uintptr_t>(out->data) % 4 != 0) {
    return glue::fail(error, BP_INVALID_ARGUMENT, "%s in layer %d: %s %u is not aligned to 4 bytes",
                      prepared.name, prepared.op.layer, kind, slot);
  }
  return BP_OK;
}

bp_status resolve_workspace(const Prepared& prepared, const bp_operand_buffer& where,
                            std::byte** out, bp_error* error) {
  if (prepared.workspace_bytes == 0) return BP_OK;
  const Buffer* const buffer = unwrap(where.buffer);
  if (where.bytes < prepared.workspace_bytes ||
      !range_fits(buffer, where.offset, prepared.workspace_bytes) || buffer->read_only) {
    return glue::fail(error, BP_INVALID_ARGUMENT,
                      "%s in layer %d: the workspace must have %" PRIu64 " writable bytes",
                      prepared.name, prepared.op.layer, prepared.workspace_bytes);
  }
  std::byte* const begin = buffer->data + where.offset;
  *out = begin + (64 - reinterpret_cast<uintptr_t>(begin) % 64) % 64;
  return BP_OK;
}

bp_status enqueue(bp_kernel* handle, bp_stream*, const bp_kernel_launch* record, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    const Prepared& prepared = *unwrap(handle);
    const Op& op = prepared.op;
    const bp_kernel_launch launch = glue::read_struct(record);
    if (launch.input_count < op.input_count || launch.output_count < op.output_count) {
      return glue::fail(error, BP_INVALID_ARGUMENT,
                        "%s in layer %d: %u inputs and %u outputs were given, %u and %u are needed",
                        prepared.name, op.layer, launch.input_count, launch.output_count,
                        op.input_count, op.output_count);
    }
    Run run;
    for (uint32_t i = 0; i < op.input_count; ++i) {
      const bool writes = op.inputs[i].role == BP_ROLE_STATE;
      const bp_status status = resolve(prepared, op.inputs[i], launch.inputs[i], launch, writes,
                                       "input", i, &run.in[i], error);
      if (status != BP_OK) return status;
    }
    for (uint32_t i = 0; i < op.output_count; ++i) {
      const bp_status status = resolve(prepared, op.outputs[i], launch.outputs[i], launch, true,
                                       "output", i, &run.out[i], error);
      if (status != BP_OK) return status;
    }
    const bp_status status = resolve_workspace(prepared, launch.workspace, &run.workspace, error);
    if (status != BP_OK) return status;
    return prepared.kernel->run(run, error);
  });
}

bp_status release(bp_kernel* handle, bp_error* error) {
  return glue::fenced(error, [&]() -> bp_status {
    delete unwrap(handle);
    return BP_OK;
  });
}

}  // namespace

Weight Weight::part(uint64_t first, uint64_t count) const noexcept {
  Weight out = *this;
  out.rows = count;
  for (uint32_t p = 0; p < layout->plane_count; ++p) {
    out.planes[p] += first * blocks_per_row() * layout->planes[p].bytes_per_block;
  }
  return out;
}

Weight Weight::matrix(uint64_t index) const noexcept {
  Weight out = part(index * matrix_rows, rows);
  out.matrices = 1;
  return out;
}

const bp_kernel_api kKernelApi = {
    sizeof(bp_kernel_api), 0, bind, unbind, match, prepare, enqueue, release, nullptr, nullptr,
};

}  // namespace bp::cpu
