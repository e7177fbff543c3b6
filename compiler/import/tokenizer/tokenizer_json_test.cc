// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/tokenizer/tokenizer_json.h"

#include <gtest/gtest.h>

#include <vector>

#include "compiler/import/tokenizer/json_for_tests.h"
#include "core/text/tokenizer/tokenizer.h"

namespace bp {
namespace {

using text::TokenId;
using text::TokenizerSpec;
using Ids = std::vector<TokenId>;

Result<TokenizerSpec> imported(const std::string& json, std::string_view config = "",
                               std::string_view generation = "") {
  return import_tokenizer_json({json, config, generation});
}

struct Refusal {
  const char* what;
  const char* by;
  Code code;
  const char* names;  // a part of the message
};

TEST(TokenizerJson, small_file_is_read_whole) {
  const auto spec = imported(small_tokenizer_json());
  ASSERT_TRUE(spec.ok()) << spec.status().to_string();
  EXPECT_EQ(spec->kind, text::ModelKind::kBpeMerges);
  EXPECT_EQ(spec->tokens.size(), 11u);
  EXPECT_EQ(spec->tokens[2], "\n");
  EXPECT_EQ(spec->types[2], text::TokenType::kByte);
  EXPECT_EQ(spec->types[10], text::TokenType::kUserDefined);
  EXPECT_EQ(spec->bos_id, 1);
  EXPECT_EQ(spec->prefix_ids, Ids{1});
  const auto tokenizer = text::Tokenizer::create(*spec);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  EXPECT_EQ(*(*tokenizer)->encode("hi<tool>\né"), (Ids{1, 9, 10, 5, 2, 3, 4}));
  EXPECT_EQ(*(*tokenizer)->decode(Ids{1, 9, 9, 2, 3, 4}), "hi hi\né");
}

TEST(TokenizerJson, what_is_not_implemented_is_refused_by_name) {
  const std::vector<Refusal> refusals = {
      {"\"type\":\"BPE\"", "\"type\":\"WordPiece\"", Code::kUnimplemented, "WordPiece"},
      {"\"dropout\":null", "\"dropout\":0.1", Code::kUnimplemented, "dropout"},
      {"\"end_of_word_suffix\":null", "\"end_of_word_suffix\":\"</w>\"", Code::kUnimplemented,
       "end_of_word_suffix"},
      {"\"fuse_unk\":true", "\"fuse_unk\":true,\"novelty\":1", Code::kUnimplemented, "novelty"},
      {"\"version\":\"1.0\"", "\"version\":\"1.0\",\"extra\":{}", Code::kUnimplemented, "extra"},
      {"\"type\":\"Prepend\",\"prepend\":\"▁\"", "\"type\":\"Nmt\"", Code::kUnimplemented, "Nmt"},
      {"\"type\":\"Prepend\",\"prepend\":\"▁\"",
       "\"type\":\"Precompiled\",\"precompiled_charsmap\":\"\"", Code::kUnimplemented,
       "Precompiled"},
      {"\"pre_tokenizer\":null", "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}",
       Code::kUnimplemented, "BertPreTokenizer"},
      {"\"pre_tokenizer\":null",
       "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\","
       "\"add_prefix_space\":false},{\"type\":\"Digits\"}]}",
       Code::kUnimplemented, "after ByteLevel"},
      {"\"type\":\"TemplateProcessing\"", "\"type\":\"BertProcessing\"", Code::kUnimplemented,
       "BertProcessing"},
      {"{\"type\":\"ByteFallback\"},", "", Code::kUnimplemented, "ByteFallback"},
      {"{\"type\":\"Fuse\"},", "", Code::kUnimplemented, "Strip"},
      {"\"type\":\"Fuse\"", "\"type\":\"CTC\"", Code::kUnimplemented, "CTC"},
      {"\"special\":true", "\"special\":true,\"color\":1", Code::kUnimplemented, "color"},
  };
  for (const Refusal& refusal : refusals) {
    const std::string json = edited(small_tokenizer_json(), refusal.what, refusal.by);
    ASSERT_FALSE(json.empty()) << refusal.what;
    const auto spec = imported(json);
    ASSERT_FALSE(spec.ok()) << refusal.by;
    EXPECT_EQ(spec.status().code(), refusal.code) << spec.status().to_string();
    EXPECT_NE(spec.status().message().find(refusal.names), std::string::npos)
        << spec.status().to_string();
  }
}

TEST(TokenizerJson, broken_files_are_corrupt) {
  const std::vector<Refusal> refusals = {
      {"\"h\":6", "\"h\":7", Code::kCorrupt, "share the id 7"},
      {"\"h\":6", "\"h\":-6", Code::kCorrupt, "'h'"},
      {"\"h\":6", "\"h\":6,\"h\":11", Code::kCorrupt, "'h'"},
      {"\"h\":6", "\"h\":4194304", Code::kCorrupt, "'h'"},
      {"\"h\":6", "\"h\":1e99", Code::kCorrupt, "'h'"},
      {"\"h\":6", "\"\":6", Code::kCorrupt, "empty"},
      {"\"▁ h\"", "\"▁ z\"", Code::kCorrupt, "'z'"},
      {"\"▁ h\"", "\"▁h\"", Code::kCorrupt, "merge 0"},
      {"\"▁ h\"", "[\"▁\"]", Code::kCorrupt, "merge 0"},
      {"\"▁ h\"", "17", Code::kCorrupt, "merge 0"},
      {"\"id\":10", "\"id\":9", Code::kCorrupt, "<tool>"},
      {"\"id\":1,", "\"id\":12,", Code::kCorrupt, "<s>"},
      {"\"id\":10", "\"id\":4194304", Code::kCorrupt, "4194304"},
      {"\"unk_token\":\"<unk>\"", "\"unk_token\":\"<nope>\"", Code::kCorrupt, "<nope>"},
      {"\"ids\":[1]", "\"ids\":[99]", Code::kCorrupt, "outside"},
      {"\"pattern\":{\"String\":\" \"}", "\"pattern\":{}", Code::kCorrupt, "pattern"},
      {"\"vocab\":{", "\"vocab\":{\"\\ud800\":11,", Code::kCorrupt, "JSON"},
      {"\"model\":", "\"modal\":", Code::kUnimplemented, "modal"},
  };
  for (const Refusal& refusal : refusals) {
    const std::string json = edited(small_tokenizer_json(), refusal.what, refusal.by);
    ASSERT_FALSE(json.empty()) << refusal.what;
    const auto spec = imported(json);
    ASSERT_FALSE(spec.ok()) << refusal.by;
    EXPECT_EQ(spec.status().code(), refusal.code) << spec.status().to_string();
    EXPECT_NE(spec.status().message().find(refusal.names), std::string::npos)
        << spec.status().to_string();
  }
}

TEST(TokenizerJson, every_truncation_is_an_error) {
  const std::string whole = small_tokenizer_json();
  for (size_t length = 0; length < whole.size(); ++length) {
    const auto spec = imported(whole.substr(0, length));
    ASSERT_FALSE(spec.ok()) << length;
  }
}

TEST(TokenizerJson, every_changed_byte_is_an_error_or_a_tokenizer) {
  const std::string whole = small_tokenizer_json();
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const char c : {'\0', '"', '}', '[', '9', 'x', '\xFF'}) {
      std::string changed = whole;
      changed[at] = c;
      const auto spec = imported(changed);
      if (!spec.ok()) continue;
      const auto tokenizer = text::Tokenizer::create(*spec);
      if (!tokenizer.ok()) continue;
      const auto ids = (*tokenizer)->encode("hi é <s>\n");
      ASSERT_TRUE(ids.ok());
      ASSERT_TRUE((*tokenizer)->decode(*ids).ok());
    }
  }
}

TEST(TokenizerJson, deep_nesting_is_refused_before_parsing) {
  const std::string json(100'000, '[');
  EXPECT_EQ(imported(json).status().code(), Code::kExhausted);
}

TEST(TokenizerJson, nested_sequences_are_flattened_in_order) {
  const auto spec = imported(edited(small_tokenizer_json(), "\"pre_tokenizer\":null",
                                    R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[
      {"type":"Digits","individual_digits":true},
      {"type":"Sequence","pretokenizers":[{"type":"Punctuation","behavior":"Removed"}]},
      {"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false}]})"));
  ASSERT_TRUE(spec.ok()) << spec.status().to_string();
  ASSERT_EQ(spec->pre_tokenizer.size(), 3u);
  EXPECT_EQ(spec->pre_tokenizer[0].kind, text::PreTokenizerKind::kDigits);
  EXPECT_TRUE(spec->pre_tokenizer[0].individual);
  EXPECT_EQ(spec->pre_tokenizer[1].behavior, text::SplitBehavior::kRemoved);
  EXPECT_EQ(spec->pre_tokenizer[2].prepend, text::PrependScheme::kFirst);
  EXPECT_FALSE(spec->pre_tokenizer[2].split);
}

TEST(TokenizerJson, configuration_names_the_roles) {
  const std::string config =
      R"({"bos_token":"<s>","eos_token":{"content":"<tool>"},"pad_token":"<unk>",
      "tokenizer_class":"LlamaTokenizerFast","add_bos_token":false,"add_eos_token":true,
      "chat_template":[{"name":"tool_use","template":"T"},{"name":"default","template":"D"}]})";
  const auto spec = imported(small_tokenizer_json(), config, R"({"eos_token_id":[10,7]})");
  ASSERT_TRUE(spec.ok()) << spec.status().to_string();
  EXPECT_EQ(spec->eos_ids, (Ids{10, 7}));
  EXPECT_EQ(spec->pad_id, 0);
  EXPECT_EQ(spec->chat_template, "D");
  EXPECT_EQ(spec->prefix_ids, Ids{});
  EXPECT_EQ(spec->suffix_ids, Ids{10});
  EXPECT_EQ(imported(small_tokenizer_json(), R"({"eos_token":"<nope>"})").status().code(),
            Code::kCorrupt);
  EXPECT_EQ(imported(small_tokenizer_json(), "", R"({"eos_token_id":11})").status().code(),
            Code::kCorrupt);
  EXPECT_EQ(imported(small_tokenizer_json(), "[]").status().code(), Code::kCorrupt);
}

}  // namespace
}  // namespace bp
