// SPDX-License-Identifier: Apache-2.0
#include "core/text/tokenizer/added_tokens.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/text/tokenizer/token_table.h"
#include "core/text/tokenizer/utf8.h"

namespace bp::text {

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens, std::vector<std::string> texts)
    : tokens_(std::move(tokens)), texts_(std::move(texts)) {
  TokenTable known(texts_, texts_.size());
  std::vector<TokenId> indices;
  for (size_t i = 0; i < texts_.size(); ++i) {
    has_special_ = has_special_ || tokens_[i].special;
    const auto index = static_cast<TokenId>(i);
    if (!texts_[i].empty() && known.insert(index) == kNoToken) indices.push_back(index);
  }
  search_ = PrefixSearch(texts_, std::move(indices));
}

bool AddedTokenFinder::fits(const AddedToken& token, std::string_view text, size_t begin,
                            size_t end) const {
  if (!token.single_word) return true;
  return !utf8::ends_with_word(text.substr(0, begin)) && !utf8::starts_with_word(text.substr(end));
}

AddedMatch AddedTokenFinder::widened(const AddedToken& token, std::string_view text, size_t from,
                                     size_t begin, size_t end) const {
  if (token.lstrip) begin -= utf8::trailing_whitespace(text.substr(from, begin - from));
  if (token.rstrip) end += utf8::leading_whitespace(text.substr(end));
  return {begin, end, token.id, true};
}

}  // namespace bp::text
