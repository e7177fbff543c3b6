// SPDX-License-Identifier: Apache-2.0
#include "compiler/quantize/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "backplane/dequantize.h"
#include "backplane/float16.h"

namespace bp {
namespace {

using ::testing::HasSubstr;

// A fixed generator: the same numbers on every machine and library.
class Noise {
 public:
  uint32_t bits() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state_ >> 32);
  }
  // About normal, σ = 1: a sum of twelve uniforms.
  float normal() {
    int32_t sum = 0;
    for (int i = 0; i < 12; ++i) sum += static_cast<int32_t>(bits() >> 16) - 32768;
    return static_cast<float>(sum) / 65536.0F;
  }
  std::vector<float> normals(size_t count, float scale) {
    std::vector<float> values(count);
    for (float& value : values) value = normal() * scale;
    return values;
  }

 private:
  uint64_t state_ = 1;
};

struct Quantized {
  Status status;
  PlaneStorage storage;
  PlaneBuffers planes;
  std::vector<float> values;
};

Quantized quantize(std::string_view name, const std::vector<float>& rows, uint64_t columns) {
  Quantized q;
  const WeightFormat& format = *find_weight_format(name);
  q.planes = q.storage.reserve(format, rows.size()).value();
  q.status =
      quantize_rows(format, rows.data(), rows.size() / columns, columns, q.planes, {"w", 100});
  q.values.resize(rows.size());
  if (q.status.ok()) {
    dequantize_blocks(format, plane_pointers(q.planes).data(), 0,
                      rows.size() / format.block_elements, q.values.data());
  }
  return q;
}

double squared_error(const float* a, const float* b, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    const double miss = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += miss * miss;
  }
  return sum;
}

// The usual q4 choice: the value of largest magnitude becomes −8, nearest quants.
double plain_q4_error(const float* x) {
  float largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::abs(x[i]) > std::abs(largest) ? x[i] : largest;
  const float d = f16_to_f32(f32_to_f16(largest / -8.0F));
  float y[32];
  for (int i = 0; i < 32; ++i) {
    y[i] = d == 0 ? 0 : d * std::clamp(std::nearbyint(x[i] / d), -8.0F, 7.0F);
  }
  return squared_error(x, y, 32);
}

TEST(Quantize, q4_is_never_worse_than_the_plain_choice_and_better_on_the_whole) {
  Noise noise;
  for (const float scale : {1.0F, 0.02F, 1e-4F, 1000.0F}) {
    std::vector<float> rows = noise.normals(32 * 2000, scale);
    for (size_t i = 0; i < rows.size(); i += 97) rows[i] *= 6;  // outliers
    const Quantized q = quantize("q4_g32", rows, 64);
    ASSERT_TRUE(q.status.ok()) << q.status.to_string();
    double plain_sum = 0;
    double our_sum = 0;
    for (size_t at = 0; at < rows.size(); at += 32) {
      const double plain = plain_q4_error(rows.data() + at);
      const double ours = squared_error(rows.data() + at, q.values.data() + at, 32);
      EXPECT_LE(ours, plain * 1.0001 + 1e-30) << at;
      plain_sum += plain;
      our_sum += ours;
    }
    EXPECT_LT(our_sum, 0.95 * plain_sum);
  }
}

TEST(Quantize, q4_values_on_the_grid_come_back_exactly) {
  std::vector<float> rows(64);
  for (int i = 0; i < 64; ++i)
    rows[static_cast<size_t>(i)] = 0.25F * static_cast<float>(i % 16 - 8);
  const Quantized q = quantize("q4_g32", rows, 64);
  ASSERT_TRUE(q.status.ok());
  EXPECT_EQ(q.values, rows);
}

TEST(Quantize, q8_is_within_half_a_step_even_where_scales_are_subnormal) {
  Noise noise;
  for (const float scale : {1.0F, 1e-3F, 3e-5F, 1e6F}) {
    const std::vector<float> rows = noise.normals(32 * 500, scale);
    const Quantized q = quantize("q8_g32", rows, 32);
    ASSERT_TRUE(q.status.ok());
    const auto* scales = reinterpret_cast<const uint16_t*>(q.planes[1].data());
    for (size_t i = 0; i < rows.size(); ++i) {
      const float d = f16_to_f32(scales[i / 32]);
      EXPECT_LE(std::abs(rows[i] - q.values[i]), 0.5001F * d) << i;
    }
  }
}

TEST(Quantize, groups_of_zeros_and_of_tiny_values_become_zero) {
  for (const char* name : {"q4_g32", "q8_g32"}) {
    for (const float tiny : {0.0F, -0.0F, 1e-9F, -1e-9F, 1e-40F, -1e-38F}) {
      const std::vector<float> rows(32, tiny);
      const Quantized q = quantize(name, rows, 32);
      ASSERT_TRUE(q.status.ok());
      for (const float value : q.values) EXPECT_EQ(value, 0.0F);
      for (const std::byte byte : q.planes[1]) EXPECT_EQ(byte, std::byte{0});
    }
  }
}

// FNV-1a of the planes: catches a build whose arithmetic differs (fused multiply-add, say).
TEST(Quantize, the_same_input_gives_the_same_bytes_everywhere) {
  Noise noise;
  const std::vector<float> rows = noise.normals(32 * 4096, 0.05F);
  const auto digest = [&](const char* name) {
    const Quantized q = quantize(name, rows, 4096);
    EXPECT_TRUE(q.status.ok());
    uint64_t hash = 14695981039346656037u;
    for (const auto& plane : q.planes) {
      for (const std::byte byte : plane)
        hash = (hash ^ static_cast<uint64_t>(byte)) * 1099511628211u;
    }
    return hash;
  };
  EXPECT_EQ(digest("q4_g32"), 18094002242497363324u);
  EXPECT_EQ(digest("q8_g32"), 15022985520912833739u);
}

TEST(Quantize, float_targets_round_to_nearest) {
  const std::vector<float> rows = {1.0F, -2.5F, 0.1F, 65504.0F};
  const Quantized f32 = quantize("f32", rows, 2);
  EXPECT_EQ(f32.values, rows);
  const Quantized f16 = quantize("f16", rows, 2);
  const Quantized bf16 = quantize("bf16", rows, 2);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(f16.values[i], f16_to_f32(f32_to_f16(rows[i])));
    EXPECT_EQ(bf16.values[i], bf16_to_f32(f32_to_bf16(rows[i])));
  }
}

TEST(Quantize, values_that_are_not_finite_are_named) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const char* name : {"f32", "f16", "bf16", "q8_g32", "q4_g32"}) {
    for (const float bad : {std::nanf(""), -std::nanf(""), infinity, -infinity}) {
      std::vector<float> rows(256, 0.5F);
      rows[2 * 64 + 13] = bad;
      const Quantized q = quantize(name, rows, 64);
      EXPECT_EQ(q.status.code(), Code::kCorrupt);
      EXPECT_THAT(q.status.to_string(), HasSubstr("tensor 'w', row 102, column 13 is"));
    }
  }
}

TEST(Quantize, values_beyond_the_target_are_refused_not_clipped) {
  std::vector<float> rows(64, 0.5F);
  rows[40] = 65519.0F;
  EXPECT_TRUE(quantize("f16", rows, 64).status.ok());  // rounds to 65504
  rows[40] = -65520.0F;
  EXPECT_THAT(quantize("f16", rows, 64).status.to_string(),
              HasSubstr("column 40 is -65520, beyond"));
  rows[40] = 3.4e38F;
  EXPECT_THAT(quantize("bf16", rows, 64).status.to_string(), HasSubstr("beyond the range of bf16"));
  for (const char* name : {"q8_g32", "q4_g32"}) {
    const Status status = quantize(name, rows, 64).status;
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_THAT(status.to_string(), HasSubstr("column 32"));  // the group's first
  }
  rows[40] = 8.0F * 65504.0F;
  EXPECT_TRUE(quantize("q4_g32", rows, 64).status.ok());
}

TEST(Quantize, wrong_shapes_and_targets_are_refused) {
  std::vector<float> rows(64, 1.0F);
  std::vector<std::byte> room(64);
  PlaneBuffers planes;
  planes[0] = room;
  const auto call = [&](const char* name, uint64_t count, uint64_t columns) {
    return quantize_rows(*find_weight_format(name), rows.data(), count, columns, planes, {"w"});
  };
  EXPECT_THAT(call("q4_k", 1, 256).to_string(), HasSubstr("cannot be quantized to q4_k"));
  EXPECT_THAT(call("q8_g32", 2, 20).to_string(), HasSubstr("rows of 20 are not whole q8_g32"));
  EXPECT_FALSE(call("q8_g32", 2, 32).ok());  // no room for the scales
  EXPECT_FALSE(call("f16", 1, 31).ok());
  EXPECT_FALSE(call("f16", uint64_t{1} << 60, 32).ok());
  EXPECT_TRUE(call("f16", 1, 32).ok());
}

TEST(ChooseFormat, odd_columns_fall_back_and_say_so) {
  const FormatChoice kept = choose_format("keep", "q4_k", 512).value();
  EXPECT_EQ(kept.format, "q4_k");
  EXPECT_FALSE(kept.fell_back);
  EXPECT_EQ(choose_format("q4_g32", "bf16", 64).value().format, "q4_g32");
  const FormatChoice odd = choose_format("q4_g32", "bf16", 172).value();
  EXPECT_EQ(odd.format, "bf16");
  EXPECT_TRUE(odd.fell_back);
  EXPECT_THAT(odd.reason, HasSubstr("172"));
  EXPECT_EQ(choose_format("q8_g32", "f32", 172).value().format, "f16");
  EXPECT_FALSE(choose_format("q4_g32", "f32", 64).value().fell_back);
  EXPECT_FALSE(choose_format("q3_k", "f32", 256).ok());
  EXPECT_FALSE(choose_format("f16", "q9", 256).ok());
}

TEST(CheckFinite, finds_scales_and_values_of_every_format) {
  for (const WeightFormat& format : kWeightFormats) {
    SCOPED_TRACE(std::string(format.name));
    const uint64_t columns = format.block_elements * 2;
    PlaneStorage storage;
    const PlaneBuffers planes = storage.reserve(format, columns * 3).value();
    for (const auto& plane : planes) std::fill(plane.begin(), plane.end(), std::byte{0x15});
    EXPECT_TRUE(check_finite(format, planes, 3, columns, {"w", 10}).ok());
    // All ones in the last block is NaN wherever a number lies.
    for (size_t p = 0; p < format.plane_count; ++p) {
      const auto last = planes[p].last(format.planes[p].bytes_per_block);
      std::fill(last.begin(), last.end(), std::byte{0xff});
    }
    const Status status = check_finite(format, planes, 3, columns, {"w", 10});
    EXPECT_EQ(status.code(), Code::kCorrupt);
    EXPECT_THAT(status.to_string(),
                HasSubstr(fmt::format("'w', row 12, column {}:", format.block_elements)));
  }
}

}  // namespace
}  // namespace bp
