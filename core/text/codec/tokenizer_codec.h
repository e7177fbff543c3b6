// SPDX-License-Identifier: Apache-2.0
// A tokenizer's way into a .bpm file and out of it: TokenizerSpec to the Tokenizer table of
// model_format/schema/bpm.fbs and back. The large parts are flat vectors, the small ones (pipeline
// steps, added tokens, ids) are one JSON text, `rules`, whose keys SPEC.md lists.
//
// The chat template is not part of it: a model file keeps its templates by name.
#pragma once

#include "core/base/status.h"
#include "core/text/tokenizer/spec.h"
#include "model_format/bpm_generated.h"

namespace bp::text {

// The spec must be valid (validate()); the same spec gives the same bytes.
Result<fb::TokenizerT> encode_tokenizer(const TokenizerSpec& spec);

// CORRUPT when table and spec do not fit together; the result has passed validate().
Result<TokenizerSpec> decode_tokenizer(const fb::Tokenizer& table);

}  // namespace bp::text
