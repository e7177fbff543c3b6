// SPDX-License-Identifier: Apache-2.0
// PreTokenizer: cuts normalized text into the words that the model then encodes one by one.
//
// Steps are lowered to three stages (split, put a blank before, write metaspaces) that pull from
// each other, so that a text of any length is never held as a list of pieces.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/text/tokenizer/regex.h"
#include "core/text/tokenizer/spec.h"

namespace bp::text {

struct Piece {
  std::string_view text;
  bool at_start = false;  // begins where the whole text begins
};

class PreTokenizer {
 public:
  static Result<PreTokenizer> create(const std::vector<PreTokenizerStep>& steps);

  // Iterates over the pieces of one text. Keeps references to the pre-tokenizer, the text and the
  // scratch; all must outlive it.
  class Walk {
   public:
    Walk(const PreTokenizer& owner, Piece text, MatchScratch* scratch);
    // False at the end. The piece is valid until the next call. Never empty.
    Result<bool> next(Piece* piece);

   private:
    struct Segment {
      size_t begin = 0;
      size_t end = 0;
      bool is_match = false;
    };
    struct Cursor {
      Piece input;
      size_t scanned = 0;              // input before this has become segments
      std::optional<Segment> waiting;  // found, not yet handed on
      std::optional<Segment> match;    // a match behind the segment just handed on
      bool previous_was_match = false;
      bool done = false;
      std::string buffer;  // rewritten input
    };
    void start(size_t stage, Piece input);
    Result<bool> pull(size_t stage, Piece* piece);
    Result<std::optional<Segment>> segment(size_t stage);
    Result<std::optional<Segment>> merged(size_t stage);

    const PreTokenizer& owner_;
    MatchScratch* scratch_;
    std::vector<Cursor> cursors_;  // one per stage
    size_t depth_ = 0;
    Piece whole_;
    bool whole_given_ = false;
  };

 private:
  struct Stage {
    enum class Kind { kSplit, kPrefixSpace, kMetaspace };
    Kind kind = Kind::kSplit;
    std::optional<Regex> regex;  // kSplit: this, or
    std::string literal;         // this; kMetaspace: the replacement
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
    PrependScheme prepend = PrependScheme::kNever;
  };
  Status add(const PreTokenizerStep& step);
  Status add_split(std::string_view pattern, SplitBehavior behavior, bool invert);
  Result<MatchRange> find(const Stage& stage, std::string_view text, size_t from,
                          MatchScratch* scratch) const;
  std::vector<Stage> stages_;
};

// GPT-2's expression, which a byte-level step with use_regex splits by.
extern const std::string_view kGpt2Pattern;

}  // namespace bp::text
