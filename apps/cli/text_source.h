// SPDX-License-Identifier: Apache-2.0
// Tokenizer and chat template of whatever the user names: a model file, a GGUF file (with or
// without weights), a Hugging Face folder (with or without weights). Nothing is converted.
#pragma once

#include <string>
#include <utility>

#include "core/text/chat/chat_text.h"

namespace bp::cli {

struct TextSource {
  ChatText text;

  Result<const text::Tokenizer*> require_tokenizer() const { return text.require_tokenizer(); }
  Result<std::string> render_chat(ChatInputs inputs) const {
    return BP_TRY(text.render(std::move(inputs))).text;
  }
};

Result<TextSource> open_text_source(const std::string& path);

}  // namespace bp::cli
