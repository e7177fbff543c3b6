// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/search.h"

#include <algorithm>

namespace bp::jinja {

Needle::Needle(std::string_view needle) : needle_(needle) {
  if (needle.size() < kLongNeedleBytes) return;
  border_.assign(needle.size(), 0);
  for (size_t i = 1, matched = 0; i < needle.size(); ++i) {
    while (matched > 0 && needle[i] != needle[matched]) matched = border_[matched - 1];
    if (needle[i] == needle[matched]) ++matched;
    border_[i] = matched;
  }
}

size_t Needle::find_in(std::string_view haystack, size_t from) const {
  if (border_.empty()) return haystack.find(needle_, from);
  for (size_t i = from, matched = 0; i < haystack.size(); ++i) {
    while (matched > 0 && haystack[i] != needle_[matched]) matched = border_[matched - 1];
    if (haystack[i] == needle_[matched]) ++matched;
    if (matched == needle_.size()) return i + 1 - matched;
  }
  return std::string_view::npos;
}

size_t Needle::rfind_in(std::string_view haystack, size_t from) const {
  if (border_.empty()) return haystack.rfind(needle_, from);
  size_t last = std::string_view::npos;
  for (size_t i = 0, matched = 0; i < haystack.size(); ++i) {
    while (matched > 0 && (matched == needle_.size() || haystack[i] != needle_[matched])) {
      matched = border_[matched - 1];
    }
    if (haystack[i] == needle_[matched]) ++matched;
    if (matched < needle_.size()) continue;
    if (i + 1 - matched > from) break;
    last = i + 1 - matched;
  }
  return last;
}

}  // namespace bp::jinja
