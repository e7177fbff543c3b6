// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/tokenizer/probe.h"

#include <string>
#include <vector>

#include "compiler/import/gguf/gguf_file.h"
#include "compiler/import/tokenizer/folder.h"
#include "compiler/import/tokenizer/gguf_vocabulary.h"
#include "compiler/import/tokenizer/rank_file.h"
#include "compiler/import/tokenizer/sentencepiece_model.h"
#include "compiler/import/tokenizer/tokenizer_json.h"
#include "compiler/import/tokenizer/vocab_merges.h"
#include "core/base/limits.h"
#include "core/platform/file.h"

namespace bp {
namespace {

std::vector<std::string> split(std::string_view source) {
  std::vector<std::string> parts;
  while (true) {
    const size_t colon = source.find(':');
    parts.emplace_back(source.substr(0, colon));
    if (colon == std::string_view::npos) return parts;
    source.remove_prefix(colon + 1);
  }
}

Result<std::string> read(const std::string& path) {
  return read_text_file(path, limits::kMaxJsonBytes);
}

Result<text::TokenizerSpec> import(std::string_view source) {
  const std::vector<std::string> parts = split(source);
  if (parts[0] == "json" && parts.size() == 2) {
    const std::string json = BP_TRY(read(parts[1]));
    return import_tokenizer_json({json, "", ""});
  }
  if (parts[0] == "gguf" && parts.size() == 2) {
    const auto file = BP_TRY(GgufFile::open(parts[1]));
    return import_gguf_tokenizer(BP_TRY(read_gguf_vocabulary(file->metadata())));
  }
  if (parts[0] == "model" && parts.size() == 2) {
    return import_sentencepiece_model(BP_TRY(read(parts[1])), "");
  }
  if (parts[0] == "ranks" && parts.size() == 3) {
    return import_rank_file(BP_TRY(read(parts[2])), {}, parts[1]);
  }
  if (parts[0] == "pair" && parts.size() == 5) {
    const std::string vocab = BP_TRY(read(parts[2]));
    const std::string merges = BP_TRY(read(parts[3]));
    const std::string config = BP_TRY(read(parts[4]));
    return import_vocab_merges(vocab, merges, config, parts[1]);
  }
  if (parts[0] == "folder" && parts.size() == 2) return import_tokenizer_folder(parts[1]);
  return error(Code::kInvalidArgument, "'{}' names no tokenizer", source);
}

}  // namespace

Result<std::shared_ptr<const text::Tokenizer>> open_tokenizer(std::string_view source) {
  return text::Tokenizer::create(BP_TRY(import(source)));
}

}  // namespace bp
