// SPDX-License-Identifier: Apache-2.0
// From logits to the next token.
//
// Order of operations: logit bias; repetition, presence and frequency penalties over the recent
// tokens; greedy choice if the temperature is 0; else temperature, top-k, softmax, min-p, top-p,
// and a draw. Ties go to the lowest id.
//
// Randomness is counter-based (Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011): a draw is a pure function of seed and position, so what
// a request gets never depends on its neighbours or on how often others drew.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/base/status.h"

namespace bp {

struct SamplingOptions {
  float temperature = 0.8f;         // 0: greedy
  uint32_t top_k = 40;              // 0: all
  float top_p = 0.95f;              // 1: off. Holtzman et al. 2020
  float min_p = 0.0f;               // 0: off. Nguyen et al. 2024
  float repetition_penalty = 1.0f;  // 1: off. Keskar et al. 2019
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  uint32_t penalty_window = 64;  // most recent tokens that penalties look at
  uint64_t seed = 0;
  std::vector<std::pair<int32_t, float>> logit_bias;  // id, added to its logit

  // INVALID_ARGUMENT names the option and the range it may have.
  Status validate(uint64_t vocabulary) const;
};

// Four independent uniform 32-bit numbers for a counter under a key.
struct Philox {
  uint32_t word[4];
};
Philox philox(uint64_t key, uint64_t counter_low, uint64_t counter_high) noexcept;

// Not thread-safe. Allocates only in create().
class Sampler {
 public:
  static Result<Sampler> create(const SamplingOptions& options, uint64_t vocabulary);

  // The token for `position`. `history` are the tokens so far, prompt included; `logits` has
  // one entry per token of the vocabulary. CORRUPT when they are not numbers.
  Result<int32_t> sample(std::span<const float> logits, std::span<const int32_t> history,
                         uint64_t position);
  const SamplingOptions& options() const noexcept { return options_; }

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  Sampler() = default;
  // The logits as they are sampled from: themselves where nothing changes them.
  std::span<const float> adjust(std::span<const float> logits, std::span<const int32_t> history);
  void apply_penalties(std::span<const int32_t> history);
  bool scan_blocks(std::span<const float> logits) noexcept;
  int32_t greedy(std::span<const float> logits) const noexcept;
  void take_best(std::span<const float> logits, size_t count);
  int32_t draw(std::span<const float> logits, uint64_t position);

  SamplingOptions options_;
  std::vector<float> adjusted_;
  std::vector<float> largest_;    // of each block of logits
  std::vector<uint32_t> counts_;  // per token, of the penalty window
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
};

}  // namespace bp
