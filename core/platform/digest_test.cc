// SPDX-License-Identifier: Apache-2.0
#include "core/platform/digest.h"

#include <gtest/gtest.h>

namespace bp {
namespace {

std::string hex_of(std::string_view text) {
  return to_hex(Sha256::of(std::as_bytes(std::span(text))).value());
}

// Test vectors of FIPS 180-4.
TEST(Sha256, known_messages_have_their_published_digests) {
  EXPECT_EQ(hex_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256, pieces_give_the_digest_of_the_whole_and_the_object_starts_afresh) {
  Sha256 hash = Sha256::create().value();
  for (int round = 0; round < 2; ++round) {
    for (const std::string_view piece : {"a", "", "bc"}) {
      ASSERT_TRUE(hash.update(std::as_bytes(std::span(piece))).ok());
    }
    EXPECT_EQ(to_hex(hash.finish().value()), hex_of("abc"));
  }
}

TEST(Sha256, moving_carries_the_state) {
  Sha256 first = Sha256::create().value();
  ASSERT_TRUE(first.update(std::as_bytes(std::span(std::string_view("ab")))).ok());
  Sha256 second = std::move(first);
  ASSERT_TRUE(second.update(std::as_bytes(std::span(std::string_view("c")))).ok());
  EXPECT_EQ(to_hex(second.finish().value()), hex_of("abc"));
}

}  // namespace
}  // namespace bp
