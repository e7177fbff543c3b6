// SPDX-License-Identifier: Apache-2.0
// GGUF vocabularies, GPT-2's pair of files, rank files, SentencePiece models and folders.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "compiler/import/tokenizer/byte_alphabet.h"
#include "compiler/import/tokenizer/folder.h"
#include "compiler/import/tokenizer/gguf_vocabulary.h"
#include "compiler/import/tokenizer/json_for_tests.h"
#include "compiler/import/tokenizer/pre_names.h"
#include "compiler/import/tokenizer/rank_file.h"
#include "compiler/import/tokenizer/sentencepiece_model.h"
#include "compiler/import/tokenizer/vocab_merges.h"
#include "core/text/tokenizer/tokenizer.h"

namespace bp {
namespace {

namespace fs = std::filesystem;
using text::TokenId;
using text::TokenizerSpec;
using Ids = std::vector<TokenId>;

Ids encoded(const TokenizerSpec& spec, std::string_view text) {
  const auto tokenizer = text::Tokenizer::create(spec);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  return tokenizer.ok() ? *(*tokenizer)->encode(text) : Ids();
}

// ---- disguises ----------------------------------------------------------------------------------

TEST(ByteAlphabet, disguises_and_fallback_names) {
  EXPECT_EQ(bytes_of_disguised("ĠtheĊ"), " the\n");
  EXPECT_EQ(bytes_of_disguised("Ã©"), "é");
  EXPECT_EQ(bytes_of_disguised("Ń"), "\xAD");
  EXPECT_FALSE(bytes_of_disguised("a b").has_value());
  EXPECT_FALSE(bytes_of_disguised("世").has_value());
  EXPECT_EQ(byte_of_fallback_token("<0x0A>"), 10);
  EXPECT_EQ(byte_of_fallback_token("<0xfF>"), 255);
  for (const char* other : {"<0x0>", "<0x0AA>", "0x0A", "<0xG0>", "<0x0A "}) {
    EXPECT_FALSE(byte_of_fallback_token(other).has_value()) << other;
  }
}

TEST(PreNames, every_name_compiles_and_others_are_refused) {
  for (const char* name : {"",
                           "default",
                           "llama-bpe",
                           "llama3",
                           "llama-v3",
                           "qwen2",
                           "deepseek-r1-qwen",
                           "qwen35",
                           "smollm",
                           "starcoder",
                           "gpt-2",
                           "phi-2",
                           "olmo",
                           "tekken",
                           "gpt-4o",
                           "llama4",
                           "deepseek-coder",
                           "deepseek-v3",
                           "stablelm2",
                           "smaug-bpe",
                           "dbrx",
                           "refact",
                           "codeshell",
                           "mpt",
                           "falcon3",
                           "pixtral",
                           "megrez"}) {
    const auto rules = named_pre_tokenizer(name);
    ASSERT_TRUE(rules.ok()) << name;
    TokenizerSpec spec;
    spec.tokens = {"a"};
    spec.types = {text::TokenType::kNormal};
    spec.pre_tokenizer = rules->steps;
    EXPECT_EQ(encoded(spec, "aaa a"), (Ids{0, 0, 0, 0})) << name;
  }
  const auto unknown = named_pre_tokenizer("no-such-rules");
  EXPECT_EQ(unknown.status().code(), Code::kUnimplemented);
  EXPECT_NE(unknown.status().message().find("no-such-rules"), std::string::npos);
}

// ---- GGUF ---------------------------------------------------------------------------------------

GgufVocabulary gpt2_vocabulary() {
  GgufVocabulary v;
  v.model = "gpt2";
  v.pre = "gpt-2";
  v.tokens = {"a", "b", "Ġ", "ab", "Ġab", "<|endoftext|>", "<think>"};
  v.types = {1, 1, 1, 1, 1, 3, 4};
  v.merges = {"a b", "Ġ ab"};
  v.bos_id = v.eos_id = 5;
  return v;
}

GgufVocabulary llama_vocabulary() {
  GgufVocabulary v;
  v.model = "llama";
  v.tokens = {"<unk>", "<s>", "</s>", "<0x0A>", "▁", "a", "▁a", "aa"};
  v.scores = {0, 0, 0, 0, -3, -4, -1, -2};
  v.types = {2, 3, 3, 6, 1, 1, 1, 1};
  v.bos_id = 1;
  v.eos_id = 2;
  v.unk_id = 0;
  return v;
}

TEST(GgufVocabulary, byte_level_by_merges) {
  const auto spec = import_gguf_tokenizer(gpt2_vocabulary());
  ASSERT_TRUE(spec.ok()) << spec.status().to_string();
  EXPECT_EQ(encoded(*spec, "ab ab<think><|endoftext|>").size(), 3u)
      << "characters without tokens vanish";
  EXPECT_EQ(encoded(*spec, "ab ab<think>"), (Ids{3, 4, 6}));
  EXPECT_EQ(spec->eos_ids, Ids{5});
  EXPECT_TRUE(spec->prefix_ids.empty());
  GgufVocabulary with_bos = gpt2_vocabulary();
  with_bos.add_bos = true;
  EXPECT_EQ(import_gguf_tokenizer(with_bos)->prefix_ids, Ids{5});
}

TEST(GgufVocabulary, sentencepiece_by_scores) {
  const auto spec = import_gguf_tokenizer(llama_vocabulary());
  ASSERT_TRUE(spec.ok()) << spec.status().to_string();
  EXPECT_EQ(encoded(*spec, "aa\n"), (Ids{1, 6, 5, 3}));
  GgufVocabulary bare = llama_vocabulary();
  bare.add_space_prefix = false;
  bare.add_bos = false;
  EXPECT_EQ(encoded(*import_gguf_tokenizer(bare), "aa"), (Ids{7}));
}

TEST(GgufVocabulary, turn_ends_join_the_eos_ids) {
  GgufVocabulary v = gpt2_vocabulary();
  v.tokens.push_back("<|im_end|>");
  v.types.push_back(3);
  EXPECT_EQ(import_gguf_tokenizer(v)->eos_ids, (Ids{5, 7}));
}

TEST(GgufVocabulary, broken_ones_are_refused) {
  const auto code = [](GgufVocabulary v, auto&& edit) {
    edit(&v);
    return import_gguf_tokenizer(v).status().code();
  };
  EXPECT_EQ(code(gpt2_vocabulary(), [](auto* v) { v->model = "bert"; }), Code::kUnimplemented);
  EXPECT_EQ(code(gpt2_vocabulary(), [](auto* v) { v->pre = "mystery"; }), Code::kUnimplemented);
  EXPECT_EQ(code(gpt2_vocabulary(), [](auto* v) { v->has_charsmap = true; }), Code::kUnimplemented);
  EXPECT_EQ(code(gpt2_vocabulary(), [](auto* v) { v->merges[0] = "ab"; }), Code::kCorrupt);
  EXPECT_EQ(code(gpt2_vocabulary(), [](auto* v) { v->merges[0] = "a z"; }), Code::kCorrupt);
  EXPECT_EQ(code(gpt2_vocabulary(), [](auto* v) { v->merges[0] = ""; }), Code::kCorrupt);
  EXPECT_EQ(code(gpt2_vocabulary(), [](auto* v) { v->merges[0] = "b a"; }), Code::kOk)
      << "joins to no token: found when the tables are built";
  EXPECT_EQ(code(gpt2_vocabulary(), [](auto* v) { v->tokens[1] = "a"; }), Code::kCorrupt);
  EXPECT_EQ(code(gpt2_vocabulary(), [](auto* v) { v->types.pop_back(); }), Code::kCorrupt);
  EXPECT_EQ(code(gpt2_vocabulary(), [](auto* v) { v->types[0] = 99; }), Code::kCorrupt);
  EXPECT_EQ(code(gpt2_vocabulary(), [](auto* v) { v->bos_id = 99; }), Code::kCorrupt);
  EXPECT_EQ(code(gpt2_vocabulary(), [](auto* v) { v->tokens.clear(); }), Code::kCorrupt);
  EXPECT_EQ(code(llama_vocabulary(), [](auto* v) { v->scores.clear(); }), Code::kCorrupt);
  EXPECT_EQ(code(llama_vocabulary(), [](auto* v) { v->tokens[3] = "x"; }), Code::kCorrupt);
  EXPECT_EQ(code(llama_vocabulary(), [](auto* v) { v->tokens[5] = "\xFF"; }), Code::kCorrupt);
  EXPECT_EQ(code(llama_vocabulary(), [](auto* v) { v->tokens[5] = ""; }), Code::kCorrupt);
}

// ---- GPT-2's pair -------------------------------------------------------------------------------

TEST(VocabMerges, pair_of_files_with_configuration) {
  const std::string vocab = R"({"a":0,"b":1,"ab":2,"Ġ":3})";
  const std::string config =
      R"({"eos_token":"<|e|>","added_tokens_decoder":{"4":{"content":"<|e|>","special":true}}})";
  const auto spec = import_vocab_merges(vocab, "#version: 0.2\na b\n", config, "gpt-2");
  ASSERT_TRUE(spec.ok()) << spec.status().to_string();
  EXPECT_EQ(encoded(*spec, "ab a"), (Ids{2, 3, 0}));
  EXPECT_EQ(spec->eos_ids, Ids{4});
  EXPECT_EQ(import_vocab_merges(vocab, "a c\n", "", "gpt-2").status().code(), Code::kCorrupt);
  EXPECT_EQ(import_vocab_merges(vocab, "ab\n", "", "gpt-2").status().code(), Code::kCorrupt);
  EXPECT_EQ(import_vocab_merges(vocab, "", "", "?").status().code(), Code::kUnimplemented);
  EXPECT_EQ(import_vocab_merges("[1]", "", "", "gpt-2").status().code(), Code::kCorrupt);
}

// ---- ranks --------------------------------------------------------------------------------------

TEST(RankFile, ranks_order_the_merges) {
  const auto spec = import_rank_file("YQ== 0\nYg== 1\nYWI= 2\r\nYmE= 3\n", {}, "qwen2");
  ASSERT_TRUE(spec.ok()) << spec.status().to_string();
  EXPECT_EQ(encoded(*spec, "aba"), (Ids{2, 0}));
}

TEST(RankFile, broken_lines_are_named) {
  for (const char* text :
       {"YQ==\n", "YQ= 0\n", "Y!== 0\n", "YQ== x\n", "YQ== -1\n", "YQ== 4194304\n",
        "YQ== 0\nYg== 0\n", "YQ== 0\nYQ== 1\n", " 0\n", "", "==== 0\n"}) {
    const auto spec = import_rank_file(text, {}, "qwen2");
    ASSERT_FALSE(spec.ok()) << text;
    EXPECT_EQ(spec.status().code(), Code::kCorrupt) << spec.status().to_string();
  }
}

// ---- SentencePiece ------------------------------------------------------------------------------

std::string field(unsigned number, std::string_view bytes) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  out.push_back(static_cast<char>(bytes.size()));  // under 128 in these tests
  return out.append(bytes);
}
std::string number(unsigned field_number, unsigned value) {
  std::string out;
  for (unsigned key = field_number << 3;; key >>= 7) {
    out.push_back(static_cast<char>((key & 0x7F) | (key > 0x7F ? 0x80 : 0)));
    if (key <= 0x7F) break;
  }
  out.push_back(static_cast<char>(value));
  return out;
}
std::string piece(std::string_view text, uint8_t quarters_below_zero, unsigned type) {
  // -0.25 * n in float: only the few values that the tests use.
  std::string score(1, static_cast<char>(2 << 3 | 5));
  const float value = -0.25f * static_cast<float>(quarters_below_zero);
  score.append(reinterpret_cast<const char*>(&value), sizeof value);
  return field(1, field(1, text) + score + number(3, type));
}

std::string small_model(unsigned model_type = 2, const std::string& normalizer = "") {
  return piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) + piece("<0x0A>", 0, 6) +
         piece("▁a", 4, 1) + piece("▁", 8, 1) + piece("a", 12, 1) + piece("▁▁b", 0, 4) +
         field(2, number(3, model_type) + number(35, 1)) +
         field(3, normalizer.empty() ? number(4, 0) : normalizer);
}

TEST(SentencePiece, bpe_model_is_read) {
  const auto spec = import_sentencepiece_model(small_model(), "");
  ASSERT_TRUE(spec.ok()) << spec.status().to_string();
  EXPECT_EQ(spec->kind, text::ModelKind::kBpeSpm);
  EXPECT_EQ(encoded(*spec, "a\na"), (Ids{1, 4, 3, 6}));
  EXPECT_EQ(encoded(*spec, "a  b"), (Ids{1, 4, 7})) << "user-defined pieces stand in the text";
  EXPECT_EQ(import_sentencepiece_model(small_model(1), "")->kind, text::ModelKind::kUnigram);
}

TEST(SentencePiece, extra_blanks_go_where_the_model_says) {
  const auto spec = import_sentencepiece_model(small_model(2, number(4, 1)), "");
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(encoded(*spec, "  a   a "), (Ids{1, 4, 4}));
}

TEST(SentencePiece, unusual_models_are_refused) {
  const auto code = [](const std::string& model) {
    return import_sentencepiece_model(model, "").status().code();
  };
  EXPECT_EQ(code(small_model(3)), Code::kUnimplemented);
  EXPECT_EQ(code(small_model(2, field(1, "nmt_nfkc") + field(2, "xx"))), Code::kUnimplemented);
  EXPECT_EQ(code(small_model(2, number(5, 0))), Code::kUnimplemented);
  EXPECT_EQ(code("not a model"), Code::kCorrupt);
  EXPECT_EQ(code(""), Code::kCorrupt);
}

TEST(SentencePiece, every_truncation_and_changed_byte_is_an_error_or_a_tokenizer) {
  const std::string whole = small_model();
  for (size_t length = 0; length < whole.size(); ++length) {
    const auto spec = import_sentencepiece_model(whole.substr(0, length), "");
    if (spec.ok()) {
      EXPECT_TRUE(text::Tokenizer::create(*spec).ok());
    }
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    for (int value = 0; value < 256; value += 5) {
      std::string changed = whole;
      changed[at] = static_cast<char>(value);
      const auto spec = import_sentencepiece_model(changed, "");
      if (!spec.ok()) continue;
      const auto tokenizer = text::Tokenizer::create(*spec);
      if (tokenizer.ok()) {
        EXPECT_TRUE((*tokenizer)->encode("a\na <s>").ok());
      }
    }
  }
}

// ---- folders ------------------------------------------------------------------------------------

class Folder : public testing::Test {
 protected:
  void SetUp() override {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::path(testing::TempDir()) / ("bp_tokenizer_" + name);
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void put(const char* name, std::string_view text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  fs::path folder_;
};

TEST_F(Folder, takes_the_best_file_and_the_template_beside_it) {
  put("tokenizer.json", small_tokenizer_json());
  put("tokenizer.model", "broken");
  put("tokenizer_config.json", R"({"chat_template":"old"})");
  put("chat_template.jinja", "new");
  const auto spec = import_tokenizer_folder(folder_);
  ASSERT_TRUE(spec.ok()) << spec.status().to_string();
  EXPECT_EQ(spec->chat_template, "new");
  fs::remove(folder_ / "tokenizer.json");
  EXPECT_EQ(import_tokenizer_folder(folder_).status().code(), Code::kCorrupt);
  put("tokenizer.model", small_model());
  EXPECT_TRUE(import_tokenizer_folder(folder_).ok());
}

TEST_F(Folder, pairs_need_a_known_class) {
  put("vocab.json", R"({"a":0})");
  put("merges.txt", "");
  EXPECT_EQ(import_tokenizer_folder(folder_).status().code(), Code::kUnimplemented);
  put("tokenizer_config.json", R"({"tokenizer_class":"GPT2Tokenizer"})");
  EXPECT_TRUE(import_tokenizer_folder(folder_).ok());
}

TEST_F(Folder, without_files_the_error_names_them) {
  const auto spec = import_tokenizer_folder(folder_);
  EXPECT_EQ(spec.status().code(), Code::kNotFound);
  EXPECT_NE(spec.status().message().find("tokenizer.json"), std::string::npos);
}

}  // namespace
}  // namespace bp
