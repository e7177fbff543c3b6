// SPDX-License-Identifier: Apache-2.0
// Normalizer: rewrites a piece of text before it is split into words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/text/tokenizer/regex.h"
#include "core/text/tokenizer/spec.h"

namespace bp::text {

// One entry per byte of a text: may a special token be found there? Empty means "nowhere counts":
// nobody asks, so nothing is tracked.
using PermissionMap = std::vector<uint8_t>;

// Immutable after create(); threads share it, each with its own scratch.
class Normalizer {
 public:
  static Result<Normalizer> create(const std::vector<NormalizerStep>& steps);

  bool is_identity() const noexcept { return steps_.empty(); }

  // Rewrites *text (valid UTF-8 before and after). A permission map that is not empty has one
  // entry per byte and is carried along: a byte that comes from several is permitted only if all
  // were; Unicode composition then never joins permitted with unpermitted characters. Linear but
  // for sorting runs of combining marks. EXHAUSTED when the text would outgrow a limit.
  Status apply(std::string* text, PermissionMap* permissions, MatchScratch* scratch) const;

 private:
  struct Step {
    NormalizerStep spec;
    std::optional<Regex> regex;
  };
  std::vector<Step> steps_;
};

}  // namespace bp::text
