// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/tunables.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "kernels/library/paged_cache.h"
#include "kernels/library/quantize.h"
#include "kernels/library/space.h"

namespace bp::kernels {
namespace {

constexpr uint64_t kBuckets[] = {1, 4, 8, 32, 128, 512};
constexpr uint64_t kMostTrialTokens = 1024;  // of the bucket without an end
// Keys that a trial of attention looks at: half of what there may be, since a context fills up.
constexpr uint64_t kLeastTrialContext = 512;
constexpr uint64_t kMostTrialContext = 8192;

using Content = TrialBuffer::Content;

// Adds buffers one by one and remembers their order.
class Buffers {
 public:
  uint32_t add(Content content, uint64_t bytes, bool is_streamed = false) {
    TrialBuffer buffer;
    buffer.content = content;
    buffer.bytes = std::max<uint64_t>((bytes + 3) / 4 * 4, 4);
    buffer.is_streamed = is_streamed;
    all_.push_back(std::move(buffer));
    return static_cast<uint32_t>(all_.size() - 1);
  }
  uint32_t words(std::vector<uint32_t> words) {
    const uint32_t index = add(Content::kWords, words.size() * 4);
    all_[index].words = std::move(words);
    return index;
  }
  uint32_t cache(Content content, uint64_t bytes, uint64_t scales_at) {
    const uint32_t index = add(content, bytes, true);
    all_[index].scales_at = scales_at;
    return index;
  }
  // The planes of a matrix.
  void weights(std::string_view name, uint64_t rows, uint64_t columns) {
    const WeightFormat* format = find_weight_format(name);
    if (format == nullptr) return;  // the builder refuses it
    const uint64_t blocks = rows * (columns / format->block_elements);
    for (uint32_t i = 0; i < format->plane_count; ++i) {
      const uint32_t plane =
          add(Content::kWeights, blocks * format->planes[i].bytes_per_block, true);
      all_[plane].format = format;
      all_[plane].plane = i;
    }
  }
  void activations(bool int8, uint64_t rows, uint64_t columns) {
    if (!int8) {
      add(Content::kFloats, rows * columns * 4);
      return;
    }
    add(Content::kQuants, rows * columns);
    add(Content::kScales, rows * columns / kActivationBlock * 8);
  }
  std::vector<TrialBuffer> take() { return std::move(all_); }
  // 0 … count − 1: kernels that bind what was added in that order.
  std::vector<uint32_t> in_order() const {
    std::vector<uint32_t> out(all_.size());
    for (uint32_t i = 0; i < out.size(); ++i) out[i] = i;
    return out;
  }

 private:
  std::vector<TrialBuffer> all_;
};

// The functions of a family whose builder takes a spec and a schedule.
template <class Schedule>
std::vector<ScheduleValues> all_values(const std::vector<Schedule>& schedules) {
  std::vector<ScheduleValues> out;
  for (const Schedule& schedule : schedules) out.push_back(values_of(schedule));
  return out;
}

std::string product_title(const char* family, const std::string& format, bool int8, bool glu,
                          uint32_t rows, uint32_t columns) {
  return fmt::format("{}{} {}{} {}x{}", family, glu ? "_glu" : "", format, int8 ? " int8" : "",
                     rows, columns);
}

// The same for all launches: one kernel over all buffers.
struct OneLaunch {
  std::vector<uint32_t> buffers;
  std::vector<uint32_t> params;
  uint64_t grid_y = 1;
};

Result<std::vector<TrialLaunch>> one_launch(Result<Kernel> kernel, const OneLaunch& how,
                                            uint64_t grid_x, uint64_t grid_y) {
  TrialLaunch launch;
  launch.kernel = BP_TRY(std::move(kernel));
  launch.buffers = how.buffers;
  launch.params = how.params;
  launch.grid_x = grid_x;
  launch.grid_y = grid_y;
  std::vector<TrialLaunch> out;
  out.push_back(std::move(launch));
  return out;
}

}  // namespace

uint64_t token_bucket(uint64_t tokens) {
  for (const uint64_t bucket : kBuckets) {
    if (tokens <= bucket) return bucket;
  }
  return kMostTrialTokens;
}

Tunable tunable_gemv(const GemvSpec& spec, const Caps& caps, const std::string& key) {
  const uint64_t tokens = spec.tokens, y_rows = spec.y_rows != 0 ? spec.y_rows : spec.rows;
  Tunable out;
  out.family = "gemv";
  out.key = key;
  out.title = product_title("gemv", spec.format, spec.int8, spec.glu, spec.rows, spec.columns) +
              (spec.write_int8 ? " to int8" : "");
  out.tokens = tokens;
  out.standard = values_of(default_schedule(spec, caps));
  Buffers buffers;
  buffers.weights(spec.format, uint64_t{spec.rows} * (spec.glu && !spec.separate_up ? 2 : 1),
                  spec.columns);
  if (spec.separate_up) buffers.weights(spec.format, spec.rows, spec.columns);
  buffers.activations(spec.int8, tokens, spec.columns);
  if (spec.bias) buffers.add(Content::kFloats, y_rows * (spec.glu ? 2 : 1) * 4);
  const bool updates = spec.residual && spec.residual_in_place;
  if (spec.residual && !updates) buffers.add(Content::kFloats, tokens * y_rows * 4);
  if (spec.write_int8) {
    buffers.add(Content::kOutputQuants, tokens * y_rows);
    buffers.add(Content::kOutputScales, tokens * y_rows / kActivationBlock * 8);
  } else {
    buffers.add(updates ? Content::kUpdated : Content::kOutput, tokens * y_rows * 4);
  }
  const OneLaunch how{buffers.in_order(), {spec.tokens, 0}};
  out.buffers = buffers.take();
  out.space = [spec, caps](uint32_t most) { return all_values(gemv_space(spec, caps, most)); };
  out.launches = [spec, how](const ScheduleValues& values) {
    const auto d = schedule_of<GemvSchedule>(values);
    return one_launch(build_gemv(spec, d), how, gemv_groups(spec, d), 1);
  };
  return out;
}

Tunable tunable_moe_linear(const MoeLinearSpec& spec, const Caps& caps, const std::string& key) {
  Tunable out;
  out.family = "moe";
  out.key = key;
  out.title =
      fmt::format("{}, {} of {} experts",
                  product_title("moe", spec.format, spec.int8, spec.glu, spec.rows, spec.columns),
                  spec.used, spec.experts);
  out.standard = values_of(default_schedule(spec, caps));
  Buffers buffers;
  const uint64_t rows = uint64_t{spec.experts} * spec.rows;
  buffers.weights(spec.format, rows * (spec.glu && !spec.separate_up ? 2 : 1), spec.columns);
  if (spec.separate_up) buffers.weights(spec.format, rows, spec.columns);
  buffers.activations(spec.int8, spec.glu ? 1 : spec.used, spec.columns);
  std::vector<uint32_t> ids;
  for (uint32_t i = 0; i < spec.used; ++i) {
    ids.push_back(static_cast<uint32_t>(uint64_t{i} * spec.experts / spec.used));
  }
  buffers.words(std::move(ids));
  if (!spec.glu) buffers.add(Content::kFloats, uint64_t{spec.used} * 4);
  const uint64_t y_bytes = uint64_t{spec.rows} * (spec.glu ? spec.used : 1) * 4;
  const bool updates = spec.residual && spec.residual_in_place;
  if (spec.residual && !updates) buffers.add(Content::kFloats, y_bytes);
  buffers.add(updates ? Content::kUpdated : Content::kOutput, y_bytes);
  const OneLaunch how{buffers.in_order(), {}};
  out.buffers = buffers.take();
  out.space = [spec, caps](uint32_t most) {
    return all_values(moe_linear_space(spec, caps, most));
  };
  out.launches = [spec, how](const ScheduleValues& values) {
    const auto d = schedule_of<GemvSchedule>(values);
    return one_launch(build_moe_linear(spec, d), how, moe_linear_groups(spec, d),
                      spec.glu ? spec.used : 1);
  };
  return out;
}

Tunable tunable_gemm(const GemmSpec& spec, const GemmSchedule& standard, uint64_t tokens,
                     const Caps& caps, const std::string& key) {
  const uint64_t bucket = token_bucket(tokens);
  const auto many = static_cast<uint32_t>(std::clamp<uint64_t>(tokens, 1, bucket));
  const uint64_t y_rows = spec.y_stride != 0 ? spec.y_stride : spec.rows;
  Tunable out;
  out.family = "gemm";
  out.key = fmt::format("{} tokens to {}", key, bucket);
  out.title = product_title("gemm", spec.format, false, spec.glu, spec.rows, spec.columns);
  out.tokens = many;
  out.standard = values_of(standard);
  out.tolerance = standard.matrix != 0 ? 4e-3f : 1e-3f;
  Buffers buffers;
  buffers.weights(spec.format, uint64_t{spec.rows} * (spec.glu && !spec.separate_up ? 2 : 1),
                  spec.columns);
  if (spec.separate_up) buffers.weights(spec.format, spec.rows, spec.columns);
  buffers.activations(false, many, spec.columns);
  if (spec.bias) buffers.add(Content::kFloats, y_rows * (spec.glu ? 2 : 1) * 4);
  const bool updates = spec.residual && spec.residual_in_place;
  if (spec.residual && !updates) buffers.add(Content::kFloats, many * y_rows * 4);
  buffers.add(updates ? Content::kUpdated : Content::kOutput, many * y_rows * 4);
  const OneLaunch how{buffers.in_order(), {many, 0}};
  out.buffers = buffers.take();
  out.space = [spec, caps, many, standard](uint32_t most) {
    return all_values(gemm_space(spec, caps, many, standard.matrix, most));
  };
  out.launches = [spec, how, many, matrix = standard.matrix](const ScheduleValues& values) {
    const auto d = schedule_of<GemmSchedule>(values);
    if (d.matrix != matrix) {
      return Result<std::vector<TrialLaunch>>(
          error(Code::kInvalidArgument, "matrix {}, the standard's is {}", d.matrix, matrix));
    }
    const GemmGrid grid = gemm_groups(spec, d, many);
    return one_launch(build_gemm(spec, d), how, grid.x, grid.y);
  };
  return out;
}

namespace {

// Buffers of an attention trial, by number.
struct AttentionTrial {
  std::vector<uint32_t> inputs;
  uint32_t partial = 0, sums = 0, y = 0, counts = 0;
  std::vector<uint32_t> params;
  uint64_t tokens = 1;
  uint32_t most_splits = 1;
};

Result<std::vector<TrialLaunch>> attention_launches(const AttentionSpec& spec,
                                                    const AttentionSchedule& d,
                                                    const AttentionTrial& trial) {
  if (d.splits > trial.most_splits) {
    return error(Code::kInvalidArgument, "{} parts; there is room for {}", d.splits,
                 trial.most_splits);
  }
  std::vector<TrialLaunch> out(d.splits == 1 || d.joins != 0 ? 1 : 2);
  TrialLaunch& parts = out[0];
  parts.kernel = BP_TRY(build_attention(spec, d));
  parts.buffers = trial.inputs;
  parts.params = trial.params;
  parts.grid_x = trial.tokens * (spec.heads / d.heads_per_group);
  parts.grid_y = d.splits;
  if (d.splits == 1) {
    parts.buffers.push_back(trial.y);
    return out;
  }
  parts.buffers.insert(parts.buffers.end(), {trial.partial, trial.sums});
  if (d.joins != 0) {
    parts.buffers.insert(parts.buffers.end(), {trial.y, trial.counts});
    return out;
  }
  TrialLaunch& join = out[1];
  join.kernel = BP_TRY(build_attention_combine(spec, d.splits, false));
  join.buffers = {trial.partial, trial.sums, trial.y};
  join.grid_x = trial.tokens * spec.heads;
  return out;
}

}  // namespace

Tunable tunable_attention(const AttentionSpec& spec, const AttentionSchedule& standard,
                          uint64_t tokens, uint64_t context, uint32_t most_splits, const Caps& caps,
                          const std::string& key) {
  tokens = token_bucket(tokens);
  const uint64_t page = std::max(spec.page_size, 1u);
  const uint64_t wanted =
      std::clamp(context / 2, std::min(context, kLeastTrialContext), kMostTrialContext);
  const uint64_t pages = (std::bit_floor(std::max(wanted, tokens)) + page - 1) / page;
  Tunable out;
  out.family = "attention";
  out.key = fmt::format("{} tokens to {} context {}", key, tokens, pages * page);
  out.title =
      fmt::format("attention {} {}/{}x{}", spec.cache, spec.heads, spec.kv_heads, spec.head_dim);
  out.tokens = tokens;
  out.standard = values_of(standard);
  Buffers buffers;
  const uint64_t width = uint64_t{spec.heads} * spec.head_dim;
  const uint64_t row_words =
      cache_row_words(spec.cache, spec.head_dim) + cache_scale_words(spec.cache, spec.head_dim);
  const uint64_t cache_bytes = pages * page * spec.kv_heads * row_words * 4;
  const uint64_t scales_at =
      pages * page * spec.kv_heads * cache_row_words(spec.cache, spec.head_dim);
  Content cache = Content::kBf16;
  if (spec.cache == "f32") cache = Content::kFloats;
  if (spec.cache == "f16") cache = Content::kHalves;
  if (spec.cache == "q8") cache = Content::kQ8Cache;
  AttentionTrial trial;
  trial.tokens = tokens;
  trial.inputs = {buffers.add(Content::kFloats, tokens * width * 4),
                  buffers.cache(cache, cache_bytes, scales_at),
                  buffers.cache(cache, cache_bytes, scales_at)};
  trial.inputs.push_back(buffers.words({0, static_cast<uint32_t>(tokens)}));
  trial.inputs.push_back(buffers.words({static_cast<uint32_t>(pages * page)}));
  std::vector<uint32_t> table;
  for (uint64_t i = pages; i > 0; --i) table.push_back(static_cast<uint32_t>(i - 1));
  trial.inputs.push_back(buffers.words(std::move(table)));
  trial.most_splits = std::max(most_splits, standard.splits);
  const uint64_t parts = tokens * spec.heads * trial.most_splits;
  trial.partial = buffers.add(Content::kTemporary, parts * spec.head_dim * 4);
  trial.sums = buffers.add(Content::kTemporary, parts * 8);
  trial.y = buffers.add(Content::kOutput, tokens * width * 4);
  trial.counts = buffers.words(std::vector<uint32_t>(tokens * spec.heads));  // zeros, and stay so
  trial.params = {1, static_cast<uint32_t>(pages), static_cast<uint32_t>(pages)};
  out.buffers = buffers.take();
  out.space = [spec, caps, tokens, most_splits](uint32_t most) {
    return all_values(
        attention_space(spec, caps, static_cast<uint32_t>(tokens), most_splits, most));
  };
  out.launches = [spec, trial](const ScheduleValues& values) {
    return attention_launches(spec, schedule_of<AttentionSchedule>(values), trial);
  };
  return out;
}

Tunable tunable_norm(const NormSpec& spec, const Caps& caps, const std::string& key) {
  Tunable out;
  out.family = "norm";
  out.key = key;
  out.title = fmt::format("norm {}{}", spec.width, spec.write_int8 ? " to int8" : "");
  out.standard = values_of(default_schedule(spec, caps));
  Buffers buffers;
  const uint64_t bytes = uint64_t{spec.width} * 4;
  buffers.add(Content::kFloats, bytes);
  if (spec.normalize) buffers.add(Content::kFloats, bytes);
  if (spec.bias) buffers.add(Content::kFloats, bytes);
  const bool updates = spec.residual && spec.residual_in_place;
  if (spec.residual && !updates) buffers.add(Content::kFloats, bytes);
  if (spec.write_f32) buffers.add(updates ? Content::kUpdated : Content::kOutput, bytes);
  if (spec.write_int8) {
    buffers.add(Content::kOutputQuants, spec.width);
    buffers.add(Content::kOutputScales, uint64_t{spec.width} / kActivationBlock * 8);
  }
  OneLaunch how{buffers.in_order(), {}};
  if (spec.normalize) how.params = {std::bit_cast<uint32_t>(1e-5f)};
  out.buffers = buffers.take();
  out.space = [spec, caps](uint32_t most) { return all_values(norm_space(spec, caps, most)); };
  out.launches = [spec, how](const ScheduleValues& values) {
    return one_launch(build_norm(spec, schedule_of<NormSchedule>(values)), how, 1, 1);
  };
  return out;
}

}  // namespace bp::kernels
