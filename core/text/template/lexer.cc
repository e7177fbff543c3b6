// SPDX-License-Identifier: Apache-2.0
// Jinja's rules for text between tags, with trim_blocks and lstrip_blocks on:
//  - the newline right after a block tag or comment goes (not after a variable);
//  - spaces between a line's start and a block tag or comment go;
//  - "-" inside a delimiter removes all whitespace on its side, "+" switches both rules off there;
//  - one newline at the very end of the source goes.
#include "core/text/template/lexer.h"

#include <algorithm>
#include <array>

#include "core/text/template/string_escape.h"
#include "core/text/template/unicode.h"

namespace bp::jinja {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// "\r\n" and "\r" become "\n"; one newline at the end is dropped.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
      continue;
    }
    out.push_back('\n');
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) BP_TRY(text_and_tag());
    push(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  bool looking_at(std::string_view what, size_t position) const {
    return source_.substr(std::min(position, source_.size())).starts_with(what);
  }

  Status fail(std::string_view message) const {
    return error(Code::kCorrupt, "chat template, line {}: {}", line_, message);
  }

  void push(TokenKind kind, std::string text) {
    tokens_.push_back(Token{kind, line_, std::move(text)});
  }

  // Moves on, counting lines.
  void advance_to(size_t position) {
    line_ +=
        static_cast<uint32_t>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                         source_.begin() + static_cast<ptrdiff_t>(position), '\n'));
    at_ = position;
    line_starting_ = position > 0 && source_[position - 1] == '\n';
  }

  // Where the text [begin, end) before a tag ends once the tag's left side has had its way.
  size_t strip_before(size_t begin, size_t end, char sign, bool is_variable) const {
    if (sign == '-') return skip_space_back(source_, begin, end);
    if (sign == '+' || is_variable) return end;
    const size_t newline = source_.substr(begin, end - begin).rfind('\n');
    const bool own_line = newline != std::string_view::npos;
    if (!own_line && !line_starting_) return end;
    const size_t line_begin = own_line ? begin + newline + 1 : begin;
    return skip_space_back(source_, line_begin, end) == line_begin ? line_begin : end;
  }

  void push_data(size_t begin, size_t end) {
    if (end > begin) push(TokenKind::kData, std::string(source_.substr(begin, end - begin)));
  }

  // Position after a block's or comment's end delimiter: "-" eats all whitespace, nothing eats one
  // newline, "+" eats none.
  size_t after_end(size_t end, char sign) const {
    if (sign == '-') return skip_space(source_, end);
    if (sign != '+' && end < source_.size() && source_[end] == '\n') return end + 1;
    return end;
  }

  size_t find_tag(size_t from) const {
    for (size_t i = source_.find('{', from); i != std::string_view::npos;
         i = source_.find('{', i + 1)) {
      if (i + 1 < source_.size() &&
          (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#')) {
        return i;
      }
    }
    return source_.size();
  }

  char sign_at(size_t position) const {
    const char c = position < source_.size() ? source_[position] : '\0';
    return c == '-' || c == '+' ? c : '\0';
  }

  Status text_and_tag() {
    const size_t begin = at_;
    const size_t tag = find_tag(begin);
    if (tag == source_.size()) {
      push_data(begin, tag);
      advance_to(tag);
      return {};
    }
    const char type = source_[tag + 1];
    const char sign = sign_at(tag + 2);
    push_data(begin, strip_before(begin, tag, sign, type == '{'));
    advance_to(tag);
    const size_t inside = tag + 2 + (sign != '\0' ? 1 : 0);
    if (type == '#') return comment(inside);
    if (type == '%') {
      const size_t raw_end = raw_tag_end(inside);
      if (raw_end != 0) return raw(raw_end);
    }
    push(type == '{' ? TokenKind::kVariableBegin : TokenKind::kBlockBegin, "");
    advance_to(inside);
    return expression(type == '{');
  }

  Status comment(size_t from) {
    if (from >= source_.size()) {  // nothing follows: Jinja lets that pass
      advance_to(source_.size());
      return {};
    }
    const size_t close = source_.find("#}", from);
    if (close == std::string_view::npos) return fail("Missing end of comment tag");
    // A "-" or "+" that is not also the opening one belongs to the end.
    const char sign = close > from ? sign_at(close - 1) : '\0';
    advance_to(after_end(close + 2, sign));
    return {};
  }

  // If a block tag that begins before `position` is {% raw %}: the position after it, else 0.
  size_t raw_tag_end(size_t position) const {
    position = skip_space(source_, position);
    if (!looking_at("raw", position)) return 0;
    position = skip_space(source_, position + 3);
    if (looking_at("-%}", position)) return skip_space(source_, position + 3);
    return looking_at("%}", position) ? position + 2 : 0;
  }

  // Everything up to {% endraw %} is text.
  Status raw(size_t begin) {
    advance_to(begin);
    if (begin >= source_.size()) return {};  // as for comments
    for (size_t tag = source_.find("{%", begin); tag != std::string_view::npos;
         tag = source_.find("{%", tag + 1)) {
      const char sign = sign_at(tag + 2);
      size_t position = skip_space(source_, tag + 2 + (sign != '\0' ? 1 : 0));
      if (!looking_at("endraw", position)) continue;
      position = skip_space(source_, position + 6);
      const char end_sign = sign_at(position);
      if (end_sign != '\0') ++position;
      if (!looking_at("%}", position)) continue;
      push_data(begin, strip_before(begin, tag, sign, false));
      advance_to(after_end(position + 2, end_sign));
      return {};
    }
    return fail("Missing end of raw directive");
  }

  // Tokens up to the end of the tag. Brackets shield "}}" and "%}".
  Status expression(bool is_variable) {
    std::string brackets;
    while (true) {
      advance_to(skip_space(source_, at_));
      if (at_ >= source_.size()) return fail("unexpected end of template");
      if (brackets.empty() && tag_end(is_variable)) return {};
      const char c = source_[at_];
      if (is_digit(c)) {
        number();
      } else if (is_word(c)) {
        name();
      } else if (c == '"' || c == '\'') {
        BP_TRY(string(c));
      } else {
        BP_TRY(operator_token(&brackets));
      }
    }
  }

  bool tag_end(bool is_variable) {
    const std::string_view close = is_variable ? "}}" : "%}";
    const char sign = sign_at(at_);
    // A variable's end knows no "+": that is an operator there.
    if (sign == '+' && is_variable) return false;
    const size_t delimiter = at_ + (sign != '\0' ? 1 : 0);
    if (!looking_at(close, delimiter)) return false;
    push(is_variable ? TokenKind::kVariableEnd : TokenKind::kBlockEnd, "");
    const size_t end = delimiter + 2;
    if (is_variable) {
      advance_to(sign == '-' ? skip_space(source_, end) : end);
    } else {
      advance_to(after_end(end, sign));
    }
    return true;
  }

  // Digits with single underscores between them.
  size_t digits_end(size_t position) const {
    while (position < source_.size() &&
           (is_digit(source_[position]) ||
            (source_[position] == '_' && position + 1 < source_.size() &&
             is_digit(source_[position + 1]) && is_digit(source_[position - 1])))) {
      ++position;
    }
    return position;
  }

  // End of a fraction and exponent after `digits`, or 0 when the number is no float.
  size_t float_end(size_t digits) const {
    if (at_ > 0 && source_[at_ - 1] == '.') return 0;
    size_t end = digits;
    bool is_float = false;
    if (end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
      end = digits_end(end + 1);
      is_float = true;
    }
    if (end < source_.size() && (source_[end] | 0x20) == 'e') {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) {
        ++exponent;
      }
      if (exponent < source_.size() && is_digit(source_[exponent])) {
        end = digits_end(exponent);
        is_float = true;
      }
    }
    return is_float ? end : 0;
  }

  size_t based_end() const {
    if (source_[at_] != '0' || at_ + 2 >= source_.size()) return 0;
    const char letter = static_cast<char>(source_[at_ + 1] | 0x20);
    const auto fits = [letter](char c) {
      const char lower = static_cast<char>(c | 0x20);
      if (letter == 'b') return c == '0' || c == '1';
      if (letter == 'o') return c >= '0' && c <= '7';
      return letter == 'x' && (is_digit(c) || (lower >= 'a' && lower <= 'f'));
    };
    size_t end = at_ + 2;
    while (end < source_.size() &&
           (fits(source_[end]) ||
            (source_[end] == '_' && end + 1 < source_.size() && fits(source_[end + 1])))) {
      ++end;
    }
    return end > at_ + 2 ? end : 0;
  }

  void number() {
    const size_t digits = digits_end(at_);
    size_t end = float_end(digits);
    const TokenKind kind = end != 0 ? TokenKind::kFloat : TokenKind::kInteger;
    if (end == 0) end = based_end();
    if (end == 0) {
      end = digits;
      if (source_[at_] == '0') {  // 0, 00, 0_0; what follows is another token
        end = std::min(digits, source_.find_first_not_of("0_", at_));
        while (source_[end - 1] == '_') --end;
      }
    }
    push(kind, std::string(source_.substr(at_, end - at_)));
    advance_to(end);
  }

  void name() {
    size_t end = at_;
    while (end < source_.size() && is_word(source_[end])) ++end;
    push(TokenKind::kName, std::string(source_.substr(at_, end - at_)));
    advance_to(end);
  }

  Status string(char quote) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return fail(fmt::format("unexpected char \"{}\"", quote));
    auto value = resolve_escapes(source_.substr(at_ + 1, end - at_ - 1));
    if (!value.ok()) return fail(value.status().message());
    push(TokenKind::kString, std::move(value).value());
    advance_to(end + 1);
    return {};
  }

  Status operator_token(std::string* brackets) {
    static constexpr std::array<std::string_view, 26> kOperators = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!looking_at(op, at_)) continue;
      const char c = op[0];
      if (op.size() == 1 && (c == '(' || c == '[' || c == '{')) {
        brackets->push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
      } else if (op.size() == 1 && (c == ')' || c == ']' || c == '}')) {
        if (brackets->empty()) return fail(std::string("unexpected '") + c + "'");
        if (brackets->back() != c) {
          return fail(std::string("unexpected '") + c + "', expected '" + brackets->back() + "'");
        }
        brackets->pop_back();
      }
      push(TokenKind::kOperator, std::string(op));
      advance_to(at_ + op.size());
      return {};
    }
    return fail("unexpected char '" + std::string(1, source_[at_]) + "'");
  }

  std::string_view source_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData:
      return "template data / text";
    case TokenKind::kVariableBegin:
      return "begin of print statement";
    case TokenKind::kVariableEnd:
      return "end of print statement";
    case TokenKind::kBlockBegin:
      return "begin of statement block";
    case TokenKind::kBlockEnd:
      return "end of statement block";
    case TokenKind::kString:
      return "string";
    case TokenKind::kEnd:
      return "end of template";
    default:
      return token.text;
  }
}

Result<std::vector<Token>> tokenize_template(std::string_view source) {
  const std::string normal = normalize_newlines(source);
  return Lexer(normal).run();
}

}  // namespace bp::jinja
