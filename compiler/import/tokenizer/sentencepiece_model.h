// SPDX-License-Identifier: Apache-2.0
// tokenizer.model: a SentencePiece model, BPE or unigram.
//
// The file is a protocol buffer of which a dozen fields matter; they are read here directly.
// Models with a normalization of their own (a precompiled character map), with blanks as suffixes,
// or of other types are refused by name.
#pragma once

#include <string_view>

#include "core/base/status.h"
#include "core/text/tokenizer/spec.h"

namespace bp {

// The bytes of the file and of tokenizer_config.json ("" if none).
Result<text::TokenizerSpec> import_sentencepiece_model(std::string_view model,
                                                       std::string_view config_json);

}  // namespace bp
