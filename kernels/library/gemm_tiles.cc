// SPDX-License-Identifier: Apache-2.0
// Tiled GEMM: loading of tiles, and fused multiply-adds.
//
// Both tiles lie in shared memory row by row along the columns, in vectors of up to four floats, so
// that one shared load feeds four steps of the sum. Rows past the ends of the matrices repeat the
// last one and their results are dropped; columns past the end are zeros on x's side alone.
#include <algorithm>
#include <functional>

#include "kernels/library/gemm_builder.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kUnroll = 2;       // of the innermost loop
constexpr float kMaxHalf = 65504.0f;  // the largest f16

Val load_floats(Buf buffer, const Val& index, uint32_t lanes) {
  return lanes == 4 ? buffer.f32x4(index) : lanes == 2 ? buffer.f32x2(index) : buffer.f32(index);
}

}  // namespace

void GemmBuilder::declare() {
  planes_ = reader_.declare(k_, "w");
  if (s_.separate_up) up_planes_ = reader_.declare(k_, "up");
  x_ = k_.in("x");
  if (s_.bias) bias_ = k_.in("bias");
  if (s_.residual && !s_.residual_in_place) residual_ = k_.in("residual");
  y_ = s_.residual && s_.residual_in_place ? k_.in_out("y") : k_.out("y");
  tokens_ = k_.param_u32("tokens");
  first_row_ = k_.param_u32("first_row");
  const Type vector = d_.matrix != 0 ? Type{Kind::kU32, kHalfVector / 2}
                                     : Type{Kind::kF32, static_cast<uint8_t>(vector_)};
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
    t.slot = (row + half * d_.tile_rows) * stride_ + t.column * (chunk_ / vector_);
    Val source = row0_ + row;
    if (s_.rows % d_.tile_rows != 0) source = min(source, s_.rows - 1);
    if (half == 1 && !s_.separate_up) source = source + s_.rows;
    t.row_start = source * chunks_;
    weight_tasks_.push_back(t);
  }
}

void GemmBuilder::place_x() {
  const uint32_t per_row = d_.tile_columns / vector_, count = d_.tile_tokens * per_row;
  for (uint32_t round = 0; round * d_.threads() < count; ++round) {
    Val row;
    Task t = task(round, count, per_row, &row);
    t.planes = nullptr;
    t.slot = row * stride_ + t.column;
    t.row_start = min(token0_ + row, tokens_ - 1) * (s_.columns / vector_);
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
    sums_.push_back(k_.var(d_.matrix != 0 ? k_.fill_fragment(0.0f, d_.matrix) : Val(0.0f)));
}

GemmBuilder::Loaded GemmBuilder::load(const Val& tile) const {
  Loaded out;
  const bool exact = s_.columns % d_.tile_columns == 0;
  for (const Task& t : weight_tasks_) {
    Val at = tile * (d_.tile_columns / chunk_) + t.column;
    if (!exact) at = min(at, chunks_ - 1);
    out.weights.push_back(reader_.load(*t.planes, t.row_start + at, s_.columns));
  }
  const uint32_t vectors = s_.columns / vector_, lanes = std::min(vector_, 4u);
  for (const Task& t : x_tasks_) {
    const Val at = tile * (d_.tile_columns / vector_) + t.column;
    const Val from = t.row_start + (exact ? at : min(at, vectors - 1));
    std::vector<Val> floats;
    for (uint32_t piece = 0; piece < vector_ / lanes; ++piece) {
      const Val v = load_floats(x_, from * (vector_ / lanes) + piece, lanes);
      for (uint32_t i = 0; i < lanes; ++i)
        floats.push_back(exact ? v[i] : select(at < vectors, v[i], 0.0f));
    }
    out.x.push_back(floats);
  }
  return out;
}

// A vector of a tile: floats as they are, or halves. Beyond what a half can hold the largest one
// stands, since infinities would make NaNs.
Val GemmBuilder::vector_of(const std::vector<Val>& floats, uint32_t at) const {
  const auto from = floats.begin() + at;
  if (d_.matrix == 0) return make_vec(std::vector<Val>(from, from + vector_));
  std::vector<Val> words;
  const auto bounded = [](const Val& v) { return min(max(v, -kMaxHalf), kMaxHalf); };
  for (uint32_t i = 0; i < kHalfVector; i += 2)
    words.push_back(pack_f16x2(bounded(from[i]), bounded(from[i + 1])));
  return make_vec(words);
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
      for (uint32_t at = 0; at < chunk_; at += vector_)
        w_tile_.store(slot + at / vector_, vector_of(v, at));
    });
  }
  for (size_t i = 0; i < x_tasks_.size(); ++i) {
    const Task& t = x_tasks_[i];
    guarded(t, [&] { x_tile_.store(t.slot + stage * x_stage(), vector_of(loaded.x[i], 0)); });
  }
}

void GemmBuilder::multiply(const Val& stage) {
  if (d_.matrix != 0) return multiply_fragments(stage);
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
  k_.loop(0, d_.tile_columns / vector_, 1, step, kUnroll);
}

void GemmBuilder::result(const Val& token, const Val& row, const Val& sum, const Val& up) {
  const uint32_t length = s_.y_stride == 0 ? s_.rows : s_.y_stride;
  const auto write = [&] {
    const Val column = first_row_ + row;
    Val y = sum;
    if (s_.bias) y = y + bias_.f32(column);
    y = activate(s_.activation, y);
    if (s_.glu) y = y * (s_.bias ? up + bias_.f32(column + length) : up);
    y = soft_cap(y, s_.softcap);
    const Val at = token * length + column;
    if (s_.residual) y = y + (s_.residual_in_place ? y_ : residual_).f32(at);
    y_.store(at, y);
  };
  if (s_.rows % d_.tile_rows == 0) return write();
  k_.when(row < s_.rows, write);
}

void GemmBuilder::finish_results() {
  if (d_.matrix != 0) return finish_fragments();
  for (uint32_t i = 0; i < d_.thread_tokens; ++i) {
    const Val token = token0_ + token_lane_ + i * token_threads();
    k_.when(token < tokens_, [&] {
      for (uint32_t j = 0; j < d_.thread_rows; ++j) {
        const Val row = row0_ + row_lane_ + j * row_threads();
        const Val up = s_.glu ? sum(1, i, j).get() : Val();
        result(token, row, sum(0, i, j), up);
      }
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

}  // namespace bp::kernels
