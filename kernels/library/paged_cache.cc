// SPDX-License-Identifier: Apache-2.0
// Search, page lookup and unpacking.
#include "kernels/library/paged_cache.h"

#include "backplane/formats.h"

namespace bp::kernels {

bool is_cache_format(std::string_view cache, uint32_t head_dim) {
  if (cache == "q8") return head_dim % kCacheBlock == 0;
  return cache == "f16" || cache == "f32" || cache == "bf16";
}

uint32_t cache_row_words(std::string_view cache, uint32_t head_dim) {
  return cache == "f32" ? head_dim : head_dim / (cache == "q8" ? 4 : 2);
}

uint32_t cache_scale_words(std::string_view cache, uint32_t head_dim) {
  return cache == "q8" ? static_cast<uint32_t>(cache_scales(head_dim) / 2) : 0;
}

Val first_scale_word(const Val& page_count, uint32_t kv_heads, uint32_t page_size,
                     uint32_t head_dim) {
  return page_count * (kv_heads * page_size * cache_row_words("q8", head_dim));
}

Val find_sequence(Builder& k, const Val& sequences, const Val& value,
                  const std::function<Val(Val)>& start) {
  const Val all = max(sequences, 1u);
  // Halving n candidates takes at most ceil(log2 n) steps, which the exponent of 2n - 1 as a float
  // says (or one more, where the conversion rounds up; a step too many changes nothing). A single
  // sequence is found without reading.
  const Val steps = (as_u32(to_f32(all * 2 - 1)) >> 23) - 127u;
  const Var first = k.var(0), count = k.var(all);
  k.loop(0, steps, 1, [&](Val) {
    const Val half = count.get() >> 1;
    const Val middle = first.get() + half;
    const Val beyond = start(middle) <= value;
    first.set(select(beyond, middle, first.get()));
    count.set(select(beyond, count.get() - half, half));
  });
  return first.get();
}

Val cache_row(const PageTable& table, const Val& sequence, const Val& position, const Val& kv_head,
              uint32_t kv_heads) {
  const Val entry = table.pages.u32(sequence * table.blocks + position / table.page_size);
  const Val page = min(entry, table.page_count - 1);
  return (page * kv_heads + kv_head) * table.page_size + position % table.page_size;
}

CacheWords load_cache(const CacheSource& source, Buf cache, const Val& row, const Val& index,
                      uint32_t width) {
  CacheWords out;
  const uint32_t vectors = cache_row_words(source.format, source.head_dim) / width;
  out.words = cache.words(row * vectors + index, width);
  if (source.format != "q8") return out;
  const uint32_t scale_words = cache_scale_words(source.format, source.head_dim);
  const Val block = index / (kCacheBlock / 4 / width);
  out.scale = cache.f16((source.first_scale + row * scale_words) * 2 + block);
  return out;
}

std::vector<Val> cache_floats(const CacheSource& source, const CacheWords& loaded) {
  std::vector<Val> out;
  for (uint32_t i = 0; i < loaded.words.lanes(); ++i) {
    const Val word = loaded.words[i];
    if (source.format == "f32") {
      out.push_back(as_f32(word));
      continue;
    }
    if (source.format == "q8") {
      for (uint32_t b = 0; b < 4; ++b) {
        out.push_back(to_f32(signed_byte(word, b)) * loaded.scale);
      }
      continue;
    }
    const Val pair = source.format == "f16" ? unpack_f16x2(word) : unpack_bf16x2(word);
    out.push_back(pair[0]);
    out.push_back(pair[1]);
  }
  return out;
}

}  // namespace bp::kernels
