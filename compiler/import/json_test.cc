// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compiler/import/scratch_folder.h"
#include "compiler/import/utf8.h"

namespace bp {
namespace {

using ::testing::HasSubstr;

std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  auto document = parse_json(text, limits);
  return document.ok() ? "accepted" : document.status().to_string();
}

TEST(Json, typed_members_are_read) {
  const Json j =
      parse_json(R"({"n": 7, "i": -7, "x": 0.5, "t": true, "s": "caf\u00e9", "z": null})").value();
  EXPECT_EQ(json_u64(j, "n").value(), 7u);
  EXPECT_EQ(json_i64(j, "i").value(), -7);
  EXPECT_EQ(json_f64(j, "x").value(), 0.5);
  EXPECT_EQ(json_f64(j, "n").value(), 7.0);
  EXPECT_TRUE(json_bool(j, "t").value());
  EXPECT_EQ(json_string(j, "s").value(), "caf\xc3\xa9");
  EXPECT_EQ(json_find(j, "z"), nullptr);
  EXPECT_EQ(json_u64_or(j, "z", 3).value(), 3u);
  EXPECT_EQ(json_string_or(j, "none", "x").value(), "x");
  EXPECT_EQ(json_f64_or(j, "none", 1.5).value(), 1.5);
  EXPECT_EQ(json_i64_or(j, "none", -1).value(), -1);
  EXPECT_FALSE(json_bool_or(j, "none", false).value());
}

TEST(Json, wrong_types_are_errors_that_name_the_key) {
  const Json j =
      parse_json(R"({"n": -1, "x": 0.5, "big": 18446744073709551615, "s": "7"})").value();
  EXPECT_THAT(json_u64(j, "n").status().to_string(),
              HasSubstr("'n' must be an integer of at least 0"));
  EXPECT_FALSE(json_u64(j, "x").ok());
  EXPECT_FALSE(json_u64_or(j, "s", 1).ok());
  EXPECT_FALSE(json_i64(j, "big").ok());
  EXPECT_FALSE(json_f64(j, "s").ok());
  EXPECT_FALSE(json_bool(j, "n").ok());
  EXPECT_FALSE(json_string(j, "n").ok());
  EXPECT_EQ(json_u64(j, "none").status().code(), Code::kNotFound);
  EXPECT_FALSE(json_u64(Json::array(), "none").ok());
}

TEST(Json, damaged_text_is_refused) {
  for (const char* text :
       {"", "{", "[1,]", "{\"a\":}", "{'a':1}", "nul", "1e999", "[1] 2", "\"\xff\"", "\"\\ud800\"",
        "{\"a\" 1}", "[NaN]", "\"unended", "}", "]"}) {
    EXPECT_THAT(refusal(text), HasSubstr("CORRUPT")) << text;
  }
}

TEST(Json, a_key_twice_in_one_object_is_refused) {
  EXPECT_THAT(refusal(R"({"a": {"b": 1, "b": 2}})"), HasSubstr("'b' occurs twice"));
  EXPECT_THAT(refusal(R"({"b": 1, "\u0062": 2})"), HasSubstr("twice"));  // spelled otherwise
  EXPECT_EQ(refusal(R"({"a": {"b": 1}, "b": [{"b": 1}, {"b": 2}]})"), "accepted");
}

TEST(Json, limits_hold_before_parsing) {
  const std::string deep = std::string(5'000'000, '[');
  EXPECT_THAT(refusal(deep), HasSubstr("nested more than 128 deep"));
  EXPECT_THAT(refusal("[[[]]]", {100, 2}), HasSubstr("EXHAUSTED"));
  EXPECT_EQ(refusal("[[],[],{}]", {100, 2}), "accepted");
  EXPECT_EQ(refusal(R"(["[[[[\"[["])", {100, 2}), "accepted");  // brackets in strings are text
  EXPECT_THAT(refusal("[1, 2]", {5, 8}), HasSubstr("at most 5"));
}

TEST(Json, files_are_named_in_errors) {
  ScratchFolder folder;
  EXPECT_THAT(read_json_file(folder.write("c.json", "{")).status().to_string(),
              HasSubstr("c.json"));
  EXPECT_EQ(read_json_file(folder.path() / "d.json").status().code(), Code::kNotFound);
  EXPECT_TRUE(read_json_file(folder.write("e.json", "{}")).ok());
}

TEST(Utf8, borders_of_every_length_are_known) {
  for (const char* good : {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  for (const char* bad :
       {"\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xef\xbf", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe1\x80z"}) {
    EXPECT_FALSE(is_utf8(bad)) << bad;
  }
  EXPECT_FALSE(is_printable_utf8("a\nb"));
  EXPECT_TRUE(is_printable_utf8("a b\xc3\xa9"));
}

}  // namespace
}  // namespace bp
