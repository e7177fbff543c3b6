// SPDX-License-Identifier: Apache-2.0
// The ops around the paged KV cache: rope_kv_write and attention.
#include "kernels/library/attention.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/library/prompt_attention.h"
#include "kernels/library/quantize.h"
#include "kernels/library/rope.h"
#include "kernels/plugin/planner.h"

namespace bp::kernels {
namespace {

// Decoding splits the keys among workgroups; beyond so many tokens there are groups enough.
constexpr uint64_t kDecodeTokens = 8;

struct RopeInputs {
  int64_t rope = -1, q_norm = -1, k_norm = -1;
  uint32_t q_norm_plane = 0, k_norm_plane = 0;
};

// Buffers as rope.h lists them.
std::vector<Argument> rope_arguments(const RopeSpec& s, const RopeInputs& in) {
  const bool all = s.part == RopePart::kAll, query = all || s.part == RopePart::kQuery,
             key = all || s.part == RopePart::kKey, value = all || s.part == RopePart::kValue;
  std::vector<Argument> out;
  out.reserve(kMaxBuffers);
  if (!s.separate || query) out.push_back(input(0));
  if (s.separate && key) out.push_back(input(1));
  if (s.separate && value) out.push_back(input(2));
  if (s.rope && (query || key)) out.push_back(input(3));
  if (s.q_norm && query) out.push_back(weight(in.q_norm_plane));
  if (s.k_norm && key) out.push_back(weight(in.k_norm_plane));
  for (uint32_t slot = 6; (key || value) && slot <= 8; ++slot) out.push_back(input(slot));
  if (query) out.push_back(output(0));
  if (key) out.push_back(input(9));
  if (value) out.push_back(input(10));
  return out;
}

Result<Launch> rope_launch(RopeSpec spec, RopePart part, const ops::RopeKvWriteShape& shape,
                           const RopeInputs& in, Planner& planner) {
  spec.part = part;
  const auto page_size = static_cast<uint32_t>(shape.page_size);
  Launch launch;
  launch.kernel = BP_TRY(planner.kernel(
      fmt::format("rope {} {} {}{}{} {}/{}x{} r{} i{} eps {} part {} page {}", spec.cache,
                  spec.separate, spec.rope, spec.q_norm, spec.k_norm, spec.heads, spec.kv_heads,
                  spec.head_dim, spec.rotary_dim, spec.interleaved, spec.norm_eps,
                  static_cast<int>(part), page_size),
      [&] { return build_rope_kv_write(spec, page_size); }));
  launch.arguments = rope_arguments(spec, in);
  if (part != RopePart::kQuery) launch.params = {{shape.blocks, 1, 1, 0}, {shape.pages, 1, 1, 0}};
  const uint32_t rows = part == RopePart::kAll     ? spec.heads + 2 * spec.kv_heads
                        : part == RopePart::kQuery ? spec.heads
                                                   : spec.kv_heads;
  launch.grid_x = {shape.tokens, 1, 1, 0};
  launch.grid_y = Count::of(rows);
  return launch;
}

AttentionSpec spec_of(const ops::AttentionShape& shape) {
  AttentionSpec spec;
  spec.cache = format_name(shape.cache_format);
  spec.heads = static_cast<uint32_t>(shape.heads);
  spec.kv_heads = static_cast<uint32_t>(shape.kv_heads);
  spec.head_dim = static_cast<uint32_t>(shape.head_dim);
  spec.page_size = static_cast<uint32_t>(shape.page_size);
  spec.window = static_cast<uint32_t>(shape.window);
  spec.scale = shape.scale;
  spec.softcap = shape.softcap;
  return spec;
}

std::string key_of(const AttentionSpec& s) {
  return fmt::format("attention {} {}/{}x{} page {} window {} scale {} cap {}", s.cache, s.heads,
                     s.kv_heads, s.head_dim, s.page_size, s.window, s.scale, s.softcap);
}

// Attention for passes of up to `tokens` tokens, to `y`. With several parts, their results go to
// the workspace, after its first `staging` bytes, and a second launch or the last group joins them.
Result<Variant> attention_variant(const ops::AttentionShape& shape, uint64_t tokens,
                                  uint64_t context, const Int8Layout* quantized, uint64_t staging,
                                  Planner& planner, Program* program) {
  const uint64_t width = shape.heads * shape.head_dim;
  const Argument y =
      quantized != nullptr ? Argument{Argument::kWorkspace, 0, 0, staging} : output(0);
  const uint64_t used = staging;
  AttentionSpec spec = spec_of(shape);
  AttentionSchedule schedule =
      default_schedule(spec, planner.caps(), static_cast<uint32_t>(tokens),
                       static_cast<uint32_t>(std::min<uint64_t>(context, UINT32_MAX)));
  // Whatever is measured, before or after the plan was matched, finds room for its parts.
  uint32_t most_splits = 1;
  std::string key;
  if (tokens > kDecodeTokens) {
    schedule.splits = 1;
    schedule.joins = 0;
    key = fmt::format("{} | {}", key_of(spec), describe(values_of(schedule)));
  } else {
    most_splits = std::min(2 * schedule.splits, kMaxSplits);
    auto scheduled = planner.schedule<AttentionSchedule>(tunable_attention(
        spec, schedule, tokens, context, most_splits, planner.caps(), key_of(spec)));
    schedule = scheduled.schedule;
    key = std::move(scheduled.key);
  }
  if (most_splits > 1) {
    const uint64_t most_rows = tokens * spec.heads * most_splits;
    program->workspace_bytes =
        std::max(program->workspace_bytes,
                 used + (most_rows * spec.head_dim * 4 + 255) / 256 * 256 + most_rows * 8);
    // A count for the groups of each token and heads; by most heads there may be.
    if (planner.caps().device_barrier) {
      program->zeroed_bytes = std::max(program->zeroed_bytes, tokens * spec.heads * 4);
    }
  }
  spec.write_int8 = quantized != nullptr && can_write_int8(spec, schedule);
  if (spec.write_int8) key += " + int8";
  Launch launch;
  launch.kernel = BP_TRY(planner.kernel(key, [&] { return build_attention(spec, schedule); }));
  launch.arguments.reserve(kMaxBuffers);
  for (uint32_t slot = 0; slot < 6; ++slot) launch.arguments.push_back(input(slot));
  launch.params = {{shape.sequences, 1, 1, 0}, {shape.blocks, 1, 1, 0}, {shape.pages, 1, 1, 0}};
  launch.grid_x = {shape.tokens, 1, spec.heads / schedule.heads_per_group, 0};
  launch.grid_y = Count::of(schedule.splits);
  const uint64_t rows = tokens * spec.heads * schedule.splits;
  const uint64_t partial_bytes = (rows * spec.head_dim * 4 + 255) / 256 * 256;
  const uint64_t sums_bytes = rows * 8;
  const Argument partial{Argument::kWorkspace, 0, used, partial_bytes};
  const Argument sums{Argument::kWorkspace, 0, used + partial_bytes, sums_bytes};
  if (schedule.splits > 1) {
    launch.arguments.push_back(partial);
    launch.arguments.push_back(sums);
  }
  if (schedule.splits == 1 || schedule.joins != 0) {
    if (spec.write_int8) {
      launch.arguments.push_back(quants(output(0), *quantized));
      launch.arguments.push_back(scales(output(0), *quantized));
    } else {
      launch.arguments.push_back(y);
    }
    if (schedule.joins != 0) {
      launch.arguments.push_back({Argument::kZeroed, 0, 0, tokens * spec.heads * 4});
    }
    Variant out{tokens, {std::move(launch)}};
    if (quantized != nullptr && !spec.write_int8) {
      out.launches.push_back(BP_TRY(quantize_launch(shape.tokens, width, y, *quantized, planner)));
    }
    return out;
  }
  // Rows of a head are whole blocks of int8, so what joins the parts can also quantize.
  const bool int8 = quantized != nullptr && spec.head_dim % kActivationBlock == 0;
  Launch join;
  join.kernel = BP_TRY(
      planner.kernel(fmt::format("combine {} s{} int8 {}", spec.head_dim, schedule.splits, int8),
                     [&] { return build_attention_combine(spec, schedule.splits, int8); }));
  join.arguments = {partial, sums};
  if (int8) {
    join.arguments.push_back(quants(output(0), *quantized));
    join.arguments.push_back(scales(output(0), *quantized));
  } else {
    join.arguments.push_back(y);
  }
  join.grid_x = {shape.tokens, 1, spec.heads, 0};
  join.grid_y = Count::of(1);
  Variant out{tokens, {std::move(launch), std::move(join)}};
  if (quantized != nullptr && !int8) {
    out.launches.push_back(BP_TRY(quantize_launch(shape.tokens, width, y, *quantized, planner)));
  }
  return out;
}

// Attention for prompts, where a tile of query tokens shares what it reads of the cache.
Result<Variant> prompt_variant(const ops::AttentionShape& shape, uint64_t tokens,
                               Planner& planner) {
  const AttentionSpec spec = spec_of(shape);
  const PromptAttentionSchedule schedule = default_prompt_schedule(
      spec, planner.caps(), static_cast<uint32_t>(std::min<uint64_t>(tokens, UINT32_MAX)));
  Launch launch;
  launch.kernel = BP_TRY(
      planner.kernel(fmt::format("prompt {} t{} h{} l{} r{} k{} c{}", key_of(spec), schedule.tokens,
                                 schedule.heads_per_group, schedule.lanes, schedule.rows_per_thread,
                                 schedule.keys_per_thread, schedule.chunk),
                     [&] { return build_prompt_attention(spec, schedule); }));
  launch.arguments.reserve(kMaxBuffers);
  for (uint32_t slot = 0; slot < 6; ++slot) launch.arguments.push_back(input(slot));
  launch.arguments.push_back(output(0));
  launch.params = {{shape.sequences, 1, 1, 0}, {shape.blocks, 1, 1, 0}, {shape.pages, 1, 1, 0}};
  // A tile more for each sequence that there may be; those that a pass does not need do nothing.
  launch.grid_x = {shape.tokens, schedule.tokens, 1, BP_TRY(planner.maximum(shape.sequences))};
  launch.grid_y = Count::of(spec.heads / schedule.heads_per_group);
  return Variant{tokens, {std::move(launch)}};
}

}  // namespace

Result<Program> plan_rope_kv_write(const ops::Op& op, Planner& planner) {
  const auto shape = BP_TRY(read_shape<ops::RopeKvWriteShape>(op));
  Program program;
  program.tokens = shape.tokens;
  RopeSpec spec;
  spec.cache = format_name(shape.cache_format);
  spec.separate = !shape.is_merged;
  spec.rope = shape.has_rope && shape.rotary_dim != 0;
  spec.q_norm = shape.has_q_norm;
  spec.k_norm = shape.has_k_norm;
  spec.heads = static_cast<uint32_t>(shape.heads);
  spec.kv_heads = static_cast<uint32_t>(shape.kv_heads);
  spec.head_dim = static_cast<uint32_t>(shape.head_dim);
  spec.rotary_dim = static_cast<uint32_t>(shape.rotary_dim);
  spec.interleaved = shape.is_interleaved;
  spec.norm_eps = static_cast<float>(shape.norm_eps);
  RopeInputs in;
  const WeightFormat& f32 = format_of(ops::Format::kF32);
  if (spec.q_norm) in.q_norm_plane = use_whole(&program, 4, f32, shape.head_dim);
  if (spec.k_norm) in.k_norm_plane = use_whole(&program, 5, f32, shape.head_dim);
  Variant variant{BP_TRY(planner.maximum(shape.tokens)), {}};
  spec.part = RopePart::kAll;
  if (rope_arguments(spec, in).size() <= planner.caps().max_buffers) {
    variant.launches.push_back(BP_TRY(rope_launch(spec, RopePart::kAll, shape, in, planner)));
  } else {
    for (const RopePart part : {RopePart::kQuery, RopePart::kKey, RopePart::kValue}) {
      variant.launches.push_back(BP_TRY(rope_launch(spec, part, shape, in, planner)));
    }
  }
  program.variants.push_back(std::move(variant));
  return program;
}

Result<Program> plan_attention(const ops::Op& op, Planner& planner) {
  const auto shape = BP_TRY(read_shape<ops::AttentionShape>(op));
  Program program;
  program.tokens = shape.tokens;
  const uint64_t most = BP_TRY(planner.maximum(shape.tokens));
  uint64_t context = 0;
  if (__builtin_mul_overflow(BP_TRY(planner.maximum(shape.blocks)), shape.page_size, &context)) {
    return error(Code::kUnimplemented, "the context is too long");
  }
  // As int8 where the readers want that: floats first, behind which the parts are kept.
  const uint64_t width = shape.heads * shape.head_dim;
  const uint64_t staging = (staging_bytes(planner.device(), most, width) + 255) / 256 * 256;
  program.workspace_bytes = staging;
  Int8Layout layout;
  const bool int8 = planner.is_int8(op.output(0), &layout);
  const auto decode = [&](uint64_t tokens) -> Status {
    const uint64_t at_most = std::min(tokens, most);
    const bool quantizes = int8 && at_most <= kInt8Tokens;
    program.variants.push_back(BP_TRY(attention_variant(
        shape, at_most, context, quantizes ? &layout : nullptr, staging, planner, &program)));
    return {};
  };
  // The number of parts, and with it the order of sums, depends on the tokens of a pass.
  program.is_deterministic = most == 1;
  BP_TRY(decode(1));
  if (most > 1) BP_TRY(decode(kDecodeTokens));
  if (most <= kDecodeTokens) return program;
  auto prompt = prompt_variant(shape, most, planner);
  if (prompt.ok()) {
    program.variants.push_back(std::move(prompt).value());
  } else {  // heads that its tiles do not fit
    BP_TRY(decode(most));
  }
  return program;
}

}  // namespace bp::kernels
