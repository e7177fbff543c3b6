// SPDX-License-Identifier: Apache-2.0
#include "core/memory/page_pool.h"

#include <algorithm>
#include <cassert>
#include <functional>

namespace bp {

PagePool::PagePool(uint32_t pages) : pages_(pages) {
  free_.reserve(pages);
  for (uint32_t i = pages; i-- > 0;) free_.push_back(static_cast<int32_t>(i));
}

Result<int32_t> PagePool::take() {
  if (free_.empty()) {
    return error(Code::kExhausted, "all {} pages of the KV cache are in use", pages_);
  }
  const int32_t page = free_.back();
  free_.pop_back();
  return page;
}

void PagePool::give_back(int32_t page) {
  assert(page >= 0 && static_cast<uint32_t>(page) < pages_);
  const auto place = std::lower_bound(free_.begin(), free_.end(), page, std::greater<>());
  assert(place == free_.end() || *place != page);
  free_.insert(place, page);  // within the capacity reserved at the start: no allocation
}

Status PageTable::resize(uint64_t positions) {
  const uint64_t wanted = (positions + page_size_ - 1) / page_size_;
  if (wanted > pages_.size() && wanted - pages_.size() > pool_->free_pages()) {
    return error(Code::kExhausted, "{} positions need {} pages of the KV cache, {} are free",
                 positions, wanted - pages_.size(), pool_->free_pages());
  }
  while (pages_.size() < wanted) pages_.push_back(BP_TRY(pool_->take()));
  while (pages_.size() > wanted) {
    pool_->give_back(pages_.back());
    pages_.pop_back();
  }
  return {};
}

}  // namespace bp
