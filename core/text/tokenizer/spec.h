// SPDX-License-Identifier: Apache-2.0
// TokenizerSpec: everything a tokenizer is, as plain data.
//
// This is the neutral form between the importers (tokenizer.json, GGUF, SentencePiece, tiktoken
// ranks: compiler/import/tokenizer/) and the runtime (tokenizer.h), and exactly what the Tokenizer
// table of a .bpm holds. It has no pointers and no behaviour; validate() says whether the runtime
// may trust it. All names follow one pipeline, the one that Hugging Face's `tokenizers` documents:
//
//   text ─ added tokens cut out ─ normalizer ─ pre-tokenizer ─ model ─ prefix/suffix ids
//   ids  ─ decoder ─ text
//
// Token texts are bytes, never the printable disguise some files use: a byte-level vocabulary
// holds " the", not "Ġthe"; a byte-fallback token holds the one byte, not "<0x0A>". SentencePiece
// texts keep their "▁" (U+2581), because their normalizer writes it and their decoder removes it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace bp::text {

using TokenId = int32_t;
inline constexpr TokenId kNoToken = -1;

// Limits of a specification beyond those of core/base/limits.h; validate() enforces them.
inline constexpr uint64_t kMaxVocabularyBytes = uint64_t{64} << 20;  // all token texts together
inline constexpr uint64_t kMaxMerges = uint64_t{1} << 22;            // explicit merges
inline constexpr uint64_t kMaxAddedTokens = uint64_t{1} << 18;       // added tokens
inline constexpr uint64_t kMaxPipelineSteps = 64;                    // steps of one pipeline part
inline constexpr uint64_t kMaxPatternBytes = 1u << 14;         // a regex, literal or replacement
inline constexpr uint64_t kMaxAffixIds = 16;                   // ids put before or after a text
inline constexpr uint64_t kMaxAddedTokenBytes = 1024;          // text of an added token
inline constexpr uint64_t kMaxMergeBytes = uint64_t{1} << 30;  // joined texts of all merges
inline constexpr uint64_t kMaxUnigramPieceBytes = 1024;  // a piece that unigram search may pick

// How words become tokens. kind_name() gives the names that files use.
enum class ModelKind : uint8_t {
  // Byte-pair merges over bytes, in the order of `merges` (GPT-2, Llama 3, Qwen). "bpe_byte"
  kBpeByte = 0,
  // Merges over bytes: the adjacent pair whose joined text has the highest score, leftmost first.
  // A tiktoken file with scores = -rank. "bpe_ranks"
  kBpeRanks = 1,
  // The same over characters with byte fallback: SentencePiece BPE. "bpe_spm"
  kBpeSpm = 2,
  // Merges over characters in the order of `merges`: tokenizer.json of Llama 2, Gemma, Phi-3.
  // "bpe_merges"
  kBpeMerges = 3,
  // Over characters, the segmentation with the highest sum of scores. "unigram"
  kUnigram = 4,
};

// The numbers are GGUF's, so that files can be compared by eye.
enum class TokenType : uint8_t {
  kNormal = 1,       // produced by the model
  kUnknown = 2,      // stands for what cannot be expressed
  kControl = 3,      // special: bos, end of turn, …; never produced by the model
  kUserDefined = 4,  // an added token that is ordinary text
  kUnused = 5,       // a hole: never produced; may be empty
  kByte = 6,         // byte fallback; its text is that one byte
};

// Two adjacent tokens that become one: the token whose text is both texts. Its rank is its
// position in the list.
struct Merge {
  TokenId left = kNoToken;
  TokenId right = kNoToken;
  bool operator==(const Merge&) const = default;
};

// A token that is looked for in the text itself, before everything else. Its text is tokens[id].
struct AddedToken {
  TokenId id = kNoToken;
  bool special = false;      // only matched where special tokens may be parsed; hidden on request
  bool single_word = false;  // only between characters that are not word characters
  bool lstrip = false;       // swallows whitespace before it
  bool rstrip = false;       // swallows whitespace after it
  bool normalized = false;   // is looked for (itself normalized) in the normalized text
  bool operator==(const AddedToken&) const = default;
};

enum class NormalizerKind : uint8_t {
  kPrepend = 0,         // `text` before any text that is not empty
  kReplaceLiteral = 1,  // every `pattern` by `text`
  kReplaceRegex = 2,    // every match of the regex `pattern` by the literal `text`
  kNfc = 3,
  kNfd = 4,
  kNfkc = 5,
  kNfkd = 6,
  kLowercase = 7,
  kStripLeft = 8,      // Unicode whitespace at the start
  kStripRight = 9,     // Unicode whitespace at the end
  kStripAccents = 10,  // every combining mark
};

struct NormalizerStep {
  NormalizerKind kind = NormalizerKind::kPrepend;
  std::string pattern;
  std::string text;
  bool operator==(const NormalizerStep&) const = default;
};

// What becomes of the matches of a splitting step.
enum class SplitBehavior : uint8_t {
  kRemoved = 0,
  kIsolated = 1,
  kMergedWithPrevious = 2,
  kMergedWithNext = 3,
  kContiguous = 4,  // adjacent matches become one piece
};

enum class PreTokenizerKind : uint8_t {
  kSplitRegex = 0,    // pattern, behavior, invert
  kSplitLiteral = 1,  // pattern, behavior, invert
  // GPT-2's: add_prefix_space puts a space before a piece that does not start with one; use_regex
  // splits with GPT-2's expression. (That texts are bytes is said by the kind.)
  kByteLevel = 2,
  kDigits = 3,           // isolates numeric characters, each one if `individual`, else in runs
  kMetaspace = 4,        // " " becomes `pattern`, which is also prepended as `prepend` says, then
                         // splits before each `pattern` if `split`
  kPunctuation = 5,      // behavior
  kWhitespace = 6,       // words and runs of other visible characters, whitespace removed
  kWhitespaceSplit = 7,  // whitespace removed
};

enum class PrependScheme : uint8_t { kNever = 0, kFirst = 1, kAlways = 2 };

// Regular expressions are those of tokenizer.json (Oniguruma's Ruby syntax) as far as vocabularies
// use it: classes, properties, groups, look-around, greedy/lazy/possessive repeats. \s, \w and \d
// mean the Unicode properties. Anything else is refused by name when the tokenizer is created.
struct PreTokenizerStep {
  PreTokenizerKind kind = PreTokenizerKind::kSplitRegex;
  std::string pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
  bool add_prefix_space = false;
  bool use_regex = true;
  bool individual = false;
  PrependScheme prepend = PrependScheme::kNever;
  bool split = true;
  bool operator==(const PreTokenizerStep&) const = default;
};

enum class DecoderKind : uint8_t {
  kReplace = 0,     // in every token: `pattern` by `text`
  kStripStart = 1,  // up to `count` times `pattern` at the very start of the text
  kMetaspace = 2,   // `pattern` by a space; in the first token it vanishes if `strip_first`
};

struct DecoderStep {
  DecoderKind kind = DecoderKind::kReplace;
  std::string pattern;
  std::string text;
  uint32_t count = 0;
  bool strip_first = false;
  bool operator==(const DecoderStep&) const = default;
};

// Are words made of bytes ("bpe_byte", "bpe_ranks") rather than of Unicode characters?
constexpr bool is_byte_level(ModelKind kind) {
  return kind == ModelKind::kBpeByte || kind == ModelKind::kBpeRanks;
}
// "bpe_byte", … ; "" for a value outside the enumeration.
const char* kind_name(ModelKind kind) noexcept;
// The kind with that name, or UNIMPLEMENTED with it.
Result<ModelKind> kind_named(std::string_view name);

struct TokenizerSpec {
  ModelKind kind = ModelKind::kBpeByte;
  bool byte_fallback = false;  // over characters: those outside the vocabulary become kByte tokens
  bool fuse_unk = false;       // adjacent unknown characters become one unk_id
  bool ignore_merges = false;  // a word that is a token as a whole is that token

  std::vector<std::string> tokens;  // [vocabulary] by id
  std::vector<TokenType> types;     // [vocabulary]
  std::vector<float> scores;        // [vocabulary] for kBpeRanks, kBpeSpm and kUnigram, else empty
  std::vector<Merge> merges;        // for kBpeByte and kBpeMerges, else empty

  std::vector<AddedToken> added_tokens;
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  std::vector<DecoderStep> decoder;

  // What the model's own rule puts around a text.
  std::vector<TokenId> prefix_ids;
  std::vector<TokenId> suffix_ids;

  TokenId bos_id = kNoToken;
  TokenId unk_id = kNoToken;
  TokenId pad_id = kNoToken;
  std::vector<TokenId> eos_ids;  // every id that ends a generation, the model's EOS first

  std::string pre_name;       // where the pre-tokenizer came from ("llama-bpe"), for people
  std::string chat_template;  // Jinja source, empty when the model has none

  bool operator==(const TokenizerSpec&) const = default;

  // CORRUPT, EXHAUSTED (a limit) or UNIMPLEMENTED, naming the token or step. Everything a file
  // can break is checked here: sizes, ids, types, duplicate texts, bytes that are not UTF-8 where
  // characters are needed, scores that are not numbers. What needs tables is checked by
  // Tokenizer::create: regular expressions, and that merges join to tokens. Linear in bytes.
  Status validate() const;
};

}  // namespace bp::text
