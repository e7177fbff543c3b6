// SPDX-License-Identifier: Apache-2.0
// Attention over paged caches with an online softmax in f32, in two ways.
//
// Sequences with few queries (decoding): each query alone, its keys in stretches of kSplitKeys so
// that long contexts divide among threads; the stretches' results are joined afterwards. How keys
// are divided depends on the sequence alone, never on what else is in the batch.
// Sequences with many queries (prompts): blocks of queries against blocks of transposed keys.
#include "plugins/cpu/ops/attention.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "plugins/cpu/host.h"
#include "plugins/cpu/kernels/cache_view.h"
#include "plugins/cpu/kernels/tuned/tuned.h"

namespace bp::cpu::tuned {
namespace {

constexpr uint64_t kFewQueries = 8;      // fewer than this in a sequence: the first way
constexpr uint64_t kSplitKeys = 512;     // keys of one stretch
constexpr uint64_t kMaxPartials = 8192;  // joined results that the workspace holds
constexpr uint64_t kWaveTokens = 64;     // queries of one wave
constexpr uint64_t kHeadChunk = 16;      // query heads of one kv head that are served together
constexpr uint64_t kDecodeKeys = 256;    // keys of one softmax step
constexpr uint64_t kBlockKeys = 64;
constexpr uint64_t kBlockRows = 64;  // queries × heads of one block
constexpr uint64_t kMaxSlots = 256;
constexpr float kNothing = -std::numeric_limits<float>::infinity();

class Attention final : public AttentionOp {
 public:
  explicit Attention(const InstructionSet* set)
      : set_(set), slots_(std::min<uint64_t>(worker_count(), kMaxSlots)) {}
  const char* variant() const override { return set_->name; }

  bool workspace_bytes(const Ranges&, uint64_t* out) const override {
    *out = (slots_ * block_floats() + kMaxPartials * (head_dim_ + 2)) * sizeof(float);
    return true;
  }

  bool describe(const Op& op, Reason& reason) override {
    if (!AttentionOp::describe(op, reason)) return false;
    group_ = heads_ / kv_heads_;
    chunk_ = std::min(group_, kHeadChunk);
    chunks_ = (group_ + chunk_ - 1) / chunk_;
    block_queries_ = std::min<uint64_t>(32, kBlockRows / chunk_);
    if (heads_ > kMaxPartials) return reason.no("more than %d heads", int{kMaxPartials});
    return true;
  }

  bp_status run(const Run& run, bp_error* error) const override {
    if (const bp_status status = check(run, error)) return status;
    if (const bp_status status = run_few(run)) return status;
    return run_many(run);
  }

 private:
  // One query, or one block of queries, of one sequence.
  struct Sequence {
    const int32_t* pages;
    uint64_t first_token;  // of the sequence in this pass
    uint64_t queries;
    uint64_t first_position;  // of the first token
  };

  Sequence sequence(const Run& run, uint64_t s) const {
    const int32_t* const start = run.in[3].i32();
    Sequence out;
    out.pages = run.in[5].i32() + s * run.in[5].dims[1];
    out.first_token = static_cast<uint64_t>(start[s]);
    out.queries = static_cast<uint64_t>(start[s + 1] - start[s]);
    out.first_position =
        out.queries == 0 ? 0 : static_cast<uint64_t>(run.in[4].i32()[s]) - out.queries;
    return out;
  }

  // Calls body(first row in the cache, first key, keys) for the runs of keys that lie together.
  template <class Body>
  void for_each_run(const CacheShape& shape, const Sequence& sequence, uint64_t g, uint64_t begin,
                    uint64_t end, const Body& body) const {
    for (uint64_t j = begin; j < end;) {
      const uint64_t slot = j % page_size_;
      const uint64_t keys = std::min(page_size_ - slot, end - j);
      const uint64_t page = static_cast<uint64_t>(sequence.pages[j / page_size_]);
      body(shape.row(page, g, slot), j, keys);
      j += keys;
    }
  }

  // ---- few queries ----------------------------------------------------------------------------

  // One query and how its keys are divided.
  struct Query {
    Sequence sequence;
    uint64_t token;
    uint64_t begin, end;  // keys that it sees
    uint64_t split_keys;
    uint64_t splits;
    uint64_t first_partial;
    uint64_t first_item;
  };

  uint64_t partial_floats() const { return head_dim_ + 2; }

  bp_status run_few(const Run& run) const {
    const uint64_t sequences = run.in[4].dims[0];
    Query wave[kWaveTokens];
    uint64_t count = 0;
    uint64_t items = 0;
    uint64_t partials = 0;
    for (uint64_t s = 0; s < sequences; ++s) {
      const Sequence found = sequence(run, s);
      if (found.queries >= kFewQueries) continue;
      for (uint64_t i = 0; i < found.queries; ++i) {
        Query query;
        query.sequence = found;
        query.token = found.first_token + i;
        query.begin = first_key(found.first_position + i);
        query.end = found.first_position + i + 1;
        const uint64_t keys = query.end - query.begin;
        const uint64_t most_splits = kMaxPartials / heads_;
        query.split_keys = std::max(kSplitKeys, (keys + most_splits - 1) / most_splits);
        query.splits = (keys + query.split_keys - 1) / query.split_keys;
        const uint64_t needed = query.splits > 1 ? query.splits * heads_ : 0;
        if (count == kWaveTokens || partials + needed > kMaxPartials) {
          if (const bp_status status = run_wave(run, wave, count, items)) return status;
          count = items = partials = 0;
        }
        query.first_partial = partials;
        query.first_item = items;
        partials += needed;
        items += query.splits * kv_heads_ * chunks_;
        wave[count++] = query;
      }
    }
    return run_wave(run, wave, count, items);
  }

  bp_status run_wave(const Run& run, const Query* wave, uint64_t count, uint64_t items) const {
    if (count == 0) return BP_OK;
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      uint64_t w = 0;
      for (uint64_t item = begin; item < end; ++item) {
        while (w + 1 < count && wave[w + 1].first_item <= item) ++w;
        const uint64_t rest = item - wave[w].first_item;
        const uint64_t chunk = rest % chunks_;
        const uint64_t g = rest / chunks_ % kv_heads_;
        attend_stretch(run, wave[w], g, chunk, rest / chunks_ / kv_heads_);
      }
    };
    // A short context is less work than waking a thread.
    uint64_t keys = 0;
    bool is_split = false;
    for (uint64_t w = 0; w < count; ++w) {
      keys += wave[w].end - wave[w].begin;
      is_split = is_split || wave[w].splits > 1;
    }
    const uint64_t item_work = std::max<uint64_t>(1, keys * heads_ * head_dim_ / items);
    const bp_status status = parallel_for(items, std::max<uint64_t>(1, 16384 / item_work), body);
    if (status != BP_OK || !is_split) return status;
    const auto join = [&](uint64_t begin, uint64_t end, uint32_t) {
      for (uint64_t item = begin; item < end; ++item) {
        if (wave[item / heads_].splits > 1) join_stretches(run, wave[item / heads_], item % heads_);
      }
    };
    return parallel_for(count * heads_, 16, join);
  }

  float* partial(const Run& run, const Query& query, uint64_t head, uint64_t split) const {
    const uint64_t index = query.first_partial + head * query.splits + split;
    return reinterpret_cast<float*>(run.workspace) + slots_ * block_floats() +
           index * partial_floats();
  }

  // The heads of one chunk over the keys of one stretch.
  void attend_stretch(const Run& run, const Query& query, uint64_t g, uint64_t chunk,
                      uint64_t split) const {
    const CacheShape shape = cache_shape(run);
    const CacheView keys_cache(cache_format_, run.in[1].data, shape);
    const CacheView values_cache(cache_format_, run.in[2].data, shape);
    const VectorSet& vectors = set_->vectors;
    const size_t format = cache_number(cache_format_);
    const uint64_t first_head = g * group_ + chunk * chunk_;
    const uint64_t heads = std::min(chunk_, (g + 1) * group_ - first_head);
    const float* const q = run.in[0].f32() + (query.token * heads_ + first_head) * head_dim_;
    alignas(64) float scores[kHeadChunk * kDecodeKeys];
    alignas(64) float sums[kHeadChunk * kMaxHeadDim];
    float largest[kHeadChunk];
    float total[kHeadChunk];
    std::fill_n(sums, heads * head_dim_, 0.0f);
    std::fill_n(largest, heads, kNothing);
    std::fill_n(total, heads, 0.0f);
    const uint64_t begin = query.begin + split * query.split_keys;
    const uint64_t end = std::min(query.end, begin + query.split_keys);
    for (uint64_t j0 = begin; j0 < end; j0 += kDecodeKeys) {
      const uint64_t j1 = std::min(end, j0 + kDecodeKeys);
      for_each_run(shape, query.sequence, g, j0, j1, [&](uint64_t at, uint64_t j, uint64_t keys) {
        vectors.scores[format](q, heads, head_dim_, keys_cache.rows(at), keys, scale_,
                               scores + (j - j0), kDecodeKeys);
      });
      for (uint64_t h = 0; h < heads; ++h) {
        float* const row = scores + h * kDecodeKeys;
        if (softcap_ > 0) vectors.soft_cap(softcap_, row, j1 - j0);
        const float factor = vectors.softmax_step(row, j1 - j0, &largest[h], &total[h]);
        if (factor != 1) vectors.scale(factor, head_dim_, sums + h * head_dim_);
      }
      for_each_run(shape, query.sequence, g, j0, j1, [&](uint64_t at, uint64_t j, uint64_t keys) {
        vectors.accumulate[format](scores + (j - j0), kDecodeKeys, heads, head_dim_,
                                   values_cache.rows(at), keys, sums);
      });
    }
    for (uint64_t h = 0; h < heads; ++h) {
      const float* const from = sums + h * head_dim_;
      if (query.splits == 1) {
        float* const y = run.out[0].f32() + (query.token * heads_ + first_head + h) * head_dim_;
        std::copy_n(from, head_dim_, y);
        vectors.scale(1 / total[h], head_dim_, y);
        continue;
      }
      float* const to = partial(run, query, first_head + h, split);
      to[0] = largest[h];
      to[1] = total[h];
      std::copy_n(from, head_dim_, to + 2);
    }
  }

  void join_stretches(const Run& run, const Query& query, uint64_t head) const {
    float largest = kNothing;
    for (uint64_t s = 0; s < query.splits; ++s) {
      largest = std::max(largest, partial(run, query, head, s)[0]);
    }
    float* const y = run.out[0].f32() + (query.token * heads_ + head) * head_dim_;
    std::fill_n(y, head_dim_, 0.0f);
    float total = 0;
    for (uint64_t s = 0; s < query.splits; ++s) {
      const float* const from = partial(run, query, head, s);
      const float factor = std::exp(from[0] - largest);
      total += factor * from[1];
      for (uint64_t i = 0; i < head_dim_; ++i) y[i] += factor * from[2 + i];
    }
    set_->vectors.scale(1 / total, head_dim_, y);
  }

  // ---- many queries ---------------------------------------------------------------------------

  // q, sums, transposed keys, scores and the softmax state of one block, each part padded so that
  // vectors may run over its end.
  uint64_t block_floats() const {
    return 2 * kBlockRows * head_dim_ + (head_dim_ + 1) * (kBlockKeys + 16) +
           kBlockRows * kBlockKeys + 2 * kBlockRows + 64;
  }

  bp_status run_many(const Run& run) const {
    const uint64_t sequences = run.in[4].dims[0];
    uint64_t blocks = 0;
    for (uint64_t s = 0; s < sequences; ++s) {
      const uint64_t queries = sequence(run, s).queries;
      if (queries >= kFewQueries) blocks += (queries + block_queries_ - 1) / block_queries_;
    }
    if (blocks == 0) return BP_OK;
    // The last blocks see the most keys: they are drawn first, so that threads end together.
    std::atomic<uint64_t> next{0};
    const uint64_t items = blocks * kv_heads_ * chunks_;
    const auto body = [&](uint64_t begin, uint64_t end, uint32_t) {
      for (uint64_t slot = begin; slot < end; ++slot) {
        float* const scratch = reinterpret_cast<float*>(run.workspace) + slot * block_floats();
        for (;;) {
          const uint64_t drawn = next.fetch_add(1, std::memory_order_relaxed);
          if (drawn >= items) break;
          const uint64_t item = items - 1 - drawn;
          find_block(run, item / (kv_heads_ * chunks_), item / chunks_ % kv_heads_, item % chunks_,
                     scratch);
        }
      }
    };
    return parallel_for(slots_, 1, body);
  }

  void find_block(const Run& run, uint64_t block, uint64_t g, uint64_t chunk,
                  float* scratch) const {
    for (uint64_t s = 0;; ++s) {
      const Sequence found = sequence(run, s);
      if (found.queries < kFewQueries) continue;
      const uint64_t blocks = (found.queries + block_queries_ - 1) / block_queries_;
      if (block < blocks)
        return attend_block(run, found, block * block_queries_, g, chunk, scratch);
      block -= blocks;
    }
  }

  // Queries [first, first + block_queries_) of the sequence, the heads of one chunk. Row r of the
  // block is head r % heads of query first + r / heads.
  void attend_block(const Run& run, const Sequence& sequence, uint64_t first, uint64_t g,
                    uint64_t chunk, float* scratch) const {
    const CacheShape shape = cache_shape(run);
    const CacheView keys_cache(cache_format_, run.in[1].data, shape);
    const CacheView values_cache(cache_format_, run.in[2].data, shape);
    const VectorSet& vectors = set_->vectors;
    const size_t format = cache_number(cache_format_);
    const uint64_t first_head = g * group_ + chunk * chunk_;
    const uint64_t heads = std::min(chunk_, (g + 1) * group_ - first_head);
    const uint64_t queries = std::min(block_queries_, sequence.queries - first);
    const uint64_t rows = queries * heads;
    constexpr uint64_t kKeyStride = kBlockKeys + 16;
    float* const q = scratch;                                     // [rows, D]
    float* const sums = q + kBlockRows * head_dim_;               // [rows, D]
    float* const keys_t = sums + kBlockRows * head_dim_;          // [D, keys]
    float* const scores = keys_t + (head_dim_ + 1) * kKeyStride;  // [rows, keys]
    float* const largest = scores + kBlockRows * kBlockKeys;      // [rows]
    float* const total = largest + kBlockRows;                    // [rows]
    const auto at_token = [&](uint64_t r) {
      return ((sequence.first_token + first + r / heads) * heads_ + first_head + r % heads) *
             head_dim_;
    };
    for (uint64_t r = 0; r < rows; ++r) {
      std::copy_n(run.in[0].f32() + at_token(r), head_dim_, q + r * head_dim_);
    }
    std::fill_n(sums, rows * head_dim_, 0.0f);
    std::fill_n(largest, rows, kNothing);
    std::fill_n(total, rows, 0.0f);
    const uint64_t position = sequence.first_position + first;
    const uint64_t end = position + queries;
    for (uint64_t j0 = first_key(position) / kBlockKeys * kBlockKeys; j0 < end; j0 += kBlockKeys) {
      // Keys before the first visible one may lie on pages that are gone.
      const uint64_t from = std::max(j0, first_key(position));
      const uint64_t to = std::min(end, j0 + kBlockKeys);
      const uint64_t keys = to - from;
      for_each_run(shape, sequence, g, from, to, [&](uint64_t at, uint64_t j, uint64_t count) {
        vectors.transpose_keys[format](keys_cache.rows(at), count, head_dim_, keys_t + (j - from),
                                       kKeyStride);
      });
      vectors.scores_transposed(q, rows, head_dim_, keys_t, kKeyStride, (keys + 15) / 16 * 16,
                                scale_, scores, kBlockKeys);
      for (uint64_t r = 0; r < rows; ++r) {
        float* const row = scores + r * kBlockKeys;
        const uint64_t own = position + r / heads;
        if (softcap_ > 0) vectors.soft_cap(softcap_, row, keys);
        if (own + 1 < to) {
          std::fill(row + (own + 1 > from ? own + 1 - from : 0), row + keys, kNothing);
        }
        if (first_key(own) > from) {
          std::fill(row, row + std::min(keys, first_key(own) - from), kNothing);
        }
        const float factor = vectors.softmax_step(row, keys, &largest[r], &total[r]);
        if (factor != 1) vectors.scale(factor, head_dim_, sums + r * head_dim_);
      }
      for_each_run(shape, sequence, g, from, to, [&](uint64_t at, uint64_t j, uint64_t count) {
        vectors.accumulate[format](scores + (j - from), kBlockKeys, rows, head_dim_,
                                   values_cache.rows(at), count, sums);
      });
    }
    for (uint64_t r = 0; r < rows; ++r) {
      float* const y = run.out[0].f32() + at_token(r);
      std::copy_n(sums + r * head_dim_, head_dim_, y);
      vectors.scale(1 / total[r], head_dim_, y);
    }
  }

  const InstructionSet* set_;
  uint64_t slots_;
  uint64_t group_ = 1;  // query heads of a kv head
  uint64_t chunk_ = 1;  // of them served together
  uint64_t chunks_ = 1;
  uint64_t block_queries_ = 1;
};

}  // namespace

std::unique_ptr<Kernel> create_attention(const InstructionSet* set) {
  return std::make_unique<Attention>(set);
}

}  // namespace bp::cpu::tuned
