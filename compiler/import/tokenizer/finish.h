// SPDX-License-Identifier: Apache-2.0
// Last touches that every importer of tokenizers shares.
#pragma once

#include <string_view>

#include "core/base/status.h"
#include "core/text/tokenizer/spec.h"

namespace bp {

// "▁" (U+2581), SentencePiece's visible blank.
inline constexpr std::string_view kMetaspace = "\xE2\x96\x81";

// The normalizer and decoder of SentencePiece vocabularies: blanks are "▁", and one is put before
// every text if `prefix`.
void add_metaspace_rules(bool prefix, text::TokenizerSpec* spec);

// Special tokens that end an answer in well-known chat formats join eos_ids, unless there already:
// files often name only one of several. At most what a spec may hold.
void add_known_turn_ends(text::TokenizerSpec* spec);

void add_eos(text::TokenId id, text::TokenizerSpec* spec);

// validate(), with the source in the message.
Result<text::TokenizerSpec> checked(text::TokenizerSpec spec, std::string_view source);

}  // namespace bp
