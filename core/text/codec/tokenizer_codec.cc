// SPDX-License-Identifier: Apache-2.0
#include "core/text/codec/tokenizer_codec.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/base/json_read.h"
#include "core/base/limits.h"

namespace bp::text {
namespace {

using Json = nlohmann::ordered_json;  // written in a fixed order
// The plain kind is read without risk when memory is out, see json_read.h.
using Parsed = nlohmann::json;

// nlohmann's strings must be UTF-8, patterns and texts of a spec need not be: each char becomes
// the code point of the same number, as Latin-1 does.
std::string to_utf8(const std::string& bytes) {
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out.push_back(c);
    } else {
      out.push_back(static_cast<char>(0xc0 | byte >> 6));
      out.push_back(static_cast<char>(0x80 | (byte & 0x3f)));
    }
  }
  return out;
}

Result<std::string> to_bytes(const std::string& utf8) {
  std::string out;
  for (size_t i = 0; i < utf8.size(); ++i) {
    const auto lead = static_cast<unsigned char>(utf8[i]);
    if (lead < 0x80) {
      out.push_back(utf8[i]);
    } else if ((lead == 0xc2 || lead == 0xc3) && i + 1 < utf8.size()) {
      out.push_back(static_cast<char>((lead & 3) << 6 | (utf8[++i] & 0x3f)));
    } else {
      return error(Code::kCorrupt, "a text of the tokenizer rules is not in Latin-1 form");
    }
  }
  return out;
}

// Reads typed members of one JSON object and remembers the first that was wrong.
class Fields {
 public:
  explicit Fields(const Parsed& object) : object_(object) {
    if (!object.is_object()) fail("an entry");
  }
  bool flag(const char* key) {
    const Parsed* value = find(key);
    if (value != nullptr && !value->is_boolean()) fail(key);
    return value != nullptr && value->is_boolean() && value->get<bool>();
  }
  int64_t number(const char* key, int64_t minimum, int64_t maximum) {
    const Parsed* value = find(key);
    if (value == nullptr || !value->is_number_integer()) {
      fail(key);
      return minimum;
    }
    const auto number = value->get<int64_t>();
    if (number < minimum || number > maximum) fail(key);
    return std::clamp(number, minimum, maximum);
  }
  template <typename Enum>
  Enum choice(const char* key, int64_t last) {
    return static_cast<Enum>(number(key, 0, last));
  }
  std::string bytes(const char* key) {
    const Parsed* value = find(key);
    if (value == nullptr || !value->is_string()) {
      fail(key);
      return {};
    }
    auto text = to_bytes(value->get<std::string>());
    if (!text.ok()) fail(key);
    return text.ok() ? std::move(text).value() : std::string();
  }
  TokenId id(const char* key) {
    return static_cast<TokenId>(number(key, -1, std::numeric_limits<TokenId>::max()));
  }
  Status status() const {
    if (wrong_.empty()) return {};
    return error(Code::kCorrupt, "tokenizer rules: '{}' is missing or has a wrong value", wrong_);
  }

 private:
  const Parsed* find(const char* key) const {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }
  void fail(const char* key) {
    if (wrong_.empty()) wrong_ = key;
  }
  const Parsed& object_;
  std::string wrong_;
};

Json ids_json(const std::vector<TokenId>& ids) {
  return Json(ids);
}

Json rules_json(const TokenizerSpec& spec) {
  Json rules;
  rules["byte_fallback"] = spec.byte_fallback;
  rules["fuse_unk"] = spec.fuse_unk;
  rules["ignore_merges"] = spec.ignore_merges;
  rules["bos_id"] = spec.bos_id;
  rules["unk_id"] = spec.unk_id;
  rules["pad_id"] = spec.pad_id;
  rules["eos_ids"] = ids_json(spec.eos_ids);
  rules["prefix_ids"] = ids_json(spec.prefix_ids);
  rules["suffix_ids"] = ids_json(spec.suffix_ids);
  rules["pre_name"] = to_utf8(spec.pre_name);
  rules["added_tokens"] = Json::array();
  for (const AddedToken& t : spec.added_tokens) {
    rules["added_tokens"].push_back({{"id", t.id},
                                     {"special", t.special},
                                     {"single_word", t.single_word},
                                     {"lstrip", t.lstrip},
                                     {"rstrip", t.rstrip},
                                     {"normalized", t.normalized}});
  }
  rules["normalizer"] = Json::array();
  for (const NormalizerStep& s : spec.normalizer) {
    rules["normalizer"].push_back({{"kind", static_cast<int>(s.kind)},
                                   {"pattern", to_utf8(s.pattern)},
                                   {"text", to_utf8(s.text)}});
  }
  rules["pre_tokenizer"] = Json::array();
  for (const PreTokenizerStep& s : spec.pre_tokenizer) {
    rules["pre_tokenizer"].push_back({{"kind", static_cast<int>(s.kind)},
                                      {"pattern", to_utf8(s.pattern)},
                                      {"behavior", static_cast<int>(s.behavior)},
                                      {"invert", s.invert},
                                      {"add_prefix_space", s.add_prefix_space},
                                      {"use_regex", s.use_regex},
                                      {"individual", s.individual},
                                      {"prepend", static_cast<int>(s.prepend)},
                                      {"split", s.split}});
  }
  rules["decoder"] = Json::array();
  for (const DecoderStep& s : spec.decoder) {
    rules["decoder"].push_back({{"kind", static_cast<int>(s.kind)},
                                {"pattern", to_utf8(s.pattern)},
                                {"text", to_utf8(s.text)},
                                {"count", s.count},
                                {"strip_first", s.strip_first}});
  }
  return rules;
}

Result<std::vector<TokenId>> ids_of(const Parsed& rules, const char* key) {
  std::vector<TokenId> ids;
  const auto found = rules.find(key);
  if (found == rules.end() || !found->is_array()) {
    return error(Code::kCorrupt, "tokenizer rules: '{}' is not a list", key);
  }
  for (const Parsed& id : *found) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 ||
        id.get<int64_t>() > std::numeric_limits<TokenId>::max()) {
      return error(Code::kCorrupt, "tokenizer rules: '{}' holds something but token ids", key);
    }
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

// Calls read(Fields&) for every entry of a list.
template <typename Read>
Status each(const Parsed& rules, const char* key, Read read) {
  const auto found = rules.find(key);
  if (found == rules.end() || !found->is_array()) {
    return error(Code::kCorrupt, "tokenizer rules: '{}' is not a list", key);
  }
  for (const Parsed& entry : *found) {
    Fields fields(entry);
    read(fields);
    BP_TRY(fields.status().with_context("{}", key));
  }
  return {};
}

Status read_steps(const Parsed& rules, TokenizerSpec* spec) {
  BP_TRY(each(rules, "added_tokens", [spec](Fields& f) {
    spec->added_tokens.push_back({f.id("id"), f.flag("special"), f.flag("single_word"),
                                  f.flag("lstrip"), f.flag("rstrip"), f.flag("normalized")});
  }));
  BP_TRY(each(rules, "normalizer", [spec](Fields& f) {
    const auto kind = f.choice<NormalizerKind>("kind", 10);
    spec->normalizer.push_back({kind, f.bytes("pattern"), f.bytes("text")});
  }));
  BP_TRY(each(rules, "pre_tokenizer", [spec](Fields& f) {
    PreTokenizerStep step;
    step.kind = f.choice<PreTokenizerKind>("kind", 7);
    step.pattern = f.bytes("pattern");
    step.behavior = f.choice<SplitBehavior>("behavior", 4);
    step.invert = f.flag("invert");
    step.add_prefix_space = f.flag("add_prefix_space");
    step.use_regex = f.flag("use_regex");
    step.individual = f.flag("individual");
    step.prepend = f.choice<PrependScheme>("prepend", 2);
    step.split = f.flag("split");
    spec->pre_tokenizer.push_back(std::move(step));
  }));
  return each(rules, "decoder", [spec](Fields& f) {
    DecoderStep step;
    step.kind = f.choice<DecoderKind>("kind", 2);
    step.pattern = f.bytes("pattern");
    step.text = f.bytes("text");
    step.count = static_cast<uint32_t>(f.number("count", 0, UINT32_MAX));
    step.strip_first = f.flag("strip_first");
    spec->decoder.push_back(std::move(step));
  });
}

Status read_rules(std::string_view text, TokenizerSpec* spec) {
  constexpr uint64_t kMaxRulesDepth = 4;
  ScopedJson<Parsed> parsed;
  BP_TRY(read_json(text, kMaxRulesDepth, &*parsed).with_context("tokenizer rules"));
  const Parsed& rules = *parsed;
  if (!rules.is_object()) return error(Code::kCorrupt, "tokenizer rules are not a JSON object");
  Fields fields(rules);
  spec->byte_fallback = fields.flag("byte_fallback");
  spec->fuse_unk = fields.flag("fuse_unk");
  spec->ignore_merges = fields.flag("ignore_merges");
  spec->bos_id = fields.id("bos_id");
  spec->unk_id = fields.id("unk_id");
  spec->pad_id = fields.id("pad_id");
  spec->pre_name = fields.bytes("pre_name");
  BP_TRY(fields.status());
  spec->eos_ids = BP_TRY(ids_of(rules, "eos_ids"));
  spec->prefix_ids = BP_TRY(ids_of(rules, "prefix_ids"));
  spec->suffix_ids = BP_TRY(ids_of(rules, "suffix_ids"));
  return read_steps(rules, spec);
}

}  // namespace

Result<fb::TokenizerT> encode_tokenizer(const TokenizerSpec& spec) try {
  fb::TokenizerT table;
  table.kind = kind_name(spec.kind);
  table.token_offsets.reserve(spec.tokens.size() + 1);
  table.token_offsets.push_back(0);
  for (const std::string& token : spec.tokens) {
    table.token_bytes.insert(table.token_bytes.end(), token.begin(), token.end());
    table.token_offsets.push_back(static_cast<uint32_t>(table.token_bytes.size()));
  }
  table.scores = spec.scores;
  for (const TokenType type : spec.types) table.types.push_back(static_cast<uint8_t>(type));
  for (const Merge& merge : spec.merges) {
    table.merges.push_back(static_cast<uint32_t>(merge.left));
    table.merges.push_back(static_cast<uint32_t>(merge.right));
  }
  table.rules = rules_json(spec).dump();
  return table;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "storing the tokenizer: {}", thrown.what());
}

Result<TokenizerSpec> decode_tokenizer(const fb::Tokenizer& table) try {
  TokenizerSpec spec;
  if (table.kind() == nullptr || table.token_offsets() == nullptr || table.rules() == nullptr ||
      table.token_offsets()->size() == 0) {
    return error(Code::kCorrupt, "the tokenizer lacks its kind, tokens or rules");
  }
  spec.kind = BP_TRY(kind_named(table.kind()->string_view()));
  const auto& offsets = *table.token_offsets();
  const uint32_t total = table.token_bytes() == nullptr ? 0 : table.token_bytes()->size();
  if (offsets.size() - 1 > limits::kMaxVocabulary) {
    return error(Code::kExhausted, "a vocabulary of {} tokens; at most {} are possible",
                 offsets.size() - 1, limits::kMaxVocabulary);
  }
  spec.tokens.reserve(offsets.size() - 1);
  for (uint32_t i = 0; i + 1 < offsets.size(); ++i) {
    const uint32_t begin = offsets.Get(i), end = offsets.Get(i + 1);
    if (begin > end || end > total) {
      return error(Code::kCorrupt, "token {} lies outside the vocabulary's bytes", i);
    }
    const char* bytes =
        total == 0 ? "" : reinterpret_cast<const char*>(table.token_bytes()->data());
    spec.tokens.emplace_back(bytes + begin, end - begin);
  }
  if (const auto* types = table.types()) {
    for (const uint8_t type : *types) {
      if (type < 1 || type > 6) return error(Code::kCorrupt, "token type {} is unknown", type);
      spec.types.push_back(static_cast<TokenType>(type));
    }
  }
  if (const auto* scores = table.scores()) spec.scores.assign(scores->begin(), scores->end());
  if (const auto* merges = table.merges()) {
    if (merges->size() % 2 != 0) return error(Code::kCorrupt, "a merge lacks its second token");
    for (uint32_t i = 0; i < merges->size(); i += 2) {
      if (merges->Get(i) >= spec.tokens.size() || merges->Get(i + 1) >= spec.tokens.size()) {
        return error(Code::kCorrupt, "merge {} names a token outside the vocabulary", i / 2);
      }
      spec.merges.push_back(
          {static_cast<TokenId>(merges->Get(i)), static_cast<TokenId>(merges->Get(i + 1))});
    }
  }
  BP_TRY(read_rules(table.rules()->string_view(), &spec));
  BP_TRY(spec.validate());
  return spec;
} catch (const std::exception& thrown) {
  return error(Code::kExhausted, "reading the tokenizer: {}", thrown.what());
}

}  // namespace bp::text
