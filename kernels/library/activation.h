// SPDX-License-Identifier: Apache-2.0
// Scalar functions that ops apply to results: activations and soft caps, from exp2 alone.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/builder/value.h"

namespace bp::kernels {

enum class Activation : uint8_t { kNone, kSilu, kGelu, kGeluTanh };

// From the attribute's text ("none", "silu", "gelu", "gelu_tanh"); false when it is none of them.
bool parse_activation(std::string_view text, Activation* out);

Val activate(Activation activation, Val x);
Val tanh(Val x);
// cap × tanh(x / cap); x itself when cap is 0.
Val soft_cap(Val x, float cap);

}  // namespace bp::kernels
