// SPDX-License-Identifier: Apache-2.0
// The expert ops.
#include "kernels/library/moe.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/plugin/planner.h"

namespace bp::kernels {
namespace {

// An expert product with the slots it reads; a grid row for each token, or token and expert.
struct ExpertProduct {
  MoeLinearSpec spec;
  bp_dim tokens{};
  uint64_t grid_rows_per_token = 1;
  std::vector<Argument> after_x;  // ids, and weights where the op has them
};

Result<MoeLinearSpec> spec_of(ops::Format format, uint64_t experts, uint64_t used, uint64_t rows,
                              uint64_t columns) {
  if (std::max({experts, rows, columns}) > UINT32_MAX / 2) {
    return error(Code::kUnimplemented, "{} experts of {} x {}", experts, rows, columns);
  }
  MoeLinearSpec spec;
  spec.format = format_name(format);
  spec.experts = static_cast<uint32_t>(experts);
  spec.used = static_cast<uint32_t>(used);
  spec.rows = static_cast<uint32_t>(rows);
  spec.columns = static_cast<uint32_t>(columns);
  return spec;
}

Result<Program> plan_experts(const ExpertProduct& p, Planner& planner) {
  const MoeLinearSpec& s = p.spec;
  BP_TRY(check_moe_linear(s, planner.caps()));
  const uint64_t most = BP_TRY(planner.maximum(p.tokens));
  if (most > planner.device().max_grid[1] / p.grid_rows_per_token) {
    return error(Code::kUnimplemented, "{} tokens are more than a grid of the device has", most);
  }
  Program program;
  program.tokens = p.tokens;
  const WeightFormat& format = *find_weight_format(s.format);
  const uint64_t elements =
      uint64_t{s.experts} * s.rows * s.columns * (s.glu && !s.separate_up ? 2 : 1);
  const uint32_t first = use_whole(&program, 1, format, elements);
  if (s.separate_up) use_whole(&program, 3, format, elements);
  const auto [schedule, key] = planner.schedule<GemvSchedule>(
      tunable_moe_linear(s, planner.caps(),
                         fmt::format("moe {} e{} k{} {}x{} glu {}{} act {} residual {}", s.format,
                                     s.experts, s.used, s.rows, s.columns, s.glu, s.separate_up,
                                     static_cast<int>(s.activation), s.residual)));
  Launch launch;
  launch.kernel =
      BP_TRY(planner.kernel(key, [&, &plan = schedule] { return build_moe_linear(s, plan); }));
  launch.arguments.reserve(kMaxBuffers);
  for (uint32_t plane = first; plane < program.plane(program.weights.size()); ++plane) {
    launch.arguments.push_back(weight(plane));
  }
  launch.arguments.push_back(input(0));
  for (const Argument& argument : p.after_x) launch.arguments.push_back(argument);
  launch.arguments.push_back(output(0));
  launch.grid_x = Count::of(moe_linear_groups(s, schedule));
  launch.grid_y = {p.tokens, 1, p.grid_rows_per_token, 0};
  if (s.residual) {
    program.in_place.push_back({4, 0, {p.tokens, 1, uint64_t{s.rows} * sizeof(float), 0}});
  }
  program.variants.push_back({most, {std::move(launch)}});
  return program;
}

}  // namespace

Result<Program> plan_moe_route(const ops::Op& op, Planner& planner) {
  const auto shape = BP_TRY(read_shape<ops::MoeRouteShape>(op));
  Program program;
  program.tokens = shape.tokens;
  const MoeRouteSpec spec{static_cast<uint32_t>(shape.experts),
                          static_cast<uint32_t>(shape.experts_used), shape.normalize};
  const uint32_t threads = moe_route_threads(spec, planner.caps());
  Launch launch;
  launch.kernel = BP_TRY(planner.kernel(
      fmt::format("route {} of {} normalize {}", spec.used, spec.experts, spec.normalize),
      [&] { return build_moe_route(spec, threads); }));
  launch.arguments = {input(0), output(0), output(1)};
  launch.grid_x = {shape.tokens, 1, 1, 0};
  launch.grid_y = Count::of(1);
  program.variants.push_back({BP_TRY(planner.maximum(shape.tokens)), {std::move(launch)}});
  return program;
}

Result<Program> plan_moe_linear_glu(const ops::Op& op, Planner& planner) {
  const auto shape = BP_TRY(read_shape<ops::MoeLinearGluShape>(op));
  if (shape.gate_format != shape.up_format) {
    return error(Code::kUnimplemented, "gate is {} and up is {}", format_name(shape.gate_format),
                 format_name(shape.up_format));
  }
  ExpertProduct p;
  p.spec = BP_TRY(
      spec_of(shape.gate_format, shape.experts, shape.experts_used, shape.rows, shape.columns));
  p.spec.glu = true;
  p.spec.separate_up = !shape.is_merged;
  p.spec.activation = activation_of(shape.activation);
  p.tokens = shape.tokens;
  p.grid_rows_per_token = shape.experts_used;
  p.after_x = {input(2)};
  return plan_experts(p, planner);
}

Result<Program> plan_moe_linear(const ops::Op& op, Planner& planner) {
  const auto shape = BP_TRY(read_shape<ops::MoeLinearShape>(op));
  ExpertProduct p;
  p.spec =
      BP_TRY(spec_of(shape.format, shape.experts, shape.experts_used, shape.rows, shape.columns));
  p.spec.residual = p.spec.residual_in_place = shape.has_residual;
  p.tokens = shape.tokens;
  p.after_x = {input(2), input(3)};
  return plan_experts(p, planner);
}

}  // namespace bp::kernels
