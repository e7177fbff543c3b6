// SPDX-License-Identifier: Apache-2.0
#include "core/text/chat/chat_text.h"

#include <ctime>
#include <utility>

namespace bp {
namespace {

std::optional<int64_t> local_now() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  if (now == static_cast<std::time_t>(-1) || ::localtime_r(&now, &local) == nullptr) return {};
  return static_cast<int64_t>(now) + local.tm_gmtoff;
}

}  // namespace

Status ChatText::add_template(std::string_view name, std::string_view source) {
  if (name != "default" && name != "tool_use") return {};
  auto parsed = BP_TRY(ChatTemplate::parse(source).with_context("chat template '{}'", name));
  (name == "default" ? default_ : tool_use_) = std::move(parsed);
  return {};
}

Result<const text::Tokenizer*> ChatText::require_tokenizer() const {
  if (tokenizer == nullptr) {
    return error(Code::kFailedPrecondition,
                 "the model has no tokenizer; give token ids instead of "
                 "text, or convert it again from a folder that has tokenizer.json");
  }
  return tokenizer.get();
}

Result<RenderedPrompt> ChatText::render(ChatInputs inputs) const {
  if (!has_template()) {
    return error(Code::kNotFound, "the model has no chat template; use plain text");
  }
  if (!inputs.now_local_seconds) inputs.now_local_seconds = local_now();
  if (tokenizer != nullptr) {
    const auto add = [&](const char* name, text::TokenId id) {
      if (!tokenizer->contains(id)) return;
      inputs.special_tokens.emplace_back(name, tokenizer->spec().tokens[static_cast<size_t>(id)]);
    };
    add("bos_token", tokenizer->bos_id());
    if (!tokenizer->eos_ids().empty()) add("eos_token", tokenizer->eos_ids().front());
    add("unk_token", tokenizer->unk_id());
    add("pad_token", tokenizer->pad_id());
  }
  const bool use_tools = !inputs.tools.is_null() && tool_use_.has_value();
  return (use_tools || !default_ ? *tool_use_ : *default_).render(inputs);
}

Result<std::vector<text::TokenId>> ChatText::tokenize(ChatInputs inputs) const {
  const text::Tokenizer& encoder = *BP_TRY(require_tokenizer());
  const RenderedPrompt prompt = BP_TRY(render(std::move(inputs)));
  std::vector<text::TextSegment> segments;
  for (const TextSegment& segment : prompt.segments) {
    segments.push_back(
        {std::string_view(prompt.text).substr(segment.offset_bytes, segment.length_bytes),
         segment.origin == TextOrigin::kScaffold});
  }
  // Templates write the first and last tokens themselves.
  text::EncodeOptions options;
  options.bos = options.eos = text::Affix::kNever;
  return encoder.encode_segments(segments, options);
}

}  // namespace bp
