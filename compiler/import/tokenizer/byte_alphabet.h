// SPDX-License-Identifier: Apache-2.0
// The printable disguise of bytes in byte-level vocabularies: byte 0x20 is written "Ġ" (U+0120).
//
// Bytes 21-7E, A1-AC and AE-FF stand for themselves as characters; the others, in order, are
// U+0100 and up.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace bp {

// The bytes that a disguised text stands for, or nothing when some character stands for no byte
// (as in added tokens, which files write plainly).
std::optional<std::string> bytes_of_disguised(std::string_view text);

// "<0x0A>" gives 10; anything else nothing.
std::optional<unsigned char> byte_of_fallback_token(std::string_view text);

}  // namespace bp
