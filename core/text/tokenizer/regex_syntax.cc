// SPDX-License-Identifier: Apache-2.0
// Oniguruma (Ruby) syntax to PCRE2 syntax, one pass, no backtracking and no recursion.
//
// Shorthands are spelled out as Unicode properties, because the two engines disagree on them
// (PCRE2's \s contains U+180E, its \w lacks combining marks, its \v is a class). Constructs whose
// meaning differs, or that no vocabulary needs, are refused by name.
#include <cctype>
#include <string>
#include <string_view>

#include "core/text/tokenizer/regex.h"
#include "core/text/tokenizer/utf8.h"

namespace bp::text {
namespace {

constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpaces =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff})"
    R"(\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view kWord = R"(\p{L}\p{M}\p{Nd}\p{Pc})";

class Translator {
 public:
  explicit Translator(std::string_view pattern) : rest_(pattern), whole_(pattern) {}

  Result<std::string> run() {
    if (!utf8::is_valid(whole_)) {
      return error(Code::kCorrupt, "a regular expression is not valid UTF-8");
    }
    while (!rest_.empty()) {
      const char c = take();
      switch (c) {
        case '\\':
          BP_TRY(escape());
          break;
        case '[':
          BP_TRY(character_class());
          break;
        case '(':
          BP_TRY(group());
          break;
        case '{':
          BP_TRY(braces());
          break;
        default:
          out_.push_back(c);
      }
    }
    return std::move(out_);
  }

 private:
  char take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }
  bool accept(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  Status refuse(std::string_view what) const {
    return error(Code::kUnimplemented,
                 "the regular expression '{}' uses {}, which is not supported", whole_, what);
  }

  // \xHH, \x{H…}, \uHHHH: appended as \x{…}.
  Status code_point(char kind) {
    const bool braced = kind == 'x' && accept("{");
    const size_t most = braced ? 6 : kind == 'u' ? 4 : 2;
    std::string digits;
    while (digits.size() < most && !rest_.empty() &&
           std::isxdigit(static_cast<unsigned char>(rest_.front())) != 0) {
      digits.push_back(take());
    }
    if (digits.empty() || (kind == 'u' && digits.size() != 4) || (braced && !accept("}"))) {
      return refuse(fmt::format("a malformed '\\{}'", kind));
    }
    out_.append("\\x{").append(digits).append("}");
    return {};
  }

  // \p{…} and \P{…}; PCRE2 itself says whether it knows the name.
  Status property(char kind) {
    if (!accept("{")) return refuse(fmt::format("'\\{}' without braces", kind));
    bool negative = kind == 'P';
    if (accept("^")) negative = !negative;
    std::string name;
    while (!rest_.empty() && rest_.front() != '}') {
      const char c = take();
      if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_' && c != '&') {
        return refuse("a malformed property name");
      }
      name.push_back(c);
    }
    if (!accept("}") || name.empty()) return refuse("a malformed property name");
    out_.append(negative ? "\\P{" : "\\p{").append(name).append("}");
    return {};
  }

  // Escapes that mean one and the same inside and outside of classes. False: not one of them.
  Result<bool> plain_escape(char c) {
    switch (c) {
      case 'r':
      case 'n':
      case 't':
      case 'f':
      case 'a':
      case 'e':
        out_.push_back('\\'), out_.push_back(c);
        return true;
      case 'v':
        out_.append("\\x{b}");
        return true;
      case 'd':
        out_.append("\\p{Nd}");
        return true;
      case 'D':
        out_.append("\\P{Nd}");
        return true;
      case 'x':
      case 'u':
        BP_TRY(code_point(c));
        return true;
      case 'p':
      case 'P':
        BP_TRY(property(c));
        return true;
      default:
        break;
    }
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) {  // an escaped character beyond ASCII is that character
      out_.push_back(c);
      return true;
    }
    if (std::isalnum(byte) != 0) return false;
    out_.push_back('\\');
    out_.push_back(c);
    return true;
  }

  Status escape() {
    if (rest_.empty()) return refuse("a '\\' at its end");
    const char c = take();
    const auto bracketed = [&](std::string_view open, std::string_view content) {
      out_.append(open).append(content).append("]");
    };
    switch (c) {
      case 's':
        bracketed("[", kSpaces);
        return {};
      case 'S':
        bracketed("[^", kSpaces);
        return {};
      case 'w':
        bracketed("[", kWord);
        return {};
      case 'W':
        bracketed("[^", kWord);
        return {};
      case 'A':
      case 'z':
        out_.push_back('\\'), out_.push_back(c);
        return {};
      case 'b':
        out_.append(fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", kWord));
        return {};
      default:
        break;
    }
    if (!BP_TRY(plain_escape(c))) return refuse(fmt::format("'\\{}'", c));
    return {};
  }

  Status character_class() {
    out_.push_back('[');
    if (accept("^")) out_.push_back('^');
    if (rest_.starts_with("]")) return refuse("']' as the first member of a class");
    while (!rest_.empty()) {
      const char c = take();
      if (c == ']') {
        out_.push_back(']');
        return {};
      }
      if (c == '[') return refuse("a class inside a class");
      if (c == '&' && rest_.starts_with("&")) return refuse("'&&' in a class");
      if (c == '\\') {
        BP_TRY(class_escape());
      } else {
        out_.push_back(c);
      }
    }
    return refuse("'[' without ']'");
  }

  Status class_escape() {
    if (rest_.empty()) return refuse("a '\\' at its end");
    const char c = take();
    if (c == 's' || c == 'S' || c == 'w') {
      out_.append(c == 's' ? kSpaces : c == 'S' ? kNotSpaces : kWord);
    } else if (!BP_TRY(plain_escape(c))) {
      return refuse(fmt::format("'\\{}' in a class", c));
    }
    const bool is_set = std::string_view("sSwdDpP").find(c) != std::string_view::npos;
    if (is_set && rest_.starts_with("-") && !rest_.starts_with("-]")) {
      return refuse("a range that begins with a class");
    }
    return {};
  }

  Status group() {
    if (!rest_.starts_with("?")) {  // captures are never read
      out_.append("(?:");
      return {};
    }
    for (const std::string_view kind : {"?:", "?=", "?!", "?<=", "?<!", "?>", "?i:", "?-i:"}) {
      if (accept(kind)) {
        out_.append("(").append(kind);
        return {};
      }
    }
    return refuse(fmt::format("'({}'", rest_.substr(0, 3)));
  }

  // {n}, {n,}, {n,m}, {,m}; any other brace stands for itself in both dialects.
  Status braces() {
    std::string_view look = rest_;
    const auto digits = [&] {
      size_t n = 0;
      while (n < look.size() && std::isdigit(static_cast<unsigned char>(look[n])) != 0) ++n;
      const std::string_view found = look.substr(0, n);
      look.remove_prefix(n);
      return found;
    };
    const std::string_view low = digits();
    const bool comma = look.starts_with(",");
    if (comma) look.remove_prefix(1);
    const std::string_view high = comma ? digits() : std::string_view();
    if (!look.starts_with("}") || (low.empty() && high.empty())) {
      out_.append("\\{");
      return {};
    }
    look.remove_prefix(1);
    // Ruby reads {n}? as "n times or not at all" and {n,m}+ as a repeat of a repeat.
    if (look.starts_with("+") || (look.starts_with("?") && !comma)) {
      return refuse("'+' or '?' after a counted repeat");
    }
    out_.append("{").append(low.empty() ? "0" : low);
    if (comma) out_.append(",").append(high);
    out_.append("}");
    rest_ = look;
    return {};
  }

  std::string_view rest_;
  std::string_view whole_;
  std::string out_;
};

}  // namespace

Result<std::string> translate_pattern(std::string_view pattern) {
  return Translator(pattern).run();
}

}  // namespace bp::text
