// SPDX-License-Identifier: Apache-2.0
// PrefixSearch: which of a set of texts does this text begin with?
//
// The texts are kept as a sorted list of ids; a search narrows a range of it byte by byte. No
// memory beyond the list, and nothing that a strange vocabulary can blow up.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/tokenizer/spec.h"

namespace bp::text {

class PrefixSearch {
 public:
  PrefixSearch() { first_.fill(0); }

  // `texts` must outlive the search. No two of the ids may have the same text; none is empty.
  PrefixSearch(std::span<const std::string> texts, std::vector<TokenId> ids)
      : texts_(texts), ids_(std::move(ids)) {
    std::sort(ids_.begin(), ids_.end(), [&](TokenId a, TokenId b) { return text(a) < text(b); });
    // first_[b] is where texts that begin with byte b or a higher one begin.
    size_t at = 0;
    for (size_t b = 0; b <= 256; ++b) {
      while (at < ids_.size() && static_cast<unsigned char>(text(ids_[at])[0]) < b) ++at;
      first_[b] = static_cast<uint32_t>(at);
    }
  }

  bool empty() const noexcept { return ids_.empty(); }
  bool may_begin(char c) const noexcept {
    const auto byte = static_cast<unsigned char>(c);
    return first_[byte] != first_[byte + size_t{1}];
  }

  // Calls visit(id, length) for every text that `input` begins with, shortest first.
  template <typename Visit>
  void for_each_prefix(std::string_view input, Visit&& visit) const {
    if (input.empty()) return;
    const auto lead = static_cast<unsigned char>(input[0]);
    auto low = ids_.begin() + first_[lead];
    auto high = ids_.begin() + first_[lead + size_t{1}];
    for (size_t depth = 1; low != high; ++depth) {
      if (text(*low).size() == depth) {
        visit(*low, depth);
        if (++low == high) return;
      }
      if (depth >= input.size()) return;
      const auto byte = static_cast<unsigned char>(input[depth]);
      low = std::lower_bound(low, high, byte, [&](TokenId id, unsigned char b) {
        return static_cast<unsigned char>(text(id)[depth]) < b;
      });
      high = std::upper_bound(low, high, byte, [&](unsigned char b, TokenId id) {
        return b < static_cast<unsigned char>(text(id)[depth]);
      });
    }
  }

 private:
  const std::string& text(TokenId id) const noexcept { return texts_[static_cast<size_t>(id)]; }
  std::span<const std::string> texts_;
  std::vector<TokenId> ids_;
  std::array<uint32_t, 257> first_{};
};

}  // namespace bp::text
