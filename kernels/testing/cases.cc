// SPDX-License-Identifier: Apache-2.0
// Inputs and references. The references are written from docs/ops.md, in double, with none of the
// kernel library's code.
#include "kernels/testing/cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>

#include "backplane/dequantize.h"
#include "kernels/library/weights.h"
#include "kernels/testing/decode_cases.h"
#include "kernels/testing/gemm_cases.h"
#include "kernels/testing/halves_cases.h"
#include "kernels/testing/moe_cases.h"
#include "kernels/testing/paged_cases.h"
#include "kernels/testing/sampling_cases.h"

namespace bp::kernels::testing {
namespace {

// Bytes to little-endian words, padded with zeros.
Words pack(const std::vector<uint8_t>& bytes) {
  Words out((bytes.size() + 3) / 4, 0);
  for (size_t i = 0; i < bytes.size(); ++i) out[i / 4] |= uint32_t{bytes[i]} << (8 * (i % 4));
  return out;
}

void set_half(std::vector<uint8_t>* bytes, size_t at, uint16_t half) {
  (*bytes)[at] = static_cast<uint8_t>(half);
  (*bytes)[at + 1] = static_cast<uint8_t>(half >> 8);
}

struct Quantized {
  std::vector<int> q;        // as x
  std::vector<float> scale;  // by block
};

Quantized quantize(const std::vector<float>& x) {
  Quantized out;
  for (size_t b = 0; b < x.size(); b += kActivationBlock) {
    float largest = 0;
    for (size_t i = 0; i < kActivationBlock; ++i) largest = std::max(largest, std::fabs(x[b + i]));
    out.scale.push_back(largest / 127.0f);
    for (size_t i = 0; i < kActivationBlock; ++i) {
      out.q.push_back(largest > 0 ? static_cast<int>(std::nearbyint(x[b + i] / largest * 127.0f))
                                  : 0);
    }
  }
  return out;
}

void append_quantized(const Quantized& x, std::vector<Words>* buffers) {
  std::vector<uint8_t> bytes;
  Words pairs;
  for (size_t b = 0; b < x.scale.size(); ++b) {
    int sum = 0;
    for (size_t i = 0; i < kActivationBlock; ++i) {
      const int q = x.q[b * kActivationBlock + i];
      bytes.push_back(static_cast<uint8_t>(q));
      sum += q;
    }
    pairs.push_back(std::bit_cast<uint32_t>(x.scale[b]));
    pairs.push_back(static_cast<uint32_t>(sum));
  }
  buffers->push_back(pack(bytes));
  buffers->push_back(pairs);
}

}  // namespace

// The kernel may round a quantum differently where the quotient is next to a half.
std::string check_quantized(const Words& quants, const Words& pairs,
                            const std::vector<double>& want) {
  for (size_t b = 0; b < want.size() / kActivationBlock; ++b) {
    const double scale = std::bit_cast<float>(pairs[2 * b]);
    double largest = 0;
    int sum = 0;
    for (size_t i = 0; i < kActivationBlock; ++i) {
      const size_t at = b * kActivationBlock + i;
      const int q = static_cast<int8_t>(quants[at / 4] >> (8 * (at % 4)));
      sum += q;
      largest = std::max(largest, std::fabs(want[at]));
      if (std::fabs(q * scale - want[at]) > 0.501 * scale + 1e-6) {
        return fmt::format("int8 {}: {} x {} for {}", at, q, scale, want[at]);
      }
    }
    if (std::fabs(scale - largest / 127) > 1e-5 * largest) return fmt::format("scale {}", b);
    if (sum != static_cast<int>(pairs[2 * b + 1])) return fmt::format("sum of block {}", b);
  }
  return "";
}

double reference_activation(Activation activation, double x) {
  switch (activation) {
    case Activation::kSilu:
      return x / (1.0 + std::exp(-x));
    case Activation::kGelu:
      return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    case Activation::kGeluTanh:
      return 0.5 * x *
             (1.0 + std::tanh(std::sqrt(2.0 / 3.14159265358979) * (x + 0.044715 * x * x * x)));
    case Activation::kNone:
      break;
  }
  return x;
}

void append_activations(std::vector<float>* x, bool int8, std::vector<Words>* buffers) {
  if (!int8) return buffers->push_back(words_of(*x));
  const Quantized q = quantize(*x);
  append_quantized(q, buffers);
  for (size_t i = 0; i < x->size(); ++i)
    (*x)[i] = static_cast<float>(q.q[i]) * q.scale[i / kActivationBlock];
}

uint64_t Random::next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

float Random::uniform(float lo, float hi) {
  return lo + (hi - lo) * static_cast<float>(next() >> 40) * 0x1p-24f;
}

std::vector<float> Random::uniform(size_t n, float lo, float hi) {
  std::vector<float> out(n);
  for (float& v : out) v = uniform(lo, hi);
  return out;
}

Words words_of(const std::vector<float>& values) {
  Words out;
  for (float v : values) out.push_back(std::bit_cast<uint32_t>(v));
  return out;
}

std::vector<float> floats_of(const Words& words) {
  std::vector<float> out;
  for (uint32_t w : words) out.push_back(std::bit_cast<float>(w));
  return out;
}

Words poison(size_t n) {
  return Words(n, 0x7fdeadbeu);
}

bool close(const std::vector<float>& got, const std::vector<double>& want, double tolerance,
           std::string* why) {
  double largest = 0;
  for (double w : want) largest = std::max(largest, std::fabs(w));
  if (got.size() != want.size()) return *why = "sizes differ", false;
  for (size_t i = 0; i < want.size(); ++i) {
    const double off = std::fabs(double{got[i]} - want[i]);
    if (!(off <= tolerance * largest + 1e-7)) {
      *why = fmt::format("element {}: {} instead of {} (largest {})", i, got[i], want[i], largest);
      return false;
    }
  }
  return true;
}

Weights random_weights(const std::string& format, uint32_t rows, uint32_t columns, Random* random) {
  Weights out;
  const WeightFormat* layout = find_weight_format(format);
  if (layout == nullptr || columns % layout->block_elements != 0) return out;
  const size_t n = size_t{rows} * columns, blocks = n / layout->block_elements;
  const std::vector<float> plain = random->uniform(layout->block_elements == 1 ? n : 0, -1, 1);
  std::array<std::vector<uint8_t>, 4> bytes;
  std::array<const std::byte*, 4> planes{};
  for (uint32_t p = 0; p < layout->plane_count; ++p) {
    const PlaneLayout& plane = layout->planes[p];
    for (size_t i = 0; i < blocks * plane.bytes_per_block; ++i)
      bytes[p].push_back(static_cast<uint8_t>(random->next()));
    // Scales that are floats get sizes that make weights of all formats comparable.
    const bool halves = plane.name == "super" || plane.name == "minima" ||
                        (plane.name == "scales" && plane.bytes_per_block == 2);
    const float largest = plane.name == "super" ? 0.001f : plane.name == "minima" ? 0.2f : 0.02f;
    for (size_t i = 0; halves && i < bytes[p].size(); i += 2)
      set_half(&bytes[p], i, f32_to_f16(random->uniform(-largest, largest)));
    for (uint8_t& e : bytes[p]) {  // powers of two of mxfp4
      if (plane.name == "scales" && plane.bytes_per_block == 1)
        e = static_cast<uint8_t>(e % 8 + 117);
    }
    for (size_t i = 0; i < plain.size(); ++i) {
      const uint32_t word = format == "f32"   ? std::bit_cast<uint32_t>(plain[i])
                            : format == "f16" ? f32_to_f16(plain[i])
                                              : f32_to_bf16(plain[i]);
      std::memcpy(&bytes[p][i * plane.bytes_per_block], &word, plane.bytes_per_block);
    }
    planes[p] = reinterpret_cast<const std::byte*>(bytes[p].data());
    out.planes.push_back(pack(bytes[p]));
  }
  out.values.resize(n);
  dequantize_blocks(*layout, planes.data(), 0, blocks, out.values.data());
  return out;
}

Result<Case> norm_case(const NormSpec& spec, const NormSchedule& schedule, uint32_t rows,
                       uint64_t seed) {
  Random random(seed);
  const size_t n = spec.width, total = rows * n;
  Case out;
  out.kernel = BP_TRY(build_norm(spec, schedule));
  out.name = fmt::format("{}_{}x{}_t{}{}{}{}{}", out.kernel.name, rows, n, schedule.threads,
                         spec.bias ? "_bias" : "", spec.residual ? "_residual" : "",
                         spec.write_f32 ? "_f32" : "", spec.write_int8 ? "_int8" : "");
  out.grid_x = rows;
  std::vector<float> x = random.uniform(total, -3, 3);
  if (total >= 2 * kActivationBlock)
    std::fill_n(x.begin(), kActivationBlock, 0.0f);  // a block of zeros
  const std::vector<float> gain = random.uniform(n, -2, 2), residual = random.uniform(total, -1, 1),
                           bias = random.uniform(n, -1, 1);
  if (spec.center) {  // far from zero, which sums of squares would not survive
    for (size_t i = 0; i < n; ++i) x[(rows - 1) * n + i] += 200;
  }
  const float eps = 1e-5f;
  auto want = std::make_shared<std::vector<double>>(total);
  for (size_t r = 0; r < rows; ++r) {
    double mean = 0, squares = 0;
    for (size_t i = 0; spec.center && i < n; ++i) mean += x[r * n + i] / static_cast<double>(n);
    for (size_t i = 0; i < n; ++i) squares += std::pow(x[r * n + i] - mean, 2);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + eps);
    for (size_t i = 0; i < n; ++i) {
      double y = x[r * n + i] - mean;
      if (spec.normalize) y *= scale * gain[i];
      if (spec.bias) y += bias[i];
      if (spec.residual) y += residual[r * n + i];
      (*want)[r * n + i] = y;
    }
  }
  out.buffers = {words_of(x)};
  if (spec.normalize)
    out.buffers.push_back(words_of(gain)), out.params = {std::bit_cast<uint32_t>(eps)};
  if (spec.bias) out.buffers.push_back(words_of(bias));
  const bool in_place = spec.residual && spec.residual_in_place;
  if (spec.residual && !in_place) out.buffers.push_back(words_of(residual));
  const size_t first = out.buffers.size();
  if (spec.write_f32) out.buffers.push_back(in_place ? words_of(residual) : poison(total));
  if (spec.write_int8) {
    out.buffers.push_back(poison(total / 4));
    out.buffers.push_back(poison(total / 16));
  }
  // A mean of 200 is rounded to 2^-17 of a step of the rest.
  const double bound = spec.center ? 5e-5 : 2e-6;
  out.check = [want, spec, first, bound](const std::vector<Words>& b) -> std::string {
    std::string why;
    if (spec.write_f32 && !close(floats_of(b[first]), *want, bound, &why)) return why;
    if (!spec.write_int8) return "";
    const size_t quants = first + (spec.write_f32 ? 1 : 0);
    return check_quantized(b[quants], b[quants + 1], *want);
  };
  return out;
}

namespace {

// Some of the rows of a y [tokens, all].
struct SomeRows {
  size_t all = 0, first = 0, count = 0;
};

// Quants in buffer `at` and their scales behind it; rows beside `some` must be as they were.
std::string check_quantized_rows(const std::vector<Words>& b, const std::vector<Words>& before,
                                 size_t at, const std::vector<double>& want, const SomeRows& some) {
  const size_t tokens = want.size() / some.all;
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t block = 0; block < some.all / kActivationBlock; ++block) {
      const size_t row = block * kActivationBlock, element = t * some.all + row;
      const auto word = [](const Words& words, size_t first, size_t count) {
        const auto from = words.begin() + static_cast<std::ptrdiff_t>(first);
        return Words(from, from + static_cast<std::ptrdiff_t>(count));
      };
      const size_t quants = element / 4, pair = element / kActivationBlock * 2;
      if (row < some.first || row >= some.first + some.count) {
        if (word(b[at], quants, 8) != word(before[at], quants, 8) ||
            word(b[at + 1], pair, 2) != word(before[at + 1], pair, 2)) {
          return fmt::format("row {} was written", row);
        }
        continue;
      }
      const auto from = want.begin() + static_cast<std::ptrdiff_t>(element);
      const std::string wrong = check_quantized(word(b[at], quants, 8), word(b[at + 1], pair, 2),
                                                std::vector<double>(from, from + kActivationBlock));
      if (!wrong.empty()) return fmt::format("token {}, row {}: {}", t, row, wrong);
    }
  }
  return "";
}

}  // namespace

Result<Case> gemv_case(const GemvSpec& spec, const GemvSchedule& schedule, uint64_t seed,
                       uint32_t all_tokens, uint32_t first_row) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_gemv(spec, schedule));
  out.name =
      fmt::format("{}_{}x{}_x{}_t{}l{}r{}u{}{}{}{}{}", out.kernel.name, spec.rows, spec.columns,
                  all_tokens, schedule.threads, schedule.lanes_per_row, schedule.rows_per_thread,
                  schedule.unroll, spec.int8 ? "_int8" : "", spec.bias ? "_bias" : "",
                  spec.residual ? "_residual" : "", spec.separate_up ? "_up" : "") +
      (spec.write_int8 ? "_to_int8" : "");
  out.grid_x = gemv_groups(spec, schedule);
  out.grid_y = (all_tokens + spec.tokens - 1) / spec.tokens;
  out.params = {all_tokens, first_row};
  const size_t rows = spec.rows, columns = spec.columns, tokens = all_tokens;
  const size_t y_rows = spec.y_rows != 0 ? spec.y_rows : rows;
  out.partly_written = y_rows != rows;
  const bool merged = spec.glu && !spec.separate_up;
  const Weights gate =
      random_weights(spec.format, merged ? 2 * spec.rows : spec.rows, spec.columns, &random);
  const Weights up = random_weights(spec.format, spec.rows, spec.columns, &random);
  std::vector<float> x = random.uniform(tokens * columns, -2, 2);
  const std::vector<float> bias = random.uniform(spec.glu ? 2 * y_rows : y_rows, -1, 1),
                           residual = random.uniform(tokens * y_rows, -1, 1);
  out.buffers = gate.planes;
  if (spec.separate_up) out.buffers.insert(out.buffers.end(), up.planes.begin(), up.planes.end());
  append_activations(&x, spec.int8, &out.buffers);
  if (spec.bias) out.buffers.push_back(words_of(bias));
  const bool in_place = spec.residual && spec.residual_in_place;
  if (spec.residual && !in_place) out.buffers.push_back(words_of(residual));
  out.buffers.push_back(in_place ? words_of(residual) : poison(tokens * y_rows));
  const size_t y_at = out.buffers.size() - 1;

  // What the launch leaves alone keeps what was there.
  const std::vector<float> before = floats_of(out.buffers.back());
  const auto want = std::make_shared<std::vector<double>>(before.begin(), before.end());
  const auto product = [&](const std::vector<float>& w, size_t row, size_t token) {
    double sum = 0;
    for (size_t i = 0; i < columns; ++i)
      sum += double{w[row * columns + i]} * x[token * columns + i];
    return sum;
  };
  for (size_t t = 0; t < tokens; ++t) {
    for (size_t r = 0; r < rows; ++r) {
      const size_t at = first_row + r;
      double y = product(gate.values, r, t) + (spec.bias ? bias[at] : 0.0f);
      y = reference_activation(spec.activation, y);
      if (spec.glu) {
        const double second = merged ? product(gate.values, r + rows, t) : product(up.values, r, t);
        y *= second + (spec.bias ? bias[at + y_rows] : 0.0f);
      }
      if (spec.softcap > 0) y = spec.softcap * std::tanh(y / spec.softcap);
      if (spec.residual) y += residual[t * y_rows + at];
      (*want)[t * y_rows + at] = y;
    }
  }
  if (spec.write_int8) {
    out.buffers[y_at] = poison(tokens * y_rows / 4);
    out.buffers.push_back(poison(tokens * y_rows / kActivationBlock * 2));
    out.check = [=, before = out.buffers](const std::vector<Words>& b) {
      return check_quantized_rows(b, before, y_at, *want, {y_rows, first_row, rows});
    };
    return out;
  }
  const Words untouched = out.buffers.back();
  out.check = [=](const std::vector<Words>& b) -> std::string {
    std::vector<float> got;
    std::vector<double> expected;
    for (size_t t = 0; t < tokens; ++t) {
      for (size_t r = 0; r < y_rows; ++r) {
        const size_t at = t * y_rows + r;
        if (r < first_row || r >= first_row + rows) {
          if (b.back()[at] != untouched[at]) return fmt::format("row {} was written", r);
          continue;
        }
        got.push_back(std::bit_cast<float>(b.back()[at]));
        expected.push_back((*want)[at]);
      }
    }
    std::string why;
    return close(got, expected, 1e-5, &why) ? "" : why;
  };
  return out;
}

Result<Case> gemv_case(const GemvSpec& spec, const GemvSchedule& schedule, uint64_t seed) {
  return gemv_case(spec, schedule, seed, spec.tokens, 0);
}

Result<Case> row_sums_case(uint32_t rows, uint32_t columns, uint32_t threads, uint64_t seed) {
  Random random(seed);
  Case out;
  out.kernel = BP_TRY(build_row_sums({columns}, threads));
  out.name = fmt::format("row_sums_{}x{}", rows, columns);
  out.grid_x = rows;
  const std::vector<float> x = random.uniform(size_t{rows} * columns, -1, 1);
  std::vector<double> want(rows);
  for (size_t i = 0; i < x.size(); ++i) want[i / columns] += x[i];
  out.buffers = {words_of(x), poison(rows)};
  out.check = [want](const std::vector<Words>& b) -> std::string {
    std::string why;
    return close(floats_of(b[1]), want, 1e-5, &why) ? "" : why;
  };
  return out;
}

std::vector<std::string> profile_names() {
  std::vector<std::string> names;
  for (const Caps& caps : profiles()) names.push_back(caps.name);
  return names;
}

std::string run_interpreted(const Case& test, const Kernel& kernel, uint64_t seed) {
  std::vector<Words> buffers = test.buffers;
  std::vector<std::vector<uint8_t>> written(buffers.size());
  std::vector<Binding> bindings(buffers.size());
  for (size_t i = 0; i < buffers.size(); ++i) {
    written[i].assign(buffers[i].size(), 0);
    bindings[i].words = buffers[i];
    bindings[i].initialized = kernel.buffers[i].access != Access::kWrite;
    bindings[i].written = &written[i];
  }
  RunOptions options;
  options.grid_x = test.grid_x;
  options.grid_y = test.grid_y;
  options.seed = seed;
  const Result<Counters> run = interpret(kernel, bindings, test.params, options);
  if (!run.ok()) return test.name + ": " + run.status().to_string();
  for (size_t i = 0; i < buffers.size(); ++i) {
    if (kernel.buffers[i].access != Access::kWrite || test.partly_written) continue;
    const auto hole = std::find(written[i].begin(), written[i].end(), 0);
    if (hole != written[i].end()) {
      return fmt::format("{}: word {} of '{}' was not written", test.name,
                         hole - written[i].begin(), kernel.buffers[i].name);
    }
  }
  const std::string wrong = test.check(buffers);
  return wrong.empty() ? "" : test.name + ": " + wrong;
}

namespace {

// Every format as a plain product and as rows of a table; the rest of such kernels with three.
Status add_weight_samples(const Caps& caps, std::vector<Case>* cases) {
  std::vector<Case>& out = *cases;
  uint64_t seed = 20;
  for (const std::string_view name : weight_reader_formats()) {
    const std::string format(name);
    const bool large = find_weight_format(name)->block_elements > 32;
    GemvSpec spec{.format = format,
                  .rows = 13,
                  .columns = large ? 512u : 352u,
                  .tokens = 2,
                  .bias = true,
                  .residual = true};
    out.push_back(BP_TRY(gemv_case(spec, {64, 16, 2, 2}, ++seed)));
    if (name == "f32" || name == "q4_g32" || name == "q5_k") {
      spec = {.format = format,
              .rows = 9,
              .columns = large ? 256u : 96u,
              .glu = true,
              .activation = Activation::kSilu};
      out.push_back(BP_TRY(gemv_case(spec, default_schedule(spec, caps), ++seed)));
      spec.rows = 64;
      spec.columns = large ? 256u : 288u;
      spec.int8 = find_weight_reader(format)->has_int8();
      spec.write_int8 = true;
      spec.tokens = 2;
      out.push_back(BP_TRY(gemv_case(spec, default_schedule(spec, caps), ++seed, 3, 0)));
      // Rows 5 to 13 of 20, five tokens by fours.
      spec = {.format = format,
              .rows = 9,
              .y_rows = 20,
              .columns = large ? 256u : 96u,
              .tokens = 4,
              .bias = true,
              .residual = true,
              .residual_in_place = true};
      out.push_back(BP_TRY(gemv_case(spec, default_schedule(spec, caps), ++seed, 5, 5)));
    }
    const EmbedSpec embed{.format = format, .columns = large ? 512u : 96u, .scale = 3.0f};
    out.push_back(BP_TRY(embed_case(embed, 9, name == "q8_g32" ? 4 : 0, 32, ++seed)));
    if (!find_weight_reader(format)->has_int8()) continue;
    spec = {.format = format,
            .int8 = true,
            .rows = 21,
            .columns = large ? 1280u : 1184u,
            .softcap = 5.0f};
    out.push_back(BP_TRY(gemv_case(spec, {128, 32, 2, 2}, ++seed)));
  }
  return {};
}

Status add_expert_samples(const Caps& caps, std::vector<Case>* cases) {
  std::vector<Case>& out = *cases;
  out.push_back(BP_TRY(top_k_case({1000, 40}, {64, 4}, 2, 68)));
  out.push_back(BP_TRY(top_k_join_case({1000, 40}, {64, 4}, 2, 69)));
  out.push_back(BP_TRY(moe_route_case({60, 4, true}, 64, 3, 70)));
  out.push_back(BP_TRY(moe_route_case({128, 8, false}, 64, 3, 71)));
  MoeLinearSpec experts{.format = "mxfp4",
                        .int8 = true,
                        .experts = 5,
                        .used = 3,
                        .rows = 13,
                        .columns = 96,
                        .glu = true,
                        .activation = Activation::kSilu};
  out.push_back(BP_TRY(moe_linear_case(experts, default_schedule(experts, caps), 2, 72)));
  experts = {
      .format = "q4_k", .experts = 5, .used = 3, .rows = 13, .columns = 512, .residual = true};
  out.push_back(BP_TRY(moe_linear_case(experts, default_schedule(experts, caps), 2, 73)));
  return {};
}

// Heads whose scales fill their words, and heads whose do not.
Status add_q8_cache_samples(const Caps& caps, std::vector<Case>* cases) {
  std::vector<Case>& out = *cases;
  uint64_t seed = 80;
  for (uint32_t head_dim : {64u, 96u}) {
    RopeSpec rope{.cache = "q8", .heads = 4, .kv_heads = 2, .head_dim = head_dim, .rotary_dim = 32};
    for (RopePart part : {RopePart::kAll, RopePart::kKey, RopePart::kValue}) {
      if (part == RopePart::kAll && caps.max_buffers < 9) continue;
      rope.part = part;
      out.push_back(BP_TRY(rope_case(rope, 4, ++seed)));
    }
    const AttentionSpec attention{
        .cache = "q8", .heads = 8, .kv_heads = 2, .head_dim = head_dim, .scale = 0.125f};
    out.push_back(
        BP_TRY(attention_case(attention, default_schedule(attention, caps, 3, 77), ++seed)));
    out.push_back(BP_TRY(prompt_attention_case(
        attention, default_prompt_schedule(attention, caps, 19), {17, 0, 2}, {30, 9, 2}, ++seed)));
  }
  return {};
}

}  // namespace

Result<std::vector<Case>> sample_cases(const Caps& caps) {
  std::vector<Case> out;
  const uint32_t lanes = std::max<uint32_t>(caps.subgroup_size, 8);
  out.push_back(BP_TRY(norm_case({.width = 160, .write_int8 = true}, {64}, 3, 11)));
  out.push_back(BP_TRY(norm_case({.width = 1030, .residual = true}, {256}, 2, 12)));
  out.push_back(BP_TRY(norm_case(
      {.width = 96, .normalize = false, .write_f32 = false, .write_int8 = true}, {lanes}, 2, 13)));
  out.push_back(BP_TRY(
      norm_case({.width = 160, .center = true, .bias = true, .write_int8 = true}, {64}, 3, 14)));
  out.push_back(BP_TRY(norm_case({.width = 1030, .center = true, .residual = true}, {256}, 2, 15)));
  BP_TRY(add_weight_samples(caps, &out));
  for (uint32_t stages : {1u, 2u}) {
    const GemmSpec spec{
        .format = "q4_g32", .rows = 37, .columns = 352, .bias = true, .residual = true};
    GemmSchedule d = default_schedule(spec, caps, 21);
    d.stages = stages;
    if (stages == 2 && caps.shared_bytes < (32u << 10)) continue;
    out.push_back(BP_TRY(gemm_case(spec, d, 21, 0, 50 + stages)));
  }
  const GemmSpec gated{
      .format = "f16", .rows = 20, .columns = 44, .glu = true, .activation = Activation::kGeluTanh};
  out.push_back(BP_TRY(gemm_case(gated, default_schedule(gated, caps, 9), 9, 0, 53)));
  out.push_back(BP_TRY(row_sums_case(3, 4 * 1111, 64, 60)));
  GemmSchedule matrix{.tile_rows = 16, .thread_tokens = 1, .thread_rows = 1};
  matrix.matrix = caps.matrix ? caps.subgroup_size : 32;  // where there are none, in pieces
  const GemmSpec halves{.format = "q4_g32", .rows = 37, .columns = 96, .bias = true};
  out.push_back(BP_TRY(gemm_case(halves, matrix, 21, 0, 55)));
  out.push_back(BP_TRY(argmax_case(3, 1000, 128, 62)));
  BP_TRY(add_halves_samples(&out));
  BP_TRY(add_expert_samples(caps, &out));
  RopeSpec rope{
      .q_norm = true, .k_norm = true, .heads = 4, .kv_heads = 2, .head_dim = 48, .rotary_dim = 32};
  for (RopePart part : {RopePart::kAll, RopePart::kQuery, RopePart::kKey, RopePart::kValue}) {
    // In one launch it takes more buffers than some devices bind.
    if (part == RopePart::kAll && caps.max_buffers < 11) continue;
    rope.part = part;
    out.push_back(BP_TRY(rope_case(rope, 4, 64)));
  }
  AttentionSpec attention{.heads = 8, .kv_heads = 2, .head_dim = 64, .scale = 0.125f};
  out.push_back(BP_TRY(attention_case(attention, default_schedule(attention, caps, 3, 77), 65)));
  attention = {.cache = "bf16",
               .heads = 2,
               .kv_heads = 2,
               .head_dim = 40,
               .window = 20,
               .scale = 0.2f,
               .softcap = 10.0f};
  out.push_back(BP_TRY(attention_case(attention, {64, 1, 3}, 66)));
  out.push_back(BP_TRY(combine_case(attention, 3, false, 67)));
  if (caps.device_barrier && caps.max_buffers >= kJoiningBuffers) {
    AttentionSpec joined{.heads = 8, .kv_heads = 2, .head_dim = 64, .scale = 0.125f};
    out.push_back(BP_TRY(attention_case(joined, {64, 4, 5, 1}, 90)));
    joined.write_int8 = true;
    out.push_back(BP_TRY(attention_case(joined, {64, 2, 3, 1}, 91)));
  }
  attention.head_dim = 96;
  out.push_back(BP_TRY(combine_case(attention, 5, true, 68)));
  out.push_back(BP_TRY(prompt_attention_case(
      attention, default_prompt_schedule(attention, caps, 19), {17, 0, 2}, {30, 9, 2}, 68)));
  attention = {.heads = 8, .kv_heads = 2, .head_dim = 64, .scale = 0.125f};
  out.push_back(BP_TRY(prompt_attention_case(attention, default_prompt_schedule(attention, caps),
                                             {5, 30}, {41, 30}, 69)));
  BP_TRY(add_q8_cache_samples(caps, &out));
  return out;
}

}  // namespace bp::kernels::testing
