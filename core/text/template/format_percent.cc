// SPDX-License-Identifier: Apache-2.0
// "%s, %5.2f and %(name)d" % arguments.
#include <algorithm>

#include "core/text/template/compare.h"
#include "core/text/template/escape_html.h"
#include "core/text/template/number_format.h"
#include "core/text/template/number_text.h"
#include "core/text/template/print.h"
#include "core/text/template/string_format.h"
#include "core/text/template/unicode.h"

namespace bp::jinja {
namespace {

class PercentFormatter {
 public:
  PercentFormatter(Heap& heap, const Value& format, const Value& arguments)
      : heap_(heap), format_(format), in_(format.bytes()), arguments_(arguments) {}

  Result<Value> run() {
    while (at_ < in_.size()) {
      const size_t percent = std::min(in_.find('%', at_), in_.size());
      out_.append(format_.text(), at_, percent);
      at_ = percent;
      if (at_ == in_.size()) break;
      BP_TRY(heap_.step());
      BP_TRY(conversion());
      if (out_.size() > heap_.limits().max_string_bytes) break;  // string() names the limit
    }
    // What can be indexed passes for a mapping, and those may have more than the format uses.
    const bool several = arguments_.is(Kind::kTuple);
    const bool mapping = arguments_.is_dict() || arguments_.is(Kind::kList) ||
                         arguments_.is(Kind::kRange) || arguments_.is_undefined();
    if (!mapping && used_ < (several ? arguments_.seq().items.size() : 1)) {
      return error(Code::kInvalidArgument, "not all arguments converted during string formatting");
    }
    return heap_.string(std::move(out_), format_.str().markup);
  }

 private:
  Result<Value> next_argument() {
    if (arguments_.is(Kind::kTuple)) {
      if (used_ < arguments_.seq().items.size()) return arguments_.seq().items[used_++];
    } else if (used_ == 0) {
      ++used_;
      return arguments_;
    }
    return error(Code::kInvalidArgument, "not enough arguments for format string");
  }

  Result<std::optional<Value>> named_argument() {
    if (at_ >= in_.size() || in_[at_] != '(') return std::optional<Value>();
    const size_t close = in_.find(')', at_);
    if (close == std::string_view::npos) {
      return error(Code::kInvalidArgument, "incomplete format key");
    }
    if (!arguments_.is_dict()) return error(Code::kInvalidArgument, "format requires a mapping");
    const std::string_view name = in_.substr(at_ + 1, close - at_ - 1);
    at_ = close + 1;
    const Value* found = arguments_.dict().find(name);
    if (found == nullptr) return error(Code::kInvalidArgument, "'{}'", name);
    return std::optional<Value>(*found);
  }

  // Digits, or * for an argument.
  Result<std::optional<int64_t>> number() {
    if (at_ < in_.size() && in_[at_] == '*') {
      ++at_;
      const Value value = BP_TRY(next_argument());
      if (!value.is_integral()) return error(Code::kInvalidArgument, "* wants int");
      return std::optional<int64_t>(value.as_int());
    }
    std::optional<int64_t> out;
    while (at_ < in_.size() && in_[at_] >= '0' && in_[at_] <= '9') {
      out = std::min<int64_t>(out.value_or(0) * 10 + (in_[at_++] - '0'), kMaxFormatWidth + 1);
    }
    return out;
  }

  Status conversion() {
    const bool content = format_.text().content_at(at_);
    ++at_;
    std::optional<Value> named = BP_TRY(named_argument());
    FormatSpec spec;
    bool zero = false, left = false;
    for (; at_ < in_.size(); ++at_) {
      const char c = in_[at_];
      if (c == '-')
        left = true;
      else if (c == '0')
        zero = true;
      else if (c == '#')
        spec.alternate = true;
      else if (c == '+' || (c == ' ' && spec.sign != '+'))
        spec.sign = c;
      else if (c != ' ')
        break;
    }
    spec.width = BP_TRY(number()).value_or(0);
    if (spec.width < 0) left = true;
    spec.width = spec.width < -kMaxFormatWidth ? kMaxFormatWidth + 1 : std::abs(spec.width);
    if (at_ < in_.size() && in_[at_] == '.') {
      ++at_;
      spec.precision = std::max<int64_t>(BP_TRY(number()).value_or(0), 0);
    }
    while (at_ < in_.size() && (in_[at_] == 'h' || in_[at_] == 'l' || in_[at_] == 'L')) ++at_;
    if (at_ >= in_.size()) return error(Code::kInvalidArgument, "incomplete format");
    const char type = in_[at_++];
    if (type == '%') {
      out_.append("%", content);
      return {};
    }
    const Value value = named ? *named : BP_TRY(next_argument());
    spec.alignment = left ? '<' : '>';
    if (zero && !left && type != 's' && type != 'r' && type != 'a' && type != 'c') {
      spec.alignment = '=';
      spec.fill.assign(1, '0');
    }
    return one(value, spec, type);
  }

  Status one(const Value& value, const FormatSpec& spec, char type) {
    switch (type) {
      case 's':
      case 'r':
      case 'a':
        return text(value, spec, type);
      case 'c':
        return character(value, spec);
      case 'd':
      case 'i':
      case 'u':
      case 'o':
      case 'x':
      case 'X':
        return integer(value, spec, type);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return real(value, spec, type);
      default:
        return error(Code::kInvalidArgument,
                     "unsupported format character '{}' ({:#x}) at index {}", type,
                     static_cast<unsigned char>(type), at_ - 1);
    }
  }

  Status text(const Value& value, const FormatSpec& spec, char type) {
    Text body;
    BP_TRY(type == 's' ? append_str(heap_, value, &body) : append_repr(heap_, value, &body));
    if (format_.str().markup && !(value.is_string() && value.str().markup)) {
      body = escape_html(body);
    }
    if (spec.precision) {
      body = body.slice(0, char_offset(body.bytes(), static_cast<size_t>(*spec.precision)));
    }
    out_.append(BP_TRY(lay_out(heap_, Text(), body, spec, false)));
    return {};
  }

  Status character(const Value& value, const FormatSpec& spec) {
    Text body;
    if (value.is_integral() && value.as_int() >= 0 && value.as_int() <= 0x10ffff) {
      std::string bytes;
      encode_char(static_cast<uint32_t>(value.as_int()), &bytes);
      body = Text(std::move(bytes), value.content());
    } else if (value.is_string() && value.str().length_chars == 1) {
      body = value.text();
    } else {
      return error(Code::kInvalidArgument, "%c requires int or char");
    }
    out_.append(BP_TRY(lay_out(heap_, Text(), body, spec, false)));
    return {};
  }

  Status integer(const Value& value, FormatSpec spec, char type) {
    if (value.is_undefined()) return fail_undefined(value);
    const bool decimal = type == 'd' || type == 'i' || type == 'u';
    if (!value.is_integral() && !(decimal && value.is_number())) {
      return error(Code::kInvalidArgument, "%{} format: {} is required, not {}", type,
                   decimal ? "a real number" : "an integer", type_name(value));
    }
    const int64_t whole =
        value.is_integral() ? value.as_int() : BP_TRY(float_to_integer(value.as_real()));
    const auto precision = spec.precision;
    spec.precision.reset();
    spec.type = decimal ? 'd' : type;
    NumberText number = BP_TRY(format_number(Value::integer(whole), spec));
    if (precision && static_cast<int64_t>(number.digits.size()) < *precision) {
      if (*precision > kMaxFormatWidth) {
        return error(Code::kExhausted, "a precision is larger than kMaxFormatWidth = {}",
                     kMaxFormatWidth);
      }
      number.digits.insert(0, static_cast<size_t>(*precision) - number.digits.size(), '0');
    }
    return put(number, spec, value.content());
  }

  Status real(const Value& value, FormatSpec spec, char type) {
    if (value.is_undefined()) return fail_undefined(value);
    if (!value.is_number()) {
      return error(Code::kInvalidArgument, "must be real number, not {}", type_name(value));
    }
    spec.type = type;
    const Value as_real = Value::real(value.as_real());
    return put(BP_TRY(format_number(as_real, spec)), spec, value.content());
  }

  Status put(const NumberText& number, const FormatSpec& spec, bool content) {
    out_.append(BP_TRY(
        lay_out(heap_, Text(number.sign, content), Text(number.digits, content), spec, true)));
    return {};
  }

  Heap& heap_;
  const Value& format_;
  std::string_view in_;
  const Value& arguments_;
  size_t at_ = 0;
  size_t used_ = 0;
  Text out_;
};

}  // namespace

Result<Value> format_percent(Heap& heap, const Value& format, const Value& arguments) {
  return PercentFormatter(heap, format, arguments).run();
}

}  // namespace bp::jinja
