// SPDX-License-Identifier: Apache-2.0
// Rotation and cache write.
#include "kernels/library/rope.h"

#include "kernels/builder/builder.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kMaxHeadDim = 1024;
constexpr uint32_t kSlotThreads = 64;
constexpr uint32_t kNoSlot = ~0u;

class RopeBuilder {
 public:
  RopeBuilder(const RopeSpec& spec, uint32_t page_size, uint32_t threads)
      : s_(spec), page_size_(page_size), k_("rope_kv_write", threads) {}
  Result<Kernel> build();

 private:
  void declare();
  void load();
  void normalize(const Val& scale);
  void rotate();
  void write_caches();

  const RopeSpec& s_;
  const uint32_t page_size_;
  Builder k_;
  Buf q_, key_, value_, rope_, q_norm_, k_norm_, slots_, q_out_, k_cache_, v_cache_;
  Val token_, unit_, pair_, active_, first_, second_;
  Var a_, b_;  // this thread's two elements
};

void RopeBuilder::declare() {
  q_ = k_.in(s_.separate ? "q" : "qkv");
  if (s_.separate) {
    key_ = k_.in("k");
    value_ = k_.in("v");
  }
  if (s_.rope) rope_ = k_.in("rope");
  if (s_.q_norm) q_norm_ = k_.in("q_norm");
  if (s_.k_norm) k_norm_ = k_.in("k_norm");
  slots_ = k_.in("slots");
  q_out_ = k_.out("q_out");
  k_cache_ = k_.out("k_cache");
  v_cache_ = k_.out("v_cache");
  token_ = k_.group_x();
  unit_ = k_.group_y();
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
  k_.when(unit_ < s_.heads, [&] { from(q_, token_ * s_.heads + unit_); });
  k_.when((unit_ >= s_.heads) & (unit_ < s_.heads + s_.kv_heads),
          [&] { from(key_, token_ * s_.kv_heads + unit_ - s_.heads); });
  k_.when(unit_ >= s_.heads + s_.kv_heads,
          [&] { from(value_, token_ * s_.kv_heads + unit_ - s_.heads - s_.kv_heads); });
}

void RopeBuilder::normalize(const Val& scale) {
  const auto by = [&](Buf gain) {
    a_.set(a_ * scale * gain.f32(first_));
    b_.set(b_ * scale * gain.f32(second_));
  };
  if (s_.q_norm) k_.when(unit_ < s_.heads, [&] { by(q_norm_); });
  if (s_.k_norm) {
    k_.when((unit_ >= s_.heads) & (unit_ < s_.heads + s_.kv_heads), [&] { by(k_norm_); });
  }
}

void RopeBuilder::rotate() {
  k_.when((unit_ < s_.heads + s_.kv_heads) & (pair_ < s_.rotary_dim / 2), [&] {
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
  const Val slot = slots_.u32(token_);
  const auto write = [&](Buf cache, const Val& chosen, const Val& head) {
    const Val at = (slot / page_size_ * s_.kv_heads + head) * page_size_ + slot % page_size_;
    k_.when(chosen & active_ & (slot != kNoSlot), [&] {
      const Val low = row.load(k_.tid() * 2), high = row.load(k_.tid() * 2 + 1);
      if (s_.cache == "f32") {
        cache.store(at * (s_.head_dim / 2) + k_.tid(), make_vec({as_u32(low), as_u32(high)}));
        return;
      }
      const Val word = s_.cache == "f16" ? pack_f16x2(low, high) : pack_bf16x2(low, high);
      cache.store(at * (s_.head_dim / 2) + k_.tid(), word);
    });
  };
  const Val first_value = k_.constant(Kind::kU32, s_.heads + s_.kv_heads);
  write(k_cache_, (unit_ >= s_.heads) & (unit_ < first_value), unit_ - s_.heads);
  write(v_cache_, unit_ >= first_value, unit_ - first_value);
}

Result<Kernel> RopeBuilder::build() {
  declare();
  load();
  if (s_.q_norm || s_.k_norm) {
    const Val squares = select(active_, fma(a_.get(), a_.get(), b_.get() * b_.get()), 0.0f);
    normalize(rsqrt(
        fma(k_.sum(squares, k_.threads()), 1.0f / static_cast<float>(s_.head_dim), s_.norm_eps)));
  }
  if (s_.rope) rotate();
  k_.when(active_ & (unit_ < s_.heads), [&] {
    const Val row = (token_ * s_.heads + unit_) * s_.head_dim;
    q_out_.store(row + first_, a_.get());
    q_out_.store(row + second_, b_.get());
  });
  write_caches();
  return k_.finish();
}

}  // namespace

Result<Kernel> build_kv_slots(uint32_t page_size) {
  if (page_size == 0) return error(Code::kInvalidArgument, "pages of 0 places");
  Builder k("kv_slots", kSlotThreads);
  Buf positions = k.in("positions"), sequences = k.in("sequence_of"), table = k.in("page_table");
  Buf slots = k.out("slots"), errors = k.in_out("errors");
  const Val tokens = k.param_u32("tokens"), blocks = k.param_u32("blocks"),
            pages = k.param_u32("pages");
  const Val t = k.group_x() * kSlotThreads + k.tid();
  k.when(t < tokens, [&] {
    const Val position = positions.u32(t), block = position / page_size;
    const Val page = table.u32(sequences.u32(t) * blocks + min(block, blocks - 1));
    const Val known = (block < blocks) & (page < pages);
    slots.store(
        t, select(known, page * page_size + position % page_size, k.constant(Kind::kU32, kNoSlot)));
    k.when(~known, [&] { errors.atomic_add(0, 1u); });
  });
  return k.finish();
}

Result<Kernel> build_rope_kv_write(const RopeSpec& s, uint32_t page_size) {
  const bool known = s.cache == "f16" || s.cache == "f32" || s.cache == "bf16";
  if (!known || s.heads == 0 || s.kv_heads == 0 || page_size == 0 || s.head_dim == 0 ||
      s.head_dim % 2 != 0 || s.head_dim > kMaxHeadDim || s.rotary_dim > s.head_dim ||
      s.rotary_dim % 2 != 0 || (s.rope && s.rotary_dim == 0)) {
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
