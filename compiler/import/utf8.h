// SPDX-License-Identifier: Apache-2.0
// Is a string from a checkpoint text? Names that are not would poison every message that quotes
// them.
#pragma once

#include <string_view>

namespace bp {

// Well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing beyond U+10FFFF.
bool is_utf8(std::string_view text) noexcept;

// UTF-8 without control characters: fit to be the name of a tensor or a key.
bool is_printable_utf8(std::string_view text) noexcept;

}  // namespace bp
