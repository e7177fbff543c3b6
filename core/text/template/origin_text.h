// SPDX-License-Identifier: Apache-2.0
// Text that remembers, for each byte, whether the template wrote it or the caller's data did.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/text/template/rendered_text.h"

namespace bp::jinja {

// A byte string and the places where its origin changes. Most texts have one origin throughout and
// then cost no more than a string. Value type; not shared between threads while it changes.
class Text {
 public:
  Text() = default;
  Text(std::string bytes, bool content) : bytes_(std::move(bytes)), first_is_content_(content) {}

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  // Memory that this text holds, for accounting.
  size_t footprint_bytes() const { return bytes_.size() + flips_.size() * sizeof(size_t); }

  // Origin of the byte at `position`; false beyond the end.
  bool content_at(size_t position) const;
  // Does any byte come from the caller's data?
  bool has_content() const { return !bytes_.empty() && (first_is_content_ || !flips_.empty()); }

  void append(std::string_view bytes, bool content);
  void append(const Text& other) { append(other, 0, other.size()); }
  // Appends bytes [begin, end) of `other`; the range is cut to what exists. `other` may be *this.
  void append(const Text& other, size_t begin, size_t end);
  Text slice(size_t begin, size_t end) const;
  void reserve(size_t size_bytes) { bytes_.reserve(size_bytes); }

  std::vector<TextSegment> segments() const;
  std::string take_bytes() && { return std::move(bytes_); }

 private:
  bool last_is_content() const { return first_is_content_ != (flips_.size() % 2 == 1); }

  std::string bytes_;
  std::vector<size_t> flips_;  // ascending positions, each inside (0, size)
  bool first_is_content_ = false;
};

}  // namespace bp::jinja
