// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/print.h"

#include <algorithm>

#include "core/text/template/machine.h"
#include "core/text/template/number_text.h"
#include "core/text/template/unicode.h"

namespace bp::jinja {
namespace {

// Values are no higher than kMaxValueDepth, but a namespace can hold one that holds it again.
constexpr uint32_t kMaxPrintDepth = 2 * kMaxValueDepth;

class Printer {
 public:
  Printer(Heap& heap, Text* out) : heap_(heap), out_(out), start_(out->size()) {}

  Status repr(const Value& value, uint32_t depth) {
    BP_TRY(heap_.step());
    if (depth > kMaxPrintDepth) {
      return error(Code::kExhausted, "printing nests deeper than kMaxPrintDepth = {}",
                   kMaxPrintDepth);
    }
    if (out_->size() - start_ > heap_.limits().max_string_bytes) {
      return heap_.reserve_string(out_->size() - start_);
    }
    switch (value.kind()) {
      case Kind::kString:
        if (value.str().markup) out_->append("Markup(", false);
        BP_TRY(heap_.step(value.text().size() / 16));
        append_quoted(value.text(), out_);
        if (value.str().markup) out_->append(")", false);
        return {};
      case Kind::kList:
        return items(value, "[", "]", depth);
      case Kind::kTuple:
        return items(value, "(", value.seq().items.size() == 1 ? ",)" : ")", depth);
      case Kind::kView: {
        const std::string open = std::string(value.seq().type_name) + "([";
        return items(value, open, "])", depth);
      }
      case Kind::kDict:
        return dict(value, depth);
      case Kind::kNamespace:
        return attributes(value, depth);
      default:
        out_->append(scalar(value), value.content());
        return {};
    }
  }

 private:
  static std::string scalar(const Value& value) {
    switch (value.kind()) {
      case Kind::kUndefined:
        return "Undefined";
      case Kind::kNone:
        return "None";
      case Kind::kBool:
        return value.as_bool() ? "True" : "False";
      case Kind::kInt:
        return std::to_string(value.as_int());
      case Kind::kFloat:
        return float_repr(value.as_real());
      case Kind::kRange: {
        const SequenceObject& range = value.seq();
        const std::string by =
            range.range_step != 1 ? fmt::format(", {}", range.range_step) : std::string();
        return fmt::format("range({}, {}{})", range.range_start, range.range_stop, by);
      }
      case Kind::kMacro:
        return describe_macro(value);
      case Kind::kLoop:
        return describe_loop(value);
      default:
        return fmt::format("<{} object>", type_name(value));
    }
  }

  Status items(const Value& value, std::string_view open, std::string_view close, uint32_t depth) {
    const bool content = value.content();
    out_->append(open, content);
    bool first = true;
    for (const Value& item : value.seq().items) {
      if (!first) out_->append(", ", content);
      first = false;
      BP_TRY(repr(item, depth + 1));
    }
    out_->append(close, content);
    return {};
  }

  Status dict(const Value& value, uint32_t depth) {
    const bool content = value.content();
    out_->append("{", content);
    bool first = true;
    for (const auto& [key, item] : value.dict().entries) {
      if (!first) out_->append(", ", content);
      first = false;
      BP_TRY(repr(key, depth + 1));
      out_->append(": ", content);
      BP_TRY(repr(item, depth + 1));
    }
    out_->append("}", content);
    return {};
  }

  Status attributes(const Value& value, uint32_t depth) {
    out_->append("<Namespace {", false);
    bool first = true;
    for (const auto& [name, item] :
         static_cast<const NamespaceObject*>(value.object())->attributes) {
      if (!first) out_->append(", ", false);
      first = false;
      append_quoted(Text(name, false), out_);
      out_->append(": ", false);
      BP_TRY(repr(item, depth + 1));
    }
    out_->append("}>", false);
    return {};
  }

  Heap& heap_;
  Text* out_;
  size_t start_;
};

std::string escape_for_repr(const Char& c, char quote) {
  if (!c.valid) return fmt::format("\\x{:02x}", c.code);
  switch (c.code) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\\':
      return "\\\\";
    default:
      break;
  }
  if (c.code == static_cast<unsigned char>(quote)) return std::string("\\") + quote;
  if (!is_class(c.code, CharClass::kUnprintable)) return {};
  if (c.code <= 0xff) return fmt::format("\\x{:02x}", c.code);
  return c.code <= 0xffff ? fmt::format("\\u{:04x}", c.code) : fmt::format("\\U{:08x}", c.code);
}

}  // namespace

void append_quoted(const Text& text, Text* out) {
  const std::string& bytes = text.bytes();
  const bool double_quoted =
      bytes.find('\'') != std::string::npos && bytes.find('"') == std::string::npos;
  const char quote = double_quoted ? '"' : '\'';
  const bool content = text.has_content();
  out->append(std::string_view(&quote, 1), content);
  size_t plain = 0;
  for (size_t i = 0; i < bytes.size();) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if (byte >= 0x20 && byte < 0x7f && byte != '\\' && byte != '\'' && byte != '"') {
      ++i;
      continue;
    }
    const Char c = decode_char(bytes, i);
    const std::string escaped = escape_for_repr(c, quote);
    if (!escaped.empty()) {
      out->append(text, plain, i);
      out->append(escaped, text.content_at(i));
      plain = i + c.size_bytes;
    }
    i += c.size_bytes;
  }
  out->append(text, plain, bytes.size());
  out->append(std::string_view(&quote, 1), content);
}

Status append_repr(Heap& heap, const Value& value, Text* out) {
  const size_t before = out->size();
  BP_TRY(Printer(heap, out).repr(value, 0));
  return heap.reserve_string(out->size() - before);
}

Status append_str(Heap& heap, const Value& value, Text* out) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return heap.step();
    case Kind::kString:
      BP_TRY(heap.reserve_string(value.text().footprint_bytes()));
      out->append(value.text());
      return heap.step();
    default:
      return append_repr(heap, value, out);
  }
}

Result<Text> to_text(Heap& heap, const Value& value) {
  if (value.is_string()) return value.text();
  Text out;
  BP_TRY(append_str(heap, value, &out));
  return out;
}

std::string short_repr(const Value& value) {
  constexpr size_t kMaxBytes = 200;
  RenderLimits limits;
  limits.max_steps = 1000;
  limits.max_string_bytes = 64 * kMaxBytes;
  Heap heap(limits);
  Text out;
  const Status status = append_repr(heap, value, &out);
  if (status.ok() && out.size() <= kMaxBytes) return out.bytes();
  const size_t size = std::min(kMaxBytes, out.size());
  return out.bytes().substr(0, size) + "…";
}

}  // namespace bp::jinja
