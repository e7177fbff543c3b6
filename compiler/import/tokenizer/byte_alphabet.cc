// SPDX-License-Identifier: Apache-2.0
#include "compiler/import/tokenizer/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "core/text/tokenizer/utf8.h"

namespace bp {
namespace {

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// Code point to byte, or -1; all disguises are below U+0144.
constexpr std::array<int16_t, 0x144> make_table() {
  std::array<int16_t, 0x144> table{};
  table.fill(-1);
  unsigned next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    table[stands_for_itself(byte) ? byte : next++] = static_cast<int16_t>(byte);
  }
  return table;
}
constexpr std::array<int16_t, 0x144> kByteOf = make_table();

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

std::optional<std::string> bytes_of_disguised(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  while (!text.empty()) {
    const bp::text::utf8::Decoded c = bp::text::utf8::decode(text);
    if (!c.well_formed || c.code_point >= kByteOf.size() || kByteOf[c.code_point] < 0) return {};
    bytes.push_back(static_cast<char>(kByteOf[c.code_point]));
    text.remove_prefix(c.length);
  }
  return bytes;
}

std::optional<unsigned char> byte_of_fallback_token(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return {};
  const int high = hex_digit(text[3]);
  const int low = hex_digit(text[4]);
  if (high < 0 || low < 0) return {};
  return static_cast<unsigned char>(high * 16 + low);
}

}  // namespace bp
