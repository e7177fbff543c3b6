// SPDX-License-Identifier: Apache-2.0
// What an op should give, how far a provider may be off, and the comparison.
//
// The bound of one output is `each` × its magnitude + slack, where
//  - the magnitude is what the output is made of: for a sum of products the root of the sum of
//    their squares, which is what such a sum has when its terms do not cancel. Relative to the
//    value itself no bound could hold, since terms may cancel to 0;
//  - slack covers additions in f32 (4e-6 of every addend) and, where there are weights, one
//    rounding of each of them to a subnormal f16 (2^-25).
// The root mean square of error / (magnitude + slack / each) over the outputs is bounded by `rms`,
// which is tighter, since rounding errors do not all lean to one side.
//
// Table of bounds, and why
//   weights f32      1e-4  2e-5   f32 products; leaves room for any order of the sum
//   weights f16 bf16 1.2e-2 3e-3  a matrix unit may round weights and activations to bf16, 2^-9
//   each weights q…       3e-2  1e-2   activations may become int8 with one scale for 32 or more
//   values:
//                                 0.4% of the magnitude as a standard deviation, 7 of these
//   …, one-hot x     6e-3  3e-3   a lone 1 is exact in int8, so only the roundings of scales and of
//                                 bf16 are left: this pins every single weight of every format
//   attention f32    1e-3  2e-4   exp2 and division of the device
//   attention f16    5e-3  1e-3   queries and probabilities may be rounded to f16
//   attention q8     5e-3  1e-3   the same: a step of int8 times its scale is a number of f16 or
//                                 nearly one, and queries keep more than 8 bits
//   attention bf16   2e-2  5e-3   the same in bf16
//   norm, rope       2e-5  1e-5   f32 arithmetic
//   embed            1e-5  5e-6   every product of a format is exact in f32 (dequantize.h)
//   copies, ids      exact        gather_rows, unrotated cache entries, experts' numbers
// Weights keep to what f16 can hold (at most 2^13), since providers may multiply in f16.
#pragma once

#include <string_view>
#include <vector>

#include "sdk/conformance/verdict.h"

namespace bp::conformance {

struct Tolerance {
  double each, rms;
};
// By the format of a weight ("f32", "q4_k"); of a mixed op the looser one.
Tolerance weight_tolerance(std::string_view format);
Tolerance attention_tolerance(std::string_view kv_format);
inline constexpr Tolerance kOneHotTolerance{6e-3, 3e-3};
inline constexpr Tolerance kRowTolerance{2e-5, 1e-5};
inline constexpr Tolerance kEmbedTolerance{1e-5, 5e-6};

struct Expected {
  uint64_t columns = 1;  // of one token, for messages
  std::vector<double> value, magnitude, slack;

  void resize(uint64_t count) {
    value.assign(count, 0);
    magnitude.assign(count, 0);
    slack.assign(count, 0);
  }
  // The first `rows` rows.
  Expected first(uint64_t rows) const;
};

// A failure that names the worst output, or the share of the bound that was used.
Result<double> compare(const std::vector<float>& got, const Expected& want, Tolerance tolerance,
                       std::string_view what);

}  // namespace bp::conformance
