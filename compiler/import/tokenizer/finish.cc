// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/tokenizer/finish.h"

#include <algorithm>
#include <array>

namespace bp {
namespace {

constexpr std::array<std::string_view, 8> kTurnEnds = {
    "<|eot_id|>", "<|im_end|>",    "<|end|>",    "<end_of_turn>",
    "<|eom_id|>", "<|endoftext|>", "<|return|>", "<|end_of_text|>",
};

}  // namespace

void add_metaspace_rules(bool prefix, text::TokenizerSpec* spec) {
  using text::DecoderKind;
  using text::NormalizerKind;
  const std::string space(kMetaspace);
  if (prefix) spec->normalizer.push_back({NormalizerKind::kPrepend, "", space});
  spec->normalizer.push_back({NormalizerKind::kReplaceLiteral, " ", space});
  spec->decoder.push_back({DecoderKind::kReplace, space, " ", 0, false});
  if (prefix) spec->decoder.push_back({DecoderKind::kStripStart, " ", "", 1, false});
}

void add_eos(text::TokenId id, text::TokenizerSpec* spec) {
  std::vector<text::TokenId>& ids = spec->eos_ids;
  if (id == text::kNoToken || ids.size() >= text::kMaxAffixIds) return;
  if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

void add_known_turn_ends(text::TokenizerSpec* spec) {
  for (const text::AddedToken& token : spec->added_tokens) {
    if (!token.special || token.id < 0) continue;
    const auto index = static_cast<size_t>(token.id);
    if (index >= spec->tokens.size()) continue;
    const std::string& text = spec->tokens[index];
    if (std::find(kTurnEnds.begin(), kTurnEnds.end(), text) != kTurnEnds.end()) {
      add_eos(token.id, spec);
    }
  }
}

Result<text::TokenizerSpec> checked(text::TokenizerSpec spec, std::string_view source) {
  BP_TRY(spec.validate().with_context("{}", source));
  return spec;
}

}  // namespace bp
