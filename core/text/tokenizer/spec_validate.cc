// SPDX-License-Identifier: Apache-2.0
// TokenizerSpec::validate(): everything that a hostile file can break, in linear time.
#include <cmath>
#include <string_view>
#include <vector>

#include "core/base/limits.h"
#include "core/text/tokenizer/spec.h"
#include "core/text/tokenizer/token_table.h"
#include "core/text/tokenizer/utf8.h"

namespace bp::text {
namespace {

constexpr uint32_t kMaxStripCount = 1024;

class Validator {
 public:
  explicit Validator(const TokenizerSpec& spec) : spec_(spec) {}

  Status run() const {
    BP_TRY(sizes());
    BP_TRY(tokens());
    BP_TRY(duplicates());
    BP_TRY(scores());
    BP_TRY(merges());
    BP_TRY(added_tokens());
    BP_TRY(ids());
    BP_TRY(normalizer());
    BP_TRY(pre_tokenizer());
    return decoder();
  }

 private:
  bool by_bytes() const { return is_byte_level(spec_.kind); }
  bool by_list() const {
    return spec_.kind == ModelKind::kBpeByte || spec_.kind == ModelKind::kBpeMerges;
  }
  bool is_token(TokenId id) const {
    return id >= 0 && static_cast<size_t>(id) < spec_.tokens.size();
  }

  static Status at_most(std::string_view what, uint64_t count, uint64_t most) {
    if (count <= most) return {};
    return error(Code::kExhausted, "{}: {}; at most {} are accepted", what, count, most);
  }

  Status sizes() const {
    if (*kind_name(spec_.kind) == '\0') {
      return error(Code::kCorrupt, "tokenizer kind {} is unknown", static_cast<int>(spec_.kind));
    }
    const size_t count = spec_.tokens.size();
    if (count == 0) return error(Code::kCorrupt, "the vocabulary is empty");
    BP_TRY(at_most("tokens of the vocabulary", count, limits::kMaxVocabulary));
    if (spec_.types.size() != count) {
      return error(Code::kCorrupt, "{} tokens have {} types", count, spec_.types.size());
    }
    const size_t expected_scores = by_list() ? 0 : count;
    if (spec_.scores.size() != expected_scores) {
      return error(Code::kCorrupt, "a '{}' vocabulary of {} tokens has {} scores, not {}",
                   kind_name(spec_.kind), count, spec_.scores.size(), expected_scores);
    }
    if (!by_list() && !spec_.merges.empty()) {
      return error(Code::kCorrupt, "a '{}' vocabulary has no list of merges",
                   kind_name(spec_.kind));
    }
    BP_TRY(at_most("merges", spec_.merges.size(), kMaxMerges));
    BP_TRY(at_most("added tokens", spec_.added_tokens.size(), kMaxAddedTokens));
    BP_TRY(at_most("normalizer steps", spec_.normalizer.size(), kMaxPipelineSteps));
    BP_TRY(at_most("pre-tokenizer steps", spec_.pre_tokenizer.size(), kMaxPipelineSteps));
    BP_TRY(at_most("decoder steps", spec_.decoder.size(), kMaxPipelineSteps));
    BP_TRY(at_most("ids before a text", spec_.prefix_ids.size(), kMaxAffixIds));
    BP_TRY(at_most("ids after a text", spec_.suffix_ids.size(), kMaxAffixIds));
    BP_TRY(at_most("end-of-generation ids", spec_.eos_ids.size(), kMaxAffixIds));
    BP_TRY(
        at_most("bytes of the pre-tokenizer's name", spec_.pre_name.size(), limits::kMaxNameBytes));
    if (spec_.byte_fallback && by_bytes()) {
      return error(Code::kCorrupt, "byte fallback makes no sense in a '{}' vocabulary",
                   kind_name(spec_.kind));
    }
    return at_most("bytes of the chat template", spec_.chat_template.size(),
                   limits::kMaxTemplateBytes);
  }

  Status tokens() const {
    uint64_t total = 0;
    for (size_t i = 0; i < spec_.tokens.size(); ++i) {
      const std::string& text = spec_.tokens[i];
      const TokenType type = spec_.types[i];
      if (type < TokenType::kNormal || type > TokenType::kByte) {
        return error(Code::kCorrupt, "token {} has type {}", i, static_cast<int>(type));
      }
      if (text.size() > limits::kMaxTokenBytes) {
        return error(Code::kExhausted, "token {} has {} bytes; at most {} are accepted", i,
                     text.size(), limits::kMaxTokenBytes);
      }
      total += text.size();
      if (text.empty() && type != TokenType::kUnused) {
        return error(Code::kCorrupt, "token {} is empty", i);
      }
      if (type == TokenType::kByte && (text.size() != 1 || by_bytes())) {
        return error(Code::kCorrupt, "token {} is marked as a byte but is none", i);
      }
      const bool must_be_text = !by_bytes() || type == TokenType::kControl ||
                                type == TokenType::kUserDefined || type == TokenType::kUnknown;
      if (must_be_text && type != TokenType::kByte && !utf8::is_valid(text)) {
        return error(Code::kCorrupt, "token {} is not valid UTF-8", i);
      }
    }
    return at_most("bytes of the vocabulary", total, kMaxVocabularyBytes);
  }

  // Ordinary tokens must differ from each other, and byte tokens too. (An added token may repeat
  // an ordinary one: the former is found first, the latter is what merging gives.)
  Status duplicates() const {
    TokenTable known(spec_.tokens, spec_.tokens.size());
    std::vector<TokenId> bytes(256, kNoToken);
    for (size_t i = 0; i < spec_.tokens.size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      TokenId earlier = kNoToken;
      if (spec_.types[i] == TokenType::kNormal) {
        earlier = known.insert(id);
      } else if (spec_.types[i] == TokenType::kByte) {
        TokenId& slot = bytes[static_cast<unsigned char>(spec_.tokens[i][0])];
        earlier = slot;
        slot = id;
      }
      if (earlier != kNoToken) {
        return error(Code::kCorrupt, "token {} repeats the text of token {}", id, earlier);
      }
    }
    return {};
  }

  Status scores() const {
    for (size_t i = 0; i < spec_.scores.size(); ++i) {
      if (!std::isfinite(spec_.scores[i])) {
        return error(Code::kCorrupt, "the score of token {} is not a finite number", i);
      }
    }
    return {};
  }

  Status merges() const {
    uint64_t joined_bytes = 0;
    for (size_t i = 0; i < spec_.merges.size(); ++i) {
      const Merge merge = spec_.merges[i];
      if (!is_token(merge.left) || !is_token(merge.right)) {
        return error(Code::kCorrupt, "merge {} names tokens {} and {} of a vocabulary of {}", i,
                     merge.left, merge.right, spec_.tokens.size());
      }
      const std::string& left = spec_.tokens[static_cast<size_t>(merge.left)];
      const std::string& right = spec_.tokens[static_cast<size_t>(merge.right)];
      // An empty half would be a merge that gives back what it took.
      if (left.empty() || right.empty()) {
        return error(Code::kCorrupt, "merge {} joins an empty token", i);
      }
      joined_bytes += left.size() + right.size();
    }
    return at_most("bytes joined by all merges", joined_bytes, kMaxMergeBytes);
  }

  Status added_tokens() const {
    std::vector<uint8_t> seen(spec_.tokens.size(), 0);
    TokenTable known(spec_.tokens, spec_.added_tokens.size());
    for (size_t i = 0; i < spec_.added_tokens.size(); ++i) {
      const TokenId id = spec_.added_tokens[i].id;
      if (!is_token(id)) {
        return error(Code::kCorrupt, "added token {} has id {} in a vocabulary of {}", i, id,
                     spec_.tokens.size());
      }
      const auto index = static_cast<size_t>(id);
      if (seen[index] != 0) return error(Code::kCorrupt, "token {} is added twice", id);
      seen[index] = 1;
      const std::string& text = spec_.tokens[index];
      if (text.empty()) return error(Code::kCorrupt, "the added token {} is empty", id);
      BP_TRY(at_most("bytes of an added token", text.size(), kMaxAddedTokenBytes)
                 .with_context("token {}", id));
      if (!utf8::is_valid(text)) return error(Code::kCorrupt, "token {} is not valid UTF-8", id);
      const TokenId earlier = known.insert(id);
      if (earlier != kNoToken) {
        return error(Code::kCorrupt, "the added token {} repeats the text of {}", id, earlier);
      }
    }
    return {};
  }

  Status ids() const {
    const auto check = [&](std::string_view what, TokenId id) -> Status {
      if (is_token(id)) return {};
      return error(Code::kCorrupt, "the {} id {} is outside the vocabulary of {}", what, id,
                   spec_.tokens.size());
    };
    for (const TokenId id : spec_.prefix_ids) BP_TRY(check("prefix", id));
    for (const TokenId id : spec_.suffix_ids) BP_TRY(check("suffix", id));
    for (const TokenId id : spec_.eos_ids) BP_TRY(check("eos", id));
    if (spec_.bos_id != kNoToken) BP_TRY(check("bos", spec_.bos_id));
    if (spec_.unk_id != kNoToken) BP_TRY(check("unk", spec_.unk_id));
    if (spec_.pad_id != kNoToken) BP_TRY(check("pad", spec_.pad_id));
    return {};
  }

  static Status pattern(std::string_view text, bool may_be_empty) {
    BP_TRY(at_most("bytes of a pattern", text.size(), kMaxPatternBytes));
    if (text.empty() && !may_be_empty) return error(Code::kCorrupt, "an empty pattern");
    if (!utf8::is_valid(text)) return error(Code::kCorrupt, "a pattern is not valid UTF-8");
    return {};
  }
  static Status character(std::string_view text) {
    BP_TRY(pattern(text, false));
    if (utf8::decode(text).length == text.size()) return {};
    return error(Code::kCorrupt, "'{}' is not one character", text);
  }

  Status normalizer() const {
    for (size_t i = 0; i < spec_.normalizer.size(); ++i) {
      const NormalizerStep& step = spec_.normalizer[i];
      if (step.kind > NormalizerKind::kStripAccents) {
        return error(Code::kCorrupt, "normalizer step {} is of unknown kind", i);
      }
      const bool needs_pattern = step.kind == NormalizerKind::kReplaceLiteral ||
                                 step.kind == NormalizerKind::kReplaceRegex;
      BP_TRY(pattern(step.pattern, !needs_pattern).with_context("normalizer step {}", i));
      BP_TRY(pattern(step.text, true).with_context("normalizer step {}", i));
    }
    return {};
  }

  Status pre_tokenizer() const {
    for (size_t i = 0; i < spec_.pre_tokenizer.size(); ++i) {
      const PreTokenizerStep& step = spec_.pre_tokenizer[i];
      if (step.kind > PreTokenizerKind::kWhitespaceSplit ||
          step.behavior > SplitBehavior::kContiguous || step.prepend > PrependScheme::kAlways) {
        return error(Code::kCorrupt, "pre-tokenizer step {} is of unknown kind", i);
      }
      const bool needs_pattern = step.kind == PreTokenizerKind::kSplitRegex ||
                                 step.kind == PreTokenizerKind::kSplitLiteral;
      BP_TRY((step.kind == PreTokenizerKind::kMetaspace ? character(step.pattern)
                                                        : pattern(step.pattern, !needs_pattern))
                 .with_context("pre-tokenizer step {}", i));
    }
    return {};
  }

  Status decoder() const {
    if (by_bytes() && !spec_.decoder.empty()) {
      return error(Code::kCorrupt, "a '{}' vocabulary has no decoder steps", kind_name(spec_.kind));
    }
    size_t strips = 0;
    for (size_t i = 0; i < spec_.decoder.size(); ++i) {
      const DecoderStep& step = spec_.decoder[i];
      if (step.kind > DecoderKind::kMetaspace) {
        return error(Code::kCorrupt, "decoder step {} is of unknown kind", i);
      }
      BP_TRY((step.kind == DecoderKind::kReplace ? pattern(step.pattern, false)
                                                 : character(step.pattern))
                 .with_context("decoder step {}", i));
      BP_TRY(pattern(step.text, true).with_context("decoder step {}", i));
      if (step.kind != DecoderKind::kStripStart) continue;
      BP_TRY(at_most("characters stripped", step.count, kMaxStripCount));
      if (++strips > 1) return error(Code::kCorrupt, "the decoder strips twice");
    }
    return {};
  }

  const TokenizerSpec& spec_;
};

}  // namespace

Status TokenizerSpec::validate() const {
  try {
    return Validator(*this).run();
  } catch (const std::exception&) {
    return error(Code::kExhausted, "no memory to check the tokenizer");
  }
}

}  // namespace bp::text
