// SPDX-License-Identifier: Apache-2.0
// `backplane tokenize`, `detokenize` and `template`: the text side on its own. These also take a
// GGUF file without weights, or a folder that holds only tokenizer files.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "apps/cli/options.h"
#include "apps/cli/text_source.h"

namespace bp::cli {
namespace {

struct Arguments {
  std::string model, text, file, separator, messages, tools;
  bool ids = false, no_bos = false, special = false, no_generation_prompt = false;
  std::vector<int32_t> tokens;
};

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code ignored;
  if (!file || std::filesystem::is_directory(path, ignored)) {
    return error(Code::kNotFound, "cannot read '{}'", path);
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

Status print_tokens(const text::Tokenizer& tokenizer, std::string_view text,
                    const Arguments& args) {
  text::EncodeOptions options;
  options.bos = args.no_bos ? text::Affix::kNever : text::Affix::kModelRule;
  options.eos = text::Affix::kNever;
  options.parse_special = args.special;
  const auto ids = BP_TRY(tokenizer.encode(text, options));
  if (args.ids) {
    fmt::print("{}\n", fmt::join(ids, " "));
    return {};
  }
  for (const text::TokenId id : ids) {
    std::string shown;
    for (const char c : tokenizer.token_bytes(id)) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte < 0x20 || byte == 0x7f)
        shown += fmt::format("\\x{:02x}", byte);
      else
        shown += c;
    }
    fmt::print("{:>8}  '{}'\n", id, shown);
  }
  return {};
}

// The texts of a file, separated by lines that equal the separator. The line break before such a
// line belongs to it, not to the text.
std::vector<std::string_view> split_texts(std::string_view all, const std::string& separator) {
  if (separator.empty()) return {all};
  std::vector<std::string_view> texts;
  const std::string line = separator + "\n";
  size_t begin = 0;
  while (begin <= all.size()) {
    size_t at = begin;
    for (;; ++at) {  // the next separator at the start of a line
      at = all.find(line, at);
      if (at == std::string_view::npos || at == 0 || all[at - 1] == '\n') break;
    }
    if (at == std::string_view::npos) {
      texts.push_back(all.substr(begin));
      break;
    }
    const size_t end = at > begin ? at - 1 : at;
    texts.push_back(all.substr(begin, end - begin));
    begin = at + line.size();
  }
  if (!texts.empty() && texts.back().empty()) texts.pop_back();  // nothing after the last line
  return texts;
}

Status tokenize(const Arguments& args) {
  const TextSource source = BP_TRY(open_text_source(args.model));
  const text::Tokenizer& tokenizer = *BP_TRY(source.require_tokenizer());
  if (args.file.empty()) return print_tokens(tokenizer, args.text, args);
  const std::string all = BP_TRY(read_file(args.file));
  for (const std::string_view text : split_texts(all, args.separator)) {
    BP_TRY(print_tokens(tokenizer, text, args));
  }
  return {};
}

Status detokenize(const Arguments& args) {
  const TextSource source = BP_TRY(open_text_source(args.model));
  const text::Tokenizer& tokenizer = *BP_TRY(source.require_tokenizer());
  fmt::print("{}\n", BP_TRY(tokenizer.decode(args.tokens, !args.special)));
  return {};
}

Status apply_template(const Arguments& args) {
  const TextSource source = BP_TRY(open_text_source(args.model));
  ChatInputs inputs;
  const std::string text = BP_TRY(read_file(args.messages));
  inputs.messages = BP_TRY(parse_chat_json(text).with_context("'{}'", args.messages));
  if (!args.tools.empty()) {
    const std::string tools = BP_TRY(read_file(args.tools));
    inputs.tools = BP_TRY(parse_chat_json(tools).with_context("'{}'", args.tools));
  }
  inputs.add_generation_prompt = !args.no_generation_prompt;
  const std::string rendered = BP_TRY(source.render_chat(std::move(inputs)));
  std::fwrite(rendered.data(), 1, rendered.size(), stdout);
  return {};
}

}  // namespace

void add_tokenize(CLI::App& app, Action* chosen) {
  auto args = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("tokenize", "Show the tokens of a text");
  command->add_option("MODEL", args->model, "Model, vocabulary-only GGUF, or tokenizer folder")
      ->required();
  auto* text = command->add_option("--text", args->text, "The text");
  auto* file = command->add_option("--file", args->file, "Read the text from a file");
  text->excludes(file);
  command
      ->add_option("--separator", args->separator,
                   "Line that separates several texts of the file; one line of ids for each")
      ->needs(file);
  command->add_flag("--ids", args->ids, "Only the ids, on one line");
  command->add_flag("--no-bos", args->no_bos, "Do not put the model's first token before the text");
  command->add_flag("--special", args->special, "Read special tokens in the text as such");
  command->callback([args, text, file, chosen] {
    if (text->count() + file->count() == 0) throw CLI::RequiredError("one of --text and --file");
    *chosen = [args] { return tokenize(*args); };
  });
}

void add_detokenize(CLI::App& app, Action* chosen) {
  auto args = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("detokenize", "Show the text of token ids");
  command->add_option("MODEL", args->model, "Model, vocabulary-only GGUF, or tokenizer folder")
      ->required();
  command->add_option("ID", args->tokens, "Token ids")->required();
  command->add_flag("--special", args->special, "Show special tokens too");
  command->callback([args, chosen] { *chosen = [args] { return detokenize(*args); }; });
}

void add_template(CLI::App& app, Action* chosen) {
  auto args = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("template", "Show a conversation as the model reads it");
  command->add_option("MODEL", args->model, "Model, vocabulary-only GGUF, or tokenizer folder")
      ->required();
  command->add_option("--messages", args->messages, "JSON file with a list of messages")
      ->required();
  command->add_option("--tools", args->tools, "JSON file with a list of tool schemas");
  command->add_flag("--no-generation-prompt", args->no_generation_prompt,
                    "Do not end with the start of the assistant's turn");
  command->callback([args, chosen] { *chosen = [args] { return apply_template(*args); }; });
}

}  // namespace bp::cli
