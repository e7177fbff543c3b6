// SPDX-License-Identifier: Apache-2.0
// References of the decoding kernels, in double, from docs/ops.md.
#include "kernels/testing/decode_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "backplane/float16.h"

namespace bp::kernels::testing {
namespace {

// Floats to the words of a cache format, and what they are after rounding.
Words to_cache(const std::string& format, const std::vector<float>& values,
               std::vector<float>* rounded) {
  Words out;
  *rounded = values;
  if (format == "f32") return words_of(values);
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

}  // namespace

Result<Case> embed_case(const EmbedSpec& spec, uint32_t vocabulary, uint32_t first_row,
                        uint32_t threads, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_embed(spec, threads));
  const uint32_t rows = vocabulary - first_row;
  out.name = fmt::format("{}_{}x{}_from{}", out.kernel.name, vocabulary, spec.columns, first_row);
  const Weights table = random_weights(spec.format, rows, spec.columns, &random);
  const Words ids = {0, vocabulary - 1, vocabulary / 2, vocabulary, ~0u};  // two are outside
  const Words before = poison(ids.size() * spec.columns);
  std::vector<double> want;
  for (uint32_t id : ids) {
    for (uint32_t i = 0; i < spec.columns; ++i) {
      const bool inside = id >= first_row && id < vocabulary;
      want.push_back(
          inside ? double{table.values[size_t{id - first_row} * spec.columns + i]} * spec.scale
                 : 0.0);
    }
  }
  out.grid_x = static_cast<uint32_t>(ids.size());
  out.params = {first_row, rows, vocabulary};
  out.partly_written = first_row != 0;
  out.buffers = {ids};
  out.buffers.insert(out.buffers.end(), table.planes.begin(), table.planes.end());
  const size_t y = out.buffers.size();
  out.buffers.push_back(before);
  out.check = [=](const std::vector<Words>& b) -> std::string {
    Words got = b[y];
    for (size_t i = 0; i < got.size(); ++i) {
      const uint32_t id = ids[i / spec.columns];
      // A part leaves alone what belongs to other parts.
      if (first_row == 0 || (id >= first_row && id < vocabulary)) continue;
      if (got[i] != before[i]) return fmt::format("id {} was written by the wrong part", id);
      got[i] = 0;
    }
    return compare(floats_of(got), want, 1e-6);
  };
  return out;
}

Result<Case> argmax_case(uint32_t rows, uint32_t columns, uint32_t threads, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_argmax(columns, threads));
  out.name = fmt::format("argmax_{}x{}", rows, columns);
  out.grid_x = rows;
  std::vector<float> x = random.uniform(size_t{rows} * columns, -1, 1);
  Words want;
  for (uint32_t r = 0; r < rows; ++r) {
    float* row = &x[size_t{r} * columns];
    const uint32_t a = random.below(columns), b = random.below(columns);
    if (r % 2 == 0) row[a] = row[b] = 7;  // a tie: the lower index wins
    if (r == 1) std::fill_n(row, columns, -INFINITY);
    want.push_back(static_cast<uint32_t>(std::max_element(row, row + columns) - row));
  }
  out.buffers = {words_of(x), poison(rows)};
  out.check = [want](const std::vector<Words>& b) { return b[1] == want ? "" : "another index"; };
  return out;
}

Result<Case> kv_slots_case(uint32_t page_size, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_kv_slots(page_size));
  out.name = fmt::format("kv_slots_{}", page_size);
  const uint32_t tokens = 70, blocks = 5, pages = 17;
  Words positions, sequences, table, want;
  for (uint32_t i = 0; i < 3 * blocks; ++i)
    table.push_back(i % 7 == 3 ? ~0u : random.below(pages + 2));
  uint32_t bad = 0;
  for (uint32_t t = 0; t < tokens; ++t) {
    positions.push_back(random.below((blocks + 1) * page_size));
    sequences.push_back(random.below(3));
    const uint32_t block = positions[t] / page_size;
    const uint32_t page = block < blocks ? table[sequences[t] * blocks + block] : ~0u;
    want.push_back(page < pages ? page * page_size + positions[t] % page_size : ~0u);
    bad += want.back() == ~0u;
  }
  out.grid_x = 2;
  out.params = {tokens, blocks, pages};
  out.buffers = {positions, sequences, table, poison(tokens), {0}};
  out.check = [want, bad](const std::vector<Words>& b) {
    return b[3] != want ? "slots differ" : b[4][0] != bad ? "errors differ" : "";
  };
  return out;
}

Result<Case> rope_case(const RopeSpec& spec, uint32_t page_size, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_rope_kv_write(spec, page_size));
  out.name = fmt::format("rope_{}h{}g{}d{}r_{}{}{}", spec.heads, spec.kv_heads, spec.head_dim,
                         spec.rotary_dim, spec.cache, spec.separate ? "_separate" : "",
                         spec.interleaved ? "_interleaved" : "");
  const size_t tokens = 3, d = spec.head_dim, h = spec.heads, g = spec.kv_heads, pages = 2,
               half = spec.rotary_dim / 2;
  // The tokens fill every place of the pool but those of none, so that each word gets written.
  Words slots = {page_size, ~0u, 0};
  std::vector<float> q = random.uniform(tokens * h * d, -2, 2),
                     k = random.uniform(tokens * g * d, -2, 2),
                     v = random.uniform(tokens * g * d, -2, 2), qn = random.uniform(d, -2, 2),
                     kn = random.uniform(d, -2, 2);
  std::vector<float> rope;
  for (size_t t = 0; t < tokens; ++t) {
    std::vector<float> angles = random.uniform(half, -3, 3);
    for (float a : angles) rope.push_back(std::cos(a));
    for (float a : angles) rope.push_back(std::sin(a));
  }
  if (spec.separate) {
    out.buffers = {words_of(q), words_of(k), words_of(v)};
  } else {
    std::vector<float> merged;
    for (size_t t = 0; t < tokens; ++t) {
      merged.insert(merged.end(), &q[t * h * d], &q[t * h * d] + h * d);
      merged.insert(merged.end(), &k[t * g * d], &k[t * g * d] + g * d);
      merged.insert(merged.end(), &v[t * g * d], &v[t * g * d] + g * d);
    }
    out.buffers = {words_of(merged)};
  }
  if (spec.rope) out.buffers.push_back(words_of(rope));
  if (spec.q_norm) out.buffers.push_back(words_of(qn));
  if (spec.k_norm) out.buffers.push_back(words_of(kn));
  out.buffers.push_back(slots);
  const auto turned = [&](const float* x, size_t t, const float* gain) {
    std::vector<double> y(x, x + d);
    if (gain != nullptr) {
      double squares = 0;
      for (double e : y) squares += e * e;
      for (size_t i = 0; i < d; ++i)
        y[i] *= gain[i] / std::sqrt(squares / static_cast<double>(d) + spec.norm_eps);
    }
    for (size_t p = 0; spec.rope && p < half; ++p) {
      const size_t i = spec.interleaved ? 2 * p : p, j = spec.interleaved ? 2 * p + 1 : p + half;
      const double c = rope[t * 2 * half + p], s = rope[t * 2 * half + half + p], a = y[i],
                   b = y[j];
      y[i] = a * c - b * s;
      y[j] = b * c + a * s;
    }
    return y;
  };
  std::vector<double> want_q;
  std::vector<double> want_k(pages * g * page_size * d, 0), want_v = want_k;
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t i = 0; i < h; ++i) {
      const auto y = turned(&q[(t * h + i) * d], t, spec.q_norm ? qn.data() : nullptr);
      want_q.insert(want_q.end(), y.begin(), y.end());
    }
    if (slots[t] == ~0u) continue;
    for (size_t i = 0; i < g; ++i) {
      const size_t at = ((slots[t] / page_size * g + i) * page_size + slots[t] % page_size) * d;
      const auto y = turned(&k[(t * g + i) * d], t, spec.k_norm ? kn.data() : nullptr);
      std::copy(y.begin(), y.end(), want_k.begin() + static_cast<std::ptrdiff_t>(at));
      std::copy_n(&v[(t * g + i) * d], d, want_v.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  const size_t first = out.buffers.size();
  const size_t words = pages * g * page_size * d / (spec.cache == "f32" ? 1 : 2);
  out.buffers.push_back(poison(tokens * h * d));
  out.buffers.push_back(Words(words, 0));
  out.buffers.push_back(Words(words, 0));
  out.partly_written = true;
  out.grid_x = tokens;
  out.grid_y = static_cast<uint32_t>(h + 2 * g);
  const double rounding = spec.cache == "f32" ? 1e-6 : spec.cache == "f16" ? 1e-3 : 8e-3;
  out.check = [=, cache = spec.cache](const std::vector<Words>& b) -> std::string {
    const std::string a = compare(floats_of(b[first]), want_q, 1e-6);
    const std::string c = compare(from_cache(cache, b[first + 1]), want_k, rounding);
    const std::string e = compare(from_cache(cache, b[first + 2]), want_v, rounding);
    return !a.empty() ? "q " + a : !c.empty() ? "k " + c : !e.empty() ? "v " + e : "";
  };
  return out;
}

Result<Case> token_map_case() {
  Case out;
  out.kernel = BP_TRY(build_token_map());
  out.name = "token_map";
  out.buffers = {{0, 3, 4, 4, 9}, {10, 1, 7, 5}, poison(18)};
  out.params = {4};
  const Words want = {0, 7, 0, 8, 0, 9, 1, 0, 3, 0, 3, 1, 3, 2, 3, 3, 3, 4};
  out.check = [want](const std::vector<Words>& b) { return b[2] == want ? "" : "another map"; };
  return out;
}

Result<Case> attention_case(const AttentionSpec& spec, const AttentionSchedule& schedule,
                            uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_attention(spec, schedule));
  out.name = fmt::format("attention_{}h{}g{}d_{}_w{}_t{}p{}s{}", spec.heads, spec.kv_heads,
                         spec.head_dim, spec.cache, spec.window, schedule.threads,
                         schedule.heads_per_group, schedule.splits);
  const size_t d = spec.head_dim, h = spec.heads, g = spec.kv_heads, page = spec.page_size;
  const std::vector<uint32_t> lengths = {77, 1};
  const std::vector<std::pair<uint32_t, uint32_t>> tokens = {
      {0, 75}, {0, 76}, {1, 0}};  // sequence, position
  const uint32_t blocks = static_cast<uint32_t>(80 / page + 1), pages = blocks + 3;
  const Words table = random_pages(lengths, spec.page_size, blocks, pages, &random);
  const std::vector<float> q = random.uniform(tokens.size() * h * d, -2, 2);
  std::vector<float> k, v;
  const Words k_words = to_cache(spec.cache, random.uniform(pages * g * page * d, -2, 2), &k);
  const Words v_words = to_cache(spec.cache, random.uniform(pages * g * page * d, -2, 2), &v);
  auto want = std::make_shared<std::vector<double>>();
  for (size_t t = 0; t < tokens.size(); ++t) {
    const auto [sequence, position] = tokens[t];
    for (size_t head = 0; head < h; ++head) {
      const uint32_t from =
          spec.window > 0 && position + 1 > spec.window ? position + 1 - spec.window : 0;
      const auto row = [&](uint32_t j) {
        return ((size_t{table[sequence * blocks + j / page]} * g + head / (h / g)) * page +
                j % page) *
               d;
      };
      std::vector<double> weights;
      double total = 0;
      for (uint32_t j = from; j <= position; ++j) {
        double score = 0;
        for (size_t i = 0; i < d; ++i) score += double{q[(t * h + head) * d + i]} * k[row(j) + i];
        score *= spec.scale;
        if (spec.softcap > 0) score = spec.softcap * std::tanh(score / spec.softcap);
        weights.push_back(std::exp(score));
        total += weights.back();
      }
      for (size_t i = 0; i < d; ++i) {
        double sum = 0;
        for (uint32_t j = from; j <= position; ++j) sum += weights[j - from] * v[row(j) + i];
        want->push_back(sum / total);
      }
    }
  }
  Words map;
  for (const auto& [sequence, position] : tokens) map.insert(map.end(), {sequence, position});
  out.buffers = {words_of(q), k_words, v_words, map, table};
  const size_t splits = schedule.splits, rows = tokens.size() * h;
  out.buffers.push_back(poison(rows * splits * d));
  if (splits > 1) out.buffers.push_back(poison(rows * splits * 2));
  out.params = {pages, blocks};
  out.grid_x = static_cast<uint32_t>(rows / schedule.heads_per_group);
  out.grid_y = schedule.splits;
  out.check = [=](const std::vector<Words>& b) -> std::string {
    const std::vector<float> parts = floats_of(b[5]);
    if (splits == 1) return compare(parts, *want, 1e-5);
    std::vector<float> y(rows * d);
    const std::vector<float> sums = floats_of(b[6]);
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
    return compare(y, *want, 1e-5);
  };
  return out;
}

Result<Case> combine_case(const AttentionSpec& spec, uint32_t splits, uint32_t threads,
                          uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_attention_combine(spec, splits, threads));
  out.name = fmt::format("combine_{}x{}", splits, spec.head_dim);
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
  out.buffers = {words_of(parts), words_of(sums), poison(rows * d)};
  out.check = [want](const std::vector<Words>& b) { return compare(floats_of(b[2]), want, 1e-5); };
  return out;
}

}  // namespace bp::kernels::testing
