// SPDX-License-Identifier: Apache-2.0
// Provenance, hyper-parameters, tokenizer and templates: sizes, encodings and ranges. What a
// tokenizer's rules mean is core/text's business, which checks them when it loads them.
#include <algorithm>
#include <array>
#include <cmath>

#include "core/platform/digest.h"
#include "model_format/verify_parts.h"

namespace bp::verify {
namespace {

Status check_provenance(const fb::Model& model) {
  BP_TRY(check_name(model.architecture(), "architecture", 0));
  BP_TRY(check_text(model.name(), limits::kMaxNameBytes, "model name"));
  BP_TRY(check_text(model.licence(), limits::kMaxLicenceBytes, "licence"));
  BP_TRY(check_text(model.tool(), limits::kMaxNameBytes, "tool"));
  BP_TRY(check_text(model.weights_format(), limits::kMaxNameBytes, "weights format"));
  if (length(model.sources()) > limits::kMaxSources ||
      length(model.metrics()) > limits::kMaxMetrics) {
    return error(Code::kCorrupt, "{} sources and {} metrics; at most {} and {} are possible",
                 length(model.sources()), length(model.metrics()), limits::kMaxSources,
                 limits::kMaxMetrics);
  }
  for (uint32_t i = 0; i < length(model.sources()); ++i) {
    const fb::SourceFile& source = *model.sources()->Get(i);
    BP_TRY(check_name(source.name(), "source", i));
    if (length(source.sha256()) != kSha256Bytes) {
      return error(Code::kCorrupt, "source {} has a digest of {} bytes", i,
                   length(source.sha256()));
    }
  }
  for (uint32_t i = 0; i < length(model.metrics()); ++i) {
    const fb::Metric& metric = *model.metrics()->Get(i);
    BP_TRY(check_name(metric.name(), "metric", i));
    BP_TRY(check_text(metric.detail(), limits::kMaxMetricDetailBytes, "metric detail"));
    if (!std::isfinite(metric.value())) {
      return error(Code::kCorrupt, "metric '{}' is not a finite number", view(metric.name()));
    }
  }
  return {};
}

struct Range {
  std::string_view name;
  uint64_t value;
  uint64_t minimum;
  uint64_t maximum;
};

Status check_hyper_parameters(const fb::HyperParameters* found) {
  if (found == nullptr) return error(Code::kCorrupt, "the model has no hyper-parameters");
  const fb::HyperParameters& h = *found;
  const std::array<Range, 11> ranges = {{
      {"vocabulary", h.vocabulary(), 1, limits::kMaxVocabulary},
      {"dim", h.dim(), 1, limits::kMaxWidth},
      {"layers", h.layers(), 1, limits::kMaxLayers},
      {"heads", h.heads(), 1, limits::kMaxWidth},
      {"kv_heads", h.kv_heads(), 1, h.heads()},
      {"head_dim", h.head_dim(), 1, limits::kMaxWidth},
      {"ffn_dim", h.ffn_dim(), 0, limits::kMaxWidth},
      {"context_length", h.context_length(), 1, limits::kMaxContext},
      {"experts", h.experts(), 0, limits::kMaxWidth},
      {"experts_used", h.experts_used(), 0, h.experts()},
      {"sliding_window", h.sliding_window(), 0, limits::kMaxContext},
  }};
  for (const Range& range : ranges) {
    if (range.value < range.minimum || range.value > range.maximum) {
      return error(Code::kCorrupt, "{} is {}; {} to {} are possible", range.name, range.value,
                   range.minimum, range.maximum);
    }
  }
  return {};
}

Status check_generation(const fb::Generation* generation) {
  if (generation == nullptr) return {};
  for (const float value : {generation->temperature(), generation->top_p(), generation->min_p(),
                            generation->repetition_penalty()}) {
    if (!std::isfinite(value)) return error(Code::kCorrupt, "a sampling default is not finite");
  }
  if (length(generation->stop_ids()) > limits::kMaxStopIds) {
    return error(Code::kCorrupt, "{} stop ids; at most {} are possible",
                 length(generation->stop_ids()), limits::kMaxStopIds);
  }
  for (uint32_t i = 0; i < length(generation->stop_ids()); ++i) {
    if (generation->stop_ids()->Get(i) >= limits::kMaxVocabulary) {
      return error(Code::kCorrupt, "stop id {} is out of range", generation->stop_ids()->Get(i));
    }
  }
  return {};
}

Status check_token_table(const fb::Tokenizer& tokenizer, uint64_t tokens) {
  const auto& offsets = *tokenizer.token_offsets();
  if (offsets.Get(0) != 0 || offsets.Get(offsets.size() - 1) != length(tokenizer.token_bytes())) {
    return error(Code::kCorrupt, "token offsets run from {} to {}, the tokens have {} bytes",
                 offsets.Get(0), offsets.Get(offsets.size() - 1), length(tokenizer.token_bytes()));
  }
  for (uint32_t i = 0; i < tokens; ++i) {
    const uint32_t begin = offsets.Get(i);
    const uint32_t end = offsets.Get(i + 1);
    if (end < begin || end - begin > limits::kMaxTokenBytes) {
      return error(Code::kCorrupt, "token {} spans bytes {} to {}; at most {} are possible", i,
                   begin, end, limits::kMaxTokenBytes);
    }
  }
  for (uint32_t i = 0; i < length(tokenizer.scores()); ++i) {
    if (!std::isfinite(tokenizer.scores()->Get(i))) {
      return error(Code::kCorrupt, "the score of token {} is not finite", i);
    }
  }
  for (uint32_t i = 0; i < length(tokenizer.merges()); ++i) {
    if (tokenizer.merges()->Get(i) >= tokens) {
      return error(Code::kCorrupt, "merge {} names token {} of {}", i / 2,
                   tokenizer.merges()->Get(i), tokens);
    }
  }
  return {};
}

Status check_tokenizer(const fb::Tokenizer* tokenizer) {
  if (tokenizer == nullptr) return {};
  static constexpr std::array<std::string_view, 5> kKinds = {"bpe_byte", "bpe_ranks", "bpe_spm",
                                                             "bpe_merges", "unigram"};
  BP_TRY(check_name(tokenizer->kind(), "tokenizer kind", 0));
  if (std::find(kKinds.begin(), kKinds.end(), view(tokenizer->kind())) == kKinds.end()) {
    return error(Code::kIncompatible, "is of kind '{}', which this program does not know",
                 view(tokenizer->kind()));
  }
  const uint64_t entries = length(tokenizer->token_offsets());
  if (entries < 2 || entries - 1 > limits::kMaxVocabulary) {
    return error(Code::kCorrupt, "has {} token offsets; 2 to {} are possible", entries,
                 limits::kMaxVocabulary + 1);
  }
  const uint64_t tokens = entries - 1;
  const uint64_t scores = length(tokenizer->scores());
  const uint64_t types = length(tokenizer->types());
  const uint64_t merges = length(tokenizer->merges());
  if ((scores != 0 && scores != tokens) || (types != 0 && types != tokens)) {
    return error(Code::kCorrupt, "has {} tokens, but {} scores and {} types", tokens, scores,
                 types);
  }
  if (merges % 2 != 0 || merges / 2 > limits::kMaxMerges) {
    return error(Code::kCorrupt, "has {} ids in its merges: odd, or more than {} pairs", merges,
                 limits::kMaxMerges);
  }
  BP_TRY(check_text(tokenizer->rules(), limits::kMaxJsonBytes, "rules"));
  return check_token_table(*tokenizer, tokens);
}

Status check_templates(const fb::Model& model) {
  const uint64_t count = length(model.chat_templates());
  if (count > limits::kMaxChatTemplates) {
    return error(Code::kCorrupt, "{} chat templates; at most {} are possible", count,
                 limits::kMaxChatTemplates);
  }
  for (uint32_t i = 0; i < count; ++i) {
    const fb::ChatTemplate& entry = *model.chat_templates()->Get(i);
    BP_TRY(check_name(entry.name(), "chat template", i));
    if (entry.source() == nullptr) {
      return error(Code::kCorrupt, "chat template '{}' has no source", view(entry.name()));
    }
    BP_TRY(check_text(entry.source(), limits::kMaxTemplateBytes, "chat template"));
    for (uint32_t j = 0; j < i; ++j) {
      if (view(model.chat_templates()->Get(j)->name()) == view(entry.name())) {
        return error(Code::kCorrupt, "two chat templates are called '{}'", view(entry.name()));
      }
    }
  }
  return {};
}

// Bytes of the UTF-8 sequence at the start of `text`, 0 when it is not one (overlong forms,
// surrogates and values above U+10FFFF are not).
size_t utf8_sequence(std::string_view text) noexcept {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = at(0);
  if (lead < 0x80) return 1;
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return 0;
  for (size_t i = 1; i < bytes; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  if ((lead == 0xe0 && at(1) < 0xa0) || (lead == 0xed && at(1) > 0x9f) ||
      (lead == 0xf0 && at(1) < 0x90) || (lead == 0xf4 && at(1) > 0x8f)) {
    return 0;
  }
  return bytes;
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const size_t bytes = utf8_sequence(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

Status check_name(const flatbuffers::String* name, std::string_view what, uint64_t index) {
  const std::string_view text = view(name);
  if (text.empty() || text.size() > limits::kMaxNameBytes) {
    return error(Code::kCorrupt, "{} {} has a name of {} bytes; 1 to {} are possible", what, index,
                 text.size(), limits::kMaxNameBytes);
  }
  const bool control = std::any_of(
      text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x20 || c == 0x7f; });
  if (control || !is_utf8(text)) {
    return error(Code::kCorrupt, "{} {} has a name with control characters or bad UTF-8", what,
                 index);
  }
  return {};
}

Status check_text(const flatbuffers::String* text, uint64_t max_bytes, std::string_view what) {
  if (view(text).size() > max_bytes) {
    return error(Code::kCorrupt, "{} has {} bytes; at most {} are possible", what,
                 view(text).size(), max_bytes);
  }
  if (!is_utf8(view(text))) return error(Code::kCorrupt, "{} is not UTF-8", what);
  return {};
}

Status check_descriptions(const fb::Model& model) {
  BP_TRY(check_provenance(model));
  BP_TRY(check_hyper_parameters(model.hyper_parameters()).with_context("hyper-parameters"));
  BP_TRY(check_generation(model.generation()).with_context("generation"));
  BP_TRY(check_tokenizer(model.tokenizer()).with_context("tokenizer"));
  return check_templates(model);
}

}  // namespace bp::verify
