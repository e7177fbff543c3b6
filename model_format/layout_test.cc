// SPDX-License-Identifier: Apache-2.0
#include "model_format/layout.h"

#include <gtest/gtest.h>

#include <vector>

namespace bp {
namespace {

ModelHeader example() {
  ModelHeader header;
  header.plan_bytes = 1000;
  header.file_bytes = 131072;
  for (size_t i = 0; i < header.plan_digest.size(); ++i) {
    header.plan_digest[i] = static_cast<uint8_t>(i);
  }
  return header;
}

TEST(Header, survives_encoding_and_decoding) {
  const auto bytes = encode_header(example());
  const ModelHeader back = decode_header(bytes, 131072).value();
  EXPECT_EQ(back.plan_bytes, 1000u);
  EXPECT_EQ(back.file_bytes, 131072u);
  EXPECT_EQ(back.plan_digest, example().plan_digest);
}

TEST(Header, bytes_are_those_of_the_specification) {
  const auto bytes = encode_header(example());
  const uint8_t expected[32] = {'B',  'P', 'L', 'A', 'N', 'E', 0, 1, 1, 0, 0, 0, 64, 0, 0, 0,
                                0xe8, 3,   0,   0,   0,   0,   0, 0, 0, 0, 2, 0, 0,  0, 0, 0};
  for (size_t i = 0; i < sizeof(expected); ++i) {
    EXPECT_EQ(std::to_integer<uint8_t>(bytes[i]), expected[i]) << i;
  }
}

TEST(Header, foreign_bytes_are_refused) {
  std::vector<std::byte> gguf(64);
  gguf[0] = std::byte{'G'};
  EXPECT_EQ(decode_header(gguf, 64).status().code(), Code::kCorrupt);
  EXPECT_EQ(decode_header({}, 0).status().code(), Code::kCorrupt);
}

TEST(Header, newer_version_is_incompatible_and_names_both) {
  ModelHeader header = example();
  header.format_version = 2;
  const Status status = decode_header(encode_header(header), 131072).status();
  EXPECT_EQ(status.code(), Code::kIncompatible);
  EXPECT_NE(status.message().find("version 2"), std::string_view::npos);
}

TEST(Header, wrong_sizes_are_refused) {
  const auto refused = [](const ModelHeader& header, uint64_t actual) {
    return decode_header(encode_header(header), actual).status().code() == Code::kCorrupt;
  };
  EXPECT_TRUE(refused(example(), 131071));
  EXPECT_TRUE(refused(example(), 131073));
  ModelHeader header = example();
  header.plan_bytes = 131072;
  EXPECT_TRUE(refused(header, 131072));
  header.plan_bytes = UINT64_MAX - 10;
  EXPECT_TRUE(refused(header, 131072));
  header.plan_bytes = 0;
  EXPECT_TRUE(refused(header, 131072));
  header = example();
  header.plan_offset = 72;
  EXPECT_TRUE(refused(header, 131072));
  header = example();
  header.format_version = 0;
  EXPECT_TRUE(refused(header, 131072));
}

TEST(Planes, sizes_follow_the_format_table) {
  const std::vector<uint64_t> shape = {3, 64};
  const WeightFormat& q4 = *find_weight_format("q4_g32");
  EXPECT_EQ(plane_size_bytes(q4, 0, shape).value(), 3u * 2 * 16);
  EXPECT_EQ(plane_size_bytes(q4, 1, shape).value(), 3u * 2 * 2);
  EXPECT_EQ(plane_size_bytes(q4, 2, shape).status().code(), Code::kInvalidArgument);
}

TEST(Planes, impossible_shapes_are_refused) {
  const WeightFormat& q4 = *find_weight_format("q4_g32");
  const auto code = [&](const std::vector<uint64_t>& shape) {
    return plane_size_bytes(q4, 0, shape).status().code();
  };
  EXPECT_EQ(code({3, 40}), Code::kCorrupt);                       // not a multiple of 32
  EXPECT_EQ(code({0, 32}), Code::kCorrupt);                       // empty
  EXPECT_EQ(code({}), Code::kCorrupt);                            // no dimensions
  EXPECT_EQ(code({1, 1, 1, 1, 1, 1, 1, 1, 32}), Code::kCorrupt);  // too many
  EXPECT_EQ(code({uint64_t{1} << 40, uint64_t{1} << 40}), Code::kCorrupt);
  EXPECT_EQ(code({uint64_t{1} << 38, 32}), Code::kCorrupt);  // 2^43 elements
}

}  // namespace
}  // namespace bp
