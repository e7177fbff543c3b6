// SPDX-License-Identifier: Apache-2.0
// Pages of the KV cache: which are free, and which positions of a sequence they hold.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/status.h"

namespace bp {

// Hands out page numbers 0 … pages-1, lowest first. Not thread-safe.
class PagePool {
 public:
  explicit PagePool(uint32_t pages);
  // EXHAUSTED when all pages are in use.
  Result<int32_t> take();
  // `page` must have been taken and not given back since.
  void give_back(int32_t page);
  uint32_t free_pages() const noexcept { return static_cast<uint32_t>(free_.size()); }
  uint32_t pages() const noexcept { return pages_; }

 private:
  uint32_t pages_;
  std::vector<int32_t> free_;  // highest first, so that the back is the lowest
};

// The pages of one sequence. Not thread-safe; gives its pages back when destroyed.
class PageTable {
 public:
  PageTable(PagePool* pool, uint32_t page_size) : pool_(pool), page_size_(page_size) {}
  ~PageTable() { resize(0).ok(); }
  PageTable(const PageTable&) = delete;
  PageTable& operator=(const PageTable&) = delete;

  // Holds exactly the pages that `positions` need. EXHAUSTED changes nothing.
  Status resize(uint64_t positions);
  const std::vector<int32_t>& pages() const noexcept { return pages_; }

 private:
  PagePool* pool_;
  uint32_t page_size_;
  std::vector<int32_t> pages_;
};

}  // namespace bp
