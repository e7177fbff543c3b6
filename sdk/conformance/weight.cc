// SPDX-License-Identifier: Apache-2.0
#include "sdk/conformance/weight.h"

#include <cmath>
#include <cstring>

#include "backplane/dequantize.h"
#include "sdk/conformance/random_values.h"

namespace bp::conformance {
namespace {

constexpr uint64_t kAlignment = 64;

// Largest factor that a quant and its sub-scale put on d, and on dmin or m.
struct Gains {
  std::string_view format;
  float scale, minimum;
};
constexpr Gains kGains[] = {{"q8_g32", 128, 1}, {"q4_g32", 8, 1},   {"q4_g32z", 15, 1},
                            {"q5_g32", 16, 1},  {"q5_g32z", 31, 1}, {"q2_k", 45, 15},
                            {"q3_k", 128, 1},   {"q4_k", 945, 63},  {"q5_k", 1953, 63},
                            {"q6_k", 4096, 1},  {"iq4_nl", 127, 1}};

Gains gains_of(std::string_view format) {
  for (const Gains& gains : kGains) {
    if (gains.format == format) return gains;
  }
  return {format, 1, 1};
}

// The largest magnitude of a row.
float magnitude_of(uint64_t row) {
  switch (row % 16) {
    case 3:
      return 0;
    case 5:
      return 0x1p13f;
    case 6:
      return 0x1p-12f;
    case 9:
      return -1;  // subnormal scales
    default:
      return 1;
  }
}

void put_half(Plane& plane, uint64_t index, float value) {
  const uint16_t bits = f32_to_f16(value);
  std::memcpy(plane.data() + 2 * index, &bits, 2);
}

// d and m of block b, in whichever planes the format keeps them.
void put_scales(Weight& weight, uint64_t block, float magnitude, Random& random) {
  const WeightFormat& format = *weight.format;
  const Gains gains = gains_of(format.name);
  const bool subnormal = magnitude < 0;
  const float d = subnormal ? 0x1p-24f * static_cast<float>(1 + random.below(40))
                            : magnitude / gains.scale * (0.6f + 0.4f * random.unit());
  const float signed_d = random.below(3) == 0 ? -d : d;
  const float m = subnormal ? 0x1p-24f * static_cast<float>(random.below(40))
                            : magnitude / gains.minimum * 0.7f * random.unit();
  for (uint32_t p = 0; p < format.plane_count; ++p) {
    const PlaneLayout& layout = format.planes[p];
    if (layout.name == "super") {
      const uint64_t halves = layout.bytes_per_block / 2;
      put_half(weight.planes[p], block * halves, signed_d);
      if (halves == 2) put_half(weight.planes[p], block * 2 + 1, m);
    } else if (layout.name == "minima") {
      put_half(weight.planes[p], block, m);
    } else if (layout.name == "scales" && layout.bytes_per_block == 2) {
      put_half(weight.planes[p], block, signed_d);
    } else if (layout.name == "scales" && layout.bytes_per_block == 1) {
      // E8M0, with levels up to 6: 2^(e-127) × 6.
      const float wanted = magnitude > 0 ? magnitude / 6 : magnitude < 0 ? 0x1p-40f : 0;
      int exponent = 0;
      if (wanted > 0) std::frexp(wanted, &exponent);
      const int jitter = static_cast<int>(random.below(3)) - 1;
      weight.planes[p].data()[block] =
          static_cast<std::byte>(wanted > 0 ? 126 + exponent + jitter : 0);
    }
  }
}

void put_value(Weight& weight, uint64_t index, float magnitude, Random& random) {
  float value = random.unit() * (magnitude < 0 ? 0x1p-20f : magnitude);
  if (random.below(37) == 0) value = 0;
  const uint32_t bytes = weight.format->planes[0].bytes_per_block;
  std::byte* const to = weight.planes[0].data() + bytes * index;
  const uint16_t half = weight.format->name == "f16" ? f32_to_f16(value) : f32_to_bf16(value);
  if (bytes == 4) {
    std::memcpy(to, &value, 4);
  } else {
    std::memcpy(to, &half, 2);
  }
}

}  // namespace

Plane::Plane(uint64_t bytes)
    : storage_(new std::byte[bytes + kAlignment]()), data_(storage_.get()), bytes_(bytes) {
  data_ += (kAlignment - reinterpret_cast<uintptr_t>(data_) % kAlignment) % kAlignment;
}

Plane::Plane(const Plane& other) : Plane(other.bytes_) {
  if (bytes_ != 0) std::memcpy(data_, other.data_, bytes_);
}

Weight Weight::random(std::string_view format, std::vector<uint64_t> dims, uint64_t seed) {
  Weight out;
  out.format = find_weight_format(format);
  out.dims = std::move(dims);
  Random random(seed);
  const uint64_t columns = out.dims.back();
  const uint64_t blocks_per_row = columns / out.format->block_elements;
  const uint64_t blocks = out.elements() / out.format->block_elements;
  const uint64_t rows_per_matrix = out.dims.size() >= 2 ? out.dims[out.dims.size() - 2] : 1;
  for (uint32_t p = 0; p < out.format->plane_count; ++p) {
    const uint32_t bytes = out.format->planes[p].bytes_per_block;
    out.planes.emplace_back(blocks * bytes);
    for (uint64_t b = 0; b < blocks; ++b) {
      for (uint32_t i = 0; i < bytes; ++i) {
        const uint64_t r = random.next();
        out.planes[p].data()[b * bytes + i] = b % 5 == 2
                                                  ? static_cast<std::byte>(r % 2 == 0 ? 0x00 : 0xFF)
                                                  : static_cast<std::byte>(r >> 56);
      }
    }
  }
  for (uint64_t b = 0; b < blocks; ++b) {
    // A lone row or two would otherwise never leave the ordinary.
    const uint64_t row = b / blocks_per_row % rows_per_matrix;
    const float magnitude = rows_per_matrix < 4 ? 1 : magnitude_of(row);
    if (out.format->block_elements == 1) {
      put_value(out, b, magnitude, random);
    } else {
      put_scales(out, b, b % 11 == 7 ? 0 : magnitude, random);
    }
  }
  return out;
}

Weight Weight::vector(uint64_t count, uint64_t seed) {
  Weight out;
  out.format = find_weight_format("f32");
  out.dims = {count};
  out.planes.emplace_back(4 * count);
  const std::vector<float> values = random_floats(count, seed);
  std::memcpy(out.planes[0].data(), values.data(), 4 * count);
  return out;
}

uint64_t Weight::elements() const {
  uint64_t out = 1;
  for (const uint64_t dim : dims) out *= dim;
  return out;
}

std::vector<float> Weight::dequantized() const {
  const std::byte* at[4] = {};
  for (size_t p = 0; p < planes.size(); ++p) at[p] = planes[p].data();
  std::vector<float> out(elements());
  dequantize_blocks(*format, at, 0, out.size() / format->block_elements, out.data());
  return out;
}

bp_weight weight_record(const Weight& weight, uint64_t id) {
  bp_weight out{};
  out.size = sizeof out;
  out.id = id;
  out.plane_count = static_cast<uint32_t>(weight.planes.size());
  for (size_t p = 0; p < weight.planes.size(); ++p) {
    out.planes[p] = weight.planes[p].data();
    out.bytes[p] = weight.planes[p].size();
  }
  return out;
}

}  // namespace bp::conformance
