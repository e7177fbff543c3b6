// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/origin_text.h"

#include <algorithm>

namespace bp::jinja {

bool Text::content_at(size_t position) const {
  if (position >= bytes_.size()) return false;
  const auto flips_before =
      std::upper_bound(flips_.begin(), flips_.end(), position) - flips_.begin();
  return first_is_content_ != (flips_before % 2 == 1);
}

void Text::append(std::string_view bytes, bool content) {
  if (bytes.empty()) return;
  if (bytes_.empty()) {
    first_is_content_ = content;
    flips_.clear();
  } else if (last_is_content() != content) {
    flips_.push_back(bytes_.size());
  }
  bytes_.append(bytes);
}

void Text::append(const Text& other, size_t begin, size_t end) {
  if (&other == this) {
    const Text copy = slice(begin, end);
    append(copy, 0, copy.size());
    return;
  }
  end = std::min(end, other.size());
  if (begin >= end) return;
  auto flip = std::upper_bound(other.flips_.begin(), other.flips_.end(), begin);
  bool content = other.first_is_content_ != ((flip - other.flips_.begin()) % 2 == 1);
  while (begin < end) {
    const size_t stop = flip == other.flips_.end() ? end : std::min(*flip++, end);
    append(std::string_view(other.bytes_).substr(begin, stop - begin), content);
    content = !content;
    begin = stop;
  }
}

Text Text::slice(size_t begin, size_t end) const {
  Text out;
  out.append(*this, begin, end);
  return out;
}

std::vector<TextSegment> Text::segments() const {
  std::vector<TextSegment> out;
  size_t begin = 0;
  bool content = first_is_content_;
  for (size_t i = 0; i <= flips_.size() && begin < bytes_.size(); ++i) {
    const size_t end = i < flips_.size() ? flips_[i] : bytes_.size();
    out.push_back({begin, end - begin, content ? TextOrigin::kContent : TextOrigin::kScaffold});
    content = !content;
    begin = end;
  }
  return out;
}

}  // namespace bp::jinja
