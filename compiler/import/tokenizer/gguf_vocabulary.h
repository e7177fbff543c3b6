// SPDX-License-Identifier: Apache-2.0
// The tokenizer of a GGUF file.
//
// GgufVocabulary is what the metadata says, in plain data; read_gguf_vocabulary() fills it from the
// keys tokenizer.ggml.* and import_gguf_tokenizer() turns it into the neutral specification:
// "llama" (SentencePiece BPE by scores) and "gpt2" (byte-level BPE by merges) vocabularies. Any
// other model or an unknown `pre` is refused by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compiler/import/gguf/gguf_metadata.h"
#include "core/base/status.h"
#include "core/text/tokenizer/spec.h"

namespace bp {

struct GgufVocabulary {
  std::string model;                // tokenizer.ggml.model
  std::string pre;                  // tokenizer.ggml.pre, "" when absent
  std::vector<std::string> tokens;  // as in the file: disguised bytes, "<0x0A>"
  std::vector<float> scores;        // empty or one per token
  std::vector<int32_t> types;       // empty or one per token
  std::vector<std::string> merges;  // "left right"
  text::TokenId bos_id = text::kNoToken;
  text::TokenId eos_id = text::kNoToken;
  text::TokenId unk_id = text::kNoToken;
  text::TokenId pad_id = text::kNoToken;
  text::TokenId eot_id = text::kNoToken;
  text::TokenId eom_id = text::kNoToken;
  std::optional<bool> add_bos;
  std::optional<bool> add_eos;
  std::optional<bool> add_space_prefix;
  std::optional<bool> remove_extra_whitespaces;
  bool has_charsmap = false;  // tokenizer.ggml.precompiled_charsmap
  std::string chat_template;
};

// NOT_FOUND when the file has no vocabulary; CORRUPT naming the key otherwise.
Result<GgufVocabulary> read_gguf_vocabulary(const GgufMetadata& metadata);

// A valid specification, or CORRUPT, EXHAUSTED or UNIMPLEMENTED.
Result<text::TokenizerSpec> import_gguf_tokenizer(const GgufVocabulary& vocabulary);

}  // namespace bp
