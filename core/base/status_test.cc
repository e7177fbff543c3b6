// SPDX-License-Identifier: Apache-2.0
#include "core/base/status.h"

#include <gtest/gtest.h>

#include "core/base/checked.h"

namespace bp {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return error(Code::kInvalidArgument, "{} is odd", value);
  return value / 2;
}
Result<int> quarter(int value) {
  const int once = BP_TRY(half(value).with_context("first half of {}", value));
  return BP_TRY(half(once));
}
Status check_quarter(int value) {
  BP_TRY(quarter(value));
  return {};
}

TEST(Status, success_is_null_and_silent) {
  const Status status;
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(status.code(), Code::kOk);
  EXPECT_EQ(status.message(), "");
  EXPECT_EQ(status.to_string(), "OK");
}

TEST(Status, try_propagates_and_adds_context) {
  EXPECT_EQ(quarter(8).value(), 2);
  EXPECT_EQ(quarter(7).status().to_string(), "INVALID_ARGUMENT: first half of 7: 7 is odd");
  EXPECT_EQ(check_quarter(6).message(), "3 is odd");
  EXPECT_TRUE(check_quarter(4).ok());
}

TEST(Status, copies_are_independent) {
  Status first = error(Code::kCorrupt, "bad");
  Status second = first;
  second = std::move(second).with_context("file");
  second.set_native(5);
  EXPECT_EQ(first.message(), "bad");
  EXPECT_EQ(first.native(), 0);
  EXPECT_EQ(second.message(), "file: bad");
  EXPECT_EQ(second.native(), 5);
}

TEST(Checked, borders_of_each_operation) {
  EXPECT_EQ(checked_add<uint64_t>(UINT64_MAX - 1, 1).value(), UINT64_MAX);
  EXPECT_EQ(checked_add<uint64_t>(UINT64_MAX, 1).status().code(), Code::kCorrupt);
  EXPECT_EQ(checked_mul<uint64_t>(uint64_t{1} << 32, uint64_t{1} << 32).status().code(),
            Code::kCorrupt);
  EXPECT_EQ(checked_cast<uint8_t>(255).value(), 255);
  EXPECT_FALSE(checked_cast<uint8_t>(256).ok());
  EXPECT_FALSE(checked_cast<uint32_t>(-1).ok());
  uint64_t out = 0;
  EXPECT_TRUE(try_align_up(65, 64, &out));
  EXPECT_EQ(out, 128u);
  EXPECT_FALSE(try_align_up(UINT64_MAX, 64, &out));
  EXPECT_TRUE(range_fits(10, 0, 10));
  EXPECT_FALSE(range_fits(11, 0, 10));
  EXPECT_FALSE(range_fits(1, UINT64_MAX, 10));
}

}  // namespace
}  // namespace bp
