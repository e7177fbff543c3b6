// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/tokenizer/tokenizer_config.h"

#include <charconv>
#include <utility>

#include "compiler/import/json.h"
#include "compiler/import/tokenizer/finish.h"

namespace bp {
namespace {

using text::TokenId;
using text::TokenizerSpec;

// "</s>" or {"content": "</s>", …}.
Result<std::optional<std::string>> read_token(const Json& config, std::string_view key) {
  const Json* value = json_find(config, key);
  if (value == nullptr) return std::optional<std::string>();
  if (value->is_object()) {
    return std::optional(BP_TRY(json_string(*value, "content").with_context("'{}'", key)));
  }
  return std::optional(BP_TRY(json_string(config, key)));
}

Result<std::optional<bool>> read_flag(const Json& config, std::string_view key) {
  if (json_find(config, key) == nullptr) return std::optional<bool>();
  return std::optional(BP_TRY(json_bool(config, key)));
}

Result<ConfiguredToken> read_added(const std::string& id, const Json& token) {
  ConfiguredToken out;
  const char* end = id.data() + id.size();
  const auto parsed = std::from_chars(id.data(), end, out.flags.id);
  if (parsed.ec != std::errc() || parsed.ptr != end) {
    return error(Code::kCorrupt, "'{}' is no token id", id);
  }
  out.content = BP_TRY(json_string(token, "content"));
  out.flags.special = BP_TRY(json_bool_or(token, "special", false));
  out.flags.single_word = BP_TRY(json_bool_or(token, "single_word", false));
  out.flags.lstrip = BP_TRY(json_bool_or(token, "lstrip", false));
  out.flags.rstrip = BP_TRY(json_bool_or(token, "rstrip", false));
  out.flags.normalized = BP_TRY(json_bool_or(token, "normalized", false));
  return out;
}

// A string, or a list of {"name", "template"}.
Result<std::string> read_chat_template(const Json& config) {
  const Json* value = json_find(config, "chat_template");
  if (value == nullptr) return std::string();
  if (!value->is_array()) return json_string(config, "chat_template");
  for (const Json& entry : *value) {
    if (BP_TRY(json_string(entry, "name")) == "default") return json_string(entry, "template");
  }
  return std::string();
}

TokenId find_text(const TokenizerSpec& spec, std::string_view text) {
  for (const text::AddedToken& token : spec.added_tokens) {
    if (spec.tokens[static_cast<size_t>(token.id)] == text) return token.id;
  }
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    if (spec.tokens[i] == text && !text.empty()) return static_cast<TokenId>(i);
  }
  return text::kNoToken;
}

Result<TokenId> required(const TokenizerSpec& spec, const std::optional<std::string>& text,
                         std::string_view role) {
  if (!text) return text::kNoToken;
  const TokenId id = find_text(spec, *text);
  if (id != text::kNoToken) return id;
  return error(Code::kCorrupt, "the {} '{}' is not in the vocabulary", role, *text);
}

}  // namespace

Result<TokenizerConfig> read_tokenizer_config(std::string_view json) {
  TokenizerConfig out;
  if (json.empty()) return out;
  const Json config = BP_TRY(parse_json(json).with_context("tokenizer_config.json"));
  if (!config.is_object()) return error(Code::kCorrupt, "tokenizer_config.json is no object");
  out.tokenizer_class = BP_TRY(json_string_or(config, "tokenizer_class", ""));
  out.bos = BP_TRY(read_token(config, "bos_token"));
  out.eos = BP_TRY(read_token(config, "eos_token"));
  out.pad = BP_TRY(read_token(config, "pad_token"));
  out.add_bos = BP_TRY(read_flag(config, "add_bos_token"));
  out.add_eos = BP_TRY(read_flag(config, "add_eos_token"));
  out.chat_template = BP_TRY(read_chat_template(config).with_context("chat_template"));
  const Json* added = json_find(config, "added_tokens_decoder");
  if (added == nullptr) return out;
  if (!added->is_object()) return error(Code::kCorrupt, "'added_tokens_decoder' is no object");
  for (const auto& [id, token] : added->items()) {
    out.added_tokens.push_back(
        BP_TRY(read_added(id, token).with_context("added_tokens_decoder '{}'", id)));
  }
  return out;
}

Status apply_tokenizer_config(const TokenizerConfig& config, TokenizerSpec* spec) {
  if (config.bos) spec->bos_id = BP_TRY(required(*spec, config.bos, "bos_token"));
  add_eos(BP_TRY(required(*spec, config.eos, "eos_token")), spec);
  if (config.pad) spec->pad_id = find_text(*spec, *config.pad);
  add_known_turn_ends(spec);
  if (!config.chat_template.empty()) spec->chat_template = config.chat_template;
  return {};
}

Status apply_generation_config(std::string_view json, TokenizerSpec* spec) {
  if (json.empty()) return {};
  const Json config = BP_TRY(parse_json(json).with_context("generation_config.json"));
  const Json* ids = json_find(config, "eos_token_id");
  if (ids == nullptr) return {};
  const auto add = [&](const Json& id) -> Status {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= spec->tokens.size()) {
      return error(Code::kCorrupt, "'eos_token_id' is outside the vocabulary of {}",
                   spec->tokens.size());
    }
    add_eos(static_cast<TokenId>(id.get<uint64_t>()), spec);
    return {};
  };
  if (!ids->is_array()) return add(*ids);
  for (const Json& id : *ids) BP_TRY(add(id));
  return {};
}

}  // namespace bp
