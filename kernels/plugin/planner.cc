// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "core/base/checked.h"
#include "kernels/library/norm.h"

namespace bp::kernels {
namespace {

// Activations, inputs and caches are bound whole.
Status check_range(const ops::Operand& operand, const Planner& planner, const char* kind,
                   uint32_t slot) {
  if (!operand.present() || operand.is_weight()) return {};
  uint64_t extents[ops::kMaxRank] = {}, bytes = 0;
  for (uint32_t i = 0; i < operand.rank; ++i) {
    extents[i] = BP_TRY(planner.maximum(operand.dims[i]));
  }
  if (!ops::operand_bytes(operand, extents, &bytes)) bytes = ~uint64_t{0};
  const uint64_t limit = planner.caps().max_buffer_range_bytes;
  if (bytes <= limit) return {};
  return error(Code::kFailedPrecondition, "{} {} has up to {} bytes, the device binds {} at once",
               kind, slot, bytes, limit);
}

using Plan = Result<Program> (*)(const ops::Op&, Planner&);
struct Family {
  std::string_view name;
  Plan plan;
};
constexpr Family kFamilies[] = {
    {"linear", plan_linear},
    {"linear_glu", plan_linear_glu},
    {"embed", plan_embed},
    {"gather_rows", plan_gather_rows},
    {"rms_norm", plan_rms_norm},
    {"layer_norm", plan_layer_norm},
    {"row_sums", plan_row_sums},
    {"rope_kv_write", plan_rope_kv_write},
    {"attention", plan_attention},
    {"moe_route", plan_moe_route},
    {"moe_linear_glu", plan_moe_linear_glu},
    {"moe_linear", plan_moe_linear},
};

}  // namespace

Result<uint64_t> Planner::maximum(const bp_dim& dim) const {
  uint64_t value = 0;
  if (ranges_.maximum(dim, &value)) return value;
  return error(Code::kInvalidArgument, "a dimension whose symbol has no range");
}

Result<uint64_t> Planner::typical(const bp_dim& dim) const {
  uint64_t value = 0;
  if (ranges_.typical(dim, &value)) return value;
  return error(Code::kInvalidArgument, "a dimension whose symbol has no range");
}

Result<uint64_t> Planner::rows_at_once(const WeightFormat& format, uint64_t rows,
                                       uint64_t columns) const {
  const uint64_t blocks = columns / format.block_elements;
  uint64_t largest = 0, total = 0;
  for (uint32_t i = 0; i < format.plane_count; ++i) {
    const uint64_t bytes = blocks * format.planes[i].bytes_per_block;
    largest = std::max(largest, bytes);
    total += bytes;
  }
  // Planes of an upload share an allocation and begin at multiples of a few hundred bytes.
  const uint64_t room =
      device_.max_allocation_bytes - std::min<uint64_t>(device_.max_allocation_bytes, 4096);
  uint64_t fit = std::min(device_.caps.max_buffer_range_bytes / largest, room / total);
  if (fit >= rows) return rows;
  fit = fit / 64 * 64;  // whole tiles
  if (fit != 0) return fit;
  return error(Code::kFailedPrecondition, "64 rows of {} {} are more than the device binds at once",
               columns, format.name);
}

bool Planner::is_int8(const ops::Operand& value, Int8Layout* layout) const {
  uint64_t tokens = 0, columns = 0;
  return placement_ != nullptr && placement_->int8_values.contains(value.value) &&
         ranges_.maximum(value.dims[0], &tokens) && value.constant_dim(1, &columns) &&
         int8_layout(device_, tokens, columns, layout);
}

Result<Launch> quantize_launch(const bp_dim& tokens, uint64_t columns, const Argument& from,
                               const Int8Layout& layout, Planner& planner) {
  const NormSpec spec{.width = static_cast<uint32_t>(columns),
                      .normalize = false,
                      .write_f32 = false,
                      .write_int8 = true};
  const NormSchedule schedule = default_schedule(spec, planner.caps());
  Launch launch;
  launch.kernel = BP_TRY(planner.kernel(fmt::format("quantize {}", columns),
                                        [&] { return build_norm(spec, schedule); }));
  launch.arguments = {from, quants(output(0), layout), scales(output(0), layout)};
  launch.grid_x = {tokens, 1, 1, 0};
  launch.grid_y = Count::of(1);
  return launch;
}

uint64_t staging_bytes(const Device& device, uint64_t tokens, uint64_t columns) {
  if (!device.caps.dot4) return 0;
  return std::min(tokens, kInt8Tokens) * columns * sizeof(float);
}

Activation activation_of(ops::Activation activation) {
  switch (activation) {
    case ops::Activation::kSilu:
      return Activation::kSilu;
    case ops::Activation::kGelu:
      return Activation::kGelu;
    case ops::Activation::kGeluTanh:
      return Activation::kGeluTanh;
    case ops::Activation::kNone:
      break;
  }
  return Activation::kNone;
}

uint32_t use_whole(Program* program, uint32_t input, const WeightFormat& format,
                   uint64_t elements) {
  const uint32_t plane = program->plane(program->weights.size());
  program->weights.push_back({input, &format, {0, elements / format.block_elements}});
  return plane;
}

Count float_bits(float value) {
  return Count::of(std::bit_cast<uint32_t>(value));
}

Result<Program> plan_op(const ops::Op& op, Planner& planner) {
  const auto* family = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                    [&](const Family& f) { return f.name == op.name; });
  if (family == std::end(kFamilies)) return error(Code::kUnimplemented, "the op is not known");
  for (uint32_t i = 0; i < op.input_count; ++i) {
    BP_TRY(check_range(op.inputs[i], planner, "input", i));
  }
  for (uint32_t i = 0; i < op.output_count; ++i) {
    BP_TRY(check_range(op.outputs[i], planner, "output", i));
  }
  return family->plan(op, planner);
}

}  // namespace bp::kernels
