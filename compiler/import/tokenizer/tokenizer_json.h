// SPDX-License-Identifier: Apache-2.0
// tokenizer.json, the format of Hugging Face's `tokenizers`.
//
// Read: models BPE and Unigram; every normalizer, pre-tokenizer, post-processor and decoder that
// spec.h has a step for. Any other component, and any option with a meaning that is not
// implemented, is refused by name (UNIMPLEMENTED). `truncation` and `padding` are the file's
// habits for making batches, not part of what a text's tokens are, and are not used.
#pragma once

#include <string>
#include <string_view>

#include "compiler/import/json.h"
#include "core/base/status.h"
#include "core/text/tokenizer/spec.h"

namespace bp {

struct TokenizerJsonFiles {
  std::string_view tokenizer;   // tokenizer.json
  std::string_view config;      // tokenizer_config.json, or ""
  std::string_view generation;  // generation_config.json (or config.json), or ""
};

Result<text::TokenizerSpec> import_tokenizer_json(const TokenizerJsonFiles& files);

// ---- parts, shared with other importers ---------------------------------------------------------

// {"token": id, …} into tokens and types (kNormal; ids that nobody has: kUnused and empty). Texts
// as they stand in the file.
Status read_vocabulary(const Json& vocab, text::TokenizerSpec* spec);

// Adds a token with its flags; its text may stand in the vocabulary already, then under the same
// id.
Status add_token(std::string_view content, text::AddedToken flags, text::TokenizerSpec* spec);

// The pipeline components (tokenizer_json_pipeline.cc). Null or absent: no steps.
Status read_normalizer(const Json* component, text::TokenizerSpec* spec);
// Sets *byte_level when the last step writes bytes.
Status read_pre_tokenizer(const Json* component, text::TokenizerSpec* spec, bool* byte_level);
Status read_post_processor(const Json* component, text::TokenizerSpec* spec);
Status read_decoder(const Json* component, text::TokenizerSpec* spec);

// UNIMPLEMENTED when the object has a member that is not among `known`.
Status only_known(const Json& object, std::initializer_list<std::string_view> known);

}  // namespace bp
