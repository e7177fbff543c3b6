// SPDX-License-Identifier: Apache-2.0
// The tokenizer of a folder in Hugging Face's layout.
#pragma once

#include <filesystem>

#include "core/base/status.h"
#include "core/text/tokenizer/spec.h"

namespace bp {

// Takes tokenizer.json, or tokenizer.model, or vocab.json with merges.txt (where
// tokenizer_config.json names a class whose rules are known), in this order; with
// tokenizer_config.json, generation_config.json and chat_template.jinja where they are there.
// NOT_FOUND names the files that would do.
Result<text::TokenizerSpec> import_tokenizer_folder(const std::filesystem::path& folder);

}  // namespace bp
