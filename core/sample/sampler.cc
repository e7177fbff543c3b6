// SPDX-License-Identifier: Apache-2.0
#include "core/sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace bp {
namespace {

// Before the others: as one is larger or, at equality, has the lower id.
constexpr auto kBefore = [](const auto& a, const auto& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
};

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

void Sampler::adjust(std::span<const float> logits, std::span<const int32_t> history) {
  std::copy(logits.begin(), logits.end(), adjusted_.begin());
  for (const auto& [id, bias] : options_.logit_bias) adjusted_[static_cast<size_t>(id)] += bias;
  if (options_.repetition_penalty != 1.0f || options_.presence_penalty != 0.0f ||
      options_.frequency_penalty != 0.0f) {
    apply_penalties(history);
  }
}

int32_t Sampler::greedy() const noexcept {
  const auto best = std::max_element(adjusted_.begin(), adjusted_.end());  // first of equals
  return static_cast<int32_t>(best - adjusted_.begin());
}

int32_t Sampler::draw(uint64_t position) {
  candidates_.clear();
  for (size_t i = 0; i < adjusted_.size(); ++i) {
    candidates_.push_back({adjusted_[i], static_cast<int32_t>(i)});
  }
  size_t count = candidates_.size();
  if (options_.top_k != 0 && options_.top_k < count) {
    count = options_.top_k;
    std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(count) - 1,
                     candidates_.end(), kBefore);
    candidates_.resize(count);
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
  adjust(logits, history);
  bool nan = false;
  for (const float logit : adjusted_) nan |= std::isnan(logit);
  if (nan || std::isinf(*std::max_element(adjusted_.begin(), adjusted_.end()))) {
    return error(Code::kCorrupt,
                 "the model gives values that are not numbers at position {}; its "
                 "weights are damaged, or too large for the format",
                 position);
  }
  return options_.temperature == 0 ? greedy() : draw(position);
}

}  // namespace bp
