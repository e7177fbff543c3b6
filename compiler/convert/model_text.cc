// SPDX-License-Identifier: Apache-2.0
#include "compiler/convert/model_text.h"

#include <algorithm>
#include <cmath>

#include "compiler/import/tokenizer/folder.h"
#include "compiler/import/tokenizer/gguf_vocabulary.h"
#include "core/base/limits.h"
#include "core/platform/file.h"
#include "core/text/codec/tokenizer_codec.h"
#include "model_format/format_limits.h"

namespace bp::compiler {
namespace {

namespace fs = std::filesystem;

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// ---- chat templates -----------------------------------------------------------------------------

// A template under its name; one that is there already is replaced, as the more specific files of
// a checkpoint win over tokenizer_config.json.
Status set_template(fb::ModelT& model, std::string name, std::string source) {
  if (source.empty()) return {};
  if (source.size() > limits::kMaxTemplateBytes) {
    return error(Code::kExhausted, "the chat template '{}' has {} bytes, more than {}", name,
                 source.size(), limits::kMaxTemplateBytes);
  }
  for (auto& entry : model.chat_templates) {
    if (entry->name != name) continue;
    entry->source = std::move(source);
    return {};
  }
  if (model.chat_templates.size() >= limits::kMaxChatTemplates) {
    return error(Code::kExhausted, "there are more than {} chat templates",
                 limits::kMaxChatTemplates);
  }
  auto entry = std::make_unique<fb::ChatTemplateT>();
  entry->name = std::move(name);
  entry->source = std::move(source);
  model.chat_templates.push_back(std::move(entry));
  return {};
}

// tokenizer_config.json has one template as text, or several as [{name, template}, …].
Status read_config_templates(const Json& config, fb::ModelT& model) {
  const Json* found = json_find(config, "chat_template");
  if (found == nullptr) return {};
  if (found->is_string()) return set_template(model, "default", found->get<std::string>());
  if (!found->is_array()) return error(Code::kCorrupt, "chat_template is neither text nor a list");
  for (const Json& entry : *found) {
    std::string name = BP_TRY(json_string(entry, "name"));
    BP_TRY(set_template(model, std::move(name), BP_TRY(json_string(entry, "template"))));
  }
  return {};
}

Status read_folder_templates(const fs::path& folder, fb::ModelT& model) {
  const fs::path config = folder / "tokenizer_config.json";
  if (is_file(config)) {
    BP_TRY(read_config_templates(BP_TRY(read_json_file(config)), model)
               .with_context("'{}'", config.string()));
  }
  const fs::path main = folder / "chat_template.jinja";
  if (is_file(main)) {
    BP_TRY(set_template(model, "default", BP_TRY(read_text_file(main, limits::kMaxTemplateBytes))));
  }
  std::error_code code;
  std::vector<fs::path> more;
  for (fs::directory_iterator it(folder / "additional_chat_templates", code), end;
       !code && it != end; it.increment(code)) {
    if (it->path().extension() == ".jinja" && is_file(it->path())) more.push_back(it->path());
  }
  std::ranges::sort(more);
  for (const fs::path& path : more) {
    BP_TRY(set_template(model, path.stem().string(),
                        BP_TRY(read_text_file(path, limits::kMaxTemplateBytes))));
  }
  return {};
}

Status read_gguf_templates(const GgufMetadata& metadata, fb::ModelT& model) {
  constexpr std::string_view kPrefix = "tokenizer.chat_template.";
  for (const std::string& key : metadata.keys()) {
    std::string name;
    if (key == "tokenizer.chat_template") {
      name = "default";
    } else if (key.starts_with(kPrefix)) {
      name = key.substr(kPrefix.size());
    } else {
      continue;
    }
    BP_TRY(set_template(model, std::move(name), BP_TRY(metadata.get_string(key))));
  }
  return {};
}

// ---- generation ---------------------------------------------------------------------------------

void add_stop(fb::GenerationT& generation, int64_t id, uint64_t vocabulary) {
  if (id < 0 || static_cast<uint64_t>(id) >= vocabulary) return;  // "none" has many spellings
  const uint32_t stop = static_cast<uint32_t>(id);
  if (std::ranges::find(generation.stop_ids, stop) != generation.stop_ids.end()) return;
  if (generation.stop_ids.size() < limits::kMaxStopIds) generation.stop_ids.push_back(stop);
}

// eos_token_id is an id or a list of them.
void add_stops(const Json& settings, fb::GenerationT& generation, uint64_t vocabulary) {
  const Json* ids = json_find(settings, "eos_token_id");
  if (ids == nullptr) return;
  if (ids->is_number_integer()) add_stop(generation, ids->get<int64_t>(), vocabulary);
  if (!ids->is_array()) return;
  for (const Json& id : *ids) {
    if (id.is_number_integer()) add_stop(generation, id.get<int64_t>(), vocabulary);
  }
}

Status read_number(const Json& settings, std::string_view key, float* out) {
  if (json_find(settings, key) == nullptr) return {};
  const float value = static_cast<float>(BP_TRY(json_f64(settings, key)));
  if (!std::isfinite(value)) return error(Code::kCorrupt, "'{}' is no finite number", key);
  *out = value;
  return {};
}

Status read_generation_config(const fs::path& folder, fb::GenerationT& generation,
                              uint64_t vocabulary) {
  const fs::path path = folder / "generation_config.json";
  if (!is_file(path)) return {};
  const Json settings = BP_TRY(read_json_file(path));
  BP_TRY(read_number(settings, "temperature", &generation.temperature));
  BP_TRY(read_number(settings, "top_p", &generation.top_p));
  BP_TRY(read_number(settings, "min_p", &generation.min_p));
  BP_TRY(read_number(settings, "repetition_penalty", &generation.repetition_penalty));
  const int64_t top_k = BP_TRY(json_i64_or(settings, "top_k", -1));
  generation.top_k = static_cast<int32_t>(std::clamp<int64_t>(top_k, -1, INT32_MAX));
  add_stops(settings, generation, vocabulary);
  return {};
}

// ---- tokenizer ----------------------------------------------------------------------------------

Status set_tokenizer(Result<text::TokenizerSpec> imported, uint64_t vocabulary, fb::ModelT& model,
                     std::vector<std::string>& notes) {
  if (!imported.ok() && imported.status().code() == Code::kNotFound) {
    notes.push_back("The checkpoint has no tokenizer: the model takes token ids only.");
    return {};
  }
  const text::TokenizerSpec spec = BP_TRY(std::move(imported));
  if (spec.tokens.size() > vocabulary) {
    notes.push_back(
        fmt::format("The tokenizer has {} tokens, the embedding only {} rows: ids "
                    "beyond them cannot be fed to the model.",
                    spec.tokens.size(), vocabulary));
  }
  for (const text::TokenId id : spec.eos_ids) add_stop(*model.generation, id, vocabulary);
  if (!spec.chat_template.empty() && model.chat_templates.empty()) {
    BP_TRY(set_template(model, "default", spec.chat_template));
  }
  model.tokenizer = std::make_unique<fb::TokenizerT>(BP_TRY(text::encode_tokenizer(spec)));
  return {};
}

Result<text::TokenizerSpec> read_gguf_tokenizer(const GgufMetadata& metadata) {
  const GgufVocabulary vocabulary = BP_TRY(read_gguf_vocabulary(metadata));
  return import_gguf_tokenizer(vocabulary);
}

}  // namespace

Status read_model_text(const Checkpoint& checkpoint, uint64_t vocabulary, fb::ModelT* model,
                       std::vector<std::string>* notes) {
  model->generation = std::make_unique<fb::GenerationT>();
  if (checkpoint.is_gguf()) {
    const GgufMetadata& metadata = checkpoint.gguf->metadata();
    BP_TRY(read_gguf_templates(metadata, *model).with_context("'{}'", checkpoint.path.string()));
    BP_TRY(set_tokenizer(read_gguf_tokenizer(metadata), vocabulary, *model, *notes)
               .with_context("the tokenizer of '{}'", checkpoint.path.string()));
  } else {
    BP_TRY(read_folder_templates(checkpoint.path, *model));
    BP_TRY(read_generation_config(checkpoint.path, *model->generation, vocabulary)
               .with_context("generation_config.json"));
    BP_TRY(set_tokenizer(import_tokenizer_folder(checkpoint.path), vocabulary, *model, *notes)
               .with_context("the tokenizer of '{}'", checkpoint.path.string()));
    add_stops(checkpoint.config, *model->generation, vocabulary);
  }
  if (model->tokenizer != nullptr && model->chat_templates.empty()) {
    notes->push_back("The checkpoint has no chat template: chat uses plain text.");
  }
  return {};
}

}  // namespace bp::compiler
