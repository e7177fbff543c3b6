// SPDX-License-Identifier: Apache-2.0
// References of rope_kv_write and attention, in double, from docs/ops.md.
#include "kernels/testing/paged_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backplane/float16.h"

namespace bp::kernels::testing {
namespace {

// q8: int8 of all rows, then f16 scales of 32 each, of every row whole words.
constexpr size_t kGroup = 32;

size_t scale_words(size_t head_dim) {
  return (head_dim + 2 * kGroup - 1) / (2 * kGroup);
}

Words to_q8(const std::vector<float>& values, size_t head_dim, std::vector<float>* rounded) {
  const size_t n = values.size();
  Words out(n / 4 + n / head_dim * scale_words(head_dim), 0);
  for (size_t first = 0; first < n; first += kGroup) {
    float largest = 0;
    for (size_t i = 0; i < kGroup; ++i) largest = std::max(largest, std::fabs(values[first + i]));
    const uint16_t half = f32_to_f16(largest / 127.0f);
    const size_t block = first % head_dim / kGroup;
    out[n / 4 + first / head_dim * scale_words(head_dim) + block / 2] |= uint32_t{half}
                                                                         << block % 2 * 16;
    for (size_t i = first; i < first + kGroup; ++i) {
      const float q = largest > 0 ? std::nearbyint(values[i] / largest * 127.0f) : 0;
      out[i / 4] |= (static_cast<uint32_t>(static_cast<int>(q)) & 0xff) << i % 4 * 8;
      (*rounded)[i] = q * f16_to_f32(half);
    }
  }
  return out;
}

// Is every block what `want` rounds to? Empty when it is, else what not.
std::string check_q8(const Words& words, const std::vector<double>& want, size_t head_dim) {
  const size_t n = want.size();
  for (size_t first = 0; first < n; first += kGroup) {
    const size_t block = first % head_dim / kGroup;
    const uint32_t pair = words[n / 4 + first / head_dim * scale_words(head_dim) + block / 2];
    const double scale = f16_to_f32(static_cast<uint16_t>(pair >> block % 2 * 16));
    const bool is_padded = head_dim / kGroup % 2 != 0 && block + 1 == head_dim / kGroup;
    if (is_padded && pair >> 16 != 0) return fmt::format("block {}: no zero behind it", first);
    double largest = 0;
    for (size_t i = first; i < first + kGroup; ++i) largest = std::max(largest, std::fabs(want[i]));
    // A unit in the last place of f16, also of the subnormal ones.
    if (std::fabs(scale - largest / 127) > 0x1p-10 * largest / 127 + 0x1p-24) {
      return fmt::format("block {}: scale {} for {}", first, scale, largest);
    }
    for (size_t i = first; i < first + kGroup; ++i) {
      const int q = static_cast<int8_t>(words[i / 4] >> i % 4 * 8);
      // Where the scale itself was rounded far, as subnormal ones are, 127 steps are too few.
      const double bound = 0.502 * scale + 1e-6 * largest + std::max(0.0, largest - 127.5 * scale);
      if (std::fabs(q * scale - want[i]) > bound) {
        return fmt::format("element {}: {} x {} for {}", i, q, scale, want[i]);
      }
    }
  }
  return "";
}

// Floats to the words of a cache format, and what they are after rounding.
Words to_cache(const std::string& format, size_t head_dim, const std::vector<float>& values,
               std::vector<float>* rounded) {
  Words out;
  *rounded = values;
  if (format == "f32") return words_of(values);
  if (format == "q8") return to_q8(values, head_dim, rounded);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t half = format == "f16" ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    (*rounded)[i] = format == "f16" ? f16_to_f32(half) : bf16_to_f32(half);
    if (i % 2 == 0) out.push_back(half);
    if (i % 2 == 1) out.back() |= uint32_t{half} << 16;
  }
  return out;
}

std::vector<float> from_cache(const std::string& format, const Words& words) {
  if (format == "f32") return floats_of(words);
  std::vector<float> out;
  for (uint32_t w : words) {
    for (uint32_t shift : {0u, 16u}) {
      const uint16_t half = static_cast<uint16_t>(w >> shift);
      out.push_back(format == "f16" ? f16_to_f32(half) : bf16_to_f32(half));
    }
  }
  return out;
}

std::string compare(const std::vector<float>& got, const std::vector<double>& want,
                    double tolerance) {
  std::string why;
  return close(got, want, tolerance, &why) ? "" : why;
}

// Pages in random order for sequences of these lengths; −1 beyond.
Words random_pages(const std::vector<uint32_t>& lengths, uint32_t page_size, uint32_t blocks,
                   uint32_t pages, Random* random) {
  std::vector<uint32_t> order(pages);
  std::iota(order.begin(), order.end(), 0u);
  for (size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[random->below(static_cast<uint32_t>(i))]);
  Words table(lengths.size() * blocks, ~0u);
  size_t next = 0;
  for (size_t s = 0; s < lengths.size(); ++s) {
    for (uint32_t b = 0; b * page_size < lengths[s]; ++b) table[s * blocks + b] = order[next++];
  }
  return table;
}

// One head of one query: softmax of its scores over the keys it sees, times their values.
struct Query {
  const float* q;
  size_t sequence, kv_head;
  uint32_t position;
};
void attend(const AttentionSpec& spec, const AttentionData& data, const std::vector<float>& k,
            const std::vector<float>& v, const Query& at, std::vector<double>* want) {
  const size_t d = spec.head_dim, page = spec.page_size;
  const uint32_t end = at.position + 1;
  const uint32_t from = spec.window > 0 && end > spec.window ? end - spec.window : 0;
  const auto row = [&](uint32_t j) {
    const size_t number = data.page_table[at.sequence * data.blocks + j / page];
    return ((number * spec.kv_heads + at.kv_head) * page + j % page) * d;
  };
  std::vector<double> weights, out(d, 0);
  double total = 0;
  for (uint32_t j = from; j < end; ++j) {
    double score = 0;
    for (size_t i = 0; i < d; ++i) score += double{at.q[i]} * k[row(j) + i];
    score *= spec.scale;
    if (spec.softcap > 0) score = spec.softcap * std::tanh(score / spec.softcap);
    weights.push_back(std::exp(score));
    total += weights.back();
  }
  for (uint32_t j = from; j < end; ++j) {
    for (size_t i = 0; i < d; ++i) out[i] += weights[j - from] / total * v[row(j) + i];
  }
  want->insert(want->end(), out.begin(), out.end());
}

// Inputs of rope_kv_write and where its reference puts things.
struct RopeData {
  size_t tokens = 5, pages = 2;
  uint32_t blocks = 3;
  Words positions, sequence_of, page_table, slots;  // slot: ~0 where the token has none
  std::vector<float> q, k, v, q_norm, k_norm, rope;
  std::vector<double> want_q, want_k, want_v;
};

RopeData rope_inputs(const RopeSpec& spec, uint32_t page_size, Random* random) {
  RopeData out;
  const size_t d = spec.head_dim, half = spec.rotary_dim / 2;
  const uint32_t p = page_size, none = ~0u;
  out.page_table = {0, none, static_cast<uint32_t>(out.pages), none, 1, none};
  out.sequence_of = {1, 0, 0, 1, 0};
  // The last place of a page; no page; the first place; beyond the table; beyond the pool.
  out.positions = {2 * p - 1, p, 0, out.blocks * p, 2 * p};
  out.slots = {2 * p - 1, none, 0, none, none};
  out.q = random->uniform(out.tokens * spec.heads * d, -2, 2);
  out.k = random->uniform(out.tokens * spec.kv_heads * d, -2, 2);
  out.v = random->uniform(out.tokens * spec.kv_heads * d, -2, 2);
  // The value of a written token has a block of zeros and one of very small numbers.
  for (size_t i = 0; i < d; ++i) out.v[2 * spec.kv_heads * d + i] *= i < 32 ? 0.0f : 1e-4f;
  out.q_norm = random->uniform(d, -2, 2);
  out.k_norm = random->uniform(d, -2, 2);
  for (size_t t = 0; t < out.tokens; ++t) {
    const std::vector<float> angles = random->uniform(half, -3, 3);
    for (float a : angles) out.rope.push_back(std::cos(a));
    for (float a : angles) out.rope.push_back(std::sin(a));
  }
  return out;
}

// A head of token t after its norm and rotation.
std::vector<double> turned(const RopeSpec& spec, const RopeData& data, const float* x, size_t t,
                           const std::vector<float>* gain) {
  const size_t d = spec.head_dim, half = spec.rotary_dim / 2;
  std::vector<double> y(x, x + d);
  if (gain != nullptr) {
    double squares = 0;
    for (double e : y) squares += e * e;
    for (size_t i = 0; i < d; ++i)
      y[i] *= (*gain)[i] / std::sqrt(squares / static_cast<double>(d) + spec.norm_eps);
  }
  for (size_t p = 0; spec.rope && p < half; ++p) {
    const size_t i = spec.interleaved ? 2 * p : p, j = spec.interleaved ? 2 * p + 1 : p + half;
    const double c = data.rope[t * 2 * half + p], s = data.rope[t * 2 * half + half + p];
    const double a = y[i], b = y[j];
    y[i] = a * c - b * s;
    y[j] = b * c + a * s;
  }
  return y;
}

void rope_reference(const RopeSpec& spec, uint32_t page_size, RopeData* data) {
  const size_t d = spec.head_dim, h = spec.heads, g = spec.kv_heads;
  data->want_k.assign(data->pages * g * page_size * d, 0);
  data->want_v = data->want_k;
  for (size_t t = 0; t < data->tokens; ++t) {
    for (size_t i = 0; i < h; ++i) {
      const auto y =
          turned(spec, *data, &data->q[(t * h + i) * d], t, spec.q_norm ? &data->q_norm : nullptr);
      data->want_q.insert(data->want_q.end(), y.begin(), y.end());
    }
    const size_t slot = data->slots[t];
    if (data->slots[t] == ~0u) continue;
    for (size_t i = 0; i < g; ++i) {
      const size_t at = ((slot / page_size * g + i) * page_size + slot % page_size) * d;
      const auto y =
          turned(spec, *data, &data->k[(t * g + i) * d], t, spec.k_norm ? &data->k_norm : nullptr);
      std::copy(y.begin(), y.end(), data->want_k.begin() + static_cast<std::ptrdiff_t>(at));
      std::copy_n(&data->v[(t * g + i) * d], d,
                  data->want_v.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
}

// q | k | v of each token.
std::vector<float> merged(const RopeSpec& spec, const RopeData& data) {
  const size_t d = spec.head_dim, h = spec.heads, g = spec.kv_heads;
  std::vector<float> out;
  for (size_t t = 0; t < data.tokens; ++t) {
    out.insert(out.end(), &data.q[t * h * d], &data.q[t * h * d] + h * d);
    out.insert(out.end(), &data.k[t * g * d], &data.k[t * g * d] + g * d);
    out.insert(out.end(), &data.v[t * g * d], &data.v[t * g * d] + g * d);
  }
  return out;
}

}  // namespace

AttentionData attention_data(const AttentionSpec& spec, const std::vector<uint32_t>& queries,
                             const std::vector<uint32_t>& contexts, uint64_t seed) {
  Random random(seed);
  AttentionData out;
  const uint32_t page = spec.page_size;
  out.sequences = static_cast<uint32_t>(queries.size());
  out.context_length = contexts;
  out.query_start = {0};
  uint32_t used = 0;
  for (size_t s = 0; s < queries.size(); ++s) {
    out.query_start.push_back(out.query_start.back() + queries[s]);
    out.blocks = std::max(out.blocks, (contexts[s] + page - 1) / page + 1);
    used += (contexts[s] + page - 1) / page;
  }
  out.tokens = out.query_start.back();
  out.pages = used + 3;
  out.page_table = random_pages(contexts, page, out.blocks, out.pages, &random);
  out.q = random.uniform(size_t{out.tokens} * spec.heads * spec.head_dim, -2, 2);
  std::vector<float> k, v;
  const size_t elements = size_t{out.pages} * spec.kv_heads * page * spec.head_dim;
  out.k = to_cache(spec.cache, spec.head_dim, random.uniform(elements, -2, 2), &k);
  out.v = to_cache(spec.cache, spec.head_dim, random.uniform(elements, -2, 2), &v);
  const size_t shared = spec.heads / spec.kv_heads;
  size_t token = 0;
  for (size_t s = 0; s < queries.size(); ++s) {
    for (uint32_t i = 0; i < queries[s]; ++i, ++token) {
      for (size_t head = 0; head < spec.heads; ++head) {
        const float* q = &out.q[(token * spec.heads + head) * spec.head_dim];
        attend(spec, out, k, v, {q, s, head / shared, contexts[s] - queries[s] + i}, &out.want);
      }
    }
  }
  return out;
}

Result<Case> rope_case(const RopeSpec& spec, uint32_t page_size, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_rope_kv_write(spec, page_size));
  out.name =
      fmt::format("rope_{}h{}g{}d{}r_{}{}{}_part{}", spec.heads, spec.kv_heads, spec.head_dim,
                  spec.rotary_dim, spec.cache, spec.separate ? "_separate" : "",
                  spec.interleaved ? "_interleaved" : "", static_cast<int>(spec.part));
  RopeData data = rope_inputs(spec, page_size, &random);
  rope_reference(spec, page_size, &data);
  const auto has = [&](RopePart part) { return spec.part == RopePart::kAll || spec.part == part; };
  const bool q = has(RopePart::kQuery), k = has(RopePart::kKey), v = has(RopePart::kValue);
  std::vector<Words>& b = out.buffers;
  if (!spec.separate) b.push_back(words_of(merged(spec, data)));
  if (spec.separate && q) b.push_back(words_of(data.q));
  if (spec.separate && k) b.push_back(words_of(data.k));
  if (spec.separate && v) b.push_back(words_of(data.v));
  if (spec.rope && (q || k)) b.push_back(words_of(data.rope));
  if (spec.q_norm && q) b.push_back(words_of(data.q_norm));
  if (spec.k_norm && k) b.push_back(words_of(data.k_norm));
  if (k || v) {
    for (const Words& words : {data.positions, data.sequence_of, data.page_table})
      b.push_back(words);
    out.params = {data.blocks, static_cast<uint32_t>(data.pages)};
  }
  const size_t q_at = b.size(), k_at = q_at + (q ? 1 : 0), v_at = k_at + (k ? 1 : 0);
  const size_t n = data.want_k.size();
  const size_t words = spec.cache == "f32"  ? n
                       : spec.cache == "q8" ? n / 4 + n / spec.head_dim * scale_words(spec.head_dim)
                                            : n / 2;
  if (q) b.push_back(poison(data.want_q.size()));
  if (k) b.push_back(Words(words, 0));
  if (v) b.push_back(Words(words, 0));
  out.partly_written = k || v;
  out.grid_x = static_cast<uint32_t>(data.tokens);
  out.grid_y = (q ? spec.heads : 0) + (k ? spec.kv_heads : 0) + (v ? spec.kv_heads : 0);
  const double rounding = spec.cache == "f32" ? 1e-6 : spec.cache == "f16" ? 1e-3 : 8e-3;
  const auto check_cache = [=, cache = spec.cache, dim = spec.head_dim](
                               const Words& got, const std::vector<double>& want) {
    if (cache == "q8") return check_q8(got, want, dim);
    return compare(from_cache(cache, got), want, rounding);
  };
  out.check = [=](const std::vector<Words>& got) -> std::string {
    const std::string wrong_q = q ? compare(floats_of(got[q_at]), data.want_q, 1e-6) : "";
    const std::string wrong_k = k ? check_cache(got[k_at], data.want_k) : "";
    const std::string wrong_v = v ? check_cache(got[v_at], data.want_v) : "";
    return !wrong_q.empty()   ? "q " + wrong_q
           : !wrong_k.empty() ? "k " + wrong_k
           : !wrong_v.empty() ? "v " + wrong_v
                              : "";
  };
  return out;
}

Result<Case> attention_case(const AttentionSpec& spec, const AttentionSchedule& schedule,
                            uint64_t seed) {
  Case out;
  out.kernel = BP_TRY(build_attention(spec, schedule));
  out.name = fmt::format("attention_{}h{}g{}d_{}_w{}_t{}p{}s{}{}{}", spec.heads, spec.kv_heads,
                         spec.head_dim, spec.cache, spec.window, schedule.threads,
                         schedule.heads_per_group, schedule.splits,
                         schedule.joins != 0 ? "_joins" : "", spec.write_int8 ? "_int8" : "");
  const AttentionData data = attention_data(spec, {2, 0, 1}, {77, 5, 1}, seed);
  out.buffers = {words_of(data.q),    data.k,         data.v, data.query_start,
                 data.context_length, data.page_table};
  const size_t splits = schedule.splits, rows = data.tokens * spec.heads, d = spec.head_dim;
  out.params = {data.sequences, data.blocks, data.pages};
  out.grid_x = static_cast<uint32_t>(rows / schedule.heads_per_group);
  out.grid_y = schedule.splits;
  if (schedule.joins != 0) {
    out.buffers.push_back(poison(rows * splits * d));
    out.buffers.push_back(poison(rows * splits * 2));
  }
  if (spec.write_int8 || schedule.joins != 0) {
    const size_t y = out.buffers.size();
    out.buffers.push_back(poison(rows * d / (spec.write_int8 ? 4 : 1)));
    if (spec.write_int8) out.buffers.push_back(poison(rows * d / 16));
    const Words counts(rows / schedule.heads_per_group);
    if (schedule.joins != 0) out.buffers.push_back(counts);
    const bool joins = schedule.joins != 0, int8 = spec.write_int8;
    out.check = [=, want = data.want](const std::vector<Words>& b) -> std::string {
      if (joins && b.back() != counts) return "counts are left behind";
      return int8 ? check_quantized(b[y], b[y + 1], want) : compare(floats_of(b[y]), want, 1e-5);
    };
    return out;
  }
  out.buffers.push_back(poison(rows * splits * d));
  if (splits > 1) out.buffers.push_back(poison(rows * splits * 2));
  out.check = [=, want = data.want](const std::vector<Words>& b) -> std::string {
    const std::vector<float> parts = floats_of(b[6]);
    if (splits == 1) return compare(parts, want, 1e-5);
    std::vector<float> y(rows * d);
    const std::vector<float> sums = floats_of(b[7]);
    for (size_t r = 0; r < rows; ++r) {
      double top = -1e30, total = 0;
      for (size_t s = 0; s < splits; ++s) top = std::max(top, double{sums[(r * splits + s) * 2]});
      std::vector<double> row(d, 0);
      for (size_t s = 0; s < splits; ++s) {
        const double weight = std::exp2(double{sums[(r * splits + s) * 2]} - top);
        total += weight * sums[(r * splits + s) * 2 + 1];
        for (size_t i = 0; i < d; ++i) row[i] += weight * parts[(r * splits + s) * d + i];
      }
      for (size_t i = 0; i < d; ++i) y[r * d + i] = static_cast<float>(row[i] / total);
    }
    return compare(y, want, 1e-5);
  };
  return out;
}

Result<Case> prompt_attention_case(const AttentionSpec& spec,
                                   const PromptAttentionSchedule& schedule,
                                   const std::vector<uint32_t>& queries,
                                   const std::vector<uint32_t>& contexts, uint64_t seed) {
  Case out;
  out.kernel = BP_TRY(build_prompt_attention(spec, schedule));
  const AttentionData data = attention_data(spec, queries, contexts, seed);
  out.name = fmt::format("prompt_attention_{}h{}g{}d_{}_w{}_x{}_{}x{}r{}l{}k{}c{}", spec.heads,
                         spec.kv_heads, spec.head_dim, spec.cache, spec.window, data.tokens,
                         schedule.tokens, schedule.heads_per_group, schedule.rows_per_thread,
                         schedule.lanes, schedule.keys_per_thread, schedule.chunk);
  out.buffers = {words_of(data.q),
                 data.k,
                 data.v,
                 data.query_start,
                 data.context_length,
                 data.page_table,
                 poison(data.want.size())};
  out.params = {data.sequences, data.blocks, data.pages};
  out.grid_x = prompt_attention_tiles(schedule, data.tokens, data.sequences);
  out.grid_y = spec.heads / schedule.heads_per_group;
  out.check = [want = data.want](const std::vector<Words>& b) {
    return compare(floats_of(b.back()), want, 1e-5);
  };
  return out;
}

Result<Case> combine_case(const AttentionSpec& spec, uint32_t splits, bool int8, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_attention_combine(spec, splits, int8));
  out.name = fmt::format("combine_{}x{}{}", splits, spec.head_dim, int8 ? "_int8" : "");
  const size_t rows = 5, d = spec.head_dim;
  const std::vector<float> parts = random.uniform(rows * splits * d, -3, 3);
  std::vector<float> sums = random.uniform(rows * splits * 2, 0.5f, 4);
  for (size_t r = 0; r < rows; ++r)
    sums[(r * splits + splits - 1) * 2] = splits > 1 ? -1e30f : 0.0f;  // an empty part
  std::vector<double> want;
  for (size_t r = 0; r < rows; ++r) {
    std::vector<double> row(d, 0);
    double total = 0;
    for (size_t s = 0; s < splits; ++s) {
      const double weight = std::exp2(double{sums[(r * splits + s) * 2]});
      total += weight * sums[(r * splits + s) * 2 + 1];
      for (size_t i = 0; i < d; ++i) row[i] += weight * parts[(r * splits + s) * d + i];
    }
    for (double e : row) want.push_back(e / total);
  }
  out.grid_x = rows;
  out.buffers = {words_of(parts), words_of(sums)};
  if (int8) {
    out.buffers.push_back(poison(rows * d / 4));
    out.buffers.push_back(poison(rows * d / 16));
    out.check = [want](const std::vector<Words>& b) { return check_quantized(b[2], b[3], want); };
    return out;
  }
  out.buffers.push_back(poison(rows * d));
  out.check = [want](const std::vector<Words>& b) { return compare(floats_of(b[2]), want, 1e-5); };
  return out;
}

}  // namespace bp::kernels::testing
