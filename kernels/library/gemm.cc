// SPDX-License-Identifier: Apache-2.0
// Tiled GEMM over quantized and float weights, by fused multiply-adds.
//
// Both tiles lie in shared memory row by row along the columns, in vectors of up to four floats, so
// that one shared load feeds four steps of the sum. Rows past the ends of the matrices repeat the
// last one and their results are dropped; columns past the end are zeros on x's side alone.
#include "kernels/library/gemm.h"

#include <algorithm>
#include <array>
#include <functional>
#include <vector>

#include "kernels/library/weights.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kMaxRows = 1u << 24;
constexpr uint32_t kMaxColumns = 1u << 20;
constexpr uint32_t kMaxTile = 256;        // tokens, rows or columns
constexpr uint32_t kMaxThreadTile = 128;  // results of one thread
constexpr uint32_t kMaxPad = 8;
constexpr uint32_t kMaxGridY = 65535;  // of CUDA and Vulkan
constexpr uint32_t kUnroll = 2;        // of the innermost loop

// Floats of a shared vector: what alignment of rows of `columns` floats allows.
uint32_t vector_lanes(uint32_t columns) {
  return columns % 4 == 0 ? 4 : columns % 2 == 0 ? 2 : 1;
}

Val load_floats(Buf buffer, const Val& index, uint32_t lanes) {
  return lanes == 4 ? buffer.f32x4(index) : lanes == 2 ? buffer.f32x2(index) : buffer.f32(index);
}

class GemmBuilder {
 public:
  GemmBuilder(const GemmSpec& spec, const GemmSchedule& schedule, const WeightReader& reader)
      : s_(spec),
        d_(schedule),
        reader_(reader),
        k_(spec.glu ? "gemm_glu_" + spec.format : "gemm_" + spec.format, schedule.threads()),
        chunk_(reader.chunk_elements(spec.columns)),
        chunks_(spec.columns / chunk_),
        lanes_(vector_lanes(spec.columns)),
        stride_(schedule.tile_columns / lanes_ + schedule.pad),
        tiles_((spec.columns + schedule.tile_columns - 1) / schedule.tile_columns) {}

  Result<Kernel> build();

 private:
  // What a thread brings into shared memory for each tile of columns: a chunk of weights, or a
  // vector of x.
  struct Task {
    const std::vector<Buf>* planes;  // null: x
    Val row_start;                   // chunk or vector index of the row's first column
    Val column;                      // chunk or vector within the tile
    Val slot;                        // where it goes, in vectors
    Val mine;                        // condition, or no value where every thread has this task
  };
  struct Loaded {
    std::vector<WeightChunk> weights;
    std::vector<Val> x;
  };
  void declare();
  void place();
  void place_weights(uint32_t half);
  void place_x();
  Task task(uint32_t round, uint32_t count, uint32_t per_row, Val* row);
  Loaded load(const Val& tile) const;
  void store(const Loaded& loaded, const Val& stage);
  void multiply(const Val& stage);
  void finish_results();
  void result(const Val& token, uint32_t i, uint32_t j);
  const Var& sum(uint32_t half, uint32_t i, uint32_t j) const {
    return sums_[(half * d_.thread_tokens + i) * d_.thread_rows + j];
  }
  uint32_t halves() const { return s_.glu ? 2 : 1; }
  uint32_t row_threads() const { return d_.tile_rows / d_.thread_rows; }
  uint32_t token_threads() const { return d_.tile_tokens / d_.thread_tokens; }
  uint32_t w_stage() const { return halves() * d_.tile_rows * stride_; }  // vectors
  uint32_t x_stage() const { return d_.tile_tokens * stride_; }

  const GemmSpec& s_;
  const GemmSchedule& d_;
  const WeightReader& reader_;
  Builder k_;
  const uint32_t chunk_, chunks_, lanes_, stride_, tiles_;
  std::vector<Buf> planes_, up_planes_;
  Buf x_, bias_, residual_, y_;
  Shared w_tile_, x_tile_;
  Val tokens_, first_row_, token0_, row0_, token_lane_, row_lane_;
  std::vector<Task> weight_tasks_, x_tasks_;
  std::vector<Var> sums_;  // [half, token, row]
};

void GemmBuilder::declare() {
  planes_ = reader_.declare(k_, "w");
  if (s_.separate_up) up_planes_ = reader_.declare(k_, "up");
  x_ = k_.in("x");
  if (s_.bias) bias_ = k_.in("bias");
  if (s_.residual && !s_.residual_in_place) residual_ = k_.in("residual");
  y_ = s_.residual && s_.residual_in_place ? k_.in_out("y") : k_.out("y");
  tokens_ = k_.param_u32("tokens");
  first_row_ = k_.param_u32("first_row");
  const Type vector{Kind::kF32, static_cast<uint8_t>(lanes_)};
  w_tile_ = k_.shared("w_tile", vector, d_.stages * w_stage());
  x_tile_ = k_.shared("x_tile", vector, d_.stages * x_stage());
}

// One of the rounds in which all threads share `count` pieces of work, `per_row` of them a row.
GemmBuilder::Task GemmBuilder::task(uint32_t round, uint32_t count, uint32_t per_row, Val* row) {
  const uint32_t first = round * d_.threads();
  Task out{};
  Val number = k_.tid() + first;
  if (count < first + d_.threads()) {
    out.mine = number < count;
    number = min(number, count - 1);
  }
  *row = number / per_row;
  out.column = number % per_row;
  return out;
}

void GemmBuilder::place_weights(uint32_t half) {
  const uint32_t per_row = d_.tile_columns / chunk_, count = d_.tile_rows * per_row;
  for (uint32_t round = 0; round * d_.threads() < count; ++round) {
    Val row;
    Task t = task(round, count, per_row, &row);
    t.planes = half == 1 && s_.separate_up ? &up_planes_ : &planes_;
    t.slot = (row + half * d_.tile_rows) * stride_ + t.column * (chunk_ / lanes_);
    Val source = row0_ + row;
    if (s_.rows % d_.tile_rows != 0) source = min(source, s_.rows - 1);
    if (half == 1 && !s_.separate_up) source = source + s_.rows;
    t.row_start = source * chunks_;
    weight_tasks_.push_back(t);
  }
}

void GemmBuilder::place_x() {
  const uint32_t per_row = d_.tile_columns / lanes_, count = d_.tile_tokens * per_row;
  for (uint32_t round = 0; round * d_.threads() < count; ++round) {
    Val row;
    Task t = task(round, count, per_row, &row);
    t.planes = nullptr;
    t.slot = row * stride_ + t.column;
    t.row_start = min(token0_ + row, tokens_ - 1) * (s_.columns / lanes_);
    x_tasks_.push_back(t);
  }
}

void GemmBuilder::place() {
  token0_ = k_.group_x() * d_.tile_tokens;
  row0_ = k_.group_y() * d_.tile_rows;
  row_lane_ = k_.tid() % row_threads();
  token_lane_ = k_.tid() / row_threads();
  for (uint32_t half = 0; half < halves(); ++half) place_weights(half);
  place_x();
  for (uint32_t i = 0; i < halves() * d_.thread_tokens * d_.thread_rows; ++i)
    sums_.push_back(k_.var(0.0f));
}

GemmBuilder::Loaded GemmBuilder::load(const Val& tile) const {
  Loaded out;
  const bool exact = s_.columns % d_.tile_columns == 0;
  for (const Task& t : weight_tasks_) {
    Val at = tile * (d_.tile_columns / chunk_) + t.column;
    if (!exact) at = min(at, chunks_ - 1);
    out.weights.push_back(reader_.load(*t.planes, t.row_start + at, s_.columns));
  }
  for (const Task& t : x_tasks_) {
    const Val at = tile * (d_.tile_columns / lanes_) + t.column;
    const uint32_t vectors = s_.columns / lanes_;
    const Val v = load_floats(x_, t.row_start + (exact ? at : min(at, vectors - 1)), lanes_);
    out.x.push_back(exact ? v : select(at < vectors, v, 0.0f));
  }
  return out;
}

void GemmBuilder::store(const Loaded& loaded, const Val& stage) {
  const auto guarded = [&](const Task& t, const std::function<void()>& body) {
    if (t.mine.is_literal()) return body();
    k_.when(t.mine, body);
  };
  for (size_t i = 0; i < weight_tasks_.size(); ++i) {
    const Task& t = weight_tasks_[i];
    guarded(t, [&] {
      const std::vector<Val> v = weight_values(reader_, loaded.weights[i], s_.columns);
      const Val slot = t.slot + stage * w_stage();
      for (uint32_t at = 0; at < chunk_; at += lanes_) {
        const std::vector<Val> some(v.begin() + at, v.begin() + at + lanes_);
        w_tile_.store(slot + at / lanes_, make_vec(some));
      }
    });
  }
  for (size_t i = 0; i < x_tasks_.size(); ++i) {
    const Task& t = x_tasks_[i];
    guarded(t, [&] { x_tile_.store(t.slot + stage * x_stage(), loaded.x[i]); });
  }
}

void GemmBuilder::multiply(const Val& stage) {
  const Val x_base = token_lane_ * stride_ + stage * x_stage();
  const Val w_base = row_lane_ * stride_ + stage * w_stage();
  const auto step = [&](const Val& v) {
    std::vector<Val> x;
    for (uint32_t i = 0; i < d_.thread_tokens; ++i)
      x.push_back(x_tile_.load(x_base + v + i * token_threads() * stride_));
    for (uint32_t half = 0; half < halves(); ++half) {
      for (uint32_t j = 0; j < d_.thread_rows; ++j) {
        const uint32_t row = half * d_.tile_rows + j * row_threads();
        const Val w = w_tile_.load(w_base + v + row * stride_);
        for (uint32_t i = 0; i < d_.thread_tokens; ++i)
          sum(half, i, j).set(dot(x[i], w, sum(half, i, j)));
      }
    }
  };
  k_.loop(0, d_.tile_columns / lanes_, 1, step, kUnroll);
}

void GemmBuilder::result(const Val& token, uint32_t i, uint32_t j) {
  const Val row = row0_ + row_lane_ + j * row_threads();
  const uint32_t length = s_.y_stride == 0 ? s_.rows : s_.y_stride;
  const auto write = [&] {
    const Val column = first_row_ + row;
    Val y = sum(0, i, j);
    if (s_.bias) y = y + bias_.f32(column);
    y = activate(s_.activation, y);
    if (s_.glu) {
      Val up = sum(1, i, j);
      if (s_.bias) up = up + bias_.f32(column + length);
      y = y * up;
    }
    y = soft_cap(y, s_.softcap);
    const Val at = token * length + column;
    if (s_.residual) y = y + (s_.residual_in_place ? y_ : residual_).f32(at);
    y_.store(at, y);
  };
  if (s_.rows % d_.tile_rows == 0) return write();
  k_.when(row < s_.rows, write);
}

void GemmBuilder::finish_results() {
  for (uint32_t i = 0; i < d_.thread_tokens; ++i) {
    const Val token = token0_ + token_lane_ + i * token_threads();
    k_.when(token < tokens_, [&] {
      for (uint32_t j = 0; j < d_.thread_rows; ++j) result(token, i, j);
    });
  }
}

Result<Kernel> GemmBuilder::build() {
  declare();
  place();
  const Val first = k_.constant(Kind::kU32, 0);
  if (d_.stages == 1) {
    k_.loop(0, tiles_, 1, [&](Val tile) {
      store(load(tile), first);
      k_.barrier();
      multiply(first);
      k_.barrier();
    });
  } else {
    store(load(first), first);
    k_.barrier();
    k_.loop(0, tiles_, 1, [&](Val tile) {
      // After the last tile it is loaded once more, for nothing: a condition would cost more.
      const Loaded next = load(min(tile + 1, tiles_ - 1));
      multiply(tile & 1);
      store(next, (tile + 1) & 1);
      k_.barrier();
    });
  }
  finish_results();
  return k_.finish();
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
  if (!divides(chunk, d.tile_columns) || !divides(vector_lanes(s.columns), d.tile_columns)) {
    return refuse("columns must be whole chunks of the format");
  }
  if (d.thread_tokens * d.thread_rows * (s.glu ? 2 : 1) > kMaxThreadTile) {
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
