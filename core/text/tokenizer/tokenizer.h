// SPDX-License-Identifier: Apache-2.0
// Tokenizer: text to token ids and back; TokenStream: ids to text as they come.
//
// Special tokens are a privilege. A text is data: "<|im_end|>" typed by a user becomes the tokens
// of those ten characters unless the caller says that this text may speak for the template
// (parse_special). What is special is the model's statement: added tokens marked so, tokens of
// type kControl or kUnknown, and the bos and eos ids. Added tokens that are *not* special
// ("<think>", runs of blanks) are ordinary text and always found.
//
// Text that is not UTF-8: every ill-formed sequence is read as U+FFFD, one for each maximal
// subpart (the Unicode standard's recommended practice), before anything else happens; each segment
// on its own.
//
// Threads: a Tokenizer is immutable; any number of threads may use one. A TokenStream belongs to
// one thread at a time. Nothing here blocks or does I/O. Errors: INVALID_ARGUMENT (an id outside
// the vocabulary), FAILED_PRECONDITION (a forced bos or eos that the model lacks), EXHAUSTED (text
// over limits::kMaxTextBytes, a regex over its step limit, no memory).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/text/tokenizer/spec.h"

namespace bp::text {

// Whether ids are put before (bos) or after (eos) a text.
enum class Affix : uint8_t {
  kModelRule,  // what the model's own post-processing does
  kAlways,     // the rule's ids, or bos_id / the first eos id when the rule has none
  kNever,
};

struct EncodeOptions {
  Affix bos = Affix::kModelRule;
  Affix eos = Affix::kModelRule;
  bool parse_special = false;  // may special tokens be found in the text? (encode() only)
};

// A part of one text. Only where parse_special is set can a special token be found, and it must lie
// wholly within such parts: nothing a user types can complete or disturb one.
struct TextSegment {
  std::string_view text;
  bool parse_special = false;
};

class Tokenizer {
 public:
  // Checks the specification (validate()), compiles its expressions and builds the tables.
  // CORRUPT, EXHAUSTED or UNIMPLEMENTED with the offending part's name.
  static Result<std::shared_ptr<const Tokenizer>> create(TokenizerSpec spec);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Time is O(n log n) in the length of the longest word, whatever the text is, as far as the
  // model's own regular expression is linear.
  Result<std::vector<TokenId>> encode(std::string_view text,
                                      const EncodeOptions& options = {}) const;
  // The segments are one text: words and merges go across their borders, exactly as if the joined
  // text had been encoded. options.parse_special is not used. For rendered chat templates.
  Result<std::vector<TokenId>> encode_segments(std::span<const TextSegment> segments,
                                               const EncodeOptions& options = {}) const;

  // The text of the ids, always valid UTF-8: bytes that form no character become U+FFFD (one per
  // maximal subpart in byte-level vocabularies; one per byte for byte-fallback tokens, as in
  // SentencePiece). Equals the concatenation of what a TokenStream gives.
  Result<std::string> decode(std::span<const TokenId> ids, bool skip_special = true) const;

  size_t vocabulary_size() const noexcept;
  bool contains(TokenId id) const noexcept;
  // The bytes that a token adds in the middle of a text ("▁the" gives " the"); may be a part of a
  // character. Empty for ids outside the vocabulary. Valid as long as the tokenizer.
  std::string_view token_bytes(TokenId id) const noexcept;
  // Never produced from text unless asked; hidden by skip_special.
  bool is_special(TokenId id) const noexcept;
  // Ends a generation.
  bool is_eos(TokenId id) const noexcept;
  TokenId bos_id() const noexcept;
  TokenId unk_id() const noexcept;
  TokenId pad_id() const noexcept;
  std::span<const TokenId> eos_ids() const noexcept;
  // The id of the special or added token with exactly this text, or kNoToken.
  TokenId find_added_token(std::string_view text) const noexcept;
  const TokenizerSpec& spec() const noexcept;

  struct Impl;  // opaque

 private:
  friend class TokenStream;
  explicit Tokenizer(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

struct StreamOptions {
  bool skip_special = true;
  // The text continues other text: nothing is stripped at its start. Set it for what a model
  // generates after a prompt, where the first token's blank is a real one.
  bool continues_text = false;
};

// Text as tokens arrive. A piece given out is never taken back and never ends inside a character:
// incomplete bytes wait for the next token or for finish().
class TokenStream {
 public:
  explicit TokenStream(std::shared_ptr<const Tokenizer> tokenizer, StreamOptions options = {});

  // Appends to *out the text that this token completes (often one word, sometimes nothing).
  // INVALID_ARGUMENT for an id outside the vocabulary; the stream is then unchanged.
  Status push(TokenId id, std::string* out);
  // Appends what was held back, incomplete bytes as U+FFFD, and begins a new text.
  Status finish(std::string* out);

 private:
  friend class Tokenizer;
  TokenStream(const Tokenizer::Impl* impl, StreamOptions options);
  void begin();
  void emit(std::string_view text, std::string* out);
  void emit_bytes(std::string_view bytes, std::string* out);
  void flush_bytes(std::string* out);

  std::shared_ptr<const Tokenizer> tokenizer_;  // keeps impl_ alive
  const Tokenizer::Impl* impl_;
  StreamOptions options_;
  std::string pending_;      // bytes that may still become a character; under 4
  uint32_t strip_left_ = 0;  // how many more leading patterns kStripStart may take
  std::string strip_held_;   // a part of such a pattern at the start
  bool first_token_ = true;
};

}  // namespace bp::text
