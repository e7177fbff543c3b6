// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/utf8.h"

#include <gtest/gtest.h>

namespace bp::text::utf8 {
namespace {

std::string repaired(std::string_view text) {
  std::string out;
  append_repaired(text, &out);
  return out;
}

TEST(Utf8, every_code_point_comes_back) {
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append(c, &text);
    const Decoded decoded = decode(text);
    ASSERT_TRUE(decoded.well_formed) << c;
    ASSERT_EQ(decoded.code_point, c);
    ASSERT_EQ(decoded.length, text.size());
    ASSERT_EQ(length_of_lead(static_cast<unsigned char>(text[0])), text.size());
  }
}

TEST(Utf8, ill_formed_sequences_are_rejected) {
  for (const std::string_view bad :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xED\xA0\x80",
        "\xED\xBF\xBF", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80", "\xFF", "\xC3", "\xE2\x82", "\xF0\x9F\x98"}) {
    EXPECT_FALSE(is_valid(bad));
    EXPECT_FALSE(decode(bad).well_formed);
  }
}

TEST(Utf8, repair_marks_each_maximal_subpart_once) {
  const std::string mark(kReplacement);
  EXPECT_EQ(repaired("aé"), "aé");
  EXPECT_EQ(repaired("\xF0\x9F\x98"), mark);
  EXPECT_EQ(repaired("\xF0\x9F\x98"
                     "a"),
            mark + "a");
  EXPECT_EQ(repaired("\xE2\x82\xE2\x82\xAC"), mark + "€");
  // The example of the Unicode standard, section 3.9.
  EXPECT_EQ(repaired("a\xF1\x80\x80\xE1\x80\xC2"
                     "b\x80"
                     "c\x80\xBF"
                     "d"),
            "a" + mark + mark + mark + "b" + mark + "c" + mark + mark + "d");
  EXPECT_EQ(repaired("\xED\xA0\x80"), mark + mark + mark);
}

TEST(Utf8, truncated_characters_are_told_from_broken_ones) {
  EXPECT_TRUE(decode("\xF0\x9F").truncated);
  EXPECT_FALSE(decode("\xF0\x9F"
                      "a")
                   .truncated);
  EXPECT_FALSE(decode("\xFF").truncated);
}

TEST(Utf8, whitespace_is_the_unicode_property) {
  size_t count = 0;
  for (uint32_t c = 0; c < 0x110000; ++c) count += is_whitespace(c) ? 1 : 0;
  EXPECT_EQ(count, 25u);
  EXPECT_FALSE(is_whitespace(0x180E));
  EXPECT_EQ(trailing_whitespace("a \u3000\n"), 5u);
  EXPECT_EQ(leading_whitespace("\u00a0\tb "), 3u);
  EXPECT_EQ(trailing_whitespace(""), 0u);
  EXPECT_EQ(trailing_whitespace("  "), 2u);
}

TEST(Utf8, words_are_made_of_letters_marks_digits_and_connectors) {
  EXPECT_TRUE(ends_with_word("naïve"));
  EXPECT_TRUE(ends_with_word("e\u0301"));
  EXPECT_TRUE(starts_with_word("_x"));
  EXPECT_FALSE(ends_with_word("a-"));
  EXPECT_FALSE(starts_with_word(""));
  EXPECT_FALSE(starts_with_word("。"));
}

}  // namespace
}  // namespace bp::text::utf8
