// SPDX-License-Identifier: Apache-2.0
// Rotation and cache write.
#include "kernels/library/rope.h"

#include <functional>
#include <vector>

#include "backplane/formats.h"
#include "kernels/builder/builder.h"
#include "kernels/library/paged_cache.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kMaxHeadDim = 1024;
// Finite and positive, as f16.
constexpr float kLargestHalf = 65504.0f, kSmallestHalf = 5.9604645e-8f;

class RopeBuilder {
 public:
  RopeBuilder(const RopeSpec& spec, uint32_t page_size, uint32_t threads)
      : s_(spec), page_size_(page_size), k_("rope_kv_write", threads) {}
  Result<Kernel> build();

 private:
  void declare();
  void declare_place();
  void choose_pair();
  void load();
  void normalize(const Val& scale);
  void rotate();
  void write_caches();
  void write_rows(const Shared& row, const Val& known);
  void write_q8_rows(const Shared& row, const Val& known);
  // Calls write(cache, its row) for what this group writes, where the page is known.
  void for_each_cache(const Val& known, const std::function<void(Buf, Val)>& write);
  bool has(RopePart part) const { return s_.part == RopePart::kAll || s_.part == part; }
  bool has_cache() const { return has(RopePart::kKey) || has(RopePart::kValue); }
  void on(RopePart part, const std::function<void()>& body);
  Val is(RopePart part) const;

  const RopeSpec& s_;
  const uint32_t page_size_;
  Builder k_;
  Buf q_, key_, value_, rope_, q_norm_, k_norm_, positions_, sequences_, table_, q_out_, k_cache_,
      v_cache_;
  Val blocks_, pages_, page_, position_;
  Val token_, unit_;  // unit: of q | k | v heads
  Val pair_, active_, first_, second_;
  Var a_, b_;  // this thread's two elements
};

// Units of that part, as a condition where the launch has all of them.
Val RopeBuilder::is(RopePart part) const {
  const uint32_t first_value = s_.heads + s_.kv_heads;
  if (part == RopePart::kQuery) return unit_ < s_.heads;
  if (part == RopePart::kValue) return unit_ >= first_value;
  return (unit_ >= s_.heads) & (unit_ < first_value);
}

void RopeBuilder::on(RopePart part, const std::function<void()>& body) {
  if (s_.part == RopePart::kAll) return k_.when(is(part), body);
  if (s_.part == part) body();
}

void RopeBuilder::declare() {
  if (!s_.separate) {
    q_ = k_.in("qkv");
  } else {
    if (has(RopePart::kQuery)) q_ = k_.in("q");
    if (has(RopePart::kKey)) key_ = k_.in("k");
    if (has(RopePart::kValue)) value_ = k_.in("v");
  }
  if (s_.rope && s_.part != RopePart::kValue) rope_ = k_.in("rope");
  if (s_.q_norm && has(RopePart::kQuery)) q_norm_ = k_.in("q_norm");
  if (s_.k_norm && has(RopePart::kKey)) k_norm_ = k_.in("k_norm");
  if (has_cache()) {
    positions_ = k_.in("positions");
    sequences_ = k_.in("sequence_of");
    table_ = k_.in("page_table");
    blocks_ = k_.param_u32("blocks");
    pages_ = k_.param_u32("pages");
  }
  if (has(RopePart::kQuery)) q_out_ = k_.out("q_out");
  if (has(RopePart::kKey)) k_cache_ = k_.out("k_cache");
  if (has(RopePart::kValue)) v_cache_ = k_.out("v_cache");
  token_ = k_.group_x();
  unit_ = k_.group_y();
  if (s_.part == RopePart::kKey) unit_ = unit_ + s_.heads;
  if (s_.part == RopePart::kValue) unit_ = unit_ + (s_.heads + s_.kv_heads);
}

void RopeBuilder::choose_pair() {
  // Threads beyond the head repeat the last pair and write nothing.
  pair_ = min(k_.tid(), s_.head_dim / 2 - 1);
  active_ = k_.tid() < s_.head_dim / 2;
  first_ = pair_ * 2;
  second_ = first_ + 1;
  if (s_.rope && !s_.interleaved) {
    const Val rotated = pair_ < s_.rotary_dim / 2;
    first_ = select(rotated, pair_, first_);
    second_ = select(rotated, pair_ + s_.rotary_dim / 2, second_);
  }
}

void RopeBuilder::load() {
  a_ = k_.var(0.0f);
  b_ = k_.var(0.0f);
  const auto from = [&](Buf source, Val row) {
    a_.set(source.f32(row * s_.head_dim + first_));
    b_.set(source.f32(row * s_.head_dim + second_));
  };
  if (!s_.separate) return from(q_, token_ * (s_.heads + 2 * s_.kv_heads) + unit_);
  const uint32_t first_value = s_.heads + s_.kv_heads;
  on(RopePart::kQuery, [&] { from(q_, token_ * s_.heads + unit_); });
  on(RopePart::kKey, [&] { from(key_, token_ * s_.kv_heads + unit_ - s_.heads); });
  on(RopePart::kValue, [&] { from(value_, token_ * s_.kv_heads + unit_ - first_value); });
}

void RopeBuilder::normalize(const Val& scale) {
  const auto by = [&](Buf gain) {
    a_.set(a_ * scale * gain.f32(first_));
    b_.set(b_ * scale * gain.f32(second_));
  };
  if (s_.q_norm) on(RopePart::kQuery, [&] { by(q_norm_); });
  if (s_.k_norm) on(RopePart::kKey, [&] { by(k_norm_); });
}

void RopeBuilder::rotate() {
  if (s_.part == RopePart::kValue) return;
  const Val rotated = pair_ < s_.rotary_dim / 2;
  const Val turns = s_.part == RopePart::kAll ? rotated & ~is(RopePart::kValue) : rotated;
  k_.when(turns, [&] {
    const Val row = token_ * s_.rotary_dim + pair_;
    const Val cosine = rope_.f32(row), sine = rope_.f32(row + s_.rotary_dim / 2);
    const Val a = a_, b = b_;
    a_.set(a * cosine - b * sine);
    b_.set(b * cosine + a * sine);
  });
}

// Neighbouring elements share a word of a 16-bit cache, so they pass through shared memory first.
// Query heads take part in vain: a barrier under a condition, even one that is the same for the
// whole group, is miscompiled by PoCL 3.1.
void RopeBuilder::write_caches() {
  const Shared row = k_.shared("row", kF32, s_.head_dim);
  k_.when(active_, [&] {
    row.store(first_, a_.get());
    row.store(second_, b_.get());
  });
  k_.barrier();
  position_ = positions_.u32(token_);
  const Val block = position_ / page_size_;
  page_ = table_.u32(sequences_.u32(token_) * blocks_ + min(block, blocks_ - 1));
  const Val known = (block < blocks_) & (page_ < pages_);
  if (s_.cache == "q8") return write_q8_rows(row, known);
  write_rows(row, known);
}

void RopeBuilder::for_each_cache(const Val& known, const std::function<void(Buf, Val)>& write) {
  const auto one = [&](RopePart part, Buf cache, uint32_t first_unit) {
    if (!has(part)) return;
    const Val at = (page_ * s_.kv_heads + unit_ - first_unit) * page_size_ + position_ % page_size_;
    k_.when(s_.part == RopePart::kAll ? is(part) & known : known, [&] { write(cache, at); });
  };
  one(RopePart::kKey, k_cache_, s_.heads);
  one(RopePart::kValue, v_cache_, s_.heads + s_.kv_heads);
}

void RopeBuilder::write_rows(const Shared& row, const Val& known) {
  for_each_cache(known & active_, [&](Buf cache, const Val& at) {
    const Val low = row.load(k_.tid() * 2), high = row.load(k_.tid() * 2 + 1);
    if (s_.cache == "f32") {
      cache.store(at * (s_.head_dim / 2) + k_.tid(), make_vec({as_u32(low), as_u32(high)}));
      return;
    }
    const Val word = s_.cache == "f16" ? pack_f16x2(low, high) : pack_bf16x2(low, high);
    cache.store(at * (s_.head_dim / 2) + k_.tid(), word);
  });
}

// Four elements a thread, so that eight consecutive threads have a block and sixteen the two blocks
// whose scales share a word.
void RopeBuilder::write_q8_rows(const Shared& row, const Val& known) {
  const uint32_t words = cache_row_words(s_.cache, s_.head_dim);
  const Val inside = k_.tid() < words;
  const Val first = min(k_.tid(), words - 1) * 4;
  std::vector<Val> x;
  for (uint32_t i = 0; i < 4; ++i) x.push_back(row.load(first + i));
  const Val largest =
      k_.max_of(max(max(abs(x[0]), abs(x[1])), max(abs(x[2]), abs(x[3]))), kCacheBlock / 4);
  // The scale as it is read back; a finite one, whatever the values are. The block's threads agree
  // on its bits in between, since NVIDIA's Vulkan compiler takes packing and unpacking for nothing.
  const Val packed = pack_f16x2(min(largest / 127.0f, kLargestHalf), 0.0f);
  const Val scale = unpack_f16x2(k_.max_of(packed, kCacheBlock / 4))[0];
  const Val inverse = select(scale > 0.0f, rcp(max(scale, kSmallestHalf)), 0.0f);
  std::vector<Val> q;
  for (const Val& e : x) q.push_back(to_i32(rint(min(max(e * inverse, -127.0f), 127.0f))));
  const Val is_high = (k_.tid() & (kCacheBlock / 4)) != 0;
  const Val scales = k_.max_of(
      make_vec({select(inside & ~is_high, scale, 0.0f), select(inside & is_high, scale, 0.0f)}),
      kCacheBlock / 2);
  const Val first_scale = first_scale_word(pages_, s_.kv_heads, page_size_, s_.head_dim);
  for_each_cache(known & inside, [&](Buf cache, const Val& at) {
    cache.store(at * words + k_.tid(), pack_i8x4(q[0], q[1], q[2], q[3]));
    k_.when((k_.tid() % (kCacheBlock / 2)) == 0, [&] {
      cache.store(first_scale + at * cache_scale_words(s_.cache, s_.head_dim) +
                      k_.tid() / (kCacheBlock / 2),
                  pack_f16x2(scales[0], scales[1]));
    });
  });
}

Result<Kernel> RopeBuilder::build() {
  declare();
  choose_pair();
  load();
  if ((s_.q_norm && has(RopePart::kQuery)) || (s_.k_norm && has(RopePart::kKey))) {
    const Val squares = select(active_, fma(a_.get(), a_.get(), b_.get() * b_.get()), 0.0f);
    normalize(rsqrt(
        fma(k_.sum(squares, k_.threads()), 1.0f / static_cast<float>(s_.head_dim), s_.norm_eps)));
  }
  if (s_.rope) rotate();
  if (has(RopePart::kQuery)) {
    k_.when(s_.part == RopePart::kAll ? active_ & is(RopePart::kQuery) : active_, [&] {
      const Val row = (token_ * s_.heads + unit_) * s_.head_dim;
      q_out_.store(row + first_, a_.get());
      q_out_.store(row + second_, b_.get());
    });
  }
  if (has_cache()) write_caches();
  return k_.finish();
}

}  // namespace

Result<Kernel> build_rope_kv_write(const RopeSpec& s, uint32_t page_size) {
  if (!is_cache_format(s.cache, s.head_dim) || s.heads == 0 || s.kv_heads == 0 || page_size == 0 ||
      s.head_dim == 0 || s.head_dim % 2 != 0 || s.head_dim > kMaxHeadDim ||
      s.rotary_dim > s.head_dim || s.rotary_dim % 2 != 0 || (s.rope && s.rotary_dim == 0)) {
    return error(
        Code::kInvalidArgument,
        "rope_kv_write of {} + 2 x {} heads of {}, {} of them rotated, cache {}: no such kernel",
        s.heads, s.kv_heads, s.head_dim, s.rotary_dim, s.cache);
  }
  uint32_t threads = 32;
  while (threads < s.head_dim / 2) threads *= 2;
  return RopeBuilder(s, page_size, threads).build();
}

}  // namespace bp::kernels
