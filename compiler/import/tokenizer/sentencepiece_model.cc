// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/tokenizer/sentencepiece_model.h"

#include <bit>
#include <exception>
#include <utility>

#include "compiler/import/tokenizer/byte_alphabet.h"
#include "compiler/import/tokenizer/finish.h"
#include "compiler/import/tokenizer/tokenizer_config.h"
#include "core/base/limits.h"

namespace bp {
namespace {

using text::ModelKind;
using text::NormalizerKind;
using text::TokenId;
using text::TokenizerSpec;
using text::TokenType;

// One field of a protocol buffer message.
struct Field {
  uint64_t number = 0;
  uint64_t integer = 0;    // varint and fixed types
  std::string_view bytes;  // length-delimited type
  bool is_bytes = false;
};

class Message {
 public:
  explicit Message(std::string_view bytes) : rest_(bytes) {}
  bool done() const { return rest_.empty(); }

  Result<Field> next() {
    const uint64_t key = BP_TRY(varint());
    Field field;
    field.number = key >> 3;
    switch (key & 7) {
      case 0:
        field.integer = BP_TRY(varint());
        return field;
      case 1:
        field.integer = BP_TRY(fixed(8));
        return field;
      case 5:
        field.integer = BP_TRY(fixed(4));
        return field;
      case 2: {
        const uint64_t size = BP_TRY(varint());
        if (size > rest_.size()) return error(Code::kCorrupt, "a field ends behind the file");
        field.bytes = rest_.substr(0, size);
        field.is_bytes = true;
        rest_.remove_prefix(size);
        return field;
      }
      default:
        return error(Code::kCorrupt, "a field of type {}", key & 7);
    }
  }

 private:
  Result<uint64_t> varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) return error(Code::kCorrupt, "the file ends inside a number");
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    return error(Code::kCorrupt, "a number of over 64 bits");
  }
  Result<uint64_t> fixed(size_t size) {
    if (rest_.size() < size) return error(Code::kCorrupt, "the file ends inside a number");
    uint64_t value = 0;
    for (size_t i = 0; i < size; ++i) {
      value |= uint64_t{static_cast<unsigned char>(rest_[i])} << (8 * i);
    }
    rest_.remove_prefix(size);
    return value;
  }
  std::string_view rest_;
};

// The defaults are SentencePiece's.
struct Settings {
  int64_t model_type = 1;
  bool byte_fallback = false;
  bool blank_as_suffix = false;
  int64_t unk_id = 0;
  int64_t bos_id = 1;
  int64_t eos_id = 2;
  int64_t pad_id = -1;
  std::string_view normalizer_name;
  bool has_charsmap = false;
  bool dummy_prefix = true;
  bool remove_extra_blanks = true;
  bool escape_blanks = true;
};

Status read_piece(std::string_view bytes, TokenizerSpec* spec) {
  Message message(bytes);
  std::string text;
  float score = 0;
  uint64_t type = 1;
  while (!message.done()) {
    const Field field = BP_TRY(message.next());
    if (field.number == 1) text = field.bytes;
    if (field.number == 2) score = std::bit_cast<float>(static_cast<uint32_t>(field.integer));
    if (field.number == 3) type = field.integer;
  }
  if (type < 1 || type > 6) return error(Code::kCorrupt, "type {}", type);
  if (spec->tokens.size() >= limits::kMaxVocabulary) {
    return error(Code::kExhausted, "over {} pieces", limits::kMaxVocabulary);
  }
  spec->tokens.push_back(std::move(text));
  spec->scores.push_back(score);
  spec->types.push_back(static_cast<TokenType>(type));
  return {};
}

Status read_trainer(std::string_view bytes, Settings* out) {
  Message message(bytes);
  while (!message.done()) {
    const Field field = BP_TRY(message.next());
    const auto number = static_cast<int64_t>(field.integer);
    switch (field.number) {
      case 3:
        out->model_type = number;
        break;
      case 24:
        out->blank_as_suffix = number != 0;
        break;
      case 35:
        out->byte_fallback = number != 0;
        break;
      case 40:
        out->unk_id = static_cast<int32_t>(number);
        break;
      case 41:
        out->bos_id = static_cast<int32_t>(number);
        break;
      case 42:
        out->eos_id = static_cast<int32_t>(number);
        break;
      case 43:
        out->pad_id = static_cast<int32_t>(number);
        break;
      default:
        break;
    }
  }
  return {};
}

Status read_normalizer_spec(std::string_view bytes, Settings* out) {
  Message message(bytes);
  while (!message.done()) {
    const Field field = BP_TRY(message.next());
    switch (field.number) {
      case 1:
        out->normalizer_name = field.bytes;
        break;
      case 2:
        out->has_charsmap = !field.bytes.empty();
        break;
      case 3:
        out->dummy_prefix = field.integer != 0;
        break;
      case 4:
        out->remove_extra_blanks = field.integer != 0;
        break;
      case 5:
        out->escape_blanks = field.integer != 0;
        break;
      default:
        break;
    }
  }
  return {};
}

Status refuse_unsupported(const Settings& settings) {
  if (settings.model_type != 1 && settings.model_type != 2) {
    return error(Code::kUnimplemented, "SentencePiece model type {}; 1 (unigram) and 2 (BPE) are",
                 settings.model_type);
  }
  if (settings.has_charsmap) {
    return error(Code::kUnimplemented, "the SentencePiece normalizer '{}' (a precompiled map)",
                 settings.normalizer_name);
  }
  if (settings.blank_as_suffix || !settings.escape_blanks) {
    return error(Code::kUnimplemented, "a SentencePiece model with unusual blanks");
  }
  return {};
}

TokenId checked_id(int64_t id, const TokenizerSpec& spec) {
  const bool there = id >= 0 && static_cast<uint64_t>(id) < spec.tokens.size();
  return there ? static_cast<TokenId>(id) : text::kNoToken;
}

std::string with_blanks(std::string_view text) {
  std::string out;
  for (size_t at = text.find(kMetaspace); at != std::string_view::npos;
       at = text.find(kMetaspace)) {
    out.append(text.substr(0, at)).push_back(' ');
    text.remove_prefix(at + kMetaspace.size());
  }
  return out.append(text);
}

// Byte pieces become bytes; user-defined ones are written with blanks, as they stand in texts.
Status finish_pieces(TokenizerSpec* spec) {
  for (size_t i = 0; i < spec->tokens.size(); ++i) {
    std::string& text = spec->tokens[i];
    const TokenType type = spec->types[i];
    if (type == TokenType::kByte) {
      const auto byte = byte_of_fallback_token(text);
      if (!byte) return error(Code::kCorrupt, "piece {} is marked as a byte but is none", i);
      text.assign(1, static_cast<char>(*byte));
    } else if (type == TokenType::kUserDefined) {
      text = with_blanks(text);
    }
    const bool special = type == TokenType::kControl || type == TokenType::kUnknown;
    if (special || type == TokenType::kUserDefined) {
      spec->added_tokens.push_back({static_cast<TokenId>(i), special, false, false, false, false});
    }
  }
  return {};
}

Result<TokenizerSpec> import_model(std::string_view model, std::string_view config_json) {
  TokenizerSpec spec;
  Settings settings;
  Message message(model);
  while (!message.done()) {
    const Field field = BP_TRY(message.next());
    if (!field.is_bytes) continue;
    if (field.number == 1) {
      BP_TRY(read_piece(field.bytes, &spec).with_context("piece {}", spec.tokens.size()));
    }
    if (field.number == 2) BP_TRY(read_trainer(field.bytes, &settings));
    if (field.number == 3) BP_TRY(read_normalizer_spec(field.bytes, &settings));
  }
  BP_TRY(refuse_unsupported(settings));
  spec.kind = settings.model_type == 1 ? ModelKind::kUnigram : ModelKind::kBpeSpm;
  spec.byte_fallback = settings.byte_fallback;
  spec.fuse_unk = true;
  spec.pre_name = "sentencepiece";
  BP_TRY(finish_pieces(&spec));
  if (settings.remove_extra_blanks) {
    spec.normalizer.push_back({NormalizerKind::kReplaceRegex, R"(\A +| +\z)", ""});
    spec.normalizer.push_back({NormalizerKind::kReplaceRegex, " {2,}", " "});
  }
  add_metaspace_rules(settings.dummy_prefix, &spec);
  spec.unk_id = checked_id(settings.unk_id, spec);
  spec.bos_id = checked_id(settings.bos_id, spec);
  spec.pad_id = checked_id(settings.pad_id, spec);
  const TokenizerConfig config = BP_TRY(read_tokenizer_config(config_json));
  for (const ConfiguredToken& token : config.added_tokens) {
    const auto index = static_cast<size_t>(token.flags.id);
    if (token.flags.id >= 0 && index < spec.tokens.size() && spec.tokens[index] == token.content) {
      continue;  // one of the model's own
    }
    return error(Code::kUnimplemented,
                 "'{}' is added to the SentencePiece model; convert it to a "
                 "tokenizer.json",
                 token.content);
  }
  if (!config.eos) add_eos(checked_id(settings.eos_id, spec), &spec);
  BP_TRY(apply_tokenizer_config(config, &spec));
  // What Llama's, Mistral's and Gemma's own code does; the model itself has no opinion.
  if (config.add_bos.value_or(true) && spec.bos_id != text::kNoToken) {
    spec.prefix_ids = {spec.bos_id};
  }
  if (config.add_eos.value_or(false) && !spec.eos_ids.empty()) {
    spec.suffix_ids = {spec.eos_ids.front()};
  }
  return checked(std::move(spec), "model");
}

}  // namespace

Result<TokenizerSpec> import_sentencepiece_model(std::string_view model,
                                                 std::string_view config_json) {
  try {
    return import_model(model, config_json).with_context("tokenizer.model");
  } catch (const std::exception&) {
    return error(Code::kExhausted, "tokenizer.model: no memory");
  }
}

}  // namespace bp
