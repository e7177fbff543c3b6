// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/tokenizer/folder.h"

#include <string>
#include <system_error>
#include <utility>

#include "compiler/import/tokenizer/sentencepiece_model.h"
#include "compiler/import/tokenizer/tokenizer_config.h"
#include "compiler/import/tokenizer/tokenizer_json.h"
#include "compiler/import/tokenizer/vocab_merges.h"
#include "core/base/limits.h"
#include "core/platform/file.h"

namespace bp {
namespace {

namespace fs = std::filesystem;
using text::TokenizerSpec;

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// The file's text, or "" when there is no such file.
Result<std::string> read_if_there(const fs::path& path,
                                  uint64_t max_bytes = limits::kMaxJsonBytes) {
  if (!is_there(path)) return std::string();
  return read_text_file(path, max_bytes);
}

// Which rules a tokenizer class in Python stands for.
Result<std::string_view> pre_name_of_class(std::string_view name) {
  if (name.starts_with("GPT2Tokenizer")) return std::string_view("gpt-2");
  if (name.starts_with("Qwen2Tokenizer")) return std::string_view("qwen2");
  return error(Code::kUnimplemented,
               "vocab.json and merges.txt do not say how to split text, and the tokenizer class "
               "'{}' is not known; a tokenizer.json would",
               name);
}

struct Files {
  std::string config;
  std::string generation;
};

Result<TokenizerSpec> import_pair(const fs::path& folder, const Files& files) {
  const TokenizerConfig config = BP_TRY(read_tokenizer_config(files.config));
  const std::string_view pre = BP_TRY(pre_name_of_class(config.tokenizer_class));
  const std::string vocab = BP_TRY(read_text_file(folder / "vocab.json", limits::kMaxJsonBytes));
  const std::string merges = BP_TRY(read_text_file(folder / "merges.txt", limits::kMaxJsonBytes));
  return import_vocab_merges(vocab, merges, files.config, pre);
}

Result<TokenizerSpec> import_any(const fs::path& folder, const Files& files) {
  if (is_there(folder / "tokenizer.json")) {
    const std::string json =
        BP_TRY(read_text_file(folder / "tokenizer.json", limits::kMaxJsonBytes));
    return import_tokenizer_json({json, files.config, files.generation});
  }
  if (is_there(folder / "tokenizer.model")) {
    const std::string model =
        BP_TRY(read_text_file(folder / "tokenizer.model", limits::kMaxJsonBytes));
    TokenizerSpec spec = BP_TRY(import_sentencepiece_model(model, files.config));
    BP_TRY(apply_generation_config(files.generation, &spec));
    return spec;
  }
  if (is_there(folder / "vocab.json") && is_there(folder / "merges.txt")) {
    TokenizerSpec spec = BP_TRY(import_pair(folder, files));
    BP_TRY(apply_generation_config(files.generation, &spec));
    return spec;
  }
  return error(Code::kNotFound,
               "no tokenizer: neither tokenizer.json nor tokenizer.model nor vocab.json with "
               "merges.txt");
}

}  // namespace

Result<TokenizerSpec> import_tokenizer_folder(const fs::path& folder) {
  const auto import = [&]() -> Result<TokenizerSpec> {
    Files files;
    files.config = BP_TRY(read_if_there(folder / "tokenizer_config.json"));
    files.generation = BP_TRY(read_if_there(folder / "generation_config.json"));
    TokenizerSpec spec = BP_TRY(import_any(folder, files));
    const std::string chat_template =
        BP_TRY(read_if_there(folder / "chat_template.jinja", limits::kMaxTemplateBytes));
    if (!chat_template.empty()) spec.chat_template = chat_template;
    return spec;
  };
  try {
    return import().with_context("'{}'", folder.native());
  } catch (const std::exception&) {
    return error(Code::kExhausted, "'{}': no memory for the tokenizer", folder.native());
  }
}

}  // namespace bp
