// SPDX-License-Identifier: Apache-2.0
#include "kernels/library/space.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "backplane/formats.h"
#include "kernels/legalize.h"
#include "kernels/library/weights.h"

namespace bp::kernels {
namespace {

// A thread hides latency by what it has on its way, a unit by the threads that it holds.
constexpr double kLikedBytesInFlight = 64;
constexpr double kLikedThreadsPerUnit = 512;
constexpr uint32_t kMaxHeldSums = 32;  // registers for sums of a GEMV thread
// Candidates that share what matters most and differ in the rest.
constexpr uint32_t kMaxAlike = 3;

template <class Schedule>
struct Point {
  Schedule schedule;
  double cost = 0;        // lower is better
  uint64_t likeness = 0;  // equal for points that are much alike
};

double log2_over(double ratio) {
  return ratio > 1 ? std::log2(ratio) : 0;
}

// The cheapest points that the device can run.
template <class Schedule>
std::vector<Schedule> best_of(std::vector<Point<Schedule>> points, uint32_t most, const Caps& caps,
                              const std::function<Result<Kernel>(const Schedule&)>& build) {
  std::stable_sort(points.begin(), points.end(),
                   [](const auto& a, const auto& b) { return a.cost < b.cost; });
  std::vector<Schedule> out;
  std::map<uint64_t, uint32_t> alike;
  for (const Point<Schedule>& point : points) {
    if (out.size() >= most) break;
    uint32_t& same = alike[point.likeness];
    if (same >= kMaxAlike) continue;
    const Result<Kernel> kernel = build(point.schedule);
    if (!kernel.ok() || !legalize(*kernel, caps).ok()) continue;
    ++same;
    out.push_back(point.schedule);
  }
  return out;
}

// ---- GEMV ---------------------------------------------------------------------------------------

struct GemvShape {
  uint32_t rows = 0, columns = 0, tokens = 1;
  uint32_t chunks = 0;   // of a row
  uint32_t halves = 1;   // rows of weights for a row of y
  double row_bytes = 0;  // of weights
  double groups_in_y = 1;
};

double gemv_cost(const GemvShape& s, const GemvSchedule& d, const Caps& caps) {
  const uint32_t rows = d.threads / d.lanes_per_row * d.rows_per_thread;
  const double rows_per_group = rows;
  const double groups = std::ceil(s.rows / rows_per_group) * s.groups_in_y;
  const double steps = std::ceil(static_cast<double>(s.chunks) / d.lanes_per_row);
  const double idle_lanes = steps * d.lanes_per_row / s.chunks;
  const double idle_rows = groups * rows_per_group / (s.rows * s.groups_in_y);
  const double units = caps.compute_units;
  // Whole rounds of groups over the units: the last one may be nearly empty.
  const double resident = units * std::max(1.0, kLikedThreadsPerUnit * 2 / d.threads);
  const double tail = std::ceil(groups / resident) * resident / groups;
  const double chunk_bytes = s.row_bytes / s.chunks;
  const double in_flight = chunk_bytes * d.rows_per_thread * s.halves * std::max(d.unroll, 1u);
  double cost = 2 * std::log2(idle_lanes) + 2 * std::log2(idle_rows);
  cost += 0.5 * std::abs(std::log2(in_flight / kLikedBytesInFlight));
  cost += log2_over(units * kLikedThreadsPerUnit / (groups * d.threads));
  cost += 0.25 * log2_over(std::min(tail, 4.0));
  cost += std::log2(d.lanes_per_row) / (4 * steps);  // joining the lanes
  cost += 0.5 / d.rows_per_thread;                   // reading x again for other rows
  return cost;
}

std::vector<Point<GemvSchedule>> gemv_points(const GemvShape& s, const Caps& caps) {
  std::vector<Point<GemvSchedule>> out;
  for (uint32_t threads = 32; threads <= std::min(caps.max_threads, 512u); threads *= 2) {
    if (threads < caps.subgroup_size) continue;
    for (uint32_t lanes = 4; lanes <= std::min(threads, 256u); lanes *= 2) {
      if (lanes > 4 && lanes > s.chunks) break;
      for (uint32_t rows = 1; rows <= std::min(lanes, 8u); rows *= 2) {
        if (rows * s.halves * s.tokens > kMaxHeldSums) break;
        for (uint32_t unroll = 1; unroll <= 4; unroll *= 2) {
          if (unroll > 1 && unroll * lanes > s.chunks) break;
          const GemvSchedule d{threads, lanes, rows, unroll};
          out.push_back({d, gemv_cost(s, d, caps), lanes * 16 + rows});
        }
      }
    }
  }
  return out;
}

// False when no kernel reads such rows.
bool gemv_shape(const std::string& format, uint32_t rows, uint32_t columns, GemvShape* out) {
  const WeightReader* reader = find_weight_reader(format);
  const uint32_t chunk = reader != nullptr ? reader->chunk_elements(columns) : 0;
  const WeightFormat* planes = find_weight_format(format);
  if (chunk == 0 || planes == nullptr || rows == 0) return false;
  out->rows = rows;
  out->columns = columns;
  out->chunks = columns / chunk;
  out->row_bytes = static_cast<double>(planes->bytes(columns));
  return out->chunks != 0;
}

// ---- GEMM ---------------------------------------------------------------------------------------

double gemm_cost(const GemmSpec& s, const GemmSchedule& d, const Caps& caps, uint32_t tokens) {
  const GemmGrid grid = gemm_groups(s, d, tokens);
  const uint32_t halves = s.glu ? 2 : 1;
  const double unit = d.matrix != 0 ? kFragmentSize : 1;
  const double tm = d.thread_tokens * unit, tn = d.thread_rows * unit * halves;
  const double bm = d.tile_tokens, bn = d.tile_rows * halves;
  const double groups = static_cast<double>(grid.x) * grid.y;
  // A unit holds several groups at once, as far as their threads and tiles fit.
  const double vector_bytes = d.matrix != 0 ? 2 : 4;
  const double shared = (bm + bn) * (d.tile_columns + d.pad * 4) * vector_bytes * d.stages;
  const double resident =
      std::clamp(std::min(1024.0 / d.threads(), 2.0 * caps.shared_bytes / shared), 1.0, 4.0);
  const double rounds = std::ceil(groups / (caps.compute_units * resident)) * resident;
  // Reads of shared memory for each product, and of global memory for each tile.
  const double reads = 1 + 4 * (tm + tn) / (tm * tn) + 16 * (1 / bm + 1 / bn);
  const double few_threads = std::max(1.0, 128.0 / d.threads());
  const double overlap = d.stages == 2 || resident > 1 ? 1.0 : 1.15;
  return rounds * bm * bn * reads * few_threads * overlap;
}

void add_gemm_points(const GemmSpec& s, const Caps& caps, uint32_t tokens, uint32_t matrix,
                     GemmSchedule d, std::vector<Point<GemmSchedule>>* out) {
  const uint32_t unit = matrix != 0 ? kFragmentSize : 1;
  const uint32_t most_held = matrix != 0 ? 4 : 8;
  for (d.thread_tokens = 1; d.thread_tokens <= most_held; d.thread_tokens *= 2) {
    for (d.thread_rows = 1; d.thread_rows <= most_held; d.thread_rows *= 2) {
      if (d.tile_tokens % (d.thread_tokens * unit) != 0) continue;
      if (d.tile_rows % (d.thread_rows * unit) != 0) continue;
      if (d.threads() < 32 || d.threads() > std::min(caps.max_threads, 512u)) continue;
      for (d.stages = 1; d.stages <= 2; ++d.stages) {
        const uint64_t likeness = uint64_t{d.tile_tokens} << 32 | d.tile_rows << 8 | d.tile_columns;
        out->push_back({d, gemm_cost(s, d, caps, tokens), likeness});
      }
    }
  }
}

}  // namespace

std::vector<GemvSchedule> gemv_space(const GemvSpec& spec, const Caps& caps, uint32_t most) {
  GemvShape s;
  if (!gemv_shape(spec.format, spec.rows, spec.columns, &s)) return {};
  s.tokens = spec.tokens;
  s.halves = spec.glu ? 2 : 1;
  return best_of<GemvSchedule>(gemv_points(s, caps), most, caps,
                               [&](const GemvSchedule& d) { return build_gemv(spec, d); });
}

std::vector<GemvSchedule> moe_linear_space(const MoeLinearSpec& spec, const Caps& caps,
                                           uint32_t most) {
  GemvShape s;
  if (!gemv_shape(spec.format, spec.rows, spec.columns, &s)) return {};
  s.halves = spec.glu ? 2 : 1;
  s.groups_in_y = spec.glu ? spec.used : 1;
  return best_of<GemvSchedule>(gemv_points(s, caps), most, caps,
                               [&](const GemvSchedule& d) { return build_moe_linear(spec, d); });
}

std::vector<GemmSchedule> gemm_space(const GemmSpec& spec, const Caps& caps, uint32_t tokens,
                                     uint32_t matrix, uint32_t most) {
  const WeightReader* reader = find_weight_reader(spec.format);
  const uint32_t chunk = reader != nullptr ? reader->chunk_elements(spec.columns) : 0;
  if (chunk == 0) return {};
  tokens = std::max(tokens, 1u);
  std::vector<Point<GemmSchedule>> points;
  GemmSchedule d;
  d.matrix = matrix;
  for (d.tile_tokens = 16; d.tile_tokens <= 128; d.tile_tokens *= 2) {
    // A tile twice as large as the pass wastes half.
    if (d.tile_tokens > 16 && d.tile_tokens >= 2 * tokens) break;
    for (const uint32_t rows : {16u, 32u, 64u, 128u}) {
      d.tile_rows = rows;
      if (rows * (spec.glu ? 2 : 1) > 128) break;
      for (const uint32_t columns : {32u, 64u}) {
        d.tile_columns = std::max(columns, chunk);
        add_gemm_points(spec, caps, tokens, matrix, d, &points);
        if (chunk >= 64) break;
      }
    }
  }
  return best_of<GemmSchedule>(std::move(points), most, caps,
                               [&](const GemmSchedule& s) { return build_gemm(spec, s); });
}

std::vector<AttentionSchedule> attention_space(const AttentionSpec& spec, const Caps& caps,
                                               uint32_t tokens, uint32_t most_splits,
                                               uint32_t most) {
  std::vector<Point<AttentionSchedule>> points;
  const uint32_t sharing = spec.kv_heads == 0 ? 1 : std::max(1u, spec.heads / spec.kv_heads);
  const double liked = caps.compute_units * kLikedThreadsPerUnit;
  for (uint32_t threads = 32; threads <= std::min(caps.max_threads, 512u); threads *= 2) {
    if (threads < caps.subgroup_size) continue;
    for (uint32_t heads = 1; heads <= std::min(sharing, 8u); heads *= 2) {
      if (sharing % heads != 0) break;
      for (uint32_t splits = most_splits; splits >= 1; splits /= 2) {
        const uint32_t groups = spec.heads / heads;
        const double held = static_cast<double>(tokens) * groups * splits * threads;
        double cost = log2_over(liked / held) + 0.5 * log2_over(held / (4 * liked));
        cost += 1.0 / heads;                           // reading the cache again for other heads
        cost += splits == 1 ? 0 : 0.02 * splits / 16;  // joining the parts
        const uint64_t likeness = heads * 512 + splits;
        for (const uint32_t keys : {2u, 4u}) {
          const double few = keys == keys_for(heads) ? 0 : 0.05;
          points.push_back({{threads, heads, splits, 0, keys}, cost + few, likeness});
          // A launch less, and less left for other groups while the last one joins.
          if (splits > 1 && caps.device_barrier && caps.max_buffers >= kJoiningBuffers)
            points.push_back({{threads, heads, splits, 1, keys}, cost + few - 0.01, likeness});
        }
      }
    }
  }
  return best_of<AttentionSchedule>(std::move(points), most, caps, [&](const AttentionSchedule& d) {
    return build_attention(spec, d);
  });
}

std::vector<NormSchedule> norm_space(const NormSpec& spec, const Caps& caps, uint32_t most) {
  std::vector<Point<NormSchedule>> points;
  for (uint32_t threads = 32; threads <= caps.max_threads; threads *= 2) {
    if (threads < caps.subgroup_size) continue;
    // About two vectors of four a thread.
    const double cost = std::abs(std::log2(8.0 * threads / std::max(spec.width, 1u)));
    points.push_back({{threads}, cost, threads});
  }
  return best_of<NormSchedule>(std::move(points), most, caps,
                               [&](const NormSchedule& d) { return build_norm(spec, d); });
}

}  // namespace bp::kernels
