// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/tokenizer/vocab_merges.h"

#include <exception>
#include <utility>

#include "compiler/import/json.h"
#include "compiler/import/tokenizer/byte_alphabet.h"
#include "compiler/import/tokenizer/finish.h"
#include "compiler/import/tokenizer/pre_names.h"
#include "compiler/import/tokenizer/tokenizer_config.h"
#include "compiler/import/tokenizer/tokenizer_json.h"

namespace bp {
namespace {

using text::TokenId;
using text::TokenizerSpec;
using text::TokenType;

// Calls visit(line) for each line, without its line feed.
template <typename Visit>
Status for_each_line(std::string_view text, Visit&& visit) {
  size_t number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++number;
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    BP_TRY(Status(visit(line)).with_context("line {}", number));
  }
  return {};
}

}  // namespace

Status VocabularyIndex::add(std::string_view text, TokenId id) {
  const auto [place, added] = ids_.emplace(text, id);
  if (added) return {};
  return error(Code::kCorrupt, "token {} repeats the text of token {}", id, place->second);
}

TokenId VocabularyIndex::find(std::string_view text) const {
  const auto found = ids_.find(text);
  return found == ids_.end() ? text::kNoToken : found->second;
}

Result<text::Merge> VocabularyIndex::merge(std::string_view line) const {
  // A half may itself begin with a blank only in files that are not disguised; none are.
  const size_t blank = line.find(' ', 1);
  if (blank == std::string_view::npos) {
    return error(Code::kCorrupt, "'{}' is not two tokens with a blank between", line);
  }
  return merge(line.substr(0, blank), line.substr(blank + 1));
}

Result<text::Merge> VocabularyIndex::merge(std::string_view left, std::string_view right) const {
  const text::Merge merge{find(left), find(right)};
  if (merge.left == text::kNoToken) return error(Code::kCorrupt, "'{}' is no token", left);
  if (merge.right == text::kNoToken) return error(Code::kCorrupt, "'{}' is no token", right);
  return merge;
}

std::string plain_token(std::string_view text, TokenType* type) {
  if (*type != TokenType::kNormal) return std::string(text);
  std::optional<std::string> bytes = bytes_of_disguised(text);
  if (bytes) return std::move(*bytes);
  *type = TokenType::kUnused;
  return std::string(text);
}

Result<TokenizerSpec> import_vocab_merges(std::string_view vocab_json, std::string_view merges,
                                          std::string_view config_json, std::string_view pre_name) {
  try {
    const NamedPreTokenizer pre = BP_TRY(named_pre_tokenizer(pre_name));
    const Json vocab = BP_TRY(parse_json(vocab_json).with_context("vocabulary"));
    TokenizerSpec spec;
    spec.kind = text::ModelKind::kBpeByte;
    spec.normalizer = pre.normalizer;
    spec.pre_tokenizer = pre.steps;
    spec.ignore_merges = pre.ignore_merges;
    spec.pre_name = pre_name;
    BP_TRY(read_vocabulary(vocab, &spec).with_context("vocabulary"));
    VocabularyIndex index;
    for (size_t i = 0; i < spec.tokens.size(); ++i) {
      if (spec.tokens[i].empty()) continue;
      BP_TRY(index.add(spec.tokens[i], static_cast<TokenId>(i)));
    }
    BP_TRY(for_each_line(merges, [&](std::string_view line) -> Status {
             spec.merges.push_back(BP_TRY(index.merge(line)));
             return {};
           }).with_context("merges"));
    const TokenizerConfig config = BP_TRY(read_tokenizer_config(config_json));
    for (const ConfiguredToken& token : config.added_tokens) {
      BP_TRY(add_token(token.content, token.flags, &spec));
    }
    // Everything that is not added is disguised; added tokens are written plainly.
    for (size_t i = 0; i < spec.tokens.size(); ++i) {
      spec.tokens[i] = plain_token(spec.tokens[i], &spec.types[i]);
    }
    BP_TRY(apply_tokenizer_config(config, &spec));
    if (config.add_bos.value_or(pre.add_bos) && spec.bos_id != text::kNoToken) {
      spec.prefix_ids = {spec.bos_id};
    }
    return checked(std::move(spec), "vocabulary and merges");
  } catch (const std::exception&) {
    return error(Code::kExhausted, "no memory for the vocabulary");
  }
}

}  // namespace bp
