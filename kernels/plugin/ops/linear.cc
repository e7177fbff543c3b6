// SPDX-License-Identifier: Apache-2.0
// linear and linear_glu: a GEMV for a few tokens, a GEMM for more; matrices too large for one
// binding in parts.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "kernels/library/gemm.h"
#include "kernels/library/gemv.h"
#include "kernels/library/quantize.h"
#include "kernels/library/weights.h"
#include "kernels/plugin/ops/vendor_product.h"
#include "kernels/plugin/planner.h"

namespace bp::kernels {
namespace {

// Tokens that share one read of the weights, by GEMV variant. Larger passes take the GEMM.
constexpr uint32_t kTokensAtOnce[] = {1, 4, kInt8Tokens};

// A product with the weights of an op, as both ops need it.
struct Product {
  GemvSpec spec;      // without rows and tokens
  uint64_t rows = 0;  // of y
  bp_dim tokens{};
  uint32_t gate_input = 1, up_input = 0;  // up_input 0: merged or none
  bool has_bias = false;
  int32_t residual_input = -1;
  bool reads_int8 = false, writes_int8 = false;  // x and y, in passes of up to kInt8Tokens
  Int8Layout x_layout, y_layout;
  uint64_t staging_bytes = 0;  // of the workspace, for y before it is int8
};

// Planes of the rows [first, first + count) of one matrix.
void use_rows(Program* program, const Product& p, uint32_t input, uint64_t first, uint64_t count) {
  const WeightFormat& format = *find_weight_format(p.spec.format);
  const uint64_t blocks = p.spec.columns / format.block_elements;
  program->weights.push_back({input, &format, {first * blocks, count * blocks}});
}

std::string key_of(const GemvSpec& s) {
  return fmt::format("gemv {} {}/{}x{} t{} int8 {} glu {}{} bias {} residual {} act {} cap {}{}",
                     s.format, s.rows, s.y_rows, s.columns, s.tokens, s.int8, s.glu, s.separate_up,
                     s.bias, s.residual, static_cast<int>(s.activation), s.softcap,
                     s.write_int8 ? " to int8" : "");
}

// One part of the rows, whose planes are those of weights[first_use …].
struct Part {
  GemvSpec spec;  // but for the tokens
  uint64_t first_row = 0;
  size_t first_use = 0;
  int32_t bias_plane = -1;
  bool whole_blocks = false;  // of int8, this part and all others
};

Argument staging(const Product& p) {
  return {Argument::kWorkspace, 0, 0, p.staging_bytes};
}

// How a product that is read as int8 becomes that: by itself, or from the workspace.
enum class Int8Output : uint8_t { kNone, kItself, kStaged };

// The same for all parts of a product, since one launch quantizes what all of them staged.
Int8Output int8_output(const Product& p, const Part& part, GemvSpec spec, const Planner& planner) {
  if (!p.writes_int8) return Int8Output::kNone;
  if (!part.whole_blocks) return Int8Output::kStaged;
  spec.write_int8 = true;
  const uint32_t planes = find_weight_format(spec.format)->plane_count * (spec.separate_up ? 2 : 1);
  const uint32_t buffers = planes + (p.reads_int8 ? 2 : 1) + (spec.bias ? 1 : 0) + 2;
  const bool fits = buffers <= planner.caps().max_buffers &&
                    schedules_int8(spec, default_schedule(spec, planner.caps()));
  return fits ? Int8Output::kItself : Int8Output::kStaged;
}

void bind_part(const Product& p, const Part& part, const Program& program, bool small,
               Int8Output output_kind, Launch* launch) {
  const uint32_t uses = part.spec.separate_up ? 2 : 1;
  const uint32_t last = program.plane(part.first_use + uses);
  launch->arguments.reserve(kMaxBuffers);
  for (uint32_t plane = program.plane(part.first_use); plane < last; ++plane) {
    launch->arguments.push_back(weight(plane));
  }
  if (small && p.reads_int8) {
    launch->arguments.push_back(quants(input(0), p.x_layout));
    launch->arguments.push_back(scales(input(0), p.x_layout));
  } else {
    launch->arguments.push_back(input(0));
  }
  if (part.bias_plane >= 0) {
    launch->arguments.push_back(weight(static_cast<uint32_t>(part.bias_plane)));
  }
  if (output_kind == Int8Output::kItself) {
    launch->arguments.push_back(quants(output(0), p.y_layout));
    launch->arguments.push_back(scales(output(0), p.y_layout));
  } else {
    launch->arguments.push_back(output_kind == Int8Output::kStaged ? staging(p) : output(0));
  }
  launch->params = {{p.tokens, 1, 1, 0}, Count::of(part.first_row)};
}

// `small`: a pass whose values may be int8.
Result<Launch> gemv_launch(const Product& p, const Part& part, uint32_t tokens, bool small,
                           const Program& program, Planner& planner) {
  GemvSpec spec = part.spec;
  spec.tokens = tokens;
  spec.int8 = small && p.reads_int8;
  const Int8Output to = small ? int8_output(p, part, spec, planner) : Int8Output::kNone;
  spec.write_int8 = to == Int8Output::kItself;
  const auto [schedule, key] =
      planner.schedule<GemvSchedule>(tunable_gemv(spec, planner.caps(), key_of(spec)));
  Launch launch;
  launch.kernel =
      BP_TRY(planner.kernel(key, [&, &plan = schedule] { return build_gemv(spec, plan); }));
  bind_part(p, part, program, small, to, &launch);
  launch.grid_x = Count::of(gemv_groups(spec, schedule));
  launch.grid_y = {p.tokens, tokens, 1, 0};
  return launch;
}

Result<Launch> gemm_launch(const Product& p, const Part& part, uint64_t tokens,
                           const Program& program, Planner& planner) {
  const GemvSpec& s = part.spec;
  const GemmSpec spec{.format = s.format,
                      .rows = s.rows,
                      .columns = s.columns,
                      .y_stride = s.y_rows,
                      .glu = s.glu,
                      .separate_up = s.separate_up,
                      .bias = s.bias,
                      .residual = s.residual,
                      .residual_in_place = s.residual_in_place,
                      .activation = s.activation,
                      .softcap = s.softcap};
  const auto about = static_cast<uint32_t>(std::min<uint64_t>(tokens, UINT32_MAX));
  GemmSchedule standard = default_schedule(spec, planner.caps(), about);
  // Matrix units round to f16: not what weights of full precision are kept for.
  GemmSchedule matrix;
  if (s.format != "f32" && matrix_schedule(spec, planner.caps(), about, &matrix)) {
    standard = matrix;
  }
  const auto [schedule, key] = planner.schedule<GemmSchedule>(
      tunable_gemm(spec, standard, tokens, planner.caps(), key_of(s) + " gemm"));
  Launch launch;
  launch.kernel =
      BP_TRY(planner.kernel(key, [&, &plan = schedule] { return build_gemm(spec, plan); }));
  bind_part(p, part, program, false, Int8Output::kNone, &launch);
  launch.grid_x = {p.tokens, schedule.tile_tokens, 1, 0};
  launch.grid_y = Count::of(gemm_groups(spec, schedule, 1).y);
  return launch;
}

bool writes_workspace(const Launch& launch) {
  return std::any_of(launch.arguments.begin(), launch.arguments.end(),
                     [](const Argument& a) { return a.source == Argument::kWorkspace; });
}

// Variants by the size of a pass, without launches yet.
std::vector<Variant> variants_for(uint64_t most) {
  std::vector<Variant> out;
  for (const uint32_t tokens : kTokensAtOnce) {
    out.push_back({std::min<uint64_t>(tokens, most), {}});
    if (tokens >= most) return out;
  }
  out.push_back({most, {}});
  return out;
}

// Passes that the library may compute, each bucket on its own; what is below stays ours.
std::vector<Variant> with_rivals(std::vector<Variant> variants) {
  const uint64_t most = variants.back().max_tokens;
  variants.back().max_tokens = kVendorTokens - 1;
  for (const uint64_t bucket : kVendorBuckets) {
    if (bucket < most) variants.push_back({bucket, {}});
  }
  variants.push_back({most, {}});
  return variants;
}

// What is measured once: everything that decides how long either way takes, in words for the log.
std::string rival_key(const GemvSpec& s, uint64_t most) {
  return fmt::format("{} {} [{}, {}]{}{}, activation {}, soft cap {}, {} tokens at most",
                     s.glu ? "linear_glu" : "linear", s.format, s.rows, s.columns,
                     s.bias ? ", bias" : "", s.residual ? ", residual" : "",
                     static_cast<int>(s.activation), s.softcap, most);
}

Status add_rivals(const Product& p, const Part& part, const VendorLayout& layout, Planner& planner,
                  Program* program) {
  const VendorPart vendor{
      .spec = part.spec,
      .first_row = part.first_row,
      .gate_plane = program->plane(part.first_use),
      .up_plane = program->plane(part.first_use + (part.spec.separate_up ? 1 : 0)),
      .up_first_row = part.spec.separate_up ? 0 : uint64_t{part.spec.rows},
      .bias_plane = part.bias_plane,
      .tokens = p.tokens};
  for (Variant& variant : program->variants) {
    if (variant.max_tokens < kVendorTokens) continue;
    if (variant.rival.empty()) {
      variant.rival.push_back(
          BP_TRY(vendor_x_launch(p.tokens, part.spec.columns, layout, planner)));
    }
    BP_TRY(add_vendor_launches(vendor, variant.max_tokens, layout, planner, &variant.rival));
  }
  return {};
}

Status add_launches(const Product& p, const Part& part, Planner& planner, Program* program) {
  std::optional<Launch> prompts;  // the same for all passes that are no GEMV
  for (size_t v = 0; v < program->variants.size(); ++v) {
    Variant& variant = program->variants[v];
    if (v < std::size(kTokensAtOnce)) {
      variant.launches.push_back(
          BP_TRY(gemv_launch(p, part, kTokensAtOnce[v], true, *program, planner)));
      continue;
    }
    if (!prompts) {
      const uint64_t most = program->variants.back().max_tokens;
      auto gemm = gemm_launch(p, part, most, *program, planner);
      // Where tiles do not fit the device, the weights are read again for every eight tokens.
      prompts = gemm.ok() ? std::move(gemm).value()
                          : BP_TRY(gemv_launch(p, part, 8, false, *program, planner));
    }
    variant.launches.push_back(*prompts);
  }
  return {};
}

Result<Program> plan_product(const Product& p, Planner& planner) {
  Program program;
  program.tokens = p.tokens;
  const WeightFormat& format = *find_weight_format(p.spec.format);
  const bool merged = p.spec.glu && p.up_input == 0;
  // Both halves of a merged matrix share a binding where they fit into one.
  uint64_t at_once =
      BP_TRY(planner.rows_at_once(format, merged ? 2 * p.rows : p.rows, p.spec.columns));
  const bool split_halves = merged && at_once < 2 * p.rows;
  if (merged) at_once = std::min(at_once, p.rows);
  if (p.writes_int8 && at_once < p.rows && at_once >= kActivationBlock) {
    at_once -= at_once % kActivationBlock;
  }
  const bool whole_blocks =
      p.rows % kActivationBlock == 0 && (at_once >= p.rows || at_once % kActivationBlock == 0);
  const int32_t bias_plane =
      p.has_bias ? static_cast<int32_t>(use_whole(&program, 2, format_of(ops::Format::kF32),
                                                  p.spec.glu ? 2 * p.rows : p.rows))
                 : -1;
  if (p.residual_input >= 0) {
    program.in_place.push_back(
        {static_cast<uint32_t>(p.residual_input), 0, {p.tokens, 1, p.rows * sizeof(float), 0}});
  }
  // Kernels for other numbers of tokens add, or fuse, in another order.
  program.is_deterministic = BP_TRY(planner.maximum(p.tokens)) == 1;
  program.variants = variants_for(BP_TRY(planner.maximum(p.tokens)));
  VendorLayout vendor;
  GemvSpec whole = p.spec;
  whole.rows = whole.y_rows = static_cast<uint32_t>(p.rows);
  bool has_rival = vendor_layout(whole, program.variants.back().max_tokens, planner, &vendor);
  if (has_rival) {
    program.variants = with_rivals(std::move(program.variants));
    program.rival_key = rival_key(whole, program.variants.back().max_tokens);
  }
  for (uint64_t first = 0; first < p.rows; first += at_once) {
    Part part{p.spec, first, program.weights.size(), bias_plane, whole_blocks};
    GemvSpec& spec = part.spec;
    spec.rows = static_cast<uint32_t>(std::min(at_once, p.rows - first));
    spec.y_rows = static_cast<uint32_t>(p.rows);
    spec.separate_up = spec.glu && (!merged || split_halves);
    if (merged && !split_halves) {
      use_rows(&program, p, p.gate_input, 0, 2 * p.rows);
    } else {
      use_rows(&program, p, p.gate_input, first, spec.rows);
      if (spec.glu && merged) use_rows(&program, p, p.gate_input, p.rows + first, spec.rows);
      if (spec.glu && !merged) use_rows(&program, p, p.up_input, first, spec.rows);
    }
    BP_TRY(add_launches(p, part, planner, &program));
    has_rival = has_rival && add_rivals(p, part, vendor, planner, &program).ok();
  }
  if (!has_rival) {  // also where a kernel beside the library is not for this device
    for (Variant& variant : program.variants) variant.rival.clear();
  }
  // Staging serves small passes, the library large ones.
  program.workspace_bytes = std::max(p.staging_bytes, has_rival ? vendor.bytes : 0);
  for (size_t v = 0; p.writes_int8 && v < program.variants.size(); ++v) {
    if (v >= std::size(kTokensAtOnce)) break;
    if (!writes_workspace(program.variants[v].launches.front())) continue;
    program.variants[v].launches.push_back(
        BP_TRY(quantize_launch(p.tokens, p.rows, staging(p), p.y_layout, planner)));
  }
  return program;
}

Status check_size(uint64_t rows, uint64_t columns) {
  if (rows <= UINT32_MAX / 2 && columns <= UINT32_MAX / 2) return {};
  return error(Code::kUnimplemented, "a matrix of {} x {}", rows, columns);
}

}  // namespace

Result<Program> plan_linear(const ops::Op& op, Planner& planner) {
  const auto shape = BP_TRY(read_shape<ops::LinearShape>(op));
  BP_TRY(check_size(shape.rows, shape.columns));
  Product p;
  p.spec.format = format_name(shape.format);
  p.spec.columns = static_cast<uint32_t>(shape.columns);
  p.spec.bias = p.has_bias = shape.has_bias;
  p.spec.residual = p.spec.residual_in_place = shape.has_residual;
  p.spec.activation = activation_of(shape.activation);
  p.spec.softcap = shape.softcap;
  p.rows = shape.rows;
  p.tokens = shape.tokens;
  if (shape.has_residual) p.residual_input = 3;
  p.reads_int8 = planner.is_int8(op.input(0), &p.x_layout);
  return plan_product(p, planner);
}

Result<Program> plan_linear_glu(const ops::Op& op, Planner& planner) {
  const auto shape = BP_TRY(read_shape<ops::LinearGluShape>(op));
  BP_TRY(check_size(shape.rows, shape.columns));
  if (shape.gate_format != shape.up_format) {
    return error(Code::kUnimplemented, "gate is {} and up is {}", format_name(shape.gate_format),
                 format_name(shape.up_format));
  }
  Product p;
  p.spec.format = format_name(shape.gate_format);
  p.spec.columns = static_cast<uint32_t>(shape.columns);
  p.spec.glu = true;
  p.spec.bias = p.has_bias = shape.has_bias;
  p.spec.activation = activation_of(shape.activation);
  p.rows = shape.rows;
  p.tokens = shape.tokens;
  if (!shape.is_merged) p.up_input = 3;
  p.reads_int8 = planner.is_int8(op.input(0), &p.x_layout);
  p.writes_int8 = planner.is_int8(op.output(0), &p.y_layout);
  p.staging_bytes =
      staging_bytes(planner.device(), BP_TRY(planner.maximum(shape.tokens)), shape.rows);
  return plan_product(p, planner);
}

}  // namespace bp::kernels
