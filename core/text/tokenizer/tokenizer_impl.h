// SPDX-License-Identifier: Apache-2.0
// The inside of a Tokenizer, shared by encoding and decoding. Private to this folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/tokenizer/added_tokens.h"
#include "core/text/tokenizer/bpe.h"
#include "core/text/tokenizer/normalizer.h"
#include "core/text/tokenizer/pre_tokenizer.h"
#include "core/text/tokenizer/tokenizer.h"
#include "core/text/tokenizer/unigram.h"

namespace bp::text {

// A stretch of text where special tokens may be found.
struct PermittedRange {
  size_t begin = 0;
  size_t end = 0;
};

struct Tokenizer::Impl {
  TokenizerSpec spec;            // never changed or moved after create(): parts below point into it
  std::vector<uint8_t> special;  // [vocabulary]
  std::vector<uint8_t> ends;     // [vocabulary] ends a generation
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  AddedTokenFinder raw_finder;         // added tokens that are not `normalized`
  AddedTokenFinder normalized_finder;  // those that are
  TokenTable named;                    // special and added tokens by text
  std::optional<Bpe> bpe;
  std::optional<Unigram> unigram;
  std::string decoded;                   // token texts after the decoder's replacements, joined
  std::vector<uint32_t> decoded_starts;  // [vocabulary + 1]; empty: texts are as in the spec
  bool strips_first = false;             // a kMetaspace step with strip_first
  uint32_t strip_count = 0;
  std::string strip_pattern;

  Status prepare();
  bool contains(TokenId id) const noexcept {
    return id >= 0 && static_cast<size_t>(id) < spec.tokens.size();
  }
  // What a token adds in the middle of a text.
  std::string_view text_of(TokenId id) const noexcept;
  // What it adds as the first token of a text, where that differs (strips_first).
  std::string first_text_of(TokenId id) const;

 private:
  void classify();
  std::vector<uint8_t> producible_tokens() const;
  Status prepare_finders();
  Status prepare_decoder();
};

}  // namespace bp::text
