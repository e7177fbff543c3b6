// SPDX-License-Identifier: Apache-2.0
// The ops that work row by row: embed, gather_rows, rms_norm, layer_norm, row_sums.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/library/embed.h"
#include "kernels/library/norm.h"
#include "kernels/library/row_sums.h"
#include "kernels/plugin/planner.h"

namespace bp::kernels {
namespace {

uint32_t embed_threads(const Caps& caps) {
  return std::max(std::min<uint32_t>(caps.max_threads, 128), caps.subgroup_size);
}

Result<DeviceKernel*> embed_kernel(const EmbedSpec& spec, Planner& planner) {
  const uint32_t threads = embed_threads(planner.caps());
  return planner.kernel(fmt::format("embed {} x{} scale {}", spec.format, spec.columns, spec.scale),
                        [&] { return build_embed(spec, threads); });
}

}  // namespace

Result<Program> plan_embed(const ops::Op& op, Planner& planner) {
  const auto shape = BP_TRY(read_shape<ops::EmbedShape>(op));
  const WeightFormat& format = format_of(shape.format);
  const uint64_t at_once = BP_TRY(planner.rows_at_once(format, shape.vocabulary, shape.columns));
  if (shape.vocabulary > INT32_MAX || shape.columns > UINT32_MAX) {
    return error(Code::kUnimplemented, "a table of {} x {}", shape.vocabulary, shape.columns);
  }
  Program program;
  program.tokens = shape.tokens;
  const EmbedSpec spec{std::string(format.name), static_cast<uint32_t>(shape.columns), shape.scale};
  Variant variant{BP_TRY(planner.maximum(shape.tokens)), {}};
  const uint64_t blocks = shape.columns / format.block_elements;
  for (uint64_t first = 0; first < shape.vocabulary; first += at_once) {
    const uint64_t rows = std::min(at_once, shape.vocabulary - first);
    const uint32_t plane = program.plane(program.weights.size());
    program.weights.push_back({1, &format, {first * blocks, rows * blocks}});
    Launch launch;
    launch.kernel = BP_TRY(embed_kernel(spec, planner));
    launch.arguments.push_back(input(0));
    for (uint32_t i = 0; i < format.plane_count; ++i) launch.arguments.push_back(weight(plane + i));
    launch.arguments.push_back(output(0));
    launch.params = {Count::of(first), Count::of(rows), Count::of(shape.vocabulary)};
    launch.grid_x = {shape.tokens, 1, 1, 0};
    launch.grid_y = Count::of(1);
    variant.launches.push_back(std::move(launch));
  }
  program.variants.push_back(std::move(variant));
  return program;
}

Result<Program> plan_gather_rows(const ops::Op& op, Planner& planner) {
  const auto shape = BP_TRY(read_shape<ops::GatherRowsShape>(op));
  if (shape.columns > UINT32_MAX) return error(Code::kUnimplemented, "rows of {}", shape.columns);
  Program program;
  program.tokens = shape.outputs;
  const EmbedSpec spec{"f32", static_cast<uint32_t>(shape.columns), 1.0f};
  Launch launch;
  launch.kernel = BP_TRY(embed_kernel(spec, planner));
  launch.arguments = {input(1), input(0), output(0)};
  launch.params = {Count::of(0), {shape.tokens, 1, 1, 0}, {shape.tokens, 1, 1, 0}};
  launch.grid_x = {shape.outputs, 1, 1, 0};
  launch.grid_y = Count::of(1);
  program.variants.push_back({BP_TRY(planner.maximum(shape.outputs)), {std::move(launch)}});
  return program;
}

namespace {

// `decodes`: it runs for single tokens, where its schedule matters.
Result<DeviceKernel*> norm_kernel(const NormSpec& spec, bool decodes, Planner& planner) {
  const std::string name = fmt::format("norm {} center {} bias {} residual {} int8 {}", spec.width,
                                       spec.center, spec.bias, spec.residual, spec.write_int8);
  if (!decodes) {
    const NormSchedule schedule = default_schedule(spec, planner.caps());
    return planner.kernel(name, [&] { return build_norm(spec, schedule); });
  }
  const auto [schedule, key] =
      planner.schedule<NormSchedule>(tunable_norm(spec, planner.caps(), name));
  return planner.kernel(key, [&, &plan = schedule] { return build_norm(spec, plan); });
}

// Both norms: gain in slot 1, the bias of `spec` in slot 2, the residual in `residual_slot`.
template <class Shape>
Result<Program> plan_norm(const Shape& shape, NormSpec spec, uint32_t residual_slot,
                          const ops::Op& op, Planner& planner) {
  if (shape.columns > UINT32_MAX) return error(Code::kUnimplemented, "rows of {}", shape.columns);
  Program program;
  program.tokens = shape.tokens;
  spec.width = static_cast<uint32_t>(shape.columns);
  spec.residual = spec.residual_in_place = shape.has_residual;
  const uint64_t most = BP_TRY(planner.maximum(shape.tokens));
  const WeightFormat& f32 = format_of(ops::Format::kF32);
  std::vector<Argument> read = {input(0), weight(use_whole(&program, 1, f32, shape.columns))};
  if (spec.bias) read.push_back(weight(use_whole(&program, 2, f32, shape.columns)));
  Int8Layout layout;
  const bool int8 = planner.is_int8(op.output(0), &layout);
  Launch launch;
  launch.kernel = BP_TRY(norm_kernel(spec, !int8, planner));
  launch.arguments = read;
  launch.arguments.push_back(output(0));
  launch.params = {float_bits(static_cast<float>(shape.eps))};
  launch.grid_x = {shape.tokens, 1, 1, 0};
  launch.grid_y = Count::of(1);
  if (shape.has_residual) {
    program.in_place.push_back(
        {residual_slot, 0, {shape.tokens, 1, shape.columns * sizeof(float), 0}});
  }
  if (int8) {
    spec.write_f32 = false;
    spec.write_int8 = true;
    Launch quantized = launch;
    quantized.kernel = BP_TRY(norm_kernel(spec, true, planner));
    quantized.arguments = read;
    quantized.arguments.push_back(quants(output(0), layout));
    quantized.arguments.push_back(scales(output(0), layout));
    program.variants.push_back({std::min(kInt8Tokens, most), {std::move(quantized)}});
    if (most <= kInt8Tokens) return program;
  }
  program.variants.push_back({most, {std::move(launch)}});
  return program;
}

}  // namespace

Result<Program> plan_rms_norm(const ops::Op& op, Planner& planner) {
  const auto shape = BP_TRY(read_shape<ops::RmsNormShape>(op));
  return plan_norm(shape, {}, 2, op, planner);
}

Result<Program> plan_layer_norm(const ops::Op& op, Planner& planner) {
  const auto shape = BP_TRY(read_shape<ops::LayerNormShape>(op));
  return plan_norm(shape, {.center = true, .bias = shape.has_bias}, 3, op, planner);
}

Result<Program> plan_row_sums(const ops::Op& op, Planner& planner) {
  const auto shape = BP_TRY(read_shape<ops::RowSumsShape>(op));
  if (shape.columns > UINT32_MAX) return error(Code::kUnimplemented, "rows of {}", shape.columns);
  const RowSumsSpec spec{static_cast<uint32_t>(shape.columns)};
  const uint32_t threads =
      std::max(std::min<uint32_t>(planner.caps().max_threads, 256), planner.caps().subgroup_size);
  Program program;
  program.tokens = shape.rows;
  Launch launch;
  launch.kernel = BP_TRY(planner.kernel(fmt::format("row_sums {}", spec.columns),
                                        [&] { return build_row_sums(spec, threads); }));
  launch.arguments = {input(0), output(0)};
  launch.grid_x = {shape.rows, 1, 1, 0};
  launch.grid_y = Count::of(1);
  program.variants.push_back({BP_TRY(planner.maximum(shape.rows)), {std::move(launch)}});
  return program;
}

}  // namespace bp::kernels
