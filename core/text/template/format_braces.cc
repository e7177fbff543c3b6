// SPDX-License-Identifier: Apache-2.0
// "{}, {0[key]!r:>10} and {name.part:.2f}".format(…), reaching into values as the sandbox does.
#include <algorithm>

#include "core/text/template/number_format.h"
#include "core/text/template/number_text.h"
#include "core/text/template/print.h"
#include "core/text/template/string_format.h"
#include "core/text/template/unicode.h"

namespace bp::jinja {
namespace {

constexpr int kMaxFormatNesting = 2;  // a format spec may hold fields, those may not

class BraceFormatter {
 public:
  BraceFormatter(Machine& machine, const Arguments& arguments)
      : machine_(machine), arguments_(arguments) {}

  Result<Text> run(const Text& format, int nesting) {
    if (nesting > kMaxFormatNesting) {
      return error(Code::kInvalidArgument, "Max string recursion exceeded");
    }
    const std::string_view in = format.bytes();
    Text out;
    for (size_t at = 0; at < in.size();) {
      const size_t brace = std::min(in.find_first_of("{}", at), in.size());
      out.append(format, at, brace);
      if (brace == in.size()) break;
      BP_TRY(machine_.heap().step());
      if (brace + 1 < in.size() && in[brace + 1] == in[brace]) {
        out.append(format, brace, brace + 1);
        at = brace + 2;
        continue;
      }
      if (in[brace] == '}') {
        return error(Code::kInvalidArgument, "Single '}}' encountered in format string");
      }
      const size_t close = field_end(in, brace + 1);
      if (close == std::string_view::npos) {
        return error(Code::kInvalidArgument, "{}",
                     brace + 1 == in.size() ? "Single '{' encountered in format string"
                                            : "expected '}' before end of string");
      }
      out.append(BP_TRY(field(format.slice(brace + 1, close), nesting)));
      if (out.size() > machine_.heap().limits().max_string_bytes) {
        return machine_.heap().reserve_string(out.size());
      }
      at = close + 1;
    }
    return out;
  }

 private:
  static size_t field_end(std::string_view in, size_t from) {
    size_t open = 1;
    for (size_t i = from; i < in.size(); ++i) {
      if (in[i] == '{') ++open;
      if (in[i] == '}' && --open == 0) return i;
    }
    return std::string_view::npos;
  }

  // name [! conversion] [: spec]
  Result<Text> field(const Text& field, int nesting) {
    const std::string_view in = field.bytes();
    size_t name_end = 0;
    while (name_end < in.size() && in[name_end] != '!' && in[name_end] != ':') {
      if (in[name_end] == '[') name_end = std::min(in.find(']', name_end), in.size() - 1);
      ++name_end;
    }
    Value value = BP_TRY(look_up(in.substr(0, name_end)));
    size_t at = name_end;
    if (at < in.size() && in[at] == '!') {
      if (at + 1 >= in.size()) {
        return error(Code::kInvalidArgument,
                     "end of string while looking for conversion specifier");
      }
      value = BP_TRY(convert(value, in[at + 1]));
      at += 2;
      if (at < in.size() && in[at] != ':') {
        return error(Code::kInvalidArgument, "expected ':' after conversion specifier");
      }
    }
    Text spec;
    if (at < in.size()) spec = BP_TRY(run(field.slice(at + 1, in.size()), nesting + 1));
    return apply(value, spec.bytes());
  }

  Result<Value> convert(const Value& value, char conversion) {
    Text text;
    if (conversion == 's') {
      BP_TRY(append_str(machine_.heap(), value, &text));
    } else if (conversion == 'r') {
      BP_TRY(append_repr(machine_.heap(), value, &text));
    } else {
      return error(Code::kInvalidArgument, "Unknown conversion specifier {}", conversion);
    }
    return machine_.heap().string(std::move(text));
  }

  Result<Value> first(std::string_view name) {
    const bool numbered = !name.empty() && name.find_first_not_of("0123456789") == name.npos;
    if (name.empty() || numbered) {
      if (numbered ? automatic_ > 0 : manual_) {
        return error(Code::kInvalidArgument, "{}",
                     numbered ? "cannot switch from manual field specification to automatic field "
                                "numbering"
                              : "cannot switch from automatic field numbering to manual field "
                                "specification");
      }
      manual_ |= numbered;
      size_t index = automatic_;
      if (numbered) {
        const auto parsed = BP_TRY(parse_integer(name));
        index = static_cast<size_t>(parsed.value_or(INT64_MAX));
      } else {
        ++automatic_;
      }
      if (index >= arguments_.positional.size()) {
        return error(Code::kInvalidArgument,
                     "Replacement index {} out of range for positional args tuple", index);
      }
      return arguments_.positional[index];
    }
    const Value* found = arguments_.find(name);
    if (found == nullptr) return error(Code::kInvalidArgument, "'{}'", name);
    return *found;
  }

  Result<Value> look_up(std::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    Value value = BP_TRY(first(name.substr(0, end)));
    for (size_t at = end; at < name.size();) {
      BP_TRY(machine_.heap().step());
      const bool item = name[at] == '[';
      if (!item && name[at] != '.') {
        return error(Code::kInvalidArgument,
                     "Only '.' or '[' may follow ']' in format field specifier");
      }
      size_t stop =
          item ? name.find(']', at) : std::min(name.find_first_of(".[", at + 1), name.size());
      if (stop == std::string_view::npos) {
        return error(Code::kInvalidArgument, "Missing ']' in format string");
      }
      const std::string_view key = name.substr(at + 1, stop - at - 1);
      if (key.empty()) return error(Code::kInvalidArgument, "Empty attribute in format string");
      const Value key_value = Value::string(Text(std::string(key), false));
      if (!item) {
        value = BP_TRY(machine_.attribute(value, key_value));
      } else if (key.find_first_not_of("0123456789") == key.npos) {
        const auto index = BP_TRY(parse_integer(key));
        value = BP_TRY(machine_.item(value, Value::integer(index.value_or(-1))));
      } else {
        value = BP_TRY(machine_.item(value, key_value));
      }
      at = item ? stop + 1 : stop;
    }
    return value;
  }

  static Result<FormatSpec> parse_spec(std::string_view in) {
    FormatSpec spec;
    const auto is_alignment = [](char c) { return c == '<' || c == '>' || c == '=' || c == '^'; };
    size_t at = 0;
    if (!in.empty()) {
      const size_t first_size = decode_char(in, 0).size_bytes;
      if (first_size < in.size() && is_alignment(in[first_size])) {
        spec.fill = in.substr(0, first_size);
        spec.alignment = in[first_size];
        at = first_size + 1;
      } else if (is_alignment(in[0])) {
        spec.alignment = in[0];
        at = 1;
      }
    }
    const auto at_char = [&](char c) { return at < in.size() && in[at] == c; };
    if (at_char('+') || at_char('-') || at_char(' ')) spec.sign = in[at++];
    if (at_char('#')) spec.alternate = true, ++at;
    if (at_char('0')) {
      if (spec.alignment == 0) {
        spec.alignment = '=';
        spec.fill.assign(1, '0');
      }
      ++at;
    }
    const auto digits = [&]() -> std::optional<int64_t> {
      std::optional<int64_t> out;
      while (at < in.size() && in[at] >= '0' && in[at] <= '9') {
        out = std::min<int64_t>(out.value_or(0) * 10 + (in[at++] - '0'), kMaxFormatWidth + 1);
      }
      return out;
    };
    spec.width = digits().value_or(0);
    if (at_char(',') || at_char('_')) spec.grouping = in[at++];
    if (at_char('.')) {
      ++at;
      spec.precision = digits();
      if (!spec.precision)
        return error(Code::kInvalidArgument, "Format specifier missing precision");
    }
    if (at < in.size()) spec.type = in[at++];
    if (at < in.size()) return error(Code::kInvalidArgument, "Invalid format specifier");
    return spec;
  }

  Result<Text> apply(const Value& value, std::string_view spec_text) {
    Heap& heap = machine_.heap();
    FormatSpec spec = BP_TRY(parse_spec(spec_text));
    if (value.is_number() && !spec_text.empty()) {
      const NumberText number = BP_TRY(format_number(value, spec));
      return lay_out(heap, Text(number.sign, value.content()), Text(number.digits, value.content()),
                     spec, true);
    }
    if (!value.is_string() && !value.is_number() && !spec_text.empty()) {
      return error(Code::kInvalidArgument, "unsupported format string passed to {}.__format__",
                   type_name(value));
    }
    if (spec.sign != 0) {
      return error(Code::kInvalidArgument, "Sign not allowed in string format specifier");
    }
    if (spec.alternate) {
      return error(Code::kInvalidArgument,
                   "Alternate form (#) not allowed in string format specifier");
    }
    if (spec.grouping != 0) {
      return error(Code::kInvalidArgument, "Cannot specify '{}' with 's'.", spec.grouping);
    }
    if (value.is_string() && spec.type != 0 && spec.type != 's') {
      return error(Code::kInvalidArgument, "Unknown format code '{}' for object of type 'str'",
                   spec.type);
    }
    if (value.is_string() && spec.alignment == '=' && spec.fill != "0") {
      return error(Code::kInvalidArgument, "'=' alignment not allowed in string format specifier");
    }
    if (spec.alignment == '=') spec.alignment = '<';
    Text body = BP_TRY(to_text(heap, value));
    if (spec.precision) {
      body = body.slice(0, char_offset(body.bytes(), static_cast<size_t>(*spec.precision)));
    }
    return lay_out(heap, Text(), body, spec, false);
  }

  Machine& machine_;
  const Arguments& arguments_;
  size_t automatic_ = 0;
  bool manual_ = false;
};

}  // namespace

Result<Value> format_braces(Machine& machine, const Value& format, const Arguments& arguments) {
  Text out = BP_TRY(BraceFormatter(machine, arguments).run(format.text(), 0));
  return machine.heap().string(std::move(out), format.str().markup);
}

}  // namespace bp::jinja
