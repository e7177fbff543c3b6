// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/regex.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/text/tokenizer/pre_tokenizer.h"
#include "core/text/tokenizer/spec.h"
#include "core/text/tokenizer/utf8.h"

namespace bp::text {
namespace {

std::vector<std::string> matches(std::string_view pattern, std::string_view text) {
  auto regex = Regex::compile(pattern);
  EXPECT_TRUE(regex.ok()) << regex.status().to_string();
  std::vector<std::string> out;
  if (!regex.ok()) return out;
  MatchScratch scratch;
  for (size_t at = 0;;) {
    const auto match = regex->find(text, at, &scratch);
    EXPECT_TRUE(match.ok()) << match.status().to_string();
    if (!match.ok() || !match->found) return out;
    out.emplace_back(text.substr(match->begin, match->end - match->begin));
    at = match->end;
  }
}
using Strings = std::vector<std::string>;

Code refusal(std::string_view pattern) {
  const auto regex = Regex::compile(pattern);
  return regex.ok() ? Code::kOk : regex.status().code();
}

TEST(Regex, gpt2_pattern_cuts_words) {
  EXPECT_EQ(matches(kGpt2Pattern, "Hello  world's 42!\n"),
            (Strings{"Hello", " ", " world", "'s", " 42", "!", "\n"}));
}

TEST(Regex, shorthands_follow_unicode_not_pcre) {
  EXPECT_EQ(matches(R"(\s)", "\u180e\u0085\u2028x"), (Strings{"\u0085", "\u2028"}));
  EXPECT_EQ(matches(R"(\w+)", "e\u0301a_1²-\u203f"), (Strings{"e\u0301a_1", "\u203f"}));
  EXPECT_EQ(matches(R"([\S]+)", "a b\u3000c"), (Strings{"a", "b", "c"}));
  EXPECT_EQ(matches(R"(\d+)", "12٣½"), (Strings{"12٣"}));
}

TEST(Regex, case_folding_knows_the_long_s) {
  EXPECT_EQ(matches("(?i:'s)", "'s 'S 'ſ"), (Strings{"'s", "'S", "'ſ"}));
}

TEST(Regex, word_borders_count_marks) {
  EXPECT_EQ(matches(R"(\ba\u0301\b)", "a\u0301 xa\u0301"), (Strings{"a\u0301"}));
}

TEST(Regex, counted_repeats_and_lonely_braces) {
  EXPECT_EQ(matches("a{2}", "aaaaa"), (Strings{"aa", "aa"}));
  EXPECT_EQ(matches("a{,2}b", "aaab"), (Strings{"aab"}));
  EXPECT_EQ(matches("{a}", "{a}"), (Strings{"{a}"}));
}

TEST(Regex, empty_matches_are_passed_over) {
  EXPECT_EQ(matches("a*", "bé aa"), (Strings{"aa"}));
}

TEST(Regex, foreign_syntax_is_refused_by_name) {
  for (const std::string_view pattern :
       {"(?<n>a)", "(?P<n>a)", "(a)\\1", "[[:alpha:]]", "[a&&b]",        "a{2}+", "a{2}?",
        "\\h",     "\\R",      "\\K",    "(?s:a)",      "(?#c)a",        "[\\h]", "[a",
        "(a",      "a)",       "*a",     "\\",          "\\p{Nonsense}", "\\pL",  "\\x{}",
        "[\\s-z]", "(?<=a*)b", "[]a]",   "\\u12"}) {
    EXPECT_EQ(refusal(pattern), Code::kUnimplemented) << pattern;
  }
}

TEST(Regex, oversized_expressions_are_refused) {
  EXPECT_EQ(refusal(std::string(kMaxPatternBytes + 1, 'a')), Code::kExhausted);
  EXPECT_NE(refusal("((a{1,5000}){1,5000}){1,5000}"), Code::kOk);
}

TEST(Regex, deep_nesting_is_an_error_not_a_crash) {
  const std::string deep = std::string(5000, '(') + "a" + std::string(5000, ')');
  EXPECT_EQ(refusal(deep), Code::kUnimplemented);
}

TEST(Regex, exponential_expressions_give_up) {
  auto regex = Regex::compile("(?:a+)+(?:a+)+(?:a+)+[bc]");
  ASSERT_TRUE(regex.ok());
  MatchScratch scratch;
  const auto match = regex->find(std::string(4000, 'a'), 0, &scratch);
  ASSERT_FALSE(match.ok());
  EXPECT_EQ(match.status().code(), Code::kExhausted);
}

TEST(Regex, every_prefix_of_a_pattern_is_an_error_or_an_expression) {
  const std::string pattern =
      R"((?i:'s|[^\r\n\p{L}\p{N}]?\p{L}+)|\p{N}{1,3}| ?[^\s\p{L}]+[\x{41}-\u005A]*|\s+(?!\S)|\b)";
  for (size_t length = 0; length <= pattern.size(); ++length) {
    const auto regex = Regex::compile(pattern.substr(0, length));
    if (!regex.ok()) {
      EXPECT_EQ(regex.status().code(), Code::kUnimplemented);
    }
  }
}

}  // namespace
}  // namespace bp::text
