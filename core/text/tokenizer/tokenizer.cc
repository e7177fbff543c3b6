// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/tokenizer.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "core/base/limits.h"
#include "core/text/tokenizer/tokenizer_impl.h"
#include "core/text/tokenizer/utf8.h"

namespace bp::text {
namespace {

constexpr size_t kMaxDecodedBytes = 4 * kMaxVocabularyBytes;

void replace_all(std::string* text, std::string_view pattern, std::string_view replacement) {
  size_t at = text->find(pattern);
  if (at == std::string::npos) return;
  std::string out;
  size_t done = 0;
  for (; at != std::string::npos; at = text->find(pattern, done)) {
    out.append(*text, done, at - done).append(replacement);
    done = at + pattern.size();
  }
  out.append(*text, done);
  *text = std::move(out);
}

// The state of one encode() call.
class Encoding {
 public:
  Encoding(const Tokenizer::Impl& impl, std::string_view text,
           std::vector<PermittedRange> permitted, std::vector<TokenId>* out)
      : impl_(impl), text_(text), permitted_(std::move(permitted)), out_(out) {}

  Status run() {
    size_t from = 0;
    const auto permitted = [&](size_t begin, size_t end) { return is_permitted(begin, end); };
    while (from < text_.size()) {
      const AddedMatch match = impl_.raw_finder.find(text_, from, permitted);
      BP_TRY(gap(from, match.found ? match.begin : text_.size()));
      if (!match.found) break;
      out_->push_back(match.id);
      from = match.end;
    }
    return {};
  }

 private:
  bool is_permitted(size_t begin, size_t end) const {
    auto after = std::upper_bound(permitted_.begin(), permitted_.end(), begin,
                                  [](size_t at, const PermittedRange& r) { return at < r.begin; });
    return after != permitted_.begin() && end <= std::prev(after)->end;
  }

  // Text [begin, end), which has no added tokens but perhaps normalized ones.
  Status gap(size_t begin, size_t end) {
    if (begin == end) return {};
    const std::string_view raw = text_.substr(begin, end - begin);
    if (impl_.normalizer.is_identity()) return normalized(raw, begin == 0, begin, nullptr);
    PermissionMap permissions;
    if (impl_.normalized_finder.has_special()) {
      permissions.assign(raw.size(), 0);
      for (const PermittedRange& range : permitted_) {
        const size_t from = std::clamp(range.begin, begin, end) - begin;
        const size_t to = std::clamp(range.end, begin, end) - begin;
        std::fill(permissions.begin() + static_cast<ptrdiff_t>(from),
                  permissions.begin() + static_cast<ptrdiff_t>(to), uint8_t{1});
      }
    }
    normalized_.assign(raw);
    BP_TRY(impl_.normalizer.apply(&normalized_, &permissions, &matching_));
    return normalized(normalized_, begin == 0, 0, &permissions);
  }

  // `permissions` by byte, or null for text that stands at `offset` of the whole.
  Status normalized(std::string_view text, bool at_start, size_t offset,
                    const PermissionMap* permissions) {
    const auto permitted = [&](size_t begin, size_t end) {
      if (permissions == nullptr) return is_permitted(offset + begin, offset + end);
      return !permissions->empty() &&
             std::all_of(permissions->begin() + static_cast<ptrdiff_t>(begin),
                         permissions->begin() + static_cast<ptrdiff_t>(end),
                         [](uint8_t p) { return p != 0; });
    };
    size_t from = 0;
    while (from < text.size()) {
      const AddedMatch match = impl_.normalized_finder.find(text, from, permitted);
      const size_t to = match.found ? match.begin : text.size();
      BP_TRY(words({text.substr(from, to - from), at_start && from == 0}));
      if (!match.found) break;
      out_->push_back(match.id);
      from = match.end;
    }
    return {};
  }

  Status words(Piece text) {
    if (text.text.empty()) return {};
    PreTokenizer::Walk walk(impl_.pre_tokenizer, text, &matching_);
    Piece word;
    while (BP_TRY(walk.next(&word))) {
      if (impl_.unigram) {
        impl_.unigram->encode(word.text, &unigram_, out_);
      } else {
        impl_.bpe->encode(word.text, &bpe_, out_);
      }
    }
    return {};
  }

  const Tokenizer::Impl& impl_;
  std::string_view text_;
  std::vector<PermittedRange> permitted_;  // sorted, apart from each other
  std::vector<TokenId>* out_;
  std::string normalized_;
  MatchScratch matching_;
  Bpe::Scratch bpe_;
  Unigram::Scratch unigram_;
};

Status append_affix(Affix affix, const std::vector<TokenId>& rule, TokenId otherwise,
                    std::string_view name, std::vector<TokenId>* out) {
  if (affix == Affix::kNever) return {};
  out->insert(out->end(), rule.begin(), rule.end());
  if (affix == Affix::kModelRule || !rule.empty()) return {};
  if (otherwise == kNoToken) {
    return error(Code::kFailedPrecondition, "the vocabulary has no {} token to add", name);
  }
  out->push_back(otherwise);
  return {};
}

}  // namespace

// ---- construction -------------------------------------------------------------------------------

void Tokenizer::Impl::classify() {
  const size_t count = spec.tokens.size();
  special.assign(count, 0);
  ends.assign(count, 0);
  for (size_t i = 0; i < count; ++i) {
    special[i] = spec.types[i] == TokenType::kControl || spec.types[i] == TokenType::kUnknown;
  }
  for (const AddedToken& token : spec.added_tokens) {
    if (token.special) special[static_cast<size_t>(token.id)] = 1;
  }
  if (spec.bos_id != kNoToken) special[static_cast<size_t>(spec.bos_id)] = 1;
  for (const TokenId id : spec.eos_ids) {
    special[static_cast<size_t>(id)] = 1;
    ends[static_cast<size_t>(id)] = 1;
  }
}

std::vector<uint8_t> Tokenizer::Impl::producible_tokens() const {
  std::vector<uint8_t> producible(spec.tokens.size(), 0);
  for (size_t i = 0; i < producible.size(); ++i) {
    const bool ordinary =
        spec.types[i] == TokenType::kNormal || spec.types[i] == TokenType::kUserDefined;
    producible[i] = ordinary && special[i] == 0;
  }
  return producible;
}

Status Tokenizer::Impl::prepare_finders() {
  std::vector<AddedToken> raw;
  std::vector<AddedToken> late;
  std::vector<std::string> raw_texts;
  std::vector<std::string> late_texts;
  MatchScratch scratch;
  named = TokenTable(spec.tokens, spec.tokens.size());
  for (AddedToken token : spec.added_tokens) {
    const auto index = static_cast<size_t>(token.id);
    token.special = special[index] != 0;  // bos and eos are special whatever the list says
    std::string text = spec.tokens[index];
    named.insert(token.id);
    if (token.normalized) {
      PermissionMap none;
      BP_TRY(normalizer.apply(&text, &none, &scratch));
      late.push_back(token);
      late_texts.push_back(std::move(text));
    } else {
      raw.push_back(token);
      raw_texts.push_back(std::move(text));
    }
  }
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    if (special[i] != 0) named.insert(static_cast<TokenId>(i));
  }
  raw_finder = AddedTokenFinder(std::move(raw), std::move(raw_texts));
  normalized_finder = AddedTokenFinder(std::move(late), std::move(late_texts));
  return {};
}

Status Tokenizer::Impl::prepare_decoder() {
  bool replaces = false;
  for (const DecoderStep& step : spec.decoder) {
    if (step.kind == DecoderKind::kStripStart) {
      strip_count = step.count;
      strip_pattern = step.pattern;
      continue;
    }
    replaces = true;
    strips_first = strips_first || (step.kind == DecoderKind::kMetaspace && step.strip_first);
  }
  if (!replaces) return {};
  decoded_starts.push_back(0);
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    std::string text = spec.tokens[i];
    for (const DecoderStep& step : spec.decoder) {
      if (spec.types[i] == TokenType::kByte || step.kind == DecoderKind::kStripStart) continue;
      replace_all(&text, step.pattern, step.kind == DecoderKind::kMetaspace ? " " : step.text);
      if (decoded.size() + text.size() > kMaxDecodedBytes) {
        return error(Code::kExhausted, "the decoder makes over {} bytes of the vocabulary",
                     kMaxDecodedBytes);
      }
    }
    decoded.append(text);
    decoded_starts.push_back(static_cast<uint32_t>(decoded.size()));
  }
  return {};
}

Status Tokenizer::Impl::prepare() {
  BP_TRY(spec.validate());
  classify();
  normalizer = BP_TRY(Normalizer::create(spec.normalizer));
  pre_tokenizer = BP_TRY(PreTokenizer::create(spec.pre_tokenizer));
  BP_TRY(prepare_finders());
  BP_TRY(prepare_decoder());
  const std::vector<uint8_t> producible = producible_tokens();
  if (spec.kind == ModelKind::kUnigram) {
    unigram = BP_TRY(Unigram::create(spec, producible));
  } else {
    bpe = BP_TRY(Bpe::create(spec, producible));
  }
  return {};
}

std::string_view Tokenizer::Impl::text_of(TokenId id) const noexcept {
  const auto index = static_cast<size_t>(id);
  if (decoded_starts.empty()) return spec.tokens[index];
  const uint32_t start = decoded_starts[index];
  return std::string_view(decoded).substr(start, decoded_starts[index + 1] - start);
}

std::string Tokenizer::Impl::first_text_of(TokenId id) const {
  std::string text = spec.tokens[static_cast<size_t>(id)];
  for (const DecoderStep& step : spec.decoder) {
    if (step.kind == DecoderKind::kStripStart) continue;
    const bool vanishes = step.kind == DecoderKind::kMetaspace && step.strip_first;
    replace_all(&text, step.pattern,
                vanishes                               ? ""
                : step.kind == DecoderKind::kMetaspace ? " "
                                                       : step.text);
  }
  return text;
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

Result<std::shared_ptr<const Tokenizer>> Tokenizer::create(TokenizerSpec spec) {
  try {
    auto impl = std::make_unique<Impl>();
    impl->spec = std::move(spec);
    BP_TRY(impl->prepare().with_context("tokenizer"));
    return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
  } catch (const std::exception&) {
    return error(Code::kExhausted, "no memory for the tokenizer");
  }
}

// ---- use ----------------------------------------------------------------------------------------

Result<std::vector<TokenId>> Tokenizer::encode(std::string_view text,
                                               const EncodeOptions& options) const {
  const TextSegment segment{text, options.parse_special};
  return encode_segments(std::span(&segment, 1), options);
}

Result<std::vector<TokenId>> Tokenizer::encode_segments(std::span<const TextSegment> segments,
                                                        const EncodeOptions& options) const {
  try {
    uint64_t total = 0;
    for (const TextSegment& segment : segments) total += segment.text.size();
    if (total > limits::kMaxTextBytes) {
      return error(Code::kExhausted, "the text has {} bytes; at most {} are accepted", total,
                   limits::kMaxTextBytes);
    }
    std::string joined;
    std::vector<PermittedRange> permitted;
    const bool whole = segments.size() == 1 && utf8::is_valid(segments[0].text);
    for (const TextSegment& segment : segments) {
      const size_t begin = joined.size();
      if (!whole) utf8::append_repaired(segment.text, &joined);
      const size_t end = whole ? segment.text.size() : joined.size();
      if (!segment.parse_special || begin == end) continue;
      if (!permitted.empty() && permitted.back().end == begin) {
        permitted.back().end = end;
      } else {
        permitted.push_back({begin, end});
      }
    }
    const std::string_view text = whole ? segments[0].text : std::string_view(joined);
    std::vector<TokenId> ids;
    const TokenizerSpec& s = impl_->spec;
    BP_TRY(append_affix(options.bos, s.prefix_ids, s.bos_id, "BOS", &ids));
    BP_TRY(Encoding(*impl_, text, std::move(permitted), &ids).run());
    const TokenId eos = s.eos_ids.empty() ? kNoToken : s.eos_ids.front();
    BP_TRY(append_affix(options.eos, s.suffix_ids, eos, "EOS", &ids));
    return ids;
  } catch (const std::exception&) {
    return error(Code::kExhausted, "no memory to encode the text");
  }
}

size_t Tokenizer::vocabulary_size() const noexcept {
  return impl_->spec.tokens.size();
}
bool Tokenizer::contains(TokenId id) const noexcept {
  return impl_->contains(id);
}
std::string_view Tokenizer::token_bytes(TokenId id) const noexcept {
  return impl_->contains(id) ? impl_->text_of(id) : std::string_view();
}
bool Tokenizer::is_special(TokenId id) const noexcept {
  return impl_->contains(id) && impl_->special[static_cast<size_t>(id)] != 0;
}
bool Tokenizer::is_eos(TokenId id) const noexcept {
  return impl_->contains(id) && impl_->ends[static_cast<size_t>(id)] != 0;
}
TokenId Tokenizer::bos_id() const noexcept {
  return impl_->spec.bos_id;
}
TokenId Tokenizer::unk_id() const noexcept {
  return impl_->spec.unk_id;
}
TokenId Tokenizer::pad_id() const noexcept {
  return impl_->spec.pad_id;
}
std::span<const TokenId> Tokenizer::eos_ids() const noexcept {
  return impl_->spec.eos_ids;
}
TokenId Tokenizer::find_added_token(std::string_view text) const noexcept {
  return impl_->named.find(text);
}
const TokenizerSpec& Tokenizer::spec() const noexcept {
  return impl_->spec;
}

}  // namespace bp::text
