// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/tokenizer/pre_names.h"

#include <algorithm>
#include <array>
#include <span>

#include "core/text/tokenizer/pre_tokenizer.h"

namespace bp {
namespace {

using text::NormalizerKind;
using text::NormalizerStep;
using text::PreTokenizerKind;
using text::PreTokenizerStep;

// The expressions are the ones that the models' own tokenizer files state.
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|)"
    R"( ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)"
    R"( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDigits = R"(\p{N})";

struct Rules {
  std::string_view name;
  std::array<std::string_view, 5> split;  // one after the other; empty ones are none
  bool ignore_merges = false;
  bool add_bos = false;
  bool nfc = false;
};

// Steps that end with GPT-2's rules hold kGpt2 as their last expression.
constexpr std::string_view kGpt2 = "gpt2";

constexpr Rules kLlamaRules{"llama-bpe", {kLlama3}, true, true, false};
constexpr Rules kQwenRules{"qwen2", {kQwen2}, false, false, true};
constexpr Rules kDigitRules{"smollm", {kDigits, kGpt2}, false, false, false};
constexpr Rules kGptRules{"gpt-2", {kGpt2}, false, false, false};

constexpr Rules named(std::string_view name, Rules rules) {
  rules.name = name;
  return rules;
}

constexpr std::array kAll = {
    kLlamaRules,
    named("llama3", kLlamaRules),
    named("llama-v3", kLlamaRules),
    named("falcon3", kLlamaRules),
    named("pixtral", kLlamaRules),
    Rules{"smaug-bpe", {kLlama3}, false, false, false},
    Rules{"dbrx", {kLlama3}, false, false, false},
    kQwenRules,
    named("deepseek-r1-qwen", kQwenRules),
    named("megrez", kQwenRules),
    Rules{"stablelm2", {kQwen2}, false, false, false},
    Rules{"qwen35", {kQwen35}, false, false, true},
    kDigitRules,
    named("starcoder", kDigitRules),
    named("refact", kDigitRules),
    named("codeshell", kDigitRules),
    kGptRules,
    named("phi-2", kGptRules),
    named("olmo", kGptRules),
    named("mpt", kGptRules),
    Rules{"tekken", {kTekken}, true, true, false},
    Rules{"gpt-4o", {kGpt4o}, false, false, false},
    Rules{"llama4", {kGpt4o}, false, false, false},
    Rules{"deepseek-coder",
          {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", R"([一-龥ࠀ-一가-퟿]+)", kDigits},
          false,
          false,
          false},
    Rules{"deepseek-v3",
          {R"(\p{N}{1,3})", R"([一-龥぀-ゟ゠-ヿ]+)", kDeepseek3},
          false,
          false,
          false},
    // What converters wrote before the key existed.
    Rules{"default",
          {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", R"([0-9][0-9][0-9])"},
          false,
          false,
          false},
};

}  // namespace

Result<NamedPreTokenizer> named_pre_tokenizer(std::string_view name) {
  const std::string_view wanted = name.empty() ? "default" : name;
  const auto* rules = std::find_if(
      kAll.begin(), kAll.end(), [&](const Rules& candidate) { return candidate.name == wanted; });
  if (rules == kAll.end()) {
    return error(Code::kUnimplemented, "the pre-tokenizer '{}' is not known", name);
  }
  NamedPreTokenizer result;
  for (const std::string_view pattern : rules->split) {
    if (pattern.empty()) continue;
    PreTokenizerStep step;
    if (pattern == kGpt2) {
      step.kind = PreTokenizerKind::kByteLevel;
    } else {
      step.kind = PreTokenizerKind::kSplitRegex;
      step.pattern = pattern;
    }
    result.steps.push_back(std::move(step));
  }
  if (rules->nfc) result.normalizer.push_back(NormalizerStep{NormalizerKind::kNfc, "", ""});
  result.ignore_merges = rules->ignore_merges;
  result.add_bos = rules->add_bos;
  return result;
}

}  // namespace bp
