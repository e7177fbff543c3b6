// SPDX-License-Identifier: Apache-2.0
// Template source to tokens, with Jinja's whitespace rules already applied to the text between
// tags.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/status.h"

namespace bp::jinja {

enum class TokenKind : uint8_t {
  kData,  // text between tags
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  uint32_t line = 1;
  std::string text;  // of a string: its value, escapes resolved; of a number: the digits

  bool is_name(std::string_view name) const { return kind == TokenKind::kName && text == name; }
  bool is_operator(std::string_view op) const { return kind == TokenKind::kOperator && text == op; }
};

// How a token is called in messages.
std::string describe(const Token& token);

// The whole source at once. The last token is kEnd. CORRUPT with the line for what is no template.
Result<std::vector<Token>> tokenize_template(std::string_view source);

}  // namespace bp::jinja
