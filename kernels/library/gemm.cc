// SPDX-License-Identifier: Apache-2.0
// Limits, schedules and grids of GEMM.
#include "kernels/library/gemm.h"

#include <algorithm>
#include <array>

#include "kernels/library/gemm_builder.h"
#include "kernels/library/weights.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kMaxRows = 1u << 24;
constexpr uint32_t kMaxColumns = 1u << 20;
constexpr uint32_t kMaxTile = 256;        // tokens, rows or columns
constexpr uint32_t kMaxThreadTile = 128;  // results of one thread
constexpr uint32_t kMaxPad = 8;
constexpr uint32_t kMaxGridY = 65535;  // of CUDA and Vulkan

// Whole fragments, in tiles of halves.
Status check_matrix(const GemmSpec& s, const GemmSchedule& d, uint32_t chunk) {
  const bool width = d.matrix == 16 || d.matrix == 32 || d.matrix == 64;
  if (!width || d.tile_tokens % (kFragmentSize * d.thread_tokens) != 0 ||
      d.tile_rows % (kFragmentSize * d.thread_rows) != 0 || d.tile_columns % kFragmentSize != 0) {
    return error(Code::kInvalidArgument,
                 "gemm tile of {} x {} x {} in fragments of {} threads, {} x {} a subgroup: tiles "
                 "must be whole fragments of 16 x 16",
                 d.tile_tokens, d.tile_rows, d.tile_columns, d.matrix, d.thread_tokens,
                 d.thread_rows);
  }
  if (chunk % kHalfVector == 0 && s.columns % kHalfVector == 0) return {};
  return error(Code::kInvalidArgument, "gemm {} of {} columns: no matrix units for such rows",
               s.format, s.columns);
}

Status check_schedule(const GemmSpec& s, const GemmSchedule& d, uint32_t chunk) {
  const auto refuse = [&](const char* why) {
    return error(Code::kInvalidArgument, "gemm tile of {} x {} x {}, {} x {} a thread: {}",
                 d.tile_tokens, d.tile_rows, d.tile_columns, d.thread_tokens, d.thread_rows, why);
  };
  const auto divides = [](uint32_t part, uint32_t whole) {
    return part != 0 && whole != 0 && whole <= kMaxTile && whole % part == 0;
  };
  if (!divides(d.thread_tokens, d.tile_tokens) || !divides(d.thread_rows, d.tile_rows)) {
    return refuse("tiles are at most 256, and threads divide them");
  }
  if (d.matrix != 0) BP_TRY(check_matrix(s, d, chunk));
  if (!divides(chunk, d.tile_columns) || !divides(vector_lanes(s.columns), d.tile_columns)) {
    return refuse("columns must be whole chunks of the format");
  }
  const uint32_t held = d.thread_tokens * d.thread_rows * (s.glu ? 2 : 1);
  if ((d.matrix != 0 ? held * kFragmentElements / d.matrix : held) > kMaxThreadTile) {
    return refuse("more results than a thread has registers for");
  }
  if (d.threads() > kMaxThreads) return refuse("too many threads");
  if (d.stages < 1 || d.stages > 2 || d.pad > kMaxPad) return refuse("1 or 2 stages, pad up to 8");
  if ((s.rows - 1) / d.tile_rows + 1 > kMaxGridY) return refuse("more tiles of rows than a grid");
  return {};
}

Status check(const GemmSpec& s, const GemmSchedule& d, const WeightReader* reader) {
  const auto refuse = [&](const char* why) {
    return error(Code::kInvalidArgument, "gemm {} [{}, {}]: {}", s.format, s.rows, s.columns, why);
  };
  if (reader == nullptr) return refuse("no kernel reads this format");
  if (s.rows == 0 || s.rows > kMaxRows || s.columns == 0 || s.columns > kMaxColumns) {
    return refuse("no such shape");
  }
  const uint32_t chunk = reader->chunk_elements(s.columns);
  if (chunk == 0) return refuse("the format cannot have such rows");
  if (s.separate_up && !s.glu) return refuse("'up' without 'glu'");
  if (s.glu && s.activation == Activation::kNone) return refuse("'glu' needs an activation");
  if (s.y_stride != 0 && s.y_stride < s.rows) return refuse("rows of y shorter than the launch");
  if (s.glu && !s.separate_up && s.y_stride != 0 && s.y_stride != s.rows) {
    return refuse("a merged gate and up cannot be a part of the rows");
  }
  const uint64_t chunks = uint64_t{s.rows} * s.columns * (s.glu ? 2 : 1) / chunk;
  if (chunks > (uint64_t{1} << 31)) return refuse("more chunks than a 32-bit index has");
  return check_schedule(s, d, chunk);
}

}  // namespace

GemmSchedule default_schedule(const GemmSpec& spec, const Caps& caps, uint32_t tokens) {
  // Tokens, rows, and what of them a thread has; from the one that reuses most to the smallest.
  constexpr std::array<std::array<uint32_t, 4>, 5> kTiles = {
      {{128, 128, 8, 8}, {64, 64, 8, 4}, {32, 64, 4, 4}, {32, 32, 4, 4}, {16, 32, 2, 4}}};
  const WeightReader* reader = find_weight_reader(spec.format);
  const uint32_t chunk = reader != nullptr ? reader->chunk_elements(spec.columns) : 0;
  const uint32_t lanes = vector_lanes(spec.columns);
  GemmSchedule d;
  d.tile_columns = std::max(32u, chunk);
  for (const auto& [bm, bn, tm, tn] : kTiles) {
    d.tile_tokens = bm;
    d.tile_rows = spec.glu ? bn / 2 : bn;
    d.thread_tokens = tm;
    d.thread_rows = spec.glu ? tn / 2 : tn;
    const uint64_t row_bytes = uint64_t{d.tile_columns + d.pad * lanes} * 4;
    const bool fits = (bm + bn) * row_bytes <= caps.shared_bytes && d.threads() <= caps.max_threads;
    // A tile twice as large as the pass wastes half; too few groups leave units idle.
    const GemmGrid grid = gemm_groups(spec, d, std::max(tokens, 1u));
    const bool full =
        bm < 2 * std::max(tokens, 8u) && uint64_t{grid.x} * grid.y >= caps.compute_units;
    if (fits && full) break;
  }
  return d;
}

bool matrix_schedule(const GemmSpec& spec, const Caps& caps, uint32_t tokens, GemmSchedule* out) {
  // As above; fragments of a subgroup instead of results of a thread.
  constexpr std::array<std::array<uint32_t, 4>, 4> kTiles = {
      {{128, 128, 4, 2}, {64, 64, 2, 2}, {32, 64, 2, 2}, {16, 64, 1, 2}}};
  const WeightReader* reader = find_weight_reader(spec.format);
  const uint32_t chunk = reader != nullptr ? reader->chunk_elements(spec.columns) : 0;
  if (!caps.matrix || chunk == 0 || chunk % kHalfVector != 0 || spec.columns % kHalfVector != 0)
    return false;
  GemmSchedule d;
  d.matrix = caps.subgroup_size;
  d.tile_columns = std::max(32u, chunk);
  for (const auto& [bm, bn, fm, fn] : kTiles) {
    d.tile_tokens = bm;
    d.tile_rows = spec.glu ? bn / 2 : bn;
    d.thread_tokens = fm;
    d.thread_rows = spec.glu ? fn / 2 : fn;
    if (d.threads() > caps.max_threads || bm >= 2 * std::max(tokens, 16u)) continue;
    const GemmGrid grid = gemm_groups(spec, d, std::max(tokens, 1u));
    const bool last = bm == kTiles.back()[0];
    if (!last && uint64_t{grid.x} * grid.y < caps.compute_units) continue;
    const Result<Kernel> kernel = build_gemm(spec, d);
    if (!kernel.ok() || shared_bytes(*kernel) > caps.shared_bytes) continue;
    *out = d;
    return true;
  }
  return false;
}

GemmGrid gemm_groups(const GemmSpec& spec, const GemmSchedule& schedule, uint32_t tokens) {
  const auto tiles = [](uint32_t n, uint32_t tile) {
    return tile == 0 || n == 0 ? 0 : (n - 1) / tile + 1;
  };
  return {tiles(tokens, schedule.tile_tokens), tiles(spec.rows, schedule.tile_rows)};
}

Result<Kernel> build_gemm(const GemmSpec& spec, const GemmSchedule& schedule) {
  const WeightReader* reader = find_weight_reader(spec.format);
  BP_TRY(check(spec, schedule, reader));
  return GemmBuilder(spec, schedule, *reader).build();
}

}  // namespace bp::kernels
