// SPDX-License-Identifier: Apache-2.0
#include "kernels/plugin/trial_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/library/quantize.h"

namespace bp::kernels {
namespace {

constexpr uint32_t kBlockWords = kActivationBlock / 4;  // of int8 activations
constexpr float kQuantScale = 0.01f;

// Bits that look random and depend on buffer and position (the finalizer of MurmurHash3).
uint32_t bits_at(uint32_t index, uint64_t word) noexcept {
  uint32_t h = static_cast<uint32_t>(word) + (index + 1) * 0x9e3779b9u;
  h ^= h >> 16;
  h *= 0x85ebca6bu;
  h ^= h >> 13;
  h *= 0xc2b2ae35u;
  return h ^ (h >> 16);
}

uint32_t float_in_unit(uint32_t bits) noexcept {
  return std::bit_cast<uint32_t>(static_cast<float>(bits >> 8) * 0x1p-23f - 1.0f);
}

// Two f16 in (−1, 1), none of them small enough to be lost.
uint32_t halves(uint32_t bits) noexcept {
  return (bits & 0x80008000u) | (0x2c002c00u + (bits & 0x0fff0fffu));
}

uint32_t bf16_pair(uint32_t bits) noexcept {
  return (bits & 0x80008000u) | (0x3d003d00u + (bits & 0x01ff01ffu));
}

// Two positive f16 of about 2⁻⁷: scales that keep sums of products near 1.
uint32_t scale_pair(uint32_t bits) noexcept {
  return 0x1c001c00u | (bits & 0x07ff07ffu);
}

// Any bits are numbers of a format; what scales them has to be finite and moderate.
uint32_t weight_word(const TrialBuffer& buffer, uint32_t bits) noexcept {
  if (buffer.format == nullptr) return bits;
  const PlaneLayout& plane = buffer.format->planes[buffer.plane];
  if (plane.name == "values") {
    if (buffer.format->name == "f32") return float_in_unit(bits);
    return buffer.format->name == "f16" ? halves(bits) : bf16_pair(bits);
  }
  if (plane.name == "super" || plane.name == "minima") return scale_pair(bits);
  if (plane.name != "scales") return bits;
  if (plane.bytes_per_block == 2) return scale_pair(bits);
  if (plane.bytes_per_block == 1) return 0x76767676u + (bits & 0x07070707u);  // 2⁻⁹ to 2⁻²
  return bits;
}

// Scale and sum of a block of the quants in the buffer before.
uint32_t scale_word(uint32_t index, uint64_t word) noexcept {
  if (word % 2 == 0) return std::bit_cast<uint32_t>(kQuantScale);
  int32_t sum = 0;
  for (uint64_t i = 0; i < kBlockWords; ++i) {
    const uint32_t four = bits_at(index - 1, word / 2 * kBlockWords + i);
    for (int byte = 0; byte < 4; ++byte) sum += static_cast<int8_t>(four >> (8 * byte));
  }
  return static_cast<uint32_t>(sum);
}

// Largest finite magnitude.
float largest_of(std::span<const uint32_t> words) noexcept {
  float largest = 0;
  for (const uint32_t word : words) {
    const float value = std::abs(std::bit_cast<float>(word));
    if (std::isfinite(value)) largest = std::max(largest, value);
  }
  return largest;
}

bool close_floats(uint32_t want, uint32_t got, float bound) noexcept {
  const float a = std::bit_cast<float>(want), b = std::bit_cast<float>(got);
  return std::isfinite(b) && std::abs(a - b) <= bound;
}

bool close_quants(uint32_t want, uint32_t got) noexcept {
  for (int byte = 0; byte < 4; ++byte) {
    const int a = static_cast<int8_t>(want >> (8 * byte));
    const int b = static_cast<int8_t>(got >> (8 * byte));
    if (std::abs(a - b) > 1) return false;  // a rounding that went the other way
  }
  return true;
}

}  // namespace

void fill_words(std::span<const TrialBuffer> buffers, uint32_t index, uint64_t first,
                std::span<uint32_t> out) {
  const TrialBuffer& buffer = buffers[index];
  for (size_t i = 0; i < out.size(); ++i) {
    const uint64_t at = first + i;
    const uint32_t bits = bits_at(index, at);
    switch (buffer.content) {
      case TrialBuffer::kWeights:
        out[i] = weight_word(buffer, bits);
        break;
      case TrialBuffer::kFloats:
      case TrialBuffer::kUpdated:
        out[i] = float_in_unit(bits);
        break;
      case TrialBuffer::kHalves:
        out[i] = halves(bits);
        break;
      case TrialBuffer::kQ8Cache:
        out[i] = at < buffer.scales_at ? bits : scale_pair(bits);
        break;
      case TrialBuffer::kBf16:
        out[i] = bf16_pair(bits);
        break;
      case TrialBuffer::kQuants:
        out[i] = bits;
        break;
      case TrialBuffer::kScales:
        out[i] = scale_word(index, at);
        break;
      case TrialBuffer::kWords:
        out[i] = at < buffer.words.size() ? buffer.words[at] : 0;
        break;
      case TrialBuffer::kOutput:
      case TrialBuffer::kOutputQuants:
      case TrialBuffer::kOutputScales:
      case TrialBuffer::kTemporary:
        out[i] = kUnwritten;
        break;
    }
  }
}

std::string check_standard(TrialBuffer::Content content, std::span<const uint32_t> words) {
  bool any = false;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == kUnwritten) continue;
    any = true;
    const bool is_float = content == TrialBuffer::kOutput || content == TrialBuffer::kUpdated ||
                          (content == TrialBuffer::kOutputScales && i % 2 == 0);
    if (is_float && !std::isfinite(std::bit_cast<float>(words[i]))) {
      return fmt::format("word {} is no finite number", i);
    }
  }
  return any ? "" : "nothing was written";
}

std::string compare_results(TrialBuffer::Content content, std::span<const uint32_t> want,
                            std::span<const uint32_t> got, float tolerance) {
  if (want.size() != got.size()) return "another number of results";
  const float bound = content == TrialBuffer::kOutputQuants ? 0 : tolerance * largest_of(want);
  for (size_t i = 0; i < want.size(); ++i) {
    if (want[i] == got[i]) continue;
    bool close = want[i] != kUnwritten && got[i] != kUnwritten;
    if (close && content == TrialBuffer::kOutputQuants) {
      close = close_quants(want[i], got[i]);
    } else if (close && content == TrialBuffer::kOutputScales && i % 2 == 1) {
      const int64_t a = static_cast<int32_t>(want[i]), b = static_cast<int32_t>(got[i]);
      close = std::abs(a - b) <= kActivationBlock;
    } else if (close) {
      close = close_floats(want[i], got[i], bound);
    }
    if (close) continue;
    return fmt::format("word {} is {} ({:#010x}), expected is {} ({:#010x})", i,
                       std::bit_cast<float>(got[i]), got[i], std::bit_cast<float>(want[i]),
                       want[i]);
  }
  return {};
}

}  // namespace bp::kernels
