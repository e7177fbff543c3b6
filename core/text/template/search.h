// SPDX-License-Identifier: Apache-2.0
// Finding a byte string in another in linear time, whatever the two are.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace bp::jinja {

// Searches one needle any number of times. A plain search is quadratic for texts like "aaaa…b",
// which a template can build; so long needles use the Knuth-Morris-Pratt automaton.
class Needle {
 public:
  explicit Needle(std::string_view needle);
  // First match at or after `from`, or npos.
  size_t find_in(std::string_view haystack, size_t from) const;
  // Last match that begins at or before `from`, or npos.
  size_t rfind_in(std::string_view haystack, size_t from) const;
  size_t size() const { return needle_.size(); }

 private:
  static constexpr size_t kLongNeedleBytes = 32;
  std::string_view needle_;
  std::vector<size_t> border_;  // of each prefix: length of its longest proper border
};

}  // namespace bp::jinja
