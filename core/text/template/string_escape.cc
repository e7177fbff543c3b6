// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/string_escape.h"

#include <cstdint>

#include "core/text/template/unicode.h"

namespace bp::jinja {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// The character that a one-letter escape means, or 0.
char simple_escape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    case '\\':
    case '\'':
    case '"':
      return c;
    default:
      return 0;
  }
}

class EscapeReader {
 public:
  explicit EscapeReader(std::string_view literal) : in_(literal) {}

  Result<std::string> run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c != '\\' || at_ + 1 >= in_.size()) {
        out_.push_back(c);
        ++at_;
      } else {
        BP_TRY(escape());
      }
    }
    return std::move(out_);
  }

 private:
  Status escape() {
    const char letter = in_[at_ + 1];
    if (const char simple = simple_escape(letter)) {
      out_.push_back(simple);
    } else if (letter == '\n') {
      // a backslash at the end of a line joins it with the next
    } else if (letter >= '0' && letter <= '7') {
      octal();
      return {};
    } else if (letter == 'x' || letter == 'u' || letter == 'U') {
      return hex(letter == 'x' ? 2 : letter == 'u' ? 4 : 8);
    } else if (letter == 'N') {
      return error(Code::kUnimplemented, "character names (\\N) in string literals are not known");
    } else {
      out_.push_back('\\');
      out_.push_back(letter);
    }
    at_ += 2;
    return {};
  }

  void octal() {
    uint32_t code = 0;
    size_t digits = 0;
    ++at_;
    while (digits < 3 && at_ < in_.size() && in_[at_] >= '0' && in_[at_] <= '7') {
      code = code * 8 + static_cast<uint32_t>(in_[at_] - '0');
      ++at_;
      ++digits;
    }
    encode_char(code, &out_);
  }

  // Reads `digits` hexadecimal digits after the letter at at_ + 1; false when they are not there.
  bool read_hex(size_t digits, uint32_t* code) {
    if (at_ + 2 + digits > in_.size()) return false;
    *code = 0;
    for (size_t i = 0; i < digits; ++i) {
      const int value = hex_value(in_[at_ + 2 + i]);
      if (value < 0) return false;
      *code = *code << 4 | static_cast<uint32_t>(value);
    }
    at_ += 2 + digits;
    return true;
  }

  Status hex(size_t digits) {
    uint32_t code = 0;
    if (!read_hex(digits, &code)) {
      return error(Code::kCorrupt, "a string literal has a truncated \\x, \\u or \\U escape");
    }
    if (code >= 0xd800 && code <= 0xdbff && in_.substr(at_).starts_with("\\u")) {
      uint32_t low = 0;
      if (read_hex(4, &low) && low >= 0xdc00 && low <= 0xdfff) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      }
    }
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
      return error(Code::kCorrupt, "a string literal has an escape that is no character");
    }
    encode_char(code, &out_);
    return {};
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

Result<std::string> resolve_escapes(std::string_view literal) {
  return EscapeReader(literal).run();
}

}  // namespace bp::jinja
