// SPDX-License-Identifier: Apache-2.0
// Opening the tokenizers that the golden runs compare, by a short source string.
#pragma once

#include <memory>
#include <string_view>

#include "core/base/status.h"
#include "core/text/tokenizer/tokenizer.h"

namespace bp {

// "json:FILE", "gguf:FILE", "model:FILE", "ranks:PRE:FILE", "pair:PRE:VOCAB:MERGES:CONFIG" or
// "folder:FOLDER".
Result<std::shared_ptr<const text::Tokenizer>> open_tokenizer(std::string_view source);

}  // namespace bp
