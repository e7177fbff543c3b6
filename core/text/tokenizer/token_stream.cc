// SPDX-License-Identifier: Apache-2.0
// Ids to text: one way for whole lists and for streams.
#include <exception>
#include <utility>

#include "core/text/tokenizer/tokenizer.h"
#include "core/text/tokenizer/tokenizer_impl.h"
#include "core/text/tokenizer/utf8.h"

namespace bp::text {

TokenStream::TokenStream(std::shared_ptr<const Tokenizer> tokenizer, StreamOptions options)
    : tokenizer_(std::move(tokenizer)), impl_(tokenizer_->impl_.get()), options_(options) {
  begin();
}

TokenStream::TokenStream(const Tokenizer::Impl* impl, StreamOptions options)
    : impl_(impl), options_(options) {
  begin();
}

void TokenStream::begin() {
  pending_.clear();
  strip_left_ = options_.continues_text ? 0 : impl_->strip_count;
  first_token_ = !options_.continues_text;
}

void TokenStream::emit(std::string_view text, std::string* out) {
  while (strip_left_ > 0 && text.starts_with(impl_->strip_pattern)) {
    text.remove_prefix(impl_->strip_pattern.size());
    --strip_left_;
  }
  if (text.empty()) return;
  strip_left_ = 0;
  out->append(text);
}

// Gives out whole characters; a beginning of one waits in pending_.
void TokenStream::emit_bytes(std::string_view bytes, std::string* out) {
  std::string joined;
  if (!pending_.empty()) {
    joined = std::exchange(pending_, std::string()).append(bytes);
    bytes = joined;
  }
  while (!bytes.empty()) {
    size_t good = 0;
    utf8::Decoded character{};
    while (good < bytes.size()) {
      character = utf8::decode(bytes.substr(good));
      if (!character.well_formed) break;
      good += character.length;
    }
    emit(bytes.substr(0, good), out);
    bytes.remove_prefix(good);
    if (bytes.empty()) return;
    if (character.truncated) {
      pending_.assign(bytes);
      return;
    }
    emit(utf8::kReplacement, out);
    bytes.remove_prefix(is_byte_level(impl_->spec.kind) ? character.length : 1);
  }
}

// No more bytes of the same run will come.
void TokenStream::flush_bytes(std::string* out) {
  if (pending_.empty()) return;
  const size_t marks = is_byte_level(impl_->spec.kind) ? 1 : pending_.size();
  for (size_t i = 0; i < marks; ++i) emit(utf8::kReplacement, out);
  pending_.clear();
}

Status TokenStream::push(TokenId id, std::string* out) {
  if (!impl_->contains(id)) {
    return error(Code::kInvalidArgument, "token {} is outside the vocabulary of {}", id,
                 impl_->spec.tokens.size());
  }
  const auto index = static_cast<size_t>(id);
  if (options_.skip_special && impl_->special[index] != 0) return {};
  try {
    const bool first = std::exchange(first_token_, false);
    if (is_byte_level(impl_->spec.kind) || impl_->spec.types[index] == TokenType::kByte) {
      emit_bytes(impl_->text_of(id), out);
      return {};
    }
    flush_bytes(out);
    if (first && impl_->strips_first) {
      emit(impl_->first_text_of(id), out);
    } else {
      emit(impl_->text_of(id), out);
    }
    return {};
  } catch (const std::exception&) {
    return error(Code::kExhausted, "no memory for the text of token {}", id);
  }
}

Status TokenStream::finish(std::string* out) {
  try {
    flush_bytes(out);
  } catch (const std::exception&) {
    return error(Code::kExhausted, "no memory for the end of a text");
  }
  begin();
  return {};
}

Result<std::string> Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  TokenStream stream(impl_.get(), StreamOptions{skip_special, false});
  std::string text;
  for (const TokenId id : ids) BP_TRY(stream.push(id, &text));
  BP_TRY(stream.finish(&text));
  return text;
}

}  // namespace bp::text
