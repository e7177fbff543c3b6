// SPDX-License-Identifier: Apache-2.0
// Every tokenizer against what the reference says: `tokenizers` for the vocabularies made here and
// for those beside the checkout, and the expected ids that come with the latter.
#include <gtest/gtest.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "compiler/import/json.h"
#include "core/platform/file.h"
#include "tests/golden/tokenizer/probe.h"

namespace bp {
namespace {

namespace fs = std::filesystem;
using text::TokenId;

const fs::path kGoldens = fs::path(BP_SOURCE_DIR) / "tests/golden/tokenizer";
const fs::path kShared = fs::path(BP_SHARED_DIR) / "tokenizers";
constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";

std::string read(const fs::path& path) {
  auto text = read_text_file(path, uint64_t{64} << 20);
  EXPECT_TRUE(text.ok()) << text.status().to_string();
  return text.ok() ? *text : std::string();
}

std::vector<std::string> split(std::string_view text, std::string_view separator) {
  std::vector<std::string> parts;
  for (size_t at = text.find(separator); at != std::string_view::npos; at = text.find(separator)) {
    parts.emplace_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  parts.emplace_back(text);
  return parts;
}

// FNV-1a, 64 bits, folded to 32.
uint32_t digest(std::string_view bytes) {
  uint64_t value = 0xCBF29CE484222325u;
  for (const char c : bytes) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return static_cast<uint32_t>(value ^ value >> 32);
}

std::string bytes_of(const std::vector<TokenId>& ids) {
  std::string bytes;
  for (const TokenId id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<char>(static_cast<uint32_t>(id) >> shift & 0xFF));
    }
  }
  return bytes;
}

std::string answer(const text::Tokenizer& tokenizer, const std::string& text) {
  text::EncodeOptions plain;
  plain.bos = plain.eos = text::Affix::kNever;
  text::EncodeOptions special;
  special.parse_special = true;
  const auto plain_ids = tokenizer.encode(text, plain);
  const auto ids = tokenizer.encode(text, special);
  if (!plain_ids.ok() || !ids.ok()) return "an error";
  const auto hidden = tokenizer.decode(*ids, true);
  const auto shown = tokenizer.decode(*ids, false);
  if (!hidden.ok() || !shown.ok()) return "an error";
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", digest(bytes_of(*plain_ids)),
                     digest(bytes_of(*ids)), digest(*hidden), digest(*shown));
}

std::vector<std::string> golden_texts() {
  std::vector<std::string> texts;
  for (const std::string& line : split(read(kGoldens / "texts.jsonl"), "\n")) {
    if (line.empty()) continue;
    const auto json = parse_json(line);
    EXPECT_TRUE(json.ok()) << line;
    if (json.ok()) texts.push_back(json->get<std::string>());
  }
  return texts;
}

void expect_golden(const std::string& name, const fs::path& tokenizer_json) {
  const auto tokenizer = open_tokenizer("json:" + tokenizer_json.string());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  const std::vector<std::string> texts = golden_texts();
  const std::vector<std::string> goldens = split(read(kGoldens / (name + ".golden")), "\n");
  ASSERT_EQ(texts.size(), 1000u);
  ASSERT_EQ(goldens.size(), texts.size() + 2);  // the file's digest before, an empty line after
  ASSERT_EQ(fmt::format("{:08x}", digest(read(tokenizer_json))), goldens[0])
      << tokenizer_json << " has changed: run tests/golden/tokenizer/golden.py write";
  for (size_t i = 0; i < texts.size(); ++i) {
    ASSERT_EQ(answer(**tokenizer, texts[i]), goldens[i + 1])
        << name << ", text " << i << ": " << texts[i];
  }
}

class Synthetic : public testing::TestWithParam<const char*> {};
TEST_P(Synthetic, tokenizer_equals_the_reference) {
  const std::string name = GetParam();
  expect_golden(name, kGoldens / "vocabularies" / (name + ".json"));
}
INSTANTIATE_TEST_SUITE_P(Golden, Synthetic,
                         testing::Values("mistral", "gemma", "llama3", "qwen", "unigram",
                                         "unigram_bytes", "splits", "words"),
                         [](const auto& param) { return std::string(param.param); });

class Shared : public testing::TestWithParam<const char*> {};
TEST_P(Shared, tokenizer_json_equals_the_reference) {
  const std::string name = GetParam();
  const fs::path path = kShared / name / "tokenizer.json";
  if (!fs::exists(path)) GTEST_SKIP() << path << " is not there";
  expect_golden("shared-" + name, path);
}
INSTANTIATE_TEST_SUITE_P(Golden, Shared, testing::Values("gpt-2", "phi-3", "smollm"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(Demo, tokenizer_json_equals_the_reference) {
  const fs::path path = fs::path(BP_SOURCE_DIR) / "models/demo/tokenizer.json";
  if (!fs::exists(path)) GTEST_SKIP() << path << " is not there";
  if (!fs::exists(kGoldens / "demo.golden")) GTEST_SKIP() << "golden.py has not seen it yet";
  expect_golden("demo", path);
}

// ---- the expected ids beside the checkout: 47 texts each
// -----------------------------------------

struct Expected {
  const char* name;
  const char* source;  // with @ for the folder
  const char* texts;   // .inp and .out
};

class ExpectedIds : public testing::TestWithParam<Expected> {};
TEST_P(ExpectedIds, all_texts_give_all_ids) {
  const Expected& expected = GetParam();
  if (!fs::exists(kShared)) GTEST_SKIP() << kShared << " is not there";
  std::string source = expected.source;
  for (size_t at = source.find('@'); at != std::string::npos; at = source.find('@')) {
    source.replace(at, 1, kShared.string());
  }
  const auto tokenizer = open_tokenizer(source);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().to_string();
  std::string inputs = read(kShared / (std::string(expected.texts) + ".inp"));
  const std::vector<std::string> texts = split(inputs, kSeparator);
  std::vector<std::string> lines =
      split(read(kShared / (std::string(expected.texts) + ".out")), "\n");
  ASSERT_EQ(texts.size(), 47u);
  ASSERT_GE(lines.size(), texts.size());
  text::EncodeOptions options;
  options.bos = options.eos = text::Affix::kNever;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto ids = (*tokenizer)->encode(texts[i], options);
    ASSERT_TRUE(ids.ok()) << ids.status().to_string();
    std::string line;
    for (const TokenId id : *ids) line.append(" ").append(std::to_string(id));
    EXPECT_EQ(line, lines[i]) << "text " << i << ": '" << texts[i] << "'";
    const auto back = (*tokenizer)->decode(*ids);
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, texts[i]);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Golden, ExpectedIds,
    testing::Values(
        Expected{"gpt2_gguf", "gguf:@/gpt-2/ggml-vocab-gpt-2.gguf", "gpt-2/ggml-vocab-gpt-2.gguf"},
        Expected{"gpt2_json", "json:@/gpt-2/tokenizer.json", "gpt-2/ggml-vocab-gpt-2.gguf"},
        Expected{"llama2_gguf", "gguf:@/llama2/ggml-vocab-llama-spm.gguf",
                 "llama2/ggml-vocab-llama-spm.gguf"},
        Expected{"llama2_model", "model:@/llama2/tokenizer.model",
                 "llama2/ggml-vocab-llama-spm.gguf"},
        Expected{"llama3_pair",
                 "pair:llama-bpe:@/llama3/encoder.json:@/llama3/vocab.bpe:"
                 "@/llama3/tokenizer_config.json",
                 "llama3/ggml-vocab-llama-bpe.gguf"},
        Expected{"phi3_gguf", "gguf:@/phi-3/ggml-vocab-phi-3.gguf", "phi-3/ggml-vocab-phi-3.gguf"},
        Expected{"phi3_json", "json:@/phi-3/tokenizer.json", "phi-3/ggml-vocab-phi-3.gguf"},
        Expected{"qwen2_ranks", "ranks:qwen2:@/qwen2/qwen.tiktoken",
                 "qwen2/ggml-vocab-qwen2.gguf"}),
    [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace bp
