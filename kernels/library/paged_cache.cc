// SPDX-License-Identifier: Apache-2.0
// Search, page lookup and unpacking.
#include "kernels/library/paged_cache.h"

namespace bp::kernels {

bool is_cache_format(std::string_view cache) {
  return cache == "f16" || cache == "f32" || cache == "bf16";
}

Val find_sequence(Builder& k, const Val& sequences, const Val& value,
                  const std::function<Val(Val)>& start) {
  const Val all = max(sequences, 1u);
  // Halving n candidates takes at most floor(log2 n) + 1 steps, which the exponent of n as a float
  // says (or one more, where the conversion rounds up; a step too many changes nothing).
  const Val steps = (as_u32(to_f32(all)) >> 23) - 126u;
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

std::vector<Val> cache_floats(std::string_view cache, const Val& words) {
  std::vector<Val> out;
  for (uint32_t i = 0; i < words.lanes(); ++i) {
    if (cache == "f32") {
      out.push_back(as_f32(words[i]));
      continue;
    }
    const Val pair = cache == "f16" ? unpack_f16x2(words[i]) : unpack_bf16x2(words[i]);
    out.push_back(pair[0]);
    out.push_back(pair[1]);
  }
  return out;
}

}  // namespace bp::kernels
