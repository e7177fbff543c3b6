// SPDX-License-Identifier: Apache-2.0
// Split-KV attention.
#include "kernels/library/attention.h"

#include <algorithm>
#include <vector>

#include "kernels/builder/builder.h"
#include "kernels/library/activation.h"
#include "kernels/library/paged_cache.h"
#include "kernels/library/quantize.h"

namespace bp::kernels {
namespace {

constexpr float kLog2E = 1.44269504f;
// Less than every score, and finite, so that a difference of two of them is no NaN.
constexpr float kNothing = -1e30f;
constexpr uint32_t kMaxHeadDim = 1024;
constexpr uint32_t kCombineUnroll = 4;

// How a row of D cache elements is shared by the lanes of a run.
struct RowLayout {
  uint32_t words;     // of a row
  uint32_t per_word;  // elements
  uint32_t lanes;     // power of two that divides words
  uint32_t width;     // words a load: 2 or 4 neighbours, or 1 with the lanes interleaved
  uint32_t loads() const { return words / lanes / width; }
  // Load `load` of a lane's share, in loads from the start of the row.
  Val word(Val lane, uint32_t load) const {
    return width > 1 ? lane * loads() + load : lane + load * lanes;
  }
};

// A lane has no more than 8 elements of a usual row, since it keeps them and their sums for every
// query head.
RowLayout layout_of(const AttentionSpec& s) {
  RowLayout l{};
  l.words = cache_row_words(s.cache, s.head_dim);
  l.per_word = s.head_dim / l.words;
  l.lanes = 1;
  const uint32_t least = s.cache == "q8" ? 2 : 4;  // words of a lane
  while (l.words % (l.lanes * 2) == 0 && l.words / (l.lanes * 2) >= least && l.lanes < 32)
    l.lanes *= 2;
  const uint32_t share = l.words / l.lanes;
  l.width = share % 4 == 0 ? 4 : s.cache == "q8" && share % 2 == 0 ? 2 : 1;
  return l;
}

class AttentionBuilder {
 public:
  AttentionBuilder(const AttentionSpec& spec, const AttentionSchedule& schedule)
      : s_(spec), d_(schedule), l_(layout_of(spec)), k_("attention", schedule.threads) {}
  Result<Kernel> build();

 private:
  struct Head {
    std::vector<Val> q;    // this lane's share, scaled
    std::vector<Var> acc;  // this lane's share of Σ p·v
    Var largest, sum;
  };
  void declare();
  void load_queries();
  void place();
  // A key that a run has loaded, or a place without one, which changes nothing.
  struct Key {
    std::vector<CacheWords> k, v;  // this lane's share of the rows
    Val valid;
  };
  Key load_key(Val j, Val end) const;
  std::vector<Val> floats(const std::vector<CacheWords>& row) const;
  void use_keys(const std::vector<Key>& keys);
  void join();
  void join_parts();
  void declare_y();
  uint32_t partial_lanes() const { return s_.head_dim % 4 == 0 ? 4 : 1; }
  uint32_t runs() const { return d_.threads / l_.lanes; }

  const AttentionSpec& s_;
  const AttentionSchedule& d_;
  const RowLayout l_;
  Builder k_;
  Buf q_, keys_, values_, starts_, lengths_, y_, scales_, partial_, sums_, counts_;
  PageTable table_;
  CacheSource source_;
  Val sequences_, lane_, run_, token_, first_head_, kv_head_, split_;
  Val sequence_, position_;  // of the token
  std::vector<Head> heads_;
};

void AttentionBuilder::declare() {
  q_ = k_.in("q");
  keys_ = k_.in("k_cache");
  values_ = k_.in("v_cache");
  starts_ = k_.in("query_start");
  lengths_ = k_.in("context_length");
  table_.pages = k_.in("page_table");
  if (d_.splits == 1) {
    declare_y();
  } else {
    partial_ = d_.joins != 0 ? k_.in_out("partial") : k_.out("partial");
    sums_ = d_.joins != 0 ? k_.in_out("partial_sums") : k_.out("partial_sums");
    if (d_.joins != 0) {
      declare_y();
      counts_ = k_.in_out("counts");
    }
  }
  sequences_ = k_.param_u32("sequences");
  table_.blocks = k_.param_u32("blocks");
  table_.page_count = k_.param_u32("pages");
  table_.page_size = s_.page_size;
  source_ = {s_.cache, s_.head_dim, {}};
  if (s_.cache == "q8") {
    source_.first_scale =
        first_scale_word(table_.page_count, s_.kv_heads, s_.page_size, s_.head_dim);
  }
  const uint32_t groups = s_.heads / d_.heads_per_group;
  lane_ = k_.tid() % l_.lanes;
  run_ = k_.tid() / l_.lanes;
  token_ = k_.group_x() / groups;
  first_head_ = k_.group_x() % groups * d_.heads_per_group;
  kv_head_ = first_head_ / (s_.heads / s_.kv_heads);
  split_ = k_.group_y();
}

void AttentionBuilder::declare_y() {
  y_ = k_.out(s_.write_int8 ? "y_int8" : "y");
  if (s_.write_int8) scales_ = k_.out("y_scales");
}

void AttentionBuilder::place() {
  sequence_ = find_sequence(k_, sequences_, token_, [&](Val s) { return starts_.u32(s); });
  const Val behind = starts_.u32(sequence_ + 1) - token_;  // tokens from this one to the last
  position_ = lengths_.u32(sequence_) - behind;
}

void AttentionBuilder::load_queries() {
  const float scale = s_.softcap > 0 ? s_.scale / s_.softcap : s_.scale * kLog2E;
  for (uint32_t h = 0; h < d_.heads_per_group; ++h) {
    Head head;
    const Val row = (token_ * s_.heads + first_head_ + h) * s_.head_dim;
    for (uint32_t i = 0; i < l_.loads(); ++i) {
      for (uint32_t w = 0; w < l_.width; ++w) {
        const Val element = (l_.word(lane_, i) * l_.width + w) * l_.per_word;
        for (uint32_t e = 0; e < l_.per_word; ++e) {
          head.q.push_back(q_.f32(row + element + e) * scale);
          head.acc.push_back(k_.var(0.0f));
        }
      }
    }
    head.largest = k_.var(kNothing);
    head.sum = k_.var(0.0f);
    heads_.push_back(std::move(head));
  }
}

AttentionBuilder::Key AttentionBuilder::load_key(Val j, Val end) const {
  Key key;
  key.valid = j < end;
  const Val row = cache_row(table_, sequence_, min(j, end - 1), kv_head_, s_.kv_heads);
  for (uint32_t i = 0; i < l_.loads(); ++i)
    key.k.push_back(load_cache(source_, keys_, row, l_.word(lane_, i), l_.width));
  for (uint32_t i = 0; i < l_.loads(); ++i)
    key.v.push_back(load_cache(source_, values_, row, l_.word(lane_, i), l_.width));
  return key;
}

std::vector<Val> AttentionBuilder::floats(const std::vector<CacheWords>& row) const {
  std::vector<Val> out;
  for (const CacheWords& words : row) {
    for (const Val& v : cache_floats(source_, words)) out.push_back(v);
  }
  return out;
}

// All threads come here together. What was summed before is scaled once for all of the keys.
void AttentionBuilder::use_keys(const std::vector<Key>& keys) {
  std::vector<std::vector<Val>> scores(heads_.size()), v_rows;  // scores by head and key
  for (const Key& key : keys) {
    const std::vector<Val> k_row = floats(key.k);
    for (size_t h = 0; h < heads_.size(); ++h) {
      Val score = heads_[h].q[0] * k_row[0];
      for (size_t i = 1; i < k_row.size(); ++i) score = fma(heads_[h].q[i], k_row[i], score);
      scores[h].push_back(k_.sum(score, l_.lanes));
    }
    v_rows.push_back(floats(key.v));
  }
  for (size_t h = 0; h < heads_.size(); ++h) {
    Head& head = heads_[h];
    const Val before = head.largest;
    Val now = before;
    for (size_t j = 0; j < keys.size(); ++j) {
      Val& score = scores[h][j];
      if (s_.softcap > 0) score = tanh(score) * (s_.softcap * kLog2E);
      score = select(keys[j].valid, score, kNothing);
      now = max(now, score);
    }
    const Val keep = exp2(before - now);
    std::vector<Val> p;
    for (size_t j = 0; j < keys.size(); ++j)
      p.push_back(select(keys[j].valid, exp2(scores[h][j] - now), 0.0f));
    Val sum = fma(head.sum, keep, p[0]);
    for (size_t j = 1; j < keys.size(); ++j) sum = sum + p[j];
    head.largest.set(now);
    head.sum.set(sum);
    for (size_t i = 0; i < head.acc.size(); ++i) {
      Val acc = head.acc[i] * keep;
      for (size_t j = 0; j < keys.size(); ++j) acc = fma(p[j], v_rows[j][i], acc);
      head.acc[i].set(acc);
    }
  }
}

// Joins the runs' softmaxes through shared memory and writes the rows, head by head.
void AttentionBuilder::join() {
  Shared largest = k_.shared("largest", kF32, runs()), sums = k_.shared("sums", kF32, runs());
  Shared acc = k_.shared("acc", kF32, runs() * s_.head_dim);
  for (uint32_t h = 0; h < heads_.size(); ++h) {
    if (h > 0) k_.barrier();
    k_.when(lane_ == 0, [&] {
      largest.store(run_, heads_[h].largest.get());
      sums.store(run_, heads_[h].sum.get());
    });
    size_t at = 0;
    for (uint32_t i = 0; i < l_.loads(); ++i) {
      for (uint32_t w = 0; w < l_.width; ++w) {
        for (uint32_t e = 0; e < l_.per_word; ++e) {
          const Val element = (l_.word(lane_, i) * l_.width + w) * l_.per_word + e;
          acc.store(run_ * s_.head_dim + element, heads_[h].acc[at++].get());
        }
      }
    }
    k_.barrier();
    const Var top = k_.var(kNothing), total = k_.var(0.0f);
    k_.loop(0, runs(), 1, [&](Val r) { top.set(max(top, largest.load(r))); });
    k_.loop(0, runs(), 1,
            [&](Val r) { total.set(fma(sums.load(r), exp2(largest.load(r) - top), total)); });
    const Val out_row = token_ * s_.heads + first_head_ + h;
    // The sums of some neighbours of the row, before they are divided by the total.
    const auto joined = [&](Val first, uint32_t count) {
      std::vector<Var> sum;
      for (uint32_t e = 0; e < count; ++e) sum.push_back(k_.var(0.0f));
      k_.loop(0, runs(), 1, [&](Val r) {
        const Val weight = exp2(largest.load(r) - top);
        for (uint32_t e = 0; e < count; ++e)
          sum[e].set(fma(acc.load(r * s_.head_dim + first + e), weight, sum[e]));
      });
      return sum;
    };
    if (s_.write_int8 && d_.splits == 1) {
      // Four neighbours to a thread; threads beyond the row repeat its end and store nothing.
      const uint32_t vectors = s_.head_dim / 4;
      const Val first = min(k_.tid(), vectors - 1) * 4;
      std::vector<Val> values;
      for (const Var& sum : joined(first, 4)) values.push_back(sum.get() / total);
      store_int8(k_, y_, scales_, out_row * vectors + k_.tid(), make_vec(values),
                 [&](const std::function<void()>& body) { k_.when(k_.tid() < vectors, body); });
      continue;
    }
    // What is joined later is read as vectors, and a buffer has one width.
    const uint32_t width = d_.joins != 0 ? partial_lanes() : 1;
    k_.loop(k_.tid(), s_.head_dim / width, d_.threads, [&](Val i) {
      std::vector<Val> values;
      for (const Var& sum : joined(i * width, width)) values.push_back(sum.get());
      if (d_.splits == 1) {
        y_.store(out_row * s_.head_dim + i, values[0] / total);
      } else {
        const Val place = (out_row * d_.splits + split_) * (s_.head_dim / width) + i;
        partial_.store(place, width == 1 ? values[0] : make_vec(values));
      }
    });
    if (d_.splits == 1) continue;
    k_.when(k_.tid() == 0, [&] {
      sums_.store(out_row * d_.splits + split_, make_vec({as_u32(top), as_u32(total)}));
    });
  }
}

// The group that ends last of those with the same token and heads joins their parts. All groups run
// what follows, so that none waits alone; to the others there are no parts, and they store nothing.
void AttentionBuilder::join_parts() {
  const uint32_t heads = d_.heads_per_group, pairs = heads * d_.splits;
  Shared order = k_.shared("order", kU32, 1);
  Shared part = k_.shared("part", {Kind::kF32, 2}, pairs);
  k_.release_barrier();
  k_.when(k_.tid() == 0, [&] {
    const Val before = counts_.atomic_add(k_.group_x(), k_.constant(Kind::kU32, 1));
    order.store(0, before);
  });
  k_.acquire_barrier();
  const Val is_last = order.load(0) == d_.splits - 1;
  // For the next launch: zero again.
  k_.when(is_last & (k_.tid() == 0),
          [&] { counts_.atomic_add(k_.group_x(), k_.constant(Kind::kU32, 0u - d_.splits)); });
  const Val first_row = token_ * s_.heads + first_head_;
  const Val parts = select(is_last, k_.constant(Kind::kU32, d_.splits), 0u);
  k_.loop(k_.tid(), parts * heads, d_.threads,
          [&](Val i) { part.store(i, as_f32(sums_.u32x2(first_row * d_.splits + i))); });
  k_.barrier();
  // Four neighbours to a thread where the width allows; threads without any repeat the last.
  const uint32_t lanes = partial_lanes(), vectors = s_.head_dim / lanes, all = heads * vectors;
  for (uint32_t first = 0; first < all; first += d_.threads) {
    const Val item = k_.tid() + first, at = min(item, all - 1);
    const Val head = at / vectors, vector = at % vectors, row = first_row + head;
    const Var top = k_.var(kNothing), total = k_.var(0.0f);
    std::vector<Var> sum;
    for (uint32_t l = 0; l < lanes; ++l) sum.push_back(k_.var(0.0f));
    k_.loop(0, parts, 1, [&](Val i) { top.set(max(top, part.load(head * d_.splits + i)[0])); });
    k_.loop(
        0, parts, 1,
        [&](Val i) {
          const Val pair = part.load(head * d_.splits + i);
          const Val weight = exp2(pair[0] - top);
          total.set(fma(pair[1], weight, total));
          const Val place = (row * d_.splits + i) * vectors + vector;
          const Val value = lanes == 4 ? as_f32(partial_.u32x4(place)) : partial_.f32(place);
          for (uint32_t l = 0; l < lanes; ++l) sum[l].set(fma(value[l], weight, sum[l]));
        },
        kCombineUnroll);
    std::vector<Val> values;
    for (const Var& s : sum) values.push_back(s.get() / max(total, 1e-30f));
    const Val out = lanes == 4 ? make_vec(values) : values[0];
    const auto guarded = [&](const std::function<void()>& body) {
      k_.when(all % d_.threads == 0 ? is_last : is_last & (item < all), body);
    };
    if (s_.write_int8) {
      store_int8(k_, y_, scales_, row * vectors + vector, out, guarded);
    } else {
      guarded([&] { y_.store(row * vectors + vector, out); });
    }
  }
}

Result<Kernel> AttentionBuilder::build() {
  k_.is_bound_by_loads();
  declare();
  place();
  load_queries();
  const Val end = position_ + 1;
  const Val begin =
      s_.window > 0 ? select(end > s_.window, end - s_.window, 0) : k_.constant(Kind::kU32, 0);
  // Each part gets the same whole number of rounds; the last ones may have none.
  const uint32_t round = runs() * d_.keys, all = round * d_.splits;
  const Val rounds = (end - begin + (all - 1)) / all;
  k_.loop(0, rounds, 1, [&](Val i) {
    const Val first = begin + (split_ * rounds + i) * round + run_;
    std::vector<Key> keys;
    for (uint32_t j = 0; j < d_.keys; ++j) keys.push_back(load_key(first + j * runs(), end));
    use_keys(keys);
  });
  join();
  if (d_.joins != 0) join_parts();
  return k_.finish();
}

Status check(const AttentionSpec& s, const AttentionSchedule& d) {
  const auto refuse = [&](const char* why) {
    return error(Code::kInvalidArgument, "attention with {} heads on {} of {} ({}): {}", s.heads,
                 s.kv_heads, s.head_dim, s.cache, why);
  };
  if (!is_cache_format(s.cache, s.head_dim)) return refuse("no such cache format");
  if (s.heads == 0 || s.kv_heads == 0 || s.heads % s.kv_heads != 0)
    return refuse("heads must divide");
  if (s.head_dim == 0 || s.head_dim > kMaxHeadDim || (s.cache != "f32" && s.head_dim % 2 != 0)) {
    return refuse("no such head size");
  }
  if (s.page_size == 0) return refuse("empty pages");
  if (d.heads_per_group == 0 || s.heads / s.kv_heads % d.heads_per_group != 0) {
    return refuse("heads_per_group must divide the heads of a cache head");
  }
  if (d.splits == 0 || d.splits > kMaxSplits) return refuse("1 to 256 splits");
  if (d.keys == 0 || d.keys > kMaxKeysAtOnce) return refuse("1 to 8 keys at once");
  if (d.joins > 1 || (d.joins == 1 && d.splits == 1)) return refuse("one part needs no joining");
  if (s.write_int8 && !can_write_int8(s, d)) {
    return refuse("int8 needs undivided or joined keys, heads of whole blocks, and enough threads");
  }
  if (!is_power_of_two(d.threads) || d.threads > kMaxThreads || d.threads < layout_of(s).lanes) {
    return refuse("threads must be a power of two and hold one key");
  }
  return {};
}

}  // namespace

bool can_write_int8(const AttentionSpec& spec, const AttentionSchedule& schedule) {
  if (spec.head_dim % kActivationBlock != 0) return false;
  if (schedule.joins != 0) return schedule.threads % (kActivationBlock / 4) == 0;
  return schedule.splits == 1 && schedule.threads >= spec.head_dim / 4;
}

// Whether a group of the device can keep what it needs to join the parts.
static bool joins_fit(const AttentionSpec& spec, const AttentionSchedule& d, const Caps& caps) {
  const uint64_t run = spec.head_dim + 2, parts = uint64_t{d.heads_per_group} * d.splits * 2;
  const uint64_t words = d.threads / layout_of(spec).lanes * run + parts + d.threads;
  return caps.device_barrier && caps.max_buffers >= kJoiningBuffers &&
         words * 4 + 1024 <= caps.shared_bytes;
}

AttentionSchedule default_schedule(const AttentionSpec& spec, const Caps& caps, uint32_t tokens,
                                   uint32_t context) {
  AttentionSchedule d;
  const uint32_t shared_heads = spec.kv_heads == 0 ? 1 : std::max(1u, spec.heads / spec.kv_heads);
  d.heads_per_group = 1;
  while (d.heads_per_group < 4 && shared_heads % (d.heads_per_group * 2) == 0)
    d.heads_per_group *= 2;
  const RowLayout l = layout_of(spec);
  d.threads = std::max(std::min<uint32_t>(256, caps.max_threads), caps.subgroup_size);
  // The runs' sums have to fit into shared memory, with some left for reductions.
  while (d.threads > l.lanes &&
         uint64_t{d.threads} / l.lanes * (spec.head_dim + 2) * 4 + 2048 > caps.shared_bytes) {
    d.threads /= 2;
  }
  const uint32_t groups = std::max(1u, tokens * (spec.heads / d.heads_per_group));
  const uint32_t keys_per_part = 128;
  // No more than three groups a unit: a few units with a fourth would keep all others waiting.
  d.splits = std::clamp(3 * caps.compute_units / groups, 1u, std::max(1u, context / keys_per_part));
  d.splits = std::min(d.splits, kMaxSplits);
  d.joins = d.splits > 1 && joins_fit(spec, d, caps) ? 1 : 0;
  d.keys = keys_for(d.heads_per_group);
  return d;
}

Result<Kernel> build_attention(const AttentionSpec& spec, const AttentionSchedule& schedule) {
  BP_TRY(check(spec, schedule));
  return AttentionBuilder(spec, schedule).build();
}

Result<Kernel> build_attention_combine(const AttentionSpec& spec, uint32_t splits, bool int8) {
  if (spec.head_dim == 0 || spec.head_dim > kMaxHeadDim || splits == 0 || splits > kMaxSplits ||
      (int8 && spec.head_dim % kActivationBlock != 0)) {
    return error(Code::kInvalidArgument, "combining {} parts of {}{}: no such kernel", splits,
                 spec.head_dim, int8 ? " to int8" : "");
  }
  // A thread for each vector of the row, so that all its loads are on their way at once.
  const uint32_t lanes = spec.head_dim % 4 == 0 ? 4 : 1;
  const uint32_t vectors = spec.head_dim / lanes;
  uint32_t threads = 32;
  while (threads < vectors) threads *= 2;
  Builder k("attention_combine", threads);
  Buf partial = k.in("partial"), sums = k.in("partial_sums");
  Buf y = k.out(int8 ? "y_int8" : "y"), scales = int8 ? k.out("y_scales") : Buf();
  const Val row = k.group_x(), c = k.tid(), at = min(c, vectors - 1);
  const Var top = k.var(kNothing), total = k.var(0.0f);
  k.loop(
      0, splits, 1, [&](Val i) { top.set(max(top, as_f32(sums.u32x2(row * splits + i)[0]))); },
      kCombineUnroll);
  std::vector<Var> sum;
  for (uint32_t l = 0; l < lanes; ++l) sum.push_back(k.var(0.0f));
  k.loop(
      0, splits, 1,
      [&](Val i) {
        const Val pair = as_f32(sums.u32x2(row * splits + i));
        const Val weight = exp2(pair[0] - top);
        total.set(fma(pair[1], weight, total));
        const Val place = (row * splits + i) * vectors + at;
        const Val part = lanes == 4 ? partial.f32x4(place) : partial.f32(place);
        for (uint32_t l = 0; l < lanes; ++l) sum[l].set(fma(part[l], weight, sum[l]));
      },
      kCombineUnroll);
  std::vector<Val> values;
  for (const Var& s : sum) values.push_back(s.get() / total);
  const auto guarded = [&](const std::function<void()>& body) {
    if (vectors == threads) return body();
    k.when(c < vectors, body);
  };
  const Val out = lanes == 4 ? make_vec(values) : values[0];
  if (int8) {
    store_int8(k, y, scales, row * vectors + c, out, guarded);
  } else {
    guarded([&] { y.store(row * vectors + c, out); });
  }
  return k.finish();
}

}  // namespace bp::kernels
