// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/tokenizer/gguf_vocabulary.h"

#include <exception>
#include <utility>

#include "compiler/import/tokenizer/byte_alphabet.h"
#include "compiler/import/tokenizer/finish.h"
#include "compiler/import/tokenizer/pre_names.h"
#include "compiler/import/tokenizer/vocab_merges.h"
#include "core/base/checked.h"

namespace bp {
namespace {

using text::ModelKind;
using text::TokenId;
using text::TokenizerSpec;
using text::TokenType;

constexpr uint64_t kAbsentId = UINT32_MAX;  // how converters write "none"

Result<TokenId> read_id(const GgufMetadata& metadata, std::string_view key) {
  const uint64_t id = BP_TRY(metadata.get_u64_or(key, kAbsentId));
  if (id == kAbsentId) return text::kNoToken;
  if (id > INT32_MAX) return error(Code::kCorrupt, "'{}' is {}", key, id);
  return static_cast<TokenId>(id);
}

Result<std::optional<bool>> read_flag(const GgufMetadata& metadata, std::string_view key) {
  if (!metadata.has(key)) return std::optional<bool>();
  return std::optional<bool>(BP_TRY(metadata.get_bool(key)));
}

Status set_types(const GgufVocabulary& in, TokenizerSpec* spec) {
  spec->types.assign(in.tokens.size(), TokenType::kNormal);
  if (!in.types.empty() && in.types.size() != in.tokens.size()) {
    return error(Code::kCorrupt, "{} tokens have {} types", in.tokens.size(), in.types.size());
  }
  for (size_t i = 0; i < in.types.size(); ++i) {
    const int32_t type = in.types[i];
    if (type < 0 || type > static_cast<int32_t>(TokenType::kByte)) {
      return error(Code::kCorrupt, "token {} has type {}", i, type);
    }
    // 0 is "undefined"; such tokens are padding.
    spec->types[i] = type == 0 ? TokenType::kUnused : static_cast<TokenType>(type);
  }
  return {};
}

void set_added_tokens(TokenizerSpec* spec) {
  for (size_t i = 0; i < spec->tokens.size(); ++i) {
    const TokenType type = spec->types[i];
    const bool special = type == TokenType::kControl || type == TokenType::kUnknown;
    if (!special && type != TokenType::kUserDefined) continue;
    spec->added_tokens.push_back({static_cast<TokenId>(i), special, false, false, false, false});
  }
}

void set_ids(const GgufVocabulary& in, bool add_bos, TokenizerSpec* spec) {
  spec->bos_id = in.bos_id;
  spec->unk_id = in.unk_id;
  spec->pad_id = in.pad_id;
  add_eos(in.eos_id, spec);
  add_eos(in.eot_id, spec);
  add_eos(in.eom_id, spec);
  add_known_turn_ends(spec);
  if (in.add_bos.value_or(add_bos) && in.bos_id != text::kNoToken) {
    spec->prefix_ids.push_back(in.bos_id);
  }
  if (in.add_eos.value_or(false) && in.eos_id != text::kNoToken) {
    spec->suffix_ids.push_back(in.eos_id);
  }
}

Result<TokenizerSpec> import_sentencepiece(const GgufVocabulary& in) {
  TokenizerSpec spec;
  spec.kind = ModelKind::kBpeSpm;
  spec.tokens = in.tokens;
  spec.scores = in.scores;
  spec.fuse_unk = true;
  BP_TRY(set_types(in, &spec));
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    if (in.types.empty() ? false : spec.types[i] != TokenType::kByte) continue;
    const auto byte = byte_of_fallback_token(spec.tokens[i]);
    if (!byte) {
      if (in.types.empty()) continue;
      return error(Code::kCorrupt, "token {} is marked as a byte but is none", i);
    }
    spec.types[i] = TokenType::kByte;
    spec.tokens[i].assign(1, static_cast<char>(*byte));
    spec.byte_fallback = true;
  }
  if (in.remove_extra_whitespaces.value_or(false)) {
    return error(Code::kUnimplemented, "'remove_extra_whitespaces' in a 'llama' vocabulary");
  }
  add_metaspace_rules(in.add_space_prefix.value_or(true), &spec);
  set_added_tokens(&spec);
  set_ids(in, true, &spec);
  return spec;
}

Result<TokenizerSpec> import_byte_level(const GgufVocabulary& in) {
  const NamedPreTokenizer pre = BP_TRY(named_pre_tokenizer(in.pre));
  if (in.add_space_prefix.value_or(false)) {
    return error(Code::kUnimplemented, "'add_space_prefix' in a 'gpt2' vocabulary");
  }
  TokenizerSpec spec;
  spec.kind = ModelKind::kBpeByte;
  spec.normalizer = pre.normalizer;
  spec.pre_tokenizer = pre.steps;
  spec.ignore_merges = pre.ignore_merges;
  BP_TRY(set_types(in, &spec));
  VocabularyIndex index;
  for (size_t i = 0; i < in.tokens.size(); ++i) {
    if (spec.types[i] == TokenType::kNormal) {
      BP_TRY(index.add(in.tokens[i], static_cast<TokenId>(i)));
    }
  }
  spec.merges.reserve(in.merges.size());
  for (size_t i = 0; i < in.merges.size(); ++i) {
    spec.merges.push_back(BP_TRY(index.merge(in.merges[i]).with_context("merge {}", i)));
  }
  spec.tokens.reserve(in.tokens.size());
  for (size_t i = 0; i < in.tokens.size(); ++i) {
    spec.tokens.push_back(plain_token(in.tokens[i], &spec.types[i]));
  }
  set_added_tokens(&spec);
  set_ids(in, pre.add_bos, &spec);
  return spec;
}

}  // namespace

Result<GgufVocabulary> read_gguf_vocabulary(const GgufMetadata& metadata) {
  const auto key = [](std::string_view name) { return "tokenizer.ggml." + std::string(name); };
  GgufVocabulary out;
  try {
    out.model = BP_TRY(metadata.get_string(key("model")));
    out.pre = BP_TRY(metadata.get_string_or(key("pre"), ""));
    out.tokens = BP_TRY(metadata.get_bytes_array(key("tokens")));
    if (metadata.has(key("scores"))) out.scores = BP_TRY(metadata.get_f32_array(key("scores")));
    if (metadata.has(key("token_type"))) {
      for (const int64_t type : BP_TRY(metadata.get_i64_array(key("token_type")))) {
        out.types.push_back(BP_TRY(checked_cast<int32_t>(type)));
      }
    }
    if (metadata.has(key("merges"))) out.merges = BP_TRY(metadata.get_bytes_array(key("merges")));
    out.bos_id = BP_TRY(read_id(metadata, key("bos_token_id")));
    out.eos_id = BP_TRY(read_id(metadata, key("eos_token_id")));
    out.unk_id = BP_TRY(read_id(metadata, key("unknown_token_id")));
    out.pad_id = BP_TRY(read_id(metadata, key("padding_token_id")));
    out.eot_id = BP_TRY(read_id(metadata, key("eot_token_id")));
    out.eom_id = BP_TRY(read_id(metadata, key("eom_token_id")));
    out.add_bos = BP_TRY(read_flag(metadata, key("add_bos_token")));
    out.add_eos = BP_TRY(read_flag(metadata, key("add_eos_token")));
    out.add_space_prefix = BP_TRY(read_flag(metadata, key("add_space_prefix")));
    out.remove_extra_whitespaces = BP_TRY(read_flag(metadata, key("remove_extra_whitespaces")));
    out.has_charsmap = metadata.has(key("precompiled_charsmap"));
    out.chat_template = BP_TRY(metadata.get_string_or("tokenizer.chat_template", ""));
  } catch (const std::exception&) {
    return error(Code::kExhausted, "no memory for the vocabulary");
  }
  return out;
}

Result<TokenizerSpec> import_gguf_tokenizer(const GgufVocabulary& vocabulary) {
  try {
    const bool sentencepiece = vocabulary.model == "llama";
    if (!sentencepiece && vocabulary.model != "gpt2") {
      return error(Code::kUnimplemented, "the GGUF tokenizer model '{}' is not known",
                   vocabulary.model);
    }
    if (vocabulary.has_charsmap) {
      return error(Code::kUnimplemented, "GGUF tokenizers with a precompiled_charsmap");
    }
    TokenizerSpec spec =
        BP_TRY(sentencepiece ? import_sentencepiece(vocabulary) : import_byte_level(vocabulary));
    spec.pre_name = sentencepiece ? "llama" : vocabulary.pre;
    spec.chat_template = vocabulary.chat_template;
    return checked(std::move(spec), "GGUF vocabulary");
  } catch (const std::exception&) {
    return error(Code::kExhausted, "no memory for the vocabulary");
  }
}

}  // namespace bp
