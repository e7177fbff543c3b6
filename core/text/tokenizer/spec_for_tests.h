// SPDX-License-Identifier: Apache-2.0
// Small specifications for the unit tests of this folder.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "core/text/tokenizer/spec.h"

namespace bp::text {

inline TokenId add(TokenizerSpec* spec, std::string_view text, TokenType type = TokenType::kNormal,
                   float score = 0) {
  spec->tokens.emplace_back(text);
  spec->types.push_back(type);
  if (spec->kind != ModelKind::kBpeByte && spec->kind != ModelKind::kBpeMerges) {
    spec->scores.push_back(score);
  }
  return static_cast<TokenId>(spec->tokens.size() - 1);
}

inline TokenId id_of(const TokenizerSpec& spec, std::string_view text) {
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    if (spec.tokens[i] == text && spec.types[i] != TokenType::kByte) return static_cast<TokenId>(i);
  }
  return kNoToken;
}

// Adds the merge and, where it is missing, the token it makes.
inline void merge(TokenizerSpec* spec, std::string_view left, std::string_view right) {
  spec->merges.push_back({id_of(*spec, left), id_of(*spec, right)});
  const std::string joined = std::string(left) + std::string(right);
  if (id_of(*spec, joined) == kNoToken) add(spec, joined);
}

inline TokenId add_special(TokenizerSpec* spec, std::string_view text) {
  const TokenId id = add(spec, text, TokenType::kControl);
  spec->added_tokens.push_back({id, true, false, false, false, false});
  return id;
}

// 256 bytes, "he", "ll", "hell", "hello", " w", " <eos>"-like specials <bos>, <eos>.
inline TokenizerSpec byte_spec() {
  TokenizerSpec spec;
  spec.kind = ModelKind::kBpeByte;
  for (int b = 0; b < 256; ++b) add(&spec, std::string(1, static_cast<char>(b)));
  merge(&spec, "h", "e");
  merge(&spec, "l", "l");
  merge(&spec, "he", "ll");
  merge(&spec, "hell", "o");
  merge(&spec, " ", "w");
  spec.bos_id = add_special(&spec, "<bos>");
  spec.eos_ids = {add_special(&spec, "<eos>")};
  spec.prefix_ids = {spec.bos_id};
  return spec;
}

// SentencePiece-like: <unk> <s> </s>, 256 byte tokens, letters and a few pieces by score.
inline TokenizerSpec spm_spec() {
  TokenizerSpec spec;
  spec.kind = ModelKind::kBpeSpm;
  spec.byte_fallback = true;
  spec.fuse_unk = true;
  spec.unk_id = add(&spec, "<unk>", TokenType::kUnknown);
  spec.bos_id = add_special(&spec, "<s>");
  spec.eos_ids = {add_special(&spec, "</s>")};
  for (int b = 0; b < 256; ++b) {
    add(&spec, std::string(1, static_cast<char>(b)), TokenType::kByte);
  }
  float score = 0;
  for (const char* piece : {"▁h", "▁hi", "ab", "abc", "bc", "▁", "h", "i", "a", "b", "c", "é"}) {
    add(&spec, piece, TokenType::kNormal, --score);
  }
  spec.prefix_ids = {spec.bos_id};
  spec.normalizer.push_back({NormalizerKind::kPrepend, "", "▁"});
  spec.normalizer.push_back({NormalizerKind::kReplaceLiteral, " ", "▁"});
  spec.decoder.push_back({DecoderKind::kReplace, "▁", " ", 0, false});
  spec.decoder.push_back({DecoderKind::kStripStart, " ", "", 1, false});
  return spec;
}

}  // namespace bp::text
