// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/tokenizer/tokenizer_json.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "compiler/import/tokenizer/byte_alphabet.h"
#include "compiler/import/tokenizer/finish.h"
#include "compiler/import/tokenizer/tokenizer_config.h"
#include "compiler/import/tokenizer/vocab_merges.h"

namespace bp {
namespace {

using text::ModelKind;
using text::TokenId;
using text::TokenizerSpec;
using text::TokenType;

TokenId find_vocabulary(const Json& vocab, std::string_view text) {
  const auto found = vocab.is_object() ? vocab.find(text) : vocab.end();
  if (found == vocab.end() || !found->is_number_unsigned()) return text::kNoToken;
  return static_cast<TokenId>(found->get<uint64_t>());  // in range: read_vocabulary() said so
}

// "a b" or ["a", "b"].
Result<text::Merge> read_merge(const Json& merge, const VocabularyIndex& index) {
  if (merge.is_string()) return index.merge(merge.get_ref<const std::string&>());
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    return index.merge(merge[0].get_ref<const std::string&>(),
                       merge[1].get_ref<const std::string&>());
  }
  return error(Code::kCorrupt, "is not two tokens");
}

Status refuse_unless_empty(const Json& model, std::string_view key) {
  const Json* value = json_find(model, key);
  if (value == nullptr) return {};
  const bool is_nothing = (value->is_string() && value->get_ref<const std::string&>().empty()) ||
                          (value->is_number() && value->get<double>() == 0.0);
  if (is_nothing) return {};
  return error(Code::kUnimplemented, "BPE with '{}' is not supported", key);
}

Status read_bpe(const Json& model, bool byte_level, TokenizerSpec* spec) {
  BP_TRY(only_known(
      model, {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
              "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"}));
  for (const std::string_view key :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    BP_TRY(refuse_unless_empty(model, key));
  }
  spec->kind = byte_level ? ModelKind::kBpeByte : ModelKind::kBpeMerges;
  spec->fuse_unk = BP_TRY(json_bool_or(model, "fuse_unk", false));
  spec->byte_fallback = BP_TRY(json_bool_or(model, "byte_fallback", false));
  spec->ignore_merges = BP_TRY(json_bool_or(model, "ignore_merges", false));
  const Json* vocab = json_find(model, "vocab");
  const Json* merges = json_find(model, "merges");
  if (vocab == nullptr || merges == nullptr || !merges->is_array()) {
    return error(Code::kCorrupt, "BPE without 'vocab' or 'merges'");
  }
  BP_TRY(read_vocabulary(*vocab, spec).with_context("vocab"));
  VocabularyIndex index;
  for (size_t i = 0; i < spec->tokens.size(); ++i) {
    if (!spec->tokens[i].empty()) BP_TRY(index.add(spec->tokens[i], static_cast<TokenId>(i)));
  }
  spec->merges.reserve(merges->size());
  for (size_t i = 0; i < merges->size(); ++i) {
    spec->merges.push_back(BP_TRY(read_merge((*merges)[i], index).with_context("merge {}", i)));
  }
  const std::string unk = BP_TRY(json_string_or(model, "unk_token", ""));
  if (unk.empty()) return {};
  spec->unk_id = index.find(unk);
  if (spec->unk_id != text::kNoToken) return {};
  return error(Code::kCorrupt, "the unk_token '{}' is not in the vocabulary", unk);
}

Status read_unigram(const Json& model, TokenizerSpec* spec) {
  BP_TRY(only_known(model, {"type", "unk_id", "vocab", "byte_fallback"}));
  spec->kind = ModelKind::kUnigram;
  spec->fuse_unk = true;
  spec->byte_fallback = BP_TRY(json_bool_or(model, "byte_fallback", false));
  const Json* vocab = json_find(model, "vocab");
  if (vocab == nullptr || !vocab->is_array())
    return error(Code::kCorrupt, "Unigram without 'vocab'");
  for (size_t i = 0; i < vocab->size(); ++i) {
    const Json& entry = (*vocab)[i];
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      return error(Code::kCorrupt, "vocab {} is not a token and its score", i);
    }
    spec->tokens.push_back(entry[0].get_ref<const std::string&>());
    spec->types.push_back(TokenType::kNormal);
    spec->scores.push_back(entry[1].get<float>());
  }
  if (json_find(model, "unk_id") == nullptr) return {};
  const uint64_t unk = BP_TRY(json_u64(model, "unk_id"));
  if (unk >= spec->tokens.size()) return error(Code::kCorrupt, "'unk_id' is {}", unk);
  spec->unk_id = static_cast<TokenId>(unk);
  spec->types[static_cast<size_t>(unk)] = TokenType::kUnknown;
  return {};
}

Status read_model(const Json& model, bool byte_level, TokenizerSpec* spec) {
  if (!model.is_object()) return error(Code::kCorrupt, "'model' is no object");
  // Files from before the key existed are BPE, which alone has merges.
  const bool has_merges = json_find(model, "merges") != nullptr;
  const std::string type = BP_TRY(json_string_or(model, "type", has_merges ? "BPE" : ""));
  if (type == "BPE") return read_bpe(model, byte_level, spec).with_context("model");
  if (type == "Unigram" && !byte_level) return read_unigram(model, spec).with_context("model");
  return error(Code::kUnimplemented, "the tokenizer model '{}'{} is not supported", type,
               byte_level ? " over bytes" : "");
}

Status read_added_tokens(const Json& document, const Json& vocab, TokenizerSpec* spec) {
  const Json* added = json_find(document, "added_tokens");
  if (added == nullptr) return {};
  if (!added->is_array()) return error(Code::kCorrupt, "'added_tokens' is no list");
  for (const Json& token : *added) {
    BP_TRY(only_known(
        token, {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}));
    const std::string content = BP_TRY(json_string(token, "content"));
    const uint64_t id = BP_TRY(json_u64(token, "id"));
    if (id >= limits::kMaxVocabulary) return error(Code::kCorrupt, "token id {}", id);
    text::AddedToken flags;
    flags.id = static_cast<TokenId>(id);
    flags.special = BP_TRY(json_bool_or(token, "special", false));
    flags.single_word = BP_TRY(json_bool_or(token, "single_word", false));
    flags.lstrip = BP_TRY(json_bool_or(token, "lstrip", false));
    flags.rstrip = BP_TRY(json_bool_or(token, "rstrip", false));
    flags.normalized = BP_TRY(json_bool_or(token, "normalized", !flags.special));
    const TokenId known = find_vocabulary(vocab, content);
    if (known != text::kNoToken && known != flags.id) {
      return error(Code::kCorrupt, "the added token '{}' has id {} here and {} in the vocabulary",
                   content, id, known);
    }
    BP_TRY(add_token(content, flags, spec));
  }
  return {};
}

// From the file's spelling to bytes: disguises undone, "<0x0A>" the byte.
Status finish_tokens(TokenizerSpec* spec) {
  for (size_t i = 0; i < spec->tokens.size(); ++i) {
    if (spec->types[i] != TokenType::kNormal) continue;
    if (text::is_byte_level(spec->kind)) {
      spec->tokens[i] = plain_token(spec->tokens[i], &spec->types[i]);
      continue;
    }
    const auto byte = byte_of_fallback_token(spec->tokens[i]);
    if (!spec->byte_fallback || !byte) continue;
    spec->types[i] = TokenType::kByte;
    spec->tokens[i].assign(1, static_cast<char>(*byte));
  }
  if (spec->unk_id != text::kNoToken) {
    TokenType& type = spec->types[static_cast<size_t>(spec->unk_id)];
    if (type == TokenType::kNormal) type = TokenType::kUnknown;
  }
  return {};
}

// Classes whose fast versions rebuild the post-processor from these two switches.
bool obeys_switches(std::string_view name) {
  return name.starts_with("Llama") || name.starts_with("CodeLlama") || name.starts_with("Gemma");
}

Status apply_switches(const TokenizerConfig& config, TokenizerSpec* spec) {
  if (!obeys_switches(config.tokenizer_class)) return {};
  if (config.add_bos) {
    spec->prefix_ids.clear();
    if (*config.add_bos && spec->bos_id != text::kNoToken) spec->prefix_ids = {spec->bos_id};
  }
  if (config.add_eos) {
    spec->suffix_ids.clear();
    if (*config.add_eos && !spec->eos_ids.empty()) spec->suffix_ids = {spec->eos_ids.front()};
  }
  return {};
}

Result<TokenizerSpec> import_document(const TokenizerJsonFiles& files) {
  const Json document = BP_TRY(parse_json(files.tokenizer));
  if (!document.is_object()) return error(Code::kCorrupt, "is no object");
  BP_TRY(only_known(document, {"version", "truncation", "padding", "added_tokens", "normalizer",
                               "pre_tokenizer", "post_processor", "decoder", "model"}));
  const Json* model = json_find(document, "model");
  if (model == nullptr) return error(Code::kCorrupt, "'model' is missing");
  TokenizerSpec spec;
  bool byte_level = false;
  BP_TRY(read_normalizer(json_find(document, "normalizer"), &spec));
  BP_TRY(read_pre_tokenizer(json_find(document, "pre_tokenizer"), &spec, &byte_level));
  BP_TRY(read_model(*model, byte_level, &spec));
  const Json* vocab = json_find(*model, "vocab");
  BP_TRY(read_added_tokens(document, *vocab, &spec).with_context("added_tokens"));
  BP_TRY(finish_tokens(&spec));
  BP_TRY(read_post_processor(json_find(document, "post_processor"), &spec));
  BP_TRY(read_decoder(json_find(document, "decoder"), &spec));
  const TokenizerConfig config = BP_TRY(read_tokenizer_config(files.config));
  BP_TRY(apply_tokenizer_config(config, &spec));
  BP_TRY(apply_generation_config(files.generation, &spec));
  BP_TRY(apply_switches(config, &spec));
  if (spec.bos_id == text::kNoToken && spec.prefix_ids.size() == 1) {
    spec.bos_id = spec.prefix_ids.front();
  }
  if (spec.eos_ids.empty() && !spec.suffix_ids.empty()) add_eos(spec.suffix_ids.back(), &spec);
  BP_TRY(spec.validate());
  return spec;
}

}  // namespace

Status only_known(const Json& object, std::initializer_list<std::string_view> known) {
  if (!object.is_object()) return error(Code::kCorrupt, "is no object");
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return error(Code::kUnimplemented, "'{}' is not supported", key);
    }
  }
  return {};
}

Status read_vocabulary(const Json& vocab, TokenizerSpec* spec) {
  if (!vocab.is_object()) return error(Code::kCorrupt, "is no object");
  uint64_t highest = 0;
  for (const auto& [text, id] : vocab.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= limits::kMaxVocabulary) {
      return error(Code::kCorrupt, "token '{}' has no id from 0 to {}", text,
                   limits::kMaxVocabulary - 1);
    }
    if (text.empty()) return error(Code::kCorrupt, "token {} is empty", id.get<uint64_t>());
    highest = std::max(highest, id.get<uint64_t>());
  }
  if (vocab.empty()) return error(Code::kCorrupt, "is empty");
  spec->tokens.assign(highest + 1, std::string());
  spec->types.assign(highest + 1, TokenType::kUnused);
  for (const auto& [text, id] : vocab.items()) {
    const auto index = id.get<size_t>();
    if (spec->types[index] != TokenType::kUnused) {
      return error(Code::kCorrupt, "'{}' and '{}' share the id {}", text, spec->tokens[index],
                   index);
    }
    spec->tokens[index] = text;
    spec->types[index] = TokenType::kNormal;
  }
  return {};
}

Status add_token(std::string_view content, text::AddedToken flags, TokenizerSpec* spec) {
  if (flags.id < 0 || static_cast<uint64_t>(flags.id) >= limits::kMaxVocabulary) {
    return error(Code::kCorrupt, "the added token '{}' has id {}", content, flags.id);
  }
  const auto index = static_cast<size_t>(flags.id);
  if (index >= spec->tokens.size()) {
    spec->tokens.resize(index + 1);
    spec->types.resize(index + 1, TokenType::kUnused);
    if (!spec->scores.empty()) spec->scores.resize(index + 1, 0.0f);
  }
  std::string& text = spec->tokens[index];
  if (!text.empty() && text != content) {
    return error(Code::kCorrupt, "the added token '{}' has the id {} of '{}'", content, flags.id,
                 text);
  }
  text = content;
  spec->types[index] = flags.special ? TokenType::kControl : TokenType::kUserDefined;
  spec->added_tokens.push_back(flags);
  return {};
}

Result<TokenizerSpec> import_tokenizer_json(const TokenizerJsonFiles& files) {
  try {
    return import_document(files).with_context("tokenizer.json");
  } catch (const std::bad_alloc&) {
    return error(Code::kExhausted, "tokenizer.json: no memory");
  } catch (const std::exception& failure) {
    return error(Code::kCorrupt, "tokenizer.json: {}", failure.what());
  }
}

}  // namespace bp
