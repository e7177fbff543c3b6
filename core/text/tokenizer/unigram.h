// SPDX-License-Identifier: Apache-2.0
// Unigram: the segmentation of a word with the highest sum of scores (Viterbi search).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/text/tokenizer/prefix_search.h"
#include "core/text/tokenizer/spec.h"

namespace bp::text {

class Unigram {
 public:
  // The specification must have been validated and must outlive the result.
  static Result<Unigram> create(const TokenizerSpec& spec, const std::vector<uint8_t>& producible);

  struct Node {
    double score = 0;
    TokenId id = kNoToken;
    uint32_t start = 0;
    bool reached = false;
  };
  struct Scratch {
    std::vector<Node> nodes;
    std::vector<uint32_t> ends;
  };

  // Appends the tokens of a word (valid UTF-8, under 4 GiB). Characters that no piece covers
  // become byte tokens or one unk_id for each run of them.
  void encode(std::string_view word, Scratch* scratch, std::vector<TokenId>* out) const;

 private:
  void append_unknown(std::string_view text, std::vector<TokenId>* out) const;

  const TokenizerSpec* spec_ = nullptr;
  PrefixSearch pieces_;
  std::vector<TokenId> fallback_;  // byte -> token, 256 entries
  double unknown_score_ = 0;
};

}  // namespace bp::text
