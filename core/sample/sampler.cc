// SPDX-License-Identifier: Apache-2.0
#include "core/sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace bp {
namespace {

// Before the others: as one is larger or, at equality, has the lower id.
constexpr auto kBefore = [](const auto& a, const auto& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
};

constexpr size_t kLanes = 16;
constexpr size_t kBlock = 512;  // elements that share a maximum

struct Scan {
  float largest;
  bool has_nan;
};

// Of a non-empty run. Lanes do not meet until the end, so that they become vector instructions;
// with NaN the maximum means nothing.
Scan scan(const float* values, size_t count) noexcept {
  float largest[kLanes];
  uint32_t nan[kLanes] = {};
  std::fill(largest, largest + kLanes, values[0]);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const float x = values[i + lane];
      largest[lane] = x > largest[lane] ? x : largest[lane];
      nan[lane] |= static_cast<uint32_t>(x != x);
    }
  }
  for (; i < count; ++i) {
    largest[0] = values[i] > largest[0] ? values[i] : largest[0];
    nan[0] |= static_cast<uint32_t>(values[i] != values[i]);
  }
  Scan out{largest[0], false};
  for (size_t lane = 0; lane < kLanes; ++lane) {
    out.largest = std::max(out.largest, largest[lane]);
    out.has_nan = out.has_nan || nan[lane] != 0;
  }
  return out;
}

}  // namespace

Philox philox(uint64_t key, uint64_t counter_low, uint64_t counter_high) noexcept {
  constexpr uint32_t kMultiply0 = 0xD2511F53, kMultiply1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  Philox x{{static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
            static_cast<uint32_t>(counter_high), static_cast<uint32_t>(counter_high >> 32)}};
  auto key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{kMultiply0} * x.word[0];
    const uint64_t product1 = uint64_t{kMultiply1} * x.word[2];
    x = {{static_cast<uint32_t>(product1 >> 32) ^ x.word[1] ^ key0, static_cast<uint32_t>(product1),
          static_cast<uint32_t>(product0 >> 32) ^ x.word[3] ^ key1,
          static_cast<uint32_t>(product0)}};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return x;
}

Status SamplingOptions::validate(uint64_t vocabulary) const {
  const auto check = [](float value, float low, float high, const char* name) {
    if (value >= low && value <= high) return Status();
    return error(Code::kInvalidArgument, "{} is {}; it must be between {} and {}", name, value, low,
                 high);
  };
  BP_TRY(check(temperature, 0.0f, 100.0f, "temperature"));
  BP_TRY(check(top_p, 0.0f, 1.0f, "top_p"));
  BP_TRY(check(min_p, 0.0f, 1.0f, "min_p"));
  BP_TRY(check(repetition_penalty, 0.01f, 100.0f, "repetition_penalty"));
  BP_TRY(check(presence_penalty, -100.0f, 100.0f, "presence_penalty"));
  BP_TRY(check(frequency_penalty, -100.0f, 100.0f, "frequency_penalty"));
  for (const auto& [id, bias] : logit_bias) {
    if (id < 0 || static_cast<uint64_t>(id) >= vocabulary) {
      return error(Code::kInvalidArgument, "logit_bias names token {}; the vocabulary has {}", id,
                   vocabulary);
    }
    if (std::isnan(bias)) {
      return error(Code::kInvalidArgument, "logit_bias of token {} is not a number", id);
    }
  }
  return {};
}

Result<Sampler> Sampler::create(const SamplingOptions& options, uint64_t vocabulary) try {
  BP_TRY(options.validate(vocabulary));
  Sampler sampler;
  sampler.options_ = options;
  sampler.adjusted_.resize(vocabulary);
  sampler.counts_.resize(vocabulary);
  sampler.largest_.resize((vocabulary + kBlock - 1) / kBlock);
  if (options.temperature > 0) {
    sampler.candidates_.reserve(vocabulary);
    sampler.weights_.reserve(vocabulary);
  }
  return sampler;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "creating a sampler: {}", thrown.what());
}

void Sampler::apply_penalties(std::span<const int32_t> history) {
  const size_t window = std::min<size_t>(history.size(), options_.penalty_window);
  const auto recent = history.last(window);
  const auto valid = [this](int32_t id) {
    return id >= 0 && static_cast<size_t>(id) < adjusted_.size();
  };
  for (const int32_t id : recent) {
    if (valid(id)) ++counts_[static_cast<size_t>(id)];
  }
  for (const int32_t id : recent) {
    if (!valid(id)) continue;
    uint32_t& count = counts_[static_cast<size_t>(id)];
    if (count == 0) continue;  // seen already
    float& logit = adjusted_[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    logit -= options_.presence_penalty + options_.frequency_penalty * static_cast<float>(count);
    count = 0;
  }
}

std::span<const float> Sampler::adjust(std::span<const float> logits,
                                       std::span<const int32_t> history) {
  const bool penalizes = options_.repetition_penalty != 1.0f || options_.presence_penalty != 0.0f ||
                         options_.frequency_penalty != 0.0f;
  if (!penalizes && options_.logit_bias.empty()) return logits;
  std::copy(logits.begin(), logits.end(), adjusted_.begin());
  for (const auto& [id, bias] : options_.logit_bias) adjusted_[static_cast<size_t>(id)] += bias;
  if (penalizes) apply_penalties(history);
  return adjusted_;
}

// The largest of each block; false when there are values that are not numbers, or none that is
// finite.
bool Sampler::scan_blocks(std::span<const float> logits) noexcept {
  float largest = -std::numeric_limits<float>::infinity();
  bool has_nan = false;
  for (size_t block = 0; block < largest_.size(); ++block) {
    const size_t first = block * kBlock;
    const Scan found = scan(logits.data() + first, std::min(kBlock, logits.size() - first));
    largest_[block] = found.largest;
    largest = std::max(largest, found.largest);
    has_nan = has_nan || found.has_nan;
  }
  return !has_nan && std::isfinite(largest);
}

int32_t Sampler::greedy(std::span<const float> logits) const noexcept {
  const auto block = std::max_element(largest_.begin(), largest_.end());  // first of equals
  const auto first = logits.begin() + (block - largest_.begin()) * static_cast<ptrdiff_t>(kBlock);
  return static_cast<int32_t>(std::find(first, logits.end(), *block) - logits.begin());
}

// The first `count` in order of kBefore, unordered: a heap whose worst is on top. A block that has
// nothing larger than the worst is passed over, since at equality its ids come later.
void Sampler::take_best(std::span<const float> logits, size_t count) {
  for (size_t block = 0; block < largest_.size(); ++block) {
    const bool is_full = candidates_.size() == count;
    if (is_full && largest_[block] <= candidates_.front().logit) continue;
    const size_t end = std::min((block + 1) * kBlock, logits.size());
    for (size_t i = block * kBlock; i < end; ++i) {
      const Candidate candidate{logits[i], static_cast<int32_t>(i)};
      if (candidates_.size() == count) {
        if (!kBefore(candidate, candidates_.front())) continue;
        std::pop_heap(candidates_.begin(), candidates_.end(), kBefore);
        candidates_.back() = candidate;
      } else {
        candidates_.push_back(candidate);
      }
      std::push_heap(candidates_.begin(), candidates_.end(), kBefore);
    }
  }
}

int32_t Sampler::draw(std::span<const float> logits, uint64_t position) {
  candidates_.clear();
  if (options_.top_k != 0 && options_.top_k < logits.size()) {
    take_best(logits, options_.top_k);
  } else {
    for (size_t i = 0; i < logits.size(); ++i) {
      candidates_.push_back({logits[i], static_cast<int32_t>(i)});
    }
  }
  std::sort(candidates_.begin(), candidates_.end(), kBefore);
  const double top = static_cast<double>(candidates_.front().logit);
  const double temperature = static_cast<double>(options_.temperature);
  weights_.clear();
  double sum = 0;
  for (const Candidate& candidate : candidates_) {
    const double weight = std::exp((static_cast<double>(candidate.logit) - top) / temperature);
    if (weight < static_cast<double>(options_.min_p)) break;  // the first has weight 1
    weights_.push_back(weight);
    sum += weight;
  }
  // The smallest leading set whose share reaches top_p, never empty.
  if (options_.top_p < 1.0f) {
    const double wanted = static_cast<double>(options_.top_p) * sum;
    double kept = 0;
    for (size_t i = 0; i < weights_.size(); ++i) {
      kept += weights_[i];
      if (kept >= wanted) {
        weights_.resize(i + 1);
        sum = kept;
        break;
      }
    }
  }
  const Philox random = philox(options_.seed, position, 0);
  const uint64_t bits = uint64_t{random.word[0]} << 21 | random.word[1] >> 11;
  double target = static_cast<double>(bits) * 0x1p-53 * sum;
  for (size_t i = 0; i < weights_.size(); ++i) {
    target -= weights_[i];
    if (target < 0) return candidates_[i].id;
  }
  return candidates_[weights_.size() - 1].id;
}

Result<int32_t> Sampler::sample(std::span<const float> logits, std::span<const int32_t> history,
                                uint64_t position) {
  if (logits.size() != adjusted_.size()) {
    return error(Code::kInternal, "{} logits for a vocabulary of {}", logits.size(),
                 adjusted_.size());
  }
  const std::span<const float> adjusted = adjust(logits, history);
  if (!scan_blocks(adjusted)) {
    return error(Code::kCorrupt,
                 "the model gives values that are not numbers at position {}; its "
                 "weights are damaged, or too large for the format",
                 position);
  }
  return options_.temperature == 0 ? greedy(adjusted) : draw(adjusted, position);
}

}  // namespace bp
