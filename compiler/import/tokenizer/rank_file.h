// SPDX-License-Identifier: Apache-2.0
// Vocabularies in tiktoken's form: lines of "<base64 of the bytes> <rank>".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compiler/import/tokenizer/tokenizer_config.h"
#include "core/base/status.h"
#include "core/text/tokenizer/spec.h"

namespace bp {

// Ranks become ids, and scores of -rank: the pair whose joined text has the lowest rank merges
// first. The special tokens and the pre-tokenizer's name (pre_names.h) are not in the file.
Result<text::TokenizerSpec> import_rank_file(std::string_view ranks,
                                             const std::vector<ConfiguredToken>& special_tokens,
                                             std::string_view pre_name);

}  // namespace bp
