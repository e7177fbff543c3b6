// SPDX-License-Identifier: Apache-2.0
#include "apps/cli/text_source.h"

#include <filesystem>

#include "compiler/import/gguf/gguf_file.h"
#include "compiler/import/tokenizer/folder.h"
#include "compiler/import/tokenizer/gguf_vocabulary.h"
#include "core/text/codec/tokenizer_codec.h"
#include "model_format/reader.h"

namespace bp::cli {
namespace {

namespace fs = std::filesystem;

Result<TextSource> from_spec(text::TokenizerSpec spec) {
  TextSource source;
  const std::string chat_template = spec.chat_template;
  source.text.tokenizer = BP_TRY(text::Tokenizer::create(std::move(spec)));
  if (!chat_template.empty()) BP_TRY(source.text.add_template("default", chat_template));
  return source;
}

Result<TextSource> from_model_file(const fs::path& path) {
  const auto file = BP_TRY(ModelFile::open(path));
  TextSource source;
  if (const auto* table = file->model().tokenizer()) {
    source.text.tokenizer = BP_TRY(text::Tokenizer::create(BP_TRY(text::decode_tokenizer(*table))));
  }
  if (const auto* templates = file->model().chat_templates()) {
    for (const fb::ChatTemplate* entry : *templates) {
      if (entry->name() == nullptr || entry->source() == nullptr) continue;
      BP_TRY(
          source.text.add_template(entry->name()->string_view(), entry->source()->string_view()));
    }
  }
  return source;
}

}  // namespace

Result<TextSource> open_text_source(const std::string& name) {
  const fs::path path = name;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return error(Code::kNotFound, "nothing at '{}'", name);
  if (fs::is_directory(path, ignored)) {
    return from_spec(BP_TRY(import_tokenizer_folder(path))).with_context("'{}'", name);
  }
  if (path.extension() == ".gguf") {
    const auto file = BP_TRY(GgufFile::open(path));
    const auto vocabulary =
        BP_TRY(read_gguf_vocabulary(file->metadata()).with_context("'{}'", name));
    auto spec = BP_TRY(import_gguf_tokenizer(vocabulary).with_context("'{}'", name));
    return from_spec(std::move(spec)).with_context("'{}'", name);
  }
  return from_model_file(path);
}

}  // namespace bp::cli
