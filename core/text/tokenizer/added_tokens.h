// SPDX-License-Identifier: Apache-2.0
// Finding added tokens in a text: at every place the longest that is allowed there.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/text/tokenizer/normalizer.h"
#include "core/text/tokenizer/prefix_search.h"
#include "core/text/tokenizer/spec.h"

namespace bp::text {

// A found token, with the blanks it swallows.
struct AddedMatch {
  size_t begin = 0;
  size_t end = 0;
  TokenId id = kNoToken;
  bool found = false;
};

class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  // texts[i] is what is looked for in place of tokens[i]; equal texts: the first one counts, empty
  // ones are never found.
  AddedTokenFinder(std::vector<AddedToken> tokens, std::vector<std::string> texts);
  AddedTokenFinder(AddedTokenFinder&&) = default;
  AddedTokenFinder& operator=(AddedTokenFinder&&) = default;

  bool empty() const noexcept { return search_.empty(); }
  bool has_special() const noexcept { return has_special_; }

  // The first match at or after `from`. Special tokens are only seen where every byte of them is
  // permitted: `permitted(begin, end)`. A token that is not permitted does not hide others.
  template <typename Permitted>
  AddedMatch find(std::string_view text, size_t from, Permitted&& permitted) const;

 private:
  bool fits(const AddedToken& token, std::string_view text, size_t begin, size_t end) const;
  AddedMatch widened(const AddedToken& token, std::string_view text, size_t from, size_t begin,
                     size_t end) const;

  std::vector<AddedToken> tokens_;
  std::vector<std::string> texts_;  // heap storage: stays in place when the finder is moved
  PrefixSearch search_;             // over texts_, by index
  bool has_special_ = false;
};

template <typename Permitted>
AddedMatch AddedTokenFinder::find(std::string_view text, size_t from, Permitted&& permitted) const {
  if (search_.empty()) return {};
  for (size_t at = from; at < text.size(); ++at) {
    if (!search_.may_begin(text[at])) continue;
    const AddedToken* longest = nullptr;
    size_t end = at;
    search_.for_each_prefix(text.substr(at), [&](TokenId index, size_t length) {
      const AddedToken& token = tokens_[static_cast<size_t>(index)];
      if (token.special && !permitted(at, at + length)) return;
      longest = &token;
      end = at + length;
    });
    if (longest == nullptr) continue;
    if (fits(*longest, text, at, end)) return widened(*longest, text, from, at, end);
    at = end - 1;  // a single_word token inside a word: what it covers is ordinary text
  }
  return {};
}

}  // namespace bp::text
