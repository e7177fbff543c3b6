// SPDX-License-Identifier: Apache-2.0
// GEMV over quantized and float weights.
#include "kernels/library/gemv.h"

#include <algorithm>

#include "kernels/library/quantize.h"
#include "kernels/library/weights.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kMaxRows = 1u << 24;
constexpr uint32_t kMaxColumns = 1u << 20;
constexpr uint32_t kMaxMatrices = 1u << 16;

std::string kernel_name(const GemvSpec& s) {
  const char* family = s.experts.count == 0 ? "gemv_" : s.experts.sum ? "moe_sum_" : "moe_";
  return family + std::string(s.glu ? "glu_" : "") + s.format;
}

class GemvBuilder {
 public:
  GemvBuilder(const GemvSpec& spec, const GemvSchedule& schedule, const WeightReader& reader,
              const GemvSink& sink)
      : s_(spec),
        d_(schedule),
        reader_(reader),
        sink_(sink),
        k_(kernel_name(spec), schedule.threads),
        chunk_(reader.chunk_elements(spec.columns)),
        chunks_(spec.columns / chunk_) {}

  Result<Kernel> build();

 private:
  // One thread's rows of the weight: of a plain matrix R, of a gated pair R of each.
  struct Row {
    const std::vector<Buf>* planes;
    Val first_chunk;
    std::vector<Var> sums;  // by token
  };
  void declare();
  void choose_expert(Val entry);
  void place_thread();
  void place_rows();
  void multiply();
  void sum_experts();
  void chunk(Val index);
  void chunk_float(Val index, const std::vector<WeightChunk>& weights);
  Val product_int8(const WeightChunk& w, const std::vector<Val>& x, Val x_sum) const;
  void chunk_int8(Val index, const std::vector<WeightChunk>& weights);
  std::vector<Val> load_x(uint32_t token, Val index,
                          const std::vector<WeightElement>& elements) const;
  void finish_rows();
  Val finished(const std::vector<std::vector<Val>>& sums, uint32_t token, Val y_row);
  void store_quantized(const std::vector<std::vector<Val>>& sums);
  void store(Val token, Val row, Val y);
  Val pick(const std::vector<Val>& values) const;
  uint32_t halves() const { return s_.glu ? 2 : 1; }
  uint32_t group_rows() const { return d_.threads / d_.lanes_per_row * d_.rows_per_thread; }
  uint32_t y_rows() const { return s_.y_rows != 0 ? s_.y_rows : s_.rows; }
  // The row of x of one of the tokens. Past the last it is read again, and the result dropped.
  Val x_row(uint32_t t) const { return s_.tokens == 1 ? x_row0_ : min(x_row0_ + t, tokens_ - 1); }

  const GemvSpec& s_;
  const GemvSchedule& d_;
  const WeightReader& reader_;
  const GemvSink& sink_;
  Builder k_;
  const uint32_t chunk_, chunks_;
  std::vector<Buf> planes_, up_planes_;
  Buf x_, x_scales_, ids_, expert_weights_, bias_, residual_, y_, y_scales_;
  Val lane_, row0_, token0_, x_row0_, tokens_;
  Val first_row_ = 0, matrix_row_ = 0;  // of the expert's matrix among all rows
  std::vector<Row> rows_;               // [halves, rows_per_thread]
};

void GemvBuilder::declare() {
  planes_ = reader_.declare(k_, "w");
  if (s_.separate_up) up_planes_ = reader_.declare(k_, "up");
  x_ = k_.in(s_.int8 ? "x_int8" : "x");
  if (s_.int8) x_scales_ = k_.in("x_scales");
  if (s_.bias) bias_ = k_.in("bias");
  if (s_.experts.count != 0) {
    ids_ = k_.in("ids");
    if (s_.experts.sum) expert_weights_ = k_.in("weights");
  } else {
    tokens_ = k_.param_u32("tokens");
    first_row_ = k_.param_u32("first_row");
  }
  x_row0_ = token0_ = k_.group_y() * s_.tokens;
  if (sink_) return;
  if (s_.residual && !s_.residual_in_place) residual_ = k_.in("residual");
  if (s_.write_int8) {
    y_ = k_.out("y_int8");
    y_scales_ = k_.out("y_scales");
    return;
  }
  y_ = s_.residual && s_.residual_in_place ? k_.in_out("y") : k_.out("y");
}

// From now on rows are those of the expert that this entry of ids names. Negative ids count as
// large ones here; none reads outside.
void GemvBuilder::choose_expert(Val entry) {
  const uint32_t matrix_rows = s_.glu && !s_.separate_up ? 2 * s_.rows : s_.rows;
  matrix_row_ = min(ids_.u32(entry), s_.experts.count - 1) * matrix_rows;
}

void GemvBuilder::place_thread() {
  const Val t = k_.tid();
  lane_ = t % d_.lanes_per_row;
  row0_ =
      (k_.group_x() * (d_.threads / d_.lanes_per_row) + t / d_.lanes_per_row) * d_.rows_per_thread;
}

void GemvBuilder::place_rows() {
  rows_.clear();
  const bool exact = s_.rows % group_rows() == 0;
  for (uint32_t half = 0; half < halves(); ++half) {
    const bool second = half == 1;
    for (uint32_t r = 0; r < d_.rows_per_thread; ++r) {
      // Past the last row it is read again, and the result dropped.
      Val row = exact ? row0_ + r : min(row0_ + r, s_.rows - 1);
      if (second && !s_.separate_up) row = row + s_.rows;
      row = row + matrix_row_;
      Row out{second && s_.separate_up ? &up_planes_ : &planes_, row * chunks_, {}};
      for (uint32_t token = 0; token < s_.tokens; ++token) out.sums.push_back(k_.var(0.0f));
      rows_.push_back(std::move(out));
    }
  }
}

// The activations that meet these elements.
std::vector<Val> GemvBuilder::load_x(uint32_t token, Val index,
                                     const std::vector<WeightElement>& elements) const {
  const uint32_t lanes = chunk_ % 4 == 0 ? 4 : chunk_;
  const Val base = index * (chunk_ / lanes) + x_row(token) * (s_.columns / lanes);
  std::vector<Val> vectors(chunk_ / lanes);
  std::vector<Val> out;
  for (const WeightElement& e : elements) {
    Val& v = vectors[e.offset / lanes];
    if (v.is_literal()) {
      const Val at = base + e.offset / lanes;
      v = lanes == 4 ? x_.f32x4(at) : lanes == 2 ? x_.f32x2(at) : x_.f32(at);
    }
    out.push_back(v[e.offset % lanes]);
  }
  return out;
}

void GemvBuilder::chunk_float(Val index, const std::vector<WeightChunk>& weights) {
  const bool scaled = !weights[0].scales.empty(), shifted = !weights[0].minima.empty();
  const size_t groups = scaled ? weights[0].scales.size() : 1, group_elements = chunk_ / groups;
  // Of this chunk, before scales: [row, token, group], and of x alone [token, group].
  std::vector<Val> sums(rows_.size() * s_.tokens * groups), x_sums(s_.tokens * groups);
  for (uint32_t part = 0; part < reader_.parts(s_.columns); ++part) {
    std::vector<std::vector<WeightElement>> unpacked;
    for (const WeightChunk& w : weights) unpacked.push_back(reader_.unpack(w, part, s_.columns));
    for (uint32_t token = 0; token < s_.tokens; ++token) {
      std::vector<Val> x = load_x(token, index, unpacked[0]);
      for (size_t i = 0; i < x.size(); ++i) {
        const WeightElement& e = unpacked[0][i];
        Val& sum = x_sums[token * groups + e.offset / group_elements];
        if (shifted) sum = sum.is_literal() ? x[i] : sum + x[i];
        x[i] = x[i] * e.factor;
      }
      for (size_t r = 0; r < rows_.size(); ++r) {
        for (size_t i = 0; i < x.size(); ++i) {
          const WeightElement& e = unpacked[r][i];
          Val& sum = sums[(r * s_.tokens + token) * groups + e.offset / group_elements];
          const bool first = sum.is_literal();
          if (first && scaled) {
            sum = e.value * x[i];
          } else {
            sum = fma(e.value, x[i], first ? rows_[r].sums[token].get() : sum);
          }
        }
      }
    }
  }
  for (size_t r = 0; r < rows_.size(); ++r) {
    for (uint32_t token = 0; token < s_.tokens; ++token) {
      const Val* sum = &sums[(r * s_.tokens + token) * groups];
      Val total = scaled ? rows_[r].sums[token].get() : *sum;
      for (size_t g = 0; scaled && g < groups; ++g) {
        total = fma(sum[g], weights[r].scales[g], total);
        if (shifted) total = fma(x_sums[token * groups + g], weights[r].minima[g], total);
      }
      rows_[r].sums[token].set(total);
    }
  }
}

// Integer products and sums of one token's chunk with a row's, in units of the activation's scale.
Val GemvBuilder::product_int8(const WeightChunk& w, const std::vector<Val>& x, Val x_sum) const {
  const uint32_t groups = static_cast<uint32_t>(w.scales.size()), words = 8 / groups;
  Val out;
  for (uint32_t g = 0; g < groups; ++g) {
    // The sum of x over a group; of the second half what the first leaves. Dropped where unused.
    Val group_sum = x_sum;
    for (uint32_t i = 0; groups > 1 && i < words; ++i)
      group_sum = dot4(x[i], 0x01010101u, i == 0 ? Val(0) : group_sum);
    if (g == 1) group_sum = x_sum - group_sum;
    Val sum;
    for (uint32_t i = 0; i < words; ++i) {
      const uint32_t word = g * words + i;
      sum = dot4(reader_.bytes(w, word), x[word], i == 0 ? Val(0) : sum);
    }
    if (reader_.zero() != 0) sum = sum - group_sum * reader_.zero();
    const Val scaled = to_f32(sum);
    out = g == 0 ? scaled * w.scales[g] : fma(scaled, w.scales[g], out);
    if (!w.minima.empty()) out = fma(to_f32(group_sum), w.minima[g], out);
  }
  return out;
}

void GemvBuilder::chunk_int8(Val index, const std::vector<WeightChunk>& weights) {
  for (uint32_t token = 0; token < s_.tokens; ++token) {
    const Val at = index + x_row(token) * chunks_;
    std::vector<Val> x;
    for (uint32_t half = 0; half < 2; ++half) {
      const Val words = x_.u32x4(at * 2 + half);
      for (uint32_t i = 0; i < 4; ++i) x.push_back(words[i]);
    }
    const Val pair = x_scales_.u32x2(at);
    const Val scale = as_f32(pair[0]), x_sum = as_i32(pair[1]);
    for (size_t r = 0; r < rows_.size(); ++r) {
      const Var& total = rows_[r].sums[token];
      total.set(fma(product_int8(weights[r], x, x_sum), scale, total));
    }
  }
}

void GemvBuilder::chunk(Val index) {
  std::vector<WeightChunk> weights;
  for (const Row& row : rows_) {
    weights.push_back(reader_.load(*row.planes, row.first_chunk + index, s_.columns));
  }
  if (s_.int8) return chunk_int8(index, weights);
  chunk_float(index, weights);
}

// Lane r takes the value of row r, so that the ends of several rows run side by side.
Val GemvBuilder::pick(const std::vector<Val>& values) const {
  Val out = values[0];
  for (uint32_t r = 1; r < values.size(); ++r) out = select(lane_ == r, values[r], out);
  return out;
}

void GemvBuilder::store(Val token, Val row, Val y) {
  if (sink_) return sink_(k_, token, row, y);
  const Val at = row + token * y_rows();
  if (s_.residual) y = y + (s_.residual_in_place ? y_ : residual_).f32(at);
  y_.store(at, y);
}

// The value of this lane's row, from the sums of its thread's rows [half × token][row].
Val GemvBuilder::finished(const std::vector<std::vector<Val>>& sums, uint32_t token, Val y_row) {
  Val y = pick(sums[token]);
  if (s_.bias) y = y + bias_.f32(y_row);
  y = activate(s_.activation, y);
  if (s_.glu) {
    Val up = pick(sums[s_.tokens + token]);
    if (s_.bias) up = up + bias_.f32(y_row + y_rows());
    y = y * up;
  }
  return soft_cap(y, s_.softcap);
}

// The group's rows meet in shared memory, [token, row], and leave it four to a thread.
void GemvBuilder::store_quantized(const std::vector<std::vector<Val>>& sums) {
  const uint32_t rows = group_rows(), vectors = rows / 4, all = vectors * s_.tokens;
  Shared values = k_.shared("values", kF32, rows * s_.tokens);
  const Val in_group = k_.tid() / d_.lanes_per_row * d_.rows_per_thread + lane_;
  k_.when(lane_ < d_.rows_per_thread, [&] {
    // Rows past the last have its weights; their blocks are dropped below.
    const Val y_row = min(row0_ + lane_, s_.rows - 1) + first_row_;
    for (uint32_t t = 0; t < s_.tokens; ++t) {
      values.store(in_group + t * rows, finished(sums, t, y_row));
    }
  });
  k_.barrier();
  const Val at = min(k_.tid(), all - 1), token = at / vectors, vector = at % vectors;
  std::vector<Val> four;
  for (uint32_t i = 0; i < 4; ++i) four.push_back(values.load(at * 4 + i));
  const Val first = k_.group_x() * vectors + vector;
  const Val index = (token0_ + token) * (y_rows() / 4) + first_row_ / 4 + first;
  store_int8(k_, y_, y_scales_, index, make_vec(four), [&](const std::function<void()>& body) {
    Val mine = k_.tid() < all;
    if (s_.rows % rows != 0) mine = mine & (first < s_.rows / 4);
    if (s_.tokens > 1) mine = mine & (token0_ + token < tokens_);
    k_.when(mine, body);
  });
}

void GemvBuilder::finish_rows() {
  const uint32_t held = d_.rows_per_thread;
  std::vector<std::vector<Val>> sums(halves() * s_.tokens);  // [half × token][row of the thread]
  for (uint32_t half = 0; half < halves(); ++half) {
    for (uint32_t token = 0; token < s_.tokens; ++token) {
      for (uint32_t r = 0; r < held; ++r) {
        sums[half * s_.tokens + token].push_back(
            k_.sum(rows_[half * held + r].sums[token], d_.lanes_per_row));
      }
    }
  }
  if (s_.write_int8) return store_quantized(sums);
  const Val row = row0_ + lane_;
  const bool exact = s_.rows % group_rows() == 0;
  const Val mine = exact ? lane_ < held : (lane_ < held) & (row < s_.rows);
  k_.when(mine, [&] {
    const Val y_row = row + first_row_;
    for (uint32_t t = 0; t < s_.tokens; ++t) {
      const Val y = finished(sums, t, y_row);
      // A group's first token is always there: the grid has no more than it needs.
      if (t == 0) {
        store(token0_, y_row, y);
      } else {
        k_.when(token0_ + t < tokens_, [&] { store(token0_ + t, y_row, y); });
      }
    }
  });
}

// Adds products of this thread's part of the rows to their sums.
void GemvBuilder::multiply() {
  const uint32_t lanes = d_.lanes_per_row, full = chunks_ / lanes;
  k_.loop(
      0, full, 1, [&](Val i) { chunk(i * lanes + lane_); }, d_.unroll);
  if (chunks_ % lanes != 0) {
    k_.when(lane_ < chunks_ % lanes, [&] { chunk(lane_ + full * lanes); });
  }
}

// The products of one expert after the other; each thread adds up its part of all of them.
void GemvBuilder::sum_experts() {
  std::vector<Var> totals;
  for (uint32_t r = 0; r < d_.rows_per_thread; ++r) totals.push_back(k_.var(0.0f));
  k_.loop(0, s_.experts.used, 1, [&](Val slot) {
    const Val entry = x_row0_ = token0_ * s_.experts.used + slot;
    choose_expert(entry);
    place_rows();
    multiply();
    const Val weight = expert_weights_.f32(entry);
    for (size_t r = 0; r < totals.size(); ++r)
      totals[r].set(fma(rows_[r].sums[0], weight, totals[r]));
  });
  for (size_t r = 0; r < totals.size(); ++r) rows_[r].sums = {totals[r]};
}

Result<Kernel> GemvBuilder::build() {
  k_.is_bound_by_loads();
  declare();
  place_thread();
  if (s_.experts.sum) {
    sum_experts();
  } else {
    if (s_.experts.count != 0) {
      choose_expert(token0_);
      x_row0_ = token0_ / s_.experts.used;
    }
    place_rows();
    multiply();
  }
  finish_rows();
  return k_.finish();
}

Status check(const GemvSpec& s, const GemvSchedule& d, const WeightReader* reader) {
  const auto refuse = [&](const char* why) {
    return error(Code::kInvalidArgument, "gemv {} [{}, {}] x {}: {}", s.format, s.rows, s.columns,
                 s.tokens, why);
  };
  if (reader == nullptr) return refuse("no kernel reads this format");
  if (s.rows == 0 || s.rows > kMaxRows || s.columns == 0 || s.columns > kMaxColumns) {
    return refuse("no such shape");
  }
  if (s.y_rows != 0 && s.y_rows < s.rows) return refuse("y is shorter than the weight");
  if (s.tokens == 0 || s.tokens > kMaxGemvTokens) return refuse("1 to 8 tokens at once");
  if (reader->chunk_elements(s.columns) == 0) return refuse("the format cannot have such rows");
  if (s.int8 && !reader->has_int8()) return refuse("the format has no int8 form");
  if (s.separate_up && !s.glu) return refuse("'up' without 'glu'");
  if (s.glu && s.activation == Activation::kNone) return refuse("'glu' needs an activation");
  if (!is_power_of_two(d.threads) || d.threads > kMaxThreads || !is_power_of_two(d.lanes_per_row) ||
      d.lanes_per_row > d.threads) {
    return refuse("the schedule's threads and lanes must be powers of two");
  }
  if (d.rows_per_thread == 0 || d.rows_per_thread > 8 || d.rows_per_thread > d.lanes_per_row) {
    return refuse("1 to 8 rows a thread, and no more than lanes");
  }
  if (d.unroll > kMaxUnroll) return refuse("unrolled too far");
  if (s.write_int8 && (s.residual || s.experts.count != 0)) {
    return refuse("int8 results have no residual and no experts");
  }
  if (s.write_int8 && !schedules_int8(s, d)) return refuse("int8 results come in whole blocks");
  const GemvExperts& experts = s.experts;
  if (experts.count > kMaxMatrices || experts.used == 0 ||
      (experts.count != 0 && experts.used > experts.count) ||
      (experts.sum && (experts.count == 0 || s.glu))) {
    return refuse("no such use of experts");
  }
  if (experts.count != 0 && (s.tokens != 1 || s.bias || s.y_rows != 0)) {
    return refuse("experts take one token at a time, whole matrices and no bias");
  }
  // Element offsets are 32-bit.
  const uint64_t elements =
      uint64_t{s.rows} * s.columns * (s.glu ? 2 : 1) * std::max(experts.count, 1u);
  const uint64_t chunks = elements / reader->chunk_elements(s.columns);
  if (chunks > (uint64_t{1} << 31)) return refuse("more chunks than a 32-bit index has");
  return {};
}

}  // namespace

GemvSchedule default_schedule(const GemvSpec& spec, const Caps& caps) {
  const WeightReader* reader = find_weight_reader(spec.format);
  const uint32_t chunk = reader != nullptr ? reader->chunk_elements(spec.columns) : 0;
  GemvSchedule d;
  d.lanes_per_row = caps.subgroup_size != 0 ? std::min<uint32_t>(caps.subgroup_size, 32) : 16;
  // Rows too short for the lanes are shared by fewer.
  while (d.lanes_per_row > 4 && chunk != 0 && spec.columns / chunk < d.lanes_per_row)
    d.lanes_per_row /= 2;
  d.rows_per_thread = spec.glu || spec.tokens > 4 ? 1 : 2;
  d.threads = std::max<uint32_t>(std::min<uint32_t>(128, caps.max_threads), caps.subgroup_size);
  d.unroll = spec.tokens == 1 ? 2 : 1;
  if (!spec.write_int8) return d;
  // A group has to hold whole blocks of rows: more threads, then more rows a thread, then fewer
  // lanes a row.
  const uint32_t most = std::min<uint32_t>(spec.tokens > 4 ? 256 : 512, caps.max_threads);
  while (!schedules_int8(spec, d) && d.threads * 2 <= most) d.threads *= 2;
  if (!schedules_int8(spec, d)) {
    d.rows_per_thread = 2;
    d.unroll = 1;
  }
  while (!schedules_int8(spec, d) && d.lanes_per_row > 4) d.lanes_per_row /= 2;
  return d;
}

bool schedules_int8(const GemvSpec& spec, const GemvSchedule& schedule) {
  if (schedule.lanes_per_row == 0 || schedule.threads < schedule.lanes_per_row) return false;
  const uint32_t rows = schedule.threads / schedule.lanes_per_row * schedule.rows_per_thread;
  const uint32_t y_rows = spec.y_rows != 0 ? spec.y_rows : spec.rows;
  return rows != 0 && rows % kActivationBlock == 0 && spec.rows % kActivationBlock == 0 &&
         y_rows % kActivationBlock == 0 && uint64_t{rows} / 4 * spec.tokens <= schedule.threads;
}

uint32_t gemv_groups(const GemvSpec& spec, const GemvSchedule& schedule) {
  const uint32_t rows = schedule.threads / schedule.lanes_per_row * schedule.rows_per_thread;
  return rows == 0 ? 0 : (spec.rows + rows - 1) / rows;
}

Result<Kernel> build_gemv(const GemvSpec& spec, const GemvSchedule& schedule) {
  return build_gemv(spec, schedule, nullptr);
}

Result<Kernel> build_gemv(const GemvSpec& spec, const GemvSchedule& schedule,
                          const GemvSink& sink) {
  const WeightReader* reader = find_weight_reader(spec.format);
  BP_TRY(check(spec, schedule, reader));
  return GemvBuilder(spec, schedule, *reader, sink).build();
}

}  // namespace bp::kernels
