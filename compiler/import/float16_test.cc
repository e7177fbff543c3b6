// SPDX-License-Identifier: Apache-2.0
#include "backplane/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "core/platform/file.h"

namespace bp {
namespace {

// From the definition of binary16, by arithmetic instead of bit moves.
double f16_by_definition(uint32_t bits) {
  const double sign = bits >> 15 != 0 ? -1.0 : 1.0;
  const int exponent = static_cast<int>(bits >> 10 & 31);
  const double mantissa = bits & 1023;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024.0 + mantissa, exponent - 25);
}

TEST(Float16, every_pattern_widens_exactly_and_comes_back) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = f16_to_f32(half);
    if ((bits & 0x7c00) != 0x7c00) {
      ASSERT_EQ(static_cast<double>(value), f16_by_definition(bits)) << bits;
      ASSERT_EQ(std::signbit(value), bits >> 15 != 0);
    } else {
      ASSERT_TRUE((bits & 0x3ff) == 0 ? std::isinf(value) : std::isnan(value)) << bits;
      ASSERT_EQ(std::signbit(value), bits >> 15 != 0);
    }
    const uint16_t back = f32_to_f16(value);
    ASSERT_EQ(back, std::isnan(value) ? (bits | 0x200) : bits);
  }
}

TEST(Float16, every_bf16_pattern_widens_and_comes_back) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = bf16_to_f32(static_cast<uint16_t>(bits));
    ASSERT_EQ(std::bit_cast<uint32_t>(value), bits << 16);
    ASSERT_EQ(f32_to_bf16(value), std::isnan(value) ? (bits | 0x40) : bits);
  }
}

TEST(Float16, nan_never_becomes_infinity) {
  for (const uint32_t bits : {0x7f800001u, 0xff800001u, 0x7fffffffu, 0x7fc00000u}) {
    const float value = std::bit_cast<float>(bits);
    EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(value))));
    EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(value))));
  }
}

TEST(Float16, midpoints_between_neighbours_go_to_the_even_one) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const double low = f16_by_definition(bits);
    const double high = f16_by_definition(bits + 1);
    const auto middle = static_cast<float>((low + high) / 2);  // exact: one bit more
    ASSERT_EQ(f32_to_f16(middle), bits % 2 == 0 ? bits : bits + 1);
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, 0.0F)), bits);
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, 1e9F)), bits + 1);
  }
}

TEST(Float16, narrowing_agrees_with_numpy_and_gguf) {
  const auto path = std::filesystem::path(BP_SOURCE_DIR) / "tests/golden/dequantize/narrow.bin";
  const std::string bytes = read_text_file(path, 1 << 20).value();
  ASSERT_GT(bytes.size(), 8000u);
  for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
    float value;
    uint16_t half;
    uint16_t brain;
    std::memcpy(&value, bytes.data() + at, 4);
    std::memcpy(&half, bytes.data() + at + 4, 2);
    std::memcpy(&brain, bytes.data() + at + 6, 2);
    EXPECT_EQ(f32_to_f16(value), half) << value;
    EXPECT_EQ(f32_to_bf16(value), brain) << value;
  }
}

}  // namespace
}  // namespace bp
