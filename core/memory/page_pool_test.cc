// SPDX-License-Identifier: Apache-2.0
#include "core/memory/page_pool.h"

#include <gtest/gtest.h>

#include <set>

namespace bp {
namespace {

TEST(PagePool, lowest_pages_come_first_and_return) {
  PagePool pool(3);
  EXPECT_EQ(pool.take().value(), 0);
  EXPECT_EQ(pool.take().value(), 1);
  pool.give_back(0);
  EXPECT_EQ(pool.take().value(), 0);
  EXPECT_EQ(pool.take().value(), 2);
  EXPECT_EQ(pool.take().status().code(), Code::kExhausted);
}

TEST(PageTable, two_sequences_never_share_a_page) {
  PagePool pool(10);
  PageTable a(&pool, 16), b(&pool, 16);
  for (uint64_t n : {1u, 17u, 40u, 64u}) {
    ASSERT_TRUE(a.resize(n).ok());
    ASSERT_TRUE(b.resize(n + 8).ok());
    std::set<int32_t> all(a.pages().begin(), a.pages().end());
    all.insert(b.pages().begin(), b.pages().end());
    EXPECT_EQ(all.size(), a.pages().size() + b.pages().size());
    EXPECT_EQ(a.pages().size(), (n + 15) / 16);
  }
  EXPECT_EQ(a.resize(16 * 8).code(), Code::kExhausted);
  EXPECT_EQ(a.pages().size(), 4u) << "a refusal changes nothing";
  ASSERT_TRUE(b.resize(0).ok());
  EXPECT_TRUE(a.resize(16 * 8).ok());
}

}  // namespace
}  // namespace bp
