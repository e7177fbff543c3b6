// SPDX-License-Identifier: Apache-2.0
// Attention of query tiles over key tiles.
//
// Threads form a grid of row groups × lanes. Of the scores a thread has rows_per_thread rows times
// the keys lane, lane + lanes, …; of the results the same rows times the vectors of four elements
// lane, lane + lanes, …. Probabilities pass from one layout to the other through shared memory.
// Barriers stand in loops without rounds rather than under conditions, which PoCL 3.1 miscompiles.
#include "kernels/library/prompt_attention.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "kernels/builder/builder.h"
#include "kernels/library/activation.h"
#include "kernels/library/paged_cache.h"

namespace bp::kernels {
namespace {

constexpr float kLog2E = 1.44269504f;
// Less than every score, and finite, so that a difference of two of them is no NaN.
constexpr float kNothing = -1e30f;
constexpr uint32_t kMaxHeadDim = 256;
constexpr uint32_t kMaxRows = 256;        // of a tile
constexpr uint32_t kMaxKeys = 256;        // of a tile
constexpr uint32_t kMaxThreadSums = 256;  // results and scores of one thread

uint32_t odd(uint32_t n) {
  return n | 1;  // strides in vectors: neighbouring rows then lie in different banks
}

class PromptBuilder {
 public:
  PromptBuilder(const AttentionSpec& spec, const PromptAttentionSchedule& schedule)
      : s_(spec), d_(schedule), k_("prompt_attention", schedule.threads()) {}
  Result<Kernel> build();

 private:
  struct Row {
    Val head;              // of all heads
    Val token;             // of the pass
    Val active;            // the tile has this token
    Val position;          // of the token in its sequence; of the last token for rows without one
    Var largest, sum;      // sum: over this thread's keys alone
    std::vector<Var> acc;  // [chunk, vector of this lane, 4]
  };
  void declare();
  void place();
  void place_rows();
  void load_queries();
  void load_chunk(Buf cache, const Val& first_key, uint32_t chunk);
  void key_tile(const Val& first_key);
  void scores(uint32_t chunk);
  void softmax(const Val& first_key);
  Val score(const Val& raw, const Row& row, const Val& key, Val* seen) const;
  void accumulate(uint32_t chunk);
  void write_rows();
  uint32_t chunks() const { return s_.head_dim / d_.chunk; }
  uint32_t vectors() const { return d_.chunk / 4; }  // of a chunk
  uint32_t lane_vectors() const { return (vectors() + d_.lanes - 1) / d_.lanes; }
  uint32_t row_groups() const { return d_.rows() / d_.rows_per_thread; }
  uint32_t q_stride() const { return odd(s_.head_dim / 4); }
  uint32_t tile_stride() const { return odd(vectors()); }
  uint32_t p_stride() const { return odd(row_groups()); }
  Val vector_of_lane(uint32_t i) const { return lane_ + i * d_.lanes; }

  const AttentionSpec& s_;
  const PromptAttentionSchedule& d_;
  Builder k_;
  Buf q_, keys_, values_, starts_, lengths_, y_;
  PageTable table_;
  CacheSource source_;
  Shared q_tile_, tile_, p_tile_;
  Val sequences_, lane_, row_group_, first_head_, kv_head_;
  Val sequence_, first_token_, count_;  // of the tile; count: its tokens
  Val begin_, end_, rounds_;            // keys that some row sees
  std::vector<Row> rows_;
  std::vector<Var> scores_;  // [row, key]
};

void PromptBuilder::declare() {
  q_ = k_.in("q");
  keys_ = k_.in("k_cache");
  values_ = k_.in("v_cache");
  starts_ = k_.in("query_start");
  lengths_ = k_.in("context_length");
  table_.pages = k_.in("page_table");
  y_ = k_.out("y");
  sequences_ = k_.param_u32("sequences");
  table_.blocks = k_.param_u32("blocks");
  table_.page_count = k_.param_u32("pages");
  table_.page_size = s_.page_size;
  source_ = {s_.cache, s_.head_dim, {}};
  if (s_.cache == "q8") {
    source_.first_scale =
        first_scale_word(table_.page_count, s_.kv_heads, s_.page_size, s_.head_dim);
  }
  const Type vector{Kind::kF32, 4};
  q_tile_ = k_.shared("q_tile", vector, d_.rows() * q_stride());
  tile_ = k_.shared("tile", vector, d_.keys() * tile_stride());
  p_tile_ = k_.shared("p_tile", {Kind::kF32, static_cast<uint8_t>(d_.rows_per_thread)},
                      d_.keys() * p_stride());
}

void PromptBuilder::place() {
  const Val tile = k_.group_x();
  const auto first_tile = [&](Val s) { return starts_.u32(s) / d_.tokens + s; };
  sequence_ = find_sequence(k_, sequences_, tile, first_tile);
  const Val start = starts_.u32(sequence_), stop = starts_.u32(sequence_ + 1);
  first_token_ = start + (tile - first_tile(sequence_)) * d_.tokens;
  count_ = min(max(stop, first_token_) - first_token_, d_.tokens);
  // Positions of the first token and behind the last one; meaningless in an empty tile.
  const Val first = lengths_.u32(sequence_) - (stop - first_token_);
  end_ = first + count_;
  begin_ = k_.constant(Kind::kU32, 0);
  if (s_.window > 0) begin_ = select(first + 1 > s_.window, first + 1 - s_.window, 0);
  rounds_ = select(count_ == 0, 0, (end_ - begin_ + (d_.keys() - 1)) / d_.keys());
  first_head_ = k_.group_y() * d_.heads_per_group;
  kv_head_ = first_head_ / (s_.heads / s_.kv_heads);
  lane_ = k_.tid() % d_.lanes;
  row_group_ = k_.tid() / d_.lanes;
}

void PromptBuilder::place_rows() {
  for (uint32_t i = 0; i < d_.rows_per_thread; ++i) {
    Row row;
    const Val number = row_group_ * d_.rows_per_thread + i;
    const Val token = number / d_.heads_per_group;
    row.head = first_head_ + number % d_.heads_per_group;
    row.token = first_token_ + token;
    row.active = token < count_;
    row.position = min(end_ - count_ + token, end_ - 1);
    row.largest = k_.var(kNothing);
    row.sum = k_.var(0.0f);
    for (uint32_t e = 0; e < chunks() * lane_vectors() * 4; ++e) row.acc.push_back(k_.var(0.0f));
    rows_.push_back(std::move(row));
  }
  for (uint32_t i = 0; i < d_.rows_per_thread * d_.keys_per_thread; ++i)
    scores_.push_back(k_.var(0.0f));
}

void PromptBuilder::load_queries() {
  const uint32_t vectors = s_.head_dim / 4;
  const float scale = s_.softcap > 0 ? s_.scale / s_.softcap : s_.scale * kLog2E;
  k_.when(count_ > 0, [&] {
    k_.loop(k_.tid(), d_.rows() * vectors, d_.threads(), [&](Val at) {
      const Val row = at / vectors, vector = at % vectors;
      const Val token = first_token_ + min(row / d_.heads_per_group, count_ - 1);
      const Val head = first_head_ + row % d_.heads_per_group;
      const Val from = (token * s_.heads + head) * vectors + vector;
      q_tile_.store(row * q_stride() + vector, q_.f32x4(from) * scale);
    });
  });
}

// One chunk of the elements of all keys of a tile. Keys behind the last repeat it; no row sees
// them.
void PromptBuilder::load_chunk(Buf cache, const Val& first_key, uint32_t chunk) {
  // As many vectors of four elements as 4 words hold, where the chunk is a multiple of that.
  const uint32_t vector_words = 4 * cache_row_words(s_.cache, s_.head_dim) / s_.head_dim;
  uint32_t pieces = 4 / vector_words;
  while (vectors() % pieces != 0) pieces /= 2;
  const uint32_t words = vector_words * pieces;
  const uint32_t per_key = vectors() / pieces, count = d_.keys() * per_key;
  const uint32_t rounds = (count + d_.threads() - 1) / d_.threads();
  std::vector<std::pair<Val, CacheWords>> loaded;  // slot, words
  for (uint32_t round = 0; round < rounds; ++round) {
    const Val number = min(k_.tid() + round * d_.threads(), count - 1);
    const Val key = number / per_key, part = number % per_key;
    const Val row =
        cache_row(table_, sequence_, min(first_key + key, end_ - 1), kv_head_, s_.kv_heads);
    loaded.emplace_back(key * tile_stride() + part * pieces,
                        load_cache(source_, cache, row, chunk * per_key + part, words));
  }
  for (uint32_t round = 0; round < rounds; ++round) {
    const auto store = [&] {
      const std::vector<Val> v = cache_floats(source_, loaded[round].second);
      for (uint32_t i = 0; i < pieces; ++i)
        tile_.store(loaded[round].first + i,
                    make_vec({v[4 * i], v[4 * i + 1], v[4 * i + 2], v[4 * i + 3]}));
    };
    if (count >= (round + 1) * d_.threads()) {
      store();
    } else {
      k_.when(k_.tid() < count - round * d_.threads(), store);
    }
  }
}

void PromptBuilder::scores(uint32_t chunk) {
  const Val q_row = row_group_ * (d_.rows_per_thread * q_stride()) + chunk * vectors();
  k_.loop(
      0, vectors(), 1,
      [&](Val v) {
        std::vector<Val> q;
        for (uint32_t i = 0; i < d_.rows_per_thread; ++i)
          q.push_back(q_tile_.load(q_row + v + i * q_stride()));
        for (uint32_t j = 0; j < d_.keys_per_thread; ++j) {
          const Val key = tile_.load((lane_ + j * d_.lanes) * tile_stride() + v);
          for (uint32_t i = 0; i < d_.rows_per_thread; ++i) {
            const Var& sum = scores_[i * d_.keys_per_thread + j];
            sum.set(dot(q[i], key, sum));
          }
        }
      },
      2);
}

// The score in base 2, or kNothing where the row does not see the key.
Val PromptBuilder::score(const Val& raw, const Row& row, const Val& key, Val* seen) const {
  *seen = key <= row.position;
  if (s_.window > 0) *seen = *seen & (key + s_.window > row.position);
  const Val capped = s_.softcap > 0 ? tanh(raw) * (s_.softcap * kLog2E) : raw;
  return select(*seen, capped, kNothing);
}

void PromptBuilder::softmax(const Val& first_key) {
  std::vector<std::vector<Val>> value(rows_.size()), seen(rows_.size());
  std::vector<Val> largest;
  for (size_t i = 0; i < rows_.size(); ++i) {
    Val top;
    for (uint32_t j = 0; j < d_.keys_per_thread; ++j) {
      const Var& raw = scores_[i * d_.keys_per_thread + j];
      Val visible;
      value[i].push_back(score(raw, rows_[i], first_key + lane_ + j * d_.lanes, &visible));
      seen[i].push_back(visible);
      top = j == 0 ? value[i][0] : max(top, value[i][j]);
      raw.set(0.0f);
    }
    largest.push_back(top);
  }
  const Val tile_largest = k_.max_of(make_vec(largest), d_.lanes);
  std::vector<std::vector<Val>> p(d_.keys_per_thread);
  for (uint32_t i = 0; i < rows_.size(); ++i) {
    const Row& row = rows_[i];
    const Val before = row.largest, now = max(before, tile_largest[i]);
    const Val keep = exp2(before - now);
    Val sum = row.sum * keep;
    for (uint32_t j = 0; j < d_.keys_per_thread; ++j) {
      p[j].push_back(select(seen[i][j], exp2(value[i][j] - now), 0.0f));
      sum = sum + p[j].back();
    }
    row.largest.set(now);
    row.sum.set(sum);
    for (const Var& acc : row.acc) acc.set(acc * keep);
  }
  for (uint32_t j = 0; j < d_.keys_per_thread; ++j)
    p_tile_.store((lane_ + j * d_.lanes) * p_stride() + row_group_, make_vec(p[j]));
}

void PromptBuilder::accumulate(uint32_t chunk) {
  k_.loop(
      0, d_.keys(), 1,
      [&](Val key) {
        const Val p = p_tile_.load(key * p_stride() + row_group_);
        for (uint32_t n = 0; n < lane_vectors(); ++n) {
          const Val at = (n + 1) * d_.lanes > vectors() ? min(vector_of_lane(n), vectors() - 1)
                                                        : vector_of_lane(n);
          const Val value = tile_.load(key * tile_stride() + at);
          for (uint32_t i = 0; i < rows_.size(); ++i) {
            for (uint32_t e = 0; e < 4; ++e) {
              const Var& acc = rows_[i].acc[(chunk * lane_vectors() + n) * 4 + e];
              acc.set(fma(p[i], value[e], acc));
            }
          }
        }
      },
      2);
}

void PromptBuilder::key_tile(const Val& first_key) {
  for (uint32_t c = 0; c < chunks(); ++c) {
    load_chunk(keys_, first_key, c);
    k_.barrier();
    scores(c);
    if (c + 1 < chunks()) k_.barrier();
  }
  softmax(first_key);
  k_.barrier();
  for (uint32_t c = 0; c < chunks(); ++c) {
    load_chunk(values_, first_key, c);
    k_.barrier();
    accumulate(c);
    k_.barrier();
  }
}

void PromptBuilder::write_rows() {
  std::vector<Val> sums;
  for (const Row& row : rows_) sums.push_back(row.sum);
  const Val total = k_.sum(make_vec(sums), d_.lanes);
  for (uint32_t i = 0; i < rows_.size(); ++i) {
    const Row& row = rows_[i];
    k_.when(row.active, [&] {
      const Val scale = rcp(total[i]);
      const Val first = (row.token * s_.heads + row.head) * (s_.head_dim / 4);
      for (uint32_t c = 0; c < chunks(); ++c) {
        for (uint32_t n = 0; n < lane_vectors(); ++n) {
          const Var* acc = &row.acc[(c * lane_vectors() + n) * 4];
          k_.when(vector_of_lane(n) < vectors(), [&] {
            y_.store(first + c * vectors() + vector_of_lane(n),
                     make_vec({acc[0] * scale, acc[1] * scale, acc[2] * scale, acc[3] * scale}));
          });
        }
      }
    });
  }
}

Result<Kernel> PromptBuilder::build() {
  declare();
  place();
  place_rows();
  load_queries();  // the first barrier of a tile of keys makes them visible
  k_.loop(0, rounds_, 1, [&](Val i) { key_tile(begin_ + i * d_.keys()); });
  write_rows();
  return k_.finish();
}

Status check(const AttentionSpec& s, const PromptAttentionSchedule& d) {
  const auto refuse = [&](const char* why) {
    return error(Code::kInvalidArgument, "prompt attention with {} heads on {} of {} ({}): {}",
                 s.heads, s.kv_heads, s.head_dim, s.cache, why);
  };
  if (!is_cache_format(s.cache, s.head_dim)) return refuse("no such cache format");
  if (s.heads == 0 || s.kv_heads == 0 || s.heads % s.kv_heads != 0)
    return refuse("heads must divide");
  if (s.head_dim == 0 || s.head_dim > kMaxHeadDim || s.head_dim % 4 != 0) {
    return refuse("head sizes are multiples of 4 up to 256");
  }
  if (s.page_size == 0) return refuse("empty pages");
  if (d.heads_per_group == 0 || s.heads / s.kv_heads % d.heads_per_group != 0) {
    return refuse("heads_per_group must divide the heads of a cache head");
  }
  if (d.tokens == 0 || d.tokens > kMaxRows || d.heads_per_group > kMaxRows / d.tokens) {
    return refuse("1 to 256 rows a tile");
  }
  const uint32_t r = d.rows_per_thread;
  if ((r != 1 && r != 2 && r != 4) || d.rows() % r != 0) {
    return refuse("1, 2 or 4 rows a thread, which divide the tile");
  }
  if (!is_power_of_two(d.lanes) || d.lanes > kMaxKeys || d.keys_per_thread == 0 ||
      d.keys_per_thread > kMaxKeys / d.lanes) {
    return refuse("lanes must be a power of two, keys 256 at most");
  }
  if (d.threads() > kMaxThreads) return refuse("too many threads");
  if (d.chunk == 0 || d.chunk % 4 != 0 || s.head_dim % d.chunk != 0) {
    return refuse("chunks must be multiples of 4 that divide the head");
  }
  const uint32_t held = (d.chunk / 4 + d.lanes - 1) / d.lanes * (s.head_dim / d.chunk) * 4;
  if (r * (held + d.keys_per_thread) > kMaxThreadSums) {
    return refuse("more results than a thread has registers for");
  }
  return {};
}

// The largest multiple of 4 up to `most` that divides the head.
uint32_t chunk_of(uint32_t head_dim, uint32_t most) {
  for (uint32_t chunk = most / 4 * 4; chunk > 4; chunk -= 4) {
    if (head_dim % chunk == 0) return chunk;
  }
  return 4;
}

uint64_t shared_bytes_of(const AttentionSpec& s, const PromptAttentionSchedule& d,
                         const Caps& caps) {
  const uint64_t q = uint64_t{d.rows()} * odd(s.head_dim / 4) * 16;
  const uint64_t tile = uint64_t{d.keys()} * odd(d.chunk / 4) * 16;
  const uint64_t p = uint64_t{d.keys()} * odd(d.rows() / d.rows_per_thread) * d.rows_per_thread * 4;
  // Reductions without subgroups take a slot a thread.
  const uint64_t reduce = uint64_t{d.threads()} * d.rows_per_thread * 4;
  return q + tile + p + (caps.subgroup_size < d.lanes ? reduce + 64 : 64);
}

}  // namespace

PromptAttentionSchedule default_prompt_schedule(const AttentionSpec& spec, const Caps& caps,
                                                uint32_t tokens) {
  PromptAttentionSchedule d;
  const uint32_t shared_heads = spec.kv_heads == 0 ? 1 : std::max(1u, spec.heads / spec.kv_heads);
  d.heads_per_group = 1;
  while (d.heads_per_group < 4 && shared_heads % (d.heads_per_group * 2) == 0)
    d.heads_per_group *= 2;
  // Chunks below 4 × lanes leave lanes without elements, so they shrink last.
  for (uint32_t chunk : {64u, 32u, 16u}) {
    d.chunk = chunk_of(spec.head_dim, chunk);
    for (uint32_t rows : {32u, 16u, 8u, 4u}) {
      d.tokens = rows / d.heads_per_group;
      // Half a tile without tokens is half of the work for nothing.
      if (rows > 8 && d.tokens >= 2 * std::max(tokens, 1u)) continue;
      for (uint32_t keys : {4u, 2u, 1u}) {
        d.keys_per_thread = keys;
        if (d.threads() <= caps.max_threads && shared_bytes_of(spec, d, caps) <= caps.shared_bytes)
          return d;
      }
    }
  }
  return d;
}

uint32_t prompt_attention_tiles(const PromptAttentionSchedule& schedule, uint32_t tokens,
                                uint32_t sequences) {
  return schedule.tokens == 0 ? 0 : tokens / schedule.tokens + sequences;
}

Result<Kernel> build_prompt_attention(const AttentionSpec& spec,
                                      const PromptAttentionSchedule& schedule) {
  BP_TRY(check(spec, schedule));
  return PromptBuilder(spec, schedule).build();
}

}  // namespace bp::kernels
