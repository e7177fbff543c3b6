// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/tokenizer/rank_file.h"

#include <charconv>
#include <exception>
#include <optional>
#include <utility>

#include "compiler/import/tokenizer/finish.h"
#include "compiler/import/tokenizer/pre_names.h"
#include "compiler/import/tokenizer/tokenizer_json.h"

namespace bp {
namespace {

using text::TokenId;
using text::TokenizerSpec;
using text::TokenType;

int sextet(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

// Padded base64, strictly.
std::optional<std::string> decode_base64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return {};
  size_t padding = 0;
  while (padding < 2 && text[text.size() - 1 - padding] == '=') ++padding;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (size_t i = 0; i < text.size(); i += 4) {
    uint32_t group = 0;
    for (size_t j = 0; j < 4; ++j) {
      const bool is_padding = i + j >= text.size() - padding;
      const int value = is_padding ? 0 : sextet(text[i + j]);
      if (value < 0) return {};
      group = group << 6 | static_cast<uint32_t>(value);
    }
    const size_t bytes = i + 4 == text.size() ? 3 - padding : 3;
    for (size_t j = 0; j < bytes; ++j) {
      out.push_back(static_cast<char>(group >> (16 - 8 * j) & 0xFF));
    }
  }
  return out;
}

struct Ranked {
  std::string bytes;
  TokenId rank;
};

Result<Ranked> read_line(std::string_view line) {
  const size_t blank = line.find(' ');
  if (blank == std::string_view::npos) return error(Code::kCorrupt, "no blank in '{}'", line);
  Ranked out{"", text::kNoToken};
  std::optional<std::string> bytes = decode_base64(line.substr(0, blank));
  if (!bytes) return error(Code::kCorrupt, "'{}' is not base64", line.substr(0, blank));
  out.bytes = std::move(*bytes);
  const char* end = line.data() + line.size();
  const auto parsed = std::from_chars(line.data() + blank + 1, end, out.rank);
  if (parsed.ec != std::errc() || parsed.ptr != end || out.rank < 0 ||
      static_cast<uint64_t>(out.rank) >= limits::kMaxVocabulary) {
    return error(Code::kCorrupt, "'{}' is no rank", line.substr(blank + 1));
  }
  return out;
}

Status read_ranks(std::string_view text, TokenizerSpec* spec) {
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    Ranked token = BP_TRY(read_line(line).with_context("line {}", number));
    const auto index = static_cast<size_t>(token.rank);
    if (index >= spec->tokens.size()) {
      spec->tokens.resize(index + 1);
      spec->types.resize(index + 1, TokenType::kUnused);
    }
    if (spec->types[index] != TokenType::kUnused) {
      return error(Code::kCorrupt, "line {}: rank {} comes twice", number, token.rank);
    }
    spec->types[index] = TokenType::kNormal;
    spec->tokens[index] = std::move(token.bytes);
  }
  spec->scores.resize(spec->tokens.size());
  for (size_t i = 0; i < spec->scores.size(); ++i) spec->scores[i] = -static_cast<float>(i);
  return {};
}

}  // namespace

Result<TokenizerSpec> import_rank_file(std::string_view ranks,
                                       const std::vector<ConfiguredToken>& special_tokens,
                                       std::string_view pre_name) {
  try {
    NamedPreTokenizer pre = BP_TRY(named_pre_tokenizer(pre_name));
    TokenizerSpec spec;
    spec.kind = text::ModelKind::kBpeRanks;
    spec.normalizer = std::move(pre.normalizer);
    spec.pre_tokenizer = std::move(pre.steps);
    spec.ignore_merges = true;  // this family's encoders look words up first
    spec.pre_name = pre_name;
    BP_TRY(read_ranks(ranks, &spec).with_context("ranks"));
    for (const ConfiguredToken& token : special_tokens) {
      BP_TRY(add_token(token.content, token.flags, &spec));
    }
    add_known_turn_ends(&spec);
    return checked(std::move(spec), "ranks");
  } catch (const std::exception&) {
    return error(Code::kExhausted, "no memory for the vocabulary");
  }
}

}  // namespace bp
