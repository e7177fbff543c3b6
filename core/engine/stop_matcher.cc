// SPDX-License-Identifier: Apache-2.0
#include "core/engine/stop_matcher.h"

#include <algorithm>

namespace bp {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
  for (const std::string& stop : stops_) longest_ = std::max(longest_, stop.size());
}

bool StopMatcher::push(std::string_view piece, std::string* out) {
  if (stops_.empty()) {
    out->append(piece);
    return false;
  }
  held_.append(piece);
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    out->append(held_, 0, first);
    held_.clear();
    return true;
  }
  // The earliest place from which a stop text could still grow; pieces are short, and so are the
  // held-back ends, so trying every place is cheap.
  size_t keep_from = held_.size();
  const size_t earliest = held_.size() > longest_ ? held_.size() - longest_ : 0;
  for (size_t at = earliest; at < held_.size() && keep_from == held_.size(); ++at) {
    const std::string_view tail = std::string_view(held_).substr(at);
    for (const std::string& stop : stops_) {
      if (tail.size() < stop.size() && stop.starts_with(tail)) keep_from = at;
    }
  }
  // Whole characters only: a stop text may end inside the bytes of one that is not shown yet.
  while (keep_from > 0 && keep_from < held_.size() &&
         (static_cast<unsigned char>(held_[keep_from]) & 0xc0) == 0x80) {
    --keep_from;
  }
  out->append(held_, 0, keep_from);
  held_.erase(0, keep_from);
  return false;
}

void StopMatcher::finish(std::string* out) {
  out->append(held_);
  held_.clear();
}

}  // namespace bp
