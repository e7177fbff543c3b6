// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/normalizer.h"

#include <gtest/gtest.h>

#include <chrono>

namespace bp::text {
namespace {

std::string normalized(const std::vector<NormalizerStep>& steps, std::string text) {
  const auto normalizer = Normalizer::create(steps);
  EXPECT_TRUE(normalizer.ok()) << normalizer.status().to_string();
  PermissionMap none;
  MatchScratch scratch;
  const Status status = normalizer->apply(&text, &none, &scratch);
  EXPECT_TRUE(status.ok()) << status.to_string();
  return text;
}

TEST(Normalizer, unicode_forms) {
  EXPECT_EQ(normalized({{NormalizerKind::kNfc, "", ""}}, "e\u0301 \u212b"), "é Å");
  EXPECT_EQ(normalized({{NormalizerKind::kNfd, "", ""}}, "é"), "e\u0301");
  EXPECT_EQ(normalized({{NormalizerKind::kNfkc, "", ""}}, "ﬁ²"), "fi2");
  EXPECT_EQ(normalized({{NormalizerKind::kNfkd, "", ""}}, "①é"), "1e\u0301");
  EXPECT_EQ(normalized({{NormalizerKind::kNfc, "", ""}}, "\u1100\u1161\u11a8"), "각");
  EXPECT_EQ(normalized({{NormalizerKind::kNfc, "", ""}}, "q\u0307\u0323"), "q\u0323\u0307");
}

TEST(Normalizer, letters_and_blanks) {
  EXPECT_EQ(normalized({{NormalizerKind::kLowercase, "", ""}}, "ÀİΣ"), "ài\u0307σ");
  EXPECT_EQ(normalized({{NormalizerKind::kStripLeft, "", ""}}, "\u3000 a "), "a ");
  EXPECT_EQ(normalized({{NormalizerKind::kStripRight, "", ""}}, " a \n"), " a");
  EXPECT_EQ(normalized({{NormalizerKind::kStripAccents, "", ""}}, "e\u0301x"), "ex");
}

TEST(Normalizer, prepend_leaves_empty_text_alone) {
  EXPECT_EQ(normalized({{NormalizerKind::kPrepend, "", "▁"}}, ""), "");
  EXPECT_EQ(normalized({{NormalizerKind::kPrepend, "", "▁"}}, "a"), "▁a");
}

TEST(Normalizer, replacements) {
  EXPECT_EQ(normalized({{NormalizerKind::kReplaceLiteral, "aa", "b"}}, "aaaaa"), "bba");
  EXPECT_EQ(normalized({{NormalizerKind::kReplaceRegex, R"(\s{2,})", " "}}, "a  b\n\nc"), "a b c");
}

TEST(Normalizer, permissions_follow_the_text) {
  const auto normalizer = Normalizer::create({{NormalizerKind::kPrepend, "", "▁"},
                                              {NormalizerKind::kReplaceLiteral, " ", "▁"},
                                              {NormalizerKind::kNfc, "", ""}});
  ASSERT_TRUE(normalizer.ok());
  std::string text = "ab e\u0301";
  PermissionMap map = {1, 1, 0, 0, 1, 1};  // the accent is permitted, its letter is not
  MatchScratch scratch;
  ASSERT_TRUE(normalizer->apply(&text, &map, &scratch).ok());
  EXPECT_EQ(text, "▁ab▁e\u0301") << "composition must not cross a border of permission";
  EXPECT_EQ(map, (PermissionMap{1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1}));
}

TEST(Normalizer, growth_is_bounded) {
  const auto normalizer =
      Normalizer::create({{NormalizerKind::kReplaceLiteral, "a", std::string(16000, 'b')}});
  std::string text(100'000, 'a');
  PermissionMap none;
  MatchScratch scratch;
  EXPECT_EQ(normalizer->apply(&text, &none, &scratch).code(), Code::kExhausted);
}

TEST(Normalizer, long_runs_of_marks_are_not_quadratic) {
  std::string text = "a";
  for (int i = 0; i < 500'000; ++i) text += "\u0301\u0323";
  const auto start = std::chrono::steady_clock::now();
  const std::string out = normalized({{NormalizerKind::kNfc, "", ""}}, std::move(text));
  // Sorted by class: the dots below first, one of which composes with the letter.
  EXPECT_TRUE(out.starts_with("ạ\u0323"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace bp::text
