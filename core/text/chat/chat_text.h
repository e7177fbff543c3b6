// SPDX-License-Identifier: Apache-2.0
// The text side of a model: its tokenizer and its chat templates, together.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "core/text/template/chat_template.h"
#include "core/text/tokenizer/tokenizer.h"

namespace bp {

// Thread-safe once built.
class ChatText {
 public:
  // Null when the model has no tokenizer.
  std::shared_ptr<const text::Tokenizer> tokenizer;

  // Parses and adds a template under its name. "default" renders conversations, "tool_use" those
  // with tools where it exists; others are ignored.
  Status add_template(std::string_view name, std::string_view source);
  bool has_template() const noexcept { return default_ || tool_use_; }

  // The tokenizer, or FAILED_PRECONDITION with what to do.
  Result<const text::Tokenizer*> require_tokenizer() const;
  // The conversation as the template writes it, with the tokenizer's special tokens as variables
  // and the local time. NOT_FOUND without a template.
  Result<RenderedPrompt> render(ChatInputs inputs) const;
  // Rendered and tokenized; only scaffold text can become special tokens.
  Result<std::vector<text::TokenId>> tokenize(ChatInputs inputs) const;

 private:
  std::optional<ChatTemplate> default_;
  std::optional<ChatTemplate> tool_use_;
};

}  // namespace bp
