// SPDX-License-Identifier: Apache-2.0
// Vocabularies in GPT-2's layout: a map from disguised token to id, and a list of merges.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "core/base/status.h"
#include "core/text/tokenizer/spec.h"

namespace bp {

// Tokens of a vocabulary by the text that merges call them. Refers to the texts it is given.
class VocabularyIndex {
 public:
  // CORRUPT when the text is there already.
  Status add(std::string_view text, text::TokenId id);
  text::TokenId find(std::string_view text) const;
  // "left right", each a token. CORRUPT when there is no blank or a half is no token.
  Result<text::Merge> merge(std::string_view line) const;
  Result<text::Merge> merge(std::string_view left, std::string_view right) const;

 private:
  std::unordered_map<std::string_view, text::TokenId> ids_;
};

// The bytes of a token of a byte-level vocabulary. Only normal tokens are disguised; one that
// cannot be a disguise can never be produced and becomes kUnused, its text kept as it is.
std::string plain_token(std::string_view text, text::TokenType* type);

// vocab.json (or encoder.json), merges.txt (or vocab.bpe) and tokenizer_config.json ("" if none,
// but then there are no special tokens), with the pre-tokenizer of that name: the files do not say
// it. UNIMPLEMENTED for an unknown name; CORRUPT or EXHAUSTED for broken files.
Result<text::TokenizerSpec> import_vocab_merges(std::string_view vocab_json,
                                                std::string_view merges,
                                                std::string_view config_json,
                                                std::string_view pre_name);

}  // namespace bp
