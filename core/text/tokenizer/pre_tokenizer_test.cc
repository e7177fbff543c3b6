// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/pre_tokenizer.h"

#include <gtest/gtest.h>

namespace bp::text {
namespace {

using Strings = std::vector<std::string>;

Strings pieces(const std::vector<PreTokenizerStep>& steps, std::string_view text,
               bool at_start = true) {
  const auto pre_tokenizer = PreTokenizer::create(steps);
  EXPECT_TRUE(pre_tokenizer.ok()) << pre_tokenizer.status().to_string();
  MatchScratch scratch;
  PreTokenizer::Walk walk(*pre_tokenizer, {text, at_start}, &scratch);
  Strings out;
  Piece piece;
  for (;;) {
    const auto more = walk.next(&piece);
    EXPECT_TRUE(more.ok()) << more.status().to_string();
    if (!more.ok() || !*more) return out;
    out.emplace_back(piece.text);
  }
}

PreTokenizerStep split(std::string_view pattern, SplitBehavior behavior, bool invert = false) {
  PreTokenizerStep step;
  step.kind = PreTokenizerKind::kSplitLiteral;
  step.pattern = pattern;
  step.behavior = behavior;
  step.invert = invert;
  return step;
}

// The table of the reference's documentation.
TEST(PreTokenizer, split_behaviors) {
  const std::string_view text = "the-final--countdown";
  EXPECT_EQ(pieces({split("-", SplitBehavior::kRemoved)}, text),
            (Strings{"the", "final", "countdown"}));
  EXPECT_EQ(pieces({split("-", SplitBehavior::kIsolated)}, text),
            (Strings{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(pieces({split("-", SplitBehavior::kMergedWithPrevious)}, text),
            (Strings{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(pieces({split("-", SplitBehavior::kMergedWithNext)}, text),
            (Strings{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(pieces({split("-", SplitBehavior::kContiguous)}, text),
            (Strings{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(pieces({split("-", SplitBehavior::kRemoved, true)}, text), (Strings{"-", "-", "-"}));
}

TEST(PreTokenizer, steps_apply_one_after_the_other) {
  PreTokenizerStep digits;
  digits.kind = PreTokenizerKind::kDigits;
  digits.individual = true;
  PreTokenizerStep bytes;
  bytes.kind = PreTokenizerKind::kByteLevel;
  EXPECT_EQ(pieces({digits, bytes}, "ab 12 c"), (Strings{"ab", " ", "1", "2", " c"}));
  digits.individual = false;
  EXPECT_EQ(pieces({digits, bytes}, "ab 12"), (Strings{"ab", " ", "12"}));
}

TEST(PreTokenizer, prefix_space_is_added_once) {
  PreTokenizerStep bytes;
  bytes.kind = PreTokenizerKind::kByteLevel;
  bytes.add_prefix_space = true;
  EXPECT_EQ(pieces({bytes}, "a b"), (Strings{" a", " b"}));
  EXPECT_EQ(pieces({bytes}, " a"), (Strings{" a"}));
}

TEST(PreTokenizer, metaspace_prepends_as_its_scheme_says) {
  PreTokenizerStep step;
  step.kind = PreTokenizerKind::kMetaspace;
  step.pattern = "▁";
  EXPECT_EQ(pieces({step}, "a b"), (Strings{"a", "▁b"}));
  step.prepend = PrependScheme::kFirst;
  EXPECT_EQ(pieces({step}, "a b"), (Strings{"▁a", "▁b"}));
  EXPECT_EQ(pieces({step}, "a b", false), (Strings{"a", "▁b"}));
  step.prepend = PrependScheme::kAlways;
  EXPECT_EQ(pieces({step}, "a b", false), (Strings{"▁a", "▁b"}));
  EXPECT_EQ(pieces({step}, " a"), (Strings{"▁a"}));
  step.split = false;
  EXPECT_EQ(pieces({step}, "a  b"), (Strings{"▁a▁▁b"}));
}

TEST(PreTokenizer, without_steps_a_text_is_one_piece) {
  EXPECT_EQ(pieces({}, "a b"), (Strings{"a b"}));
  EXPECT_EQ(pieces({}, ""), Strings{});
  EXPECT_EQ(pieces({split("-", SplitBehavior::kRemoved)}, "--"), Strings{});
}

}  // namespace
}  // namespace bp::text
