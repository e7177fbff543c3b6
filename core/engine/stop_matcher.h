// SPDX-License-Identifier: Apache-2.0
// Finds stop texts in a stream of pieces, also across their borders.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace bp {

// Holds back only what may still become a stop text. Not thread-safe.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops);

  // Adds a piece and appends to *out what is certainly not part of a stop text. True when a stop
  // text has been found: *out then ends right before it, and the rest is dropped. Of several, the
  // one that begins first wins.
  bool push(std::string_view piece, std::string* out);
  // Appends what was held back: the stream has ended without a stop text.
  void finish(std::string* out);

 private:
  std::vector<std::string> stops_;
  size_t longest_ = 0;
  std::string held_;
};

}  // namespace bp
