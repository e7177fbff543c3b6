// SPDX-License-Identifier: Apache-2.0
// The components of tokenizer.json other than its model, one function each.
#include <string>
#include <utility>
#include <vector>

#include "compiler/import/tokenizer/byte_alphabet.h"
#include "compiler/import/tokenizer/tokenizer_json.h"

namespace bp {
namespace {

using text::DecoderKind;
using text::NormalizerKind;
using text::PrependScheme;
using text::PreTokenizerKind;
using text::PreTokenizerStep;
using text::SplitBehavior;
using text::TokenId;
using text::TokenizerSpec;

Status unsupported(std::string_view what, std::string_view name) {
  return error(Code::kUnimplemented, "the {} '{}' is not supported", what, name);
}

// The components of nested Sequences in order. Nesting is bounded by the JSON reader; a stack
// holds it here.
Result<std::vector<const Json*>> flatten(const Json* component, std::string_view list_key) {
  std::vector<const Json*> flat;
  std::vector<const Json*> stack;
  if (component != nullptr) stack.push_back(component);
  while (!stack.empty()) {
    const Json* current = stack.back();
    stack.pop_back();
    const std::string type = BP_TRY(json_string(*current, "type"));
    if (type != "Sequence") {
      flat.push_back(current);
      if (flat.size() > text::kMaxPipelineSteps) {
        return error(Code::kExhausted, "over {} steps", text::kMaxPipelineSteps);
      }
      continue;
    }
    BP_TRY(only_known(*current, {"type", list_key}));
    const Json* list = json_find(*current, list_key);
    if (list == nullptr || !list->is_array()) {
      return error(Code::kCorrupt, "a Sequence without '{}'", list_key);
    }
    for (auto entry = list->rbegin(); entry != list->rend(); ++entry) stack.push_back(&*entry);
  }
  return flat;
}

struct Pattern {
  std::string text;
  bool is_regex = false;
};

// {"String": …} or {"Regex": …}.
Result<Pattern> read_pattern(const Json& step) {
  const Json* pattern = json_find(step, "pattern");
  if (pattern == nullptr) return error(Code::kCorrupt, "'pattern' is missing");
  BP_TRY(only_known(*pattern, {"String", "Regex"}));
  if (pattern->size() != 1) return error(Code::kCorrupt, "'pattern' is not one pattern");
  const bool is_regex = json_find(*pattern, "Regex") != nullptr;
  return Pattern{BP_TRY(json_string(*pattern, is_regex ? "Regex" : "String")), is_regex};
}

Result<SplitBehavior> read_behavior(const Json& step) {
  const std::string name = BP_TRY(json_string(step, "behavior"));
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return unsupported("split behaviour", name);
}

// "prepend_scheme", or the older "add_prefix_space".
Result<PrependScheme> read_prepend(const Json& step) {
  const bool legacy = BP_TRY(json_bool_or(step, "add_prefix_space", true));
  const std::string name =
      BP_TRY(json_string_or(step, "prepend_scheme", legacy ? "always" : "never"));
  if (name == "always") return PrependScheme::kAlways;
  if (name == "first") return PrependScheme::kFirst;
  if (name == "never") return PrependScheme::kNever;
  return unsupported("prepend scheme", name);
}

Status add_normalizer(const Json& step, TokenizerSpec* spec) {
  const std::string type = BP_TRY(json_string(step, "type"));
  const auto add = [&](NormalizerKind kind) -> Status {
    BP_TRY(only_known(step, {"type"}));
    spec->normalizer.push_back({kind, "", ""});
    return {};
  };
  if (type == "NFC") return add(NormalizerKind::kNfc);
  if (type == "NFD") return add(NormalizerKind::kNfd);
  if (type == "NFKC") return add(NormalizerKind::kNfkc);
  if (type == "NFKD") return add(NormalizerKind::kNfkd);
  if (type == "Lowercase") return add(NormalizerKind::kLowercase);
  if (type == "StripAccents") return add(NormalizerKind::kStripAccents);
  if (type == "Prepend") {
    BP_TRY(only_known(step, {"type", "prepend"}));
    spec->normalizer.push_back(
        {NormalizerKind::kPrepend, "", BP_TRY(json_string(step, "prepend"))});
    return {};
  }
  if (type == "Replace") {
    BP_TRY(only_known(step, {"type", "pattern", "content"}));
    Pattern pattern = BP_TRY(read_pattern(step));
    spec->normalizer.push_back(
        {pattern.is_regex ? NormalizerKind::kReplaceRegex : NormalizerKind::kReplaceLiteral,
         std::move(pattern.text), BP_TRY(json_string(step, "content"))});
    return {};
  }
  if (type == "Strip") {
    BP_TRY(only_known(step, {"type", "strip_left", "strip_right"}));
    if (BP_TRY(json_bool(step, "strip_left"))) {
      spec->normalizer.push_back({NormalizerKind::kStripLeft, "", ""});
    }
    if (BP_TRY(json_bool(step, "strip_right"))) {
      spec->normalizer.push_back({NormalizerKind::kStripRight, "", ""});
    }
    return {};
  }
  return unsupported("normalizer", type);
}

Result<PreTokenizerStep> read_split(const Json& step) {
  BP_TRY(only_known(step, {"type", "pattern", "behavior", "invert"}));
  Pattern pattern = BP_TRY(read_pattern(step));
  PreTokenizerStep out;
  out.kind = pattern.is_regex ? PreTokenizerKind::kSplitRegex : PreTokenizerKind::kSplitLiteral;
  out.pattern = std::move(pattern.text);
  out.behavior = BP_TRY(read_behavior(step));
  out.invert = BP_TRY(json_bool_or(step, "invert", false));
  return out;
}

Result<PreTokenizerStep> read_metaspace(const Json& step) {
  BP_TRY(only_known(
      step, {"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"}));
  PreTokenizerStep out;
  out.kind = PreTokenizerKind::kMetaspace;
  out.pattern = BP_TRY(json_string(step, "replacement"));
  out.prepend = BP_TRY(read_prepend(step));
  out.split = BP_TRY(json_bool_or(step, "split", true));
  return out;
}

Result<PreTokenizerStep> read_step(const Json& step) {
  const std::string type = BP_TRY(json_string(step, "type"));
  PreTokenizerStep out;
  if (type == "Split") return read_split(step);
  if (type == "Metaspace") return read_metaspace(step);
  if (type == "ByteLevel") {
    BP_TRY(only_known(step, {"type", "add_prefix_space", "trim_offsets", "use_regex"}));
    out.kind = PreTokenizerKind::kByteLevel;
    out.add_prefix_space = BP_TRY(json_bool(step, "add_prefix_space"));
    out.use_regex = BP_TRY(json_bool_or(step, "use_regex", true));
    return out;
  }
  if (type == "Digits") {
    BP_TRY(only_known(step, {"type", "individual_digits"}));
    out.kind = PreTokenizerKind::kDigits;
    out.individual = BP_TRY(json_bool_or(step, "individual_digits", false));
    return out;
  }
  if (type == "Punctuation") {
    BP_TRY(only_known(step, {"type", "behavior"}));
    out.kind = PreTokenizerKind::kPunctuation;
    if (json_find(step, "behavior") != nullptr) out.behavior = BP_TRY(read_behavior(step));
    return out;
  }
  if (type == "Whitespace" || type == "WhitespaceSplit") {
    BP_TRY(only_known(step, {"type"}));
    out.kind =
        type == "Whitespace" ? PreTokenizerKind::kWhitespace : PreTokenizerKind::kWhitespaceSplit;
    return out;
  }
  return unsupported("pre-tokenizer", type);
}

Status read_template(const Json& step, TokenizerSpec* spec) {
  BP_TRY(only_known(step, {"type", "single", "pair", "special_tokens"}));
  const Json* single = json_find(step, "single");
  const Json* tokens = json_find(step, "special_tokens");
  if (single == nullptr || !single->is_array()) return error(Code::kCorrupt, "'single' is missing");
  bool after_text = false;
  for (const Json& item : *single) {
    if (json_find(item, "Sequence") != nullptr) {
      if (after_text) return unsupported("template", "the text twice");
      after_text = true;
      continue;
    }
    const Json* special = json_find(item, "SpecialToken");
    if (special == nullptr || tokens == nullptr) return error(Code::kCorrupt, "an unknown item");
    const std::string name = BP_TRY(json_string(*special, "id"));
    const Json* entry = json_find(*tokens, name);
    const Json* ids = entry == nullptr ? nullptr : json_find(*entry, "ids");
    if (ids == nullptr || !ids->is_array()) {
      return error(Code::kCorrupt, "'{}' is not among the special tokens", name);
    }
    for (const Json& id : *ids) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() >= spec->tokens.size()) {
        return error(Code::kCorrupt, "'{}' has an id outside the vocabulary", name);
      }
      (after_text ? spec->suffix_ids : spec->prefix_ids)
          .push_back(static_cast<TokenId>(id.get<uint64_t>()));
    }
  }
  if (!after_text) return error(Code::kCorrupt, "a template without the text");
  return {};
}

// What a SentencePiece-like decoder is made of, in the order it must come: replacements, byte
// fallback, fusing, stripping.
struct DecoderParts {
  bool bytes = false;
  bool fuse = false;
  bool strip = false;
};

Status add_decoder(const Json& step, DecoderParts* parts, TokenizerSpec* spec) {
  const std::string type = BP_TRY(json_string(step, "type"));
  const bool out_of_order = parts->strip || (parts->fuse && type != "Strip") ||
                            (parts->bytes && type != "Fuse" && type != "Strip");
  if (out_of_order) return unsupported("decoder sequence, which ends with", type);
  if (type == "Replace") {
    BP_TRY(only_known(step, {"type", "pattern", "content"}));
    Pattern pattern = BP_TRY(read_pattern(step));
    if (pattern.is_regex) return unsupported("decoder", "Replace with a regular expression");
    spec->decoder.push_back({DecoderKind::kReplace, std::move(pattern.text),
                             BP_TRY(json_string(step, "content")), 0, false});
  } else if (type == "Metaspace") {
    BP_TRY(only_known(
        step, {"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"}));
    spec->decoder.push_back({DecoderKind::kMetaspace, BP_TRY(json_string(step, "replacement")), "",
                             0, BP_TRY(read_prepend(step)) != PrependScheme::kNever});
  } else if (type == "ByteFallback") {
    BP_TRY(only_known(step, {"type"}));
    parts->bytes = true;
  } else if (type == "Fuse") {
    BP_TRY(only_known(step, {"type"}));
    parts->fuse = true;
  } else if (type == "Strip") {
    BP_TRY(only_known(step, {"type", "content", "start", "stop"}));
    const uint64_t start = BP_TRY(json_u64(step, "start"));
    if (!parts->fuse || BP_TRY(json_u64(step, "stop")) != 0) {
      return unsupported("decoder", "Strip of each token, or at the end");
    }
    parts->strip = true;
    if (start > UINT32_MAX) return error(Code::kCorrupt, "'start' is {}", start);
    spec->decoder.push_back({DecoderKind::kStripStart, BP_TRY(json_string(step, "content")), "",
                             static_cast<uint32_t>(start), false});
  } else {
    return unsupported("decoder", type);
  }
  return {};
}

}  // namespace

Status read_normalizer(const Json* component, TokenizerSpec* spec) {
  for (const Json* step : BP_TRY(flatten(component, "normalizers").with_context("normalizer"))) {
    BP_TRY(add_normalizer(*step, spec).with_context("normalizer"));
  }
  return {};
}

Status read_pre_tokenizer(const Json* component, TokenizerSpec* spec, bool* byte_level) {
  *byte_level = false;
  for (const Json* step :
       BP_TRY(flatten(component, "pretokenizers").with_context("pre_tokenizer"))) {
    if (*byte_level) {
      // Later steps would see the disguised bytes; no ordinary vocabulary does that.
      return unsupported("pre_tokenizer", "a step after ByteLevel");
    }
    spec->pre_tokenizer.push_back(BP_TRY(read_step(*step).with_context("pre_tokenizer")));
    *byte_level = spec->pre_tokenizer.back().kind == PreTokenizerKind::kByteLevel;
  }
  return {};
}

Status read_post_processor(const Json* component, TokenizerSpec* spec) {
  bool has_template = false;
  for (const Json* step : BP_TRY(flatten(component, "processors").with_context("post_processor"))) {
    const std::string type = BP_TRY(json_string(*step, "type"));
    if (type == "ByteLevel") continue;  // trims offsets, which are not kept here
    if (type != "TemplateProcessing" || has_template) return unsupported("post_processor", type);
    has_template = true;
    BP_TRY(read_template(*step, spec).with_context("post_processor"));
  }
  return {};
}

Status read_decoder(const Json* component, TokenizerSpec* spec) {
  const std::vector<const Json*> steps =
      BP_TRY(flatten(component, "decoders").with_context("decoder"));
  if (steps.empty()) return unsupported("decoder", "none: tokens joined by blanks");
  if (text::is_byte_level(spec->kind)) {
    const std::string type = BP_TRY(json_string(*steps[0], "type"));
    if (steps.size() == 1 && type == "ByteLevel") return {};
    return unsupported("decoder of a byte-level vocabulary", type);
  }
  DecoderParts parts;
  for (const Json* step : steps) {
    BP_TRY(add_decoder(*step, &parts, spec).with_context("decoder"));
  }
  if (spec->byte_fallback && !parts.bytes) {
    return unsupported("decoder", "one without ByteFallback for a model with it");
  }
  if (parts.bytes && !spec->byte_fallback) {
    for (const std::string& token : spec->tokens) {
      if (byte_of_fallback_token(token)) {
        return unsupported("decoder", "ByteFallback for a model without it");
      }
    }
  }
  return {};
}

}  // namespace bp
