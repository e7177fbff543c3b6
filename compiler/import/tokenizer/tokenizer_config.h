// SPDX-License-Identifier: Apache-2.0
// tokenizer_config.json and generation_config.json: special tokens by role, chat template, ids
// that end a generation.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/text/tokenizer/spec.h"

namespace bp {

struct ConfiguredToken {
  std::string content;
  text::AddedToken flags;  // with the id
};

struct TokenizerConfig {
  std::string tokenizer_class;
  std::vector<ConfiguredToken> added_tokens;  // added_tokens_decoder, by id
  std::optional<std::string> bos;
  std::optional<std::string> eos;
  std::optional<std::string> pad;
  std::optional<bool> add_bos;
  std::optional<bool> add_eos;
  std::string chat_template;  // of several the one named "default"
};

// An empty text gives an empty configuration. CORRUPT names the key.
Result<TokenizerConfig> read_tokenizer_config(std::string_view json);

// Sets bos_id, pad_id, eos_ids and chat_template. CORRUPT when bos or eos is not in the vocabulary.
Status apply_tokenizer_config(const TokenizerConfig& config, text::TokenizerSpec* spec);

// Adds eos_token_id (a number or a list) of generation_config.json or config.json to eos_ids. An
// empty text and an absent key change nothing.
Status apply_generation_config(std::string_view json, text::TokenizerSpec* spec);

}  // namespace bp
