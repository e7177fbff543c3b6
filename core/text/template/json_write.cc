// SPDX-License-Identifier: Apache-2.0
// The filter `tojson` as Hugging Face defines it: json.dumps() with ensure_ascii off and without
// the escaping for HTML that Jinja's own filter does.
#include <cmath>

#include "core/text/template/compare.h"
#include "core/text/template/number_text.h"
#include "core/text/template/print.h"
#include "core/text/template/unicode.h"

namespace bp::jinja {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

std::string unicode_escape(uint32_t code) {
  std::string out = "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out.push_back(kHex[code >> shift & 0xf]);
  return out;
}

class JsonWriter {
 public:
  JsonWriter(Heap& heap, const JsonStyle& style, Text* out)
      : heap_(heap), style_(style), out_(out) {}

  // Height-limited values bound the depth.
  Status write(const Value& value, size_t depth) {
    BP_TRY(heap_.step());
    if (out_->size() > heap_.limits().max_string_bytes) {
      return heap_.reserve_string(out_->size());
    }
    switch (value.kind()) {
      case Kind::kNone:
        out_->append("null", value.content());
        return {};
      case Kind::kBool:
        out_->append(value.as_bool() ? "true" : "false", value.content());
        return {};
      case Kind::kInt:
        out_->append(std::to_string(value.as_int()), value.content());
        return {};
      case Kind::kFloat:
        out_->append(real(value.as_real()), value.content());
        return {};
      case Kind::kString:
        return string(value.text());
      case Kind::kList:
      case Kind::kTuple:
        return array(value, depth);
      case Kind::kDict:
        return object(value, depth);
      default:
        return error(Code::kInvalidArgument, "Object of type {} is not JSON serializable",
                     type_name(value));
    }
  }

 private:
  static std::string real(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return float_repr(value);
  }

  Status string(const Text& text) {
    const std::string& bytes = text.bytes();
    BP_TRY(heap_.step(bytes.size() / 32));
    const bool content = text.has_content();
    out_->append("\"", content);
    size_t plain = 0;
    for (size_t i = 0; i < bytes.size();) {
      const auto byte = static_cast<unsigned char>(bytes[i]);
      if (byte >= 0x20 && byte != '"' && byte != '\\' && (byte < 0x7f || !style_.ensure_ascii)) {
        ++i;
        continue;
      }
      const Char c = decode_char(bytes, i);
      out_->append(text, plain, i);
      out_->append(escape(c.code), text.content_at(i));
      i += c.size_bytes;
      plain = i;
    }
    out_->append(text, plain, bytes.size());
    out_->append("\"", content);
    return {};
  }

  static std::string escape(uint32_t code) {
    switch (code) {
      case '"':
        return "\\\"";
      case '\\':
        return "\\\\";
      case '\n':
        return "\\n";
      case '\r':
        return "\\r";
      case '\t':
        return "\\t";
      case '\f':
        return "\\f";
      case '\b':
        return "\\b";
      default:
        break;
    }
    if (code < 0x10000) return unicode_escape(code);
    code -= 0x10000;
    return unicode_escape(0xd800 + (code >> 10)) + unicode_escape(0xdc00 + (code & 0x3ff));
  }

  Status new_line(size_t depth, bool content) {
    if (!style_.indent) return {};
    out_->append("\n", content);
    BP_TRY(heap_.step(depth));
    for (size_t i = 0; i < depth; ++i) out_->append(style_.indent->bytes(), content);
    return {};
  }

  Status separate(bool first, size_t depth, bool content) {
    if (!first) out_->append(style_.item_separator.bytes(), content);
    return new_line(depth, content);
  }

  Status array(const Value& value, size_t depth) {
    const bool content = value.content();
    if (value.seq().items.empty()) {
      out_->append("[]", content);
      return {};
    }
    out_->append("[", content);
    bool first = true;
    for (const Value& item : value.seq().items) {
      BP_TRY(separate(first, depth + 1, content));
      first = false;
      BP_TRY(write(item, depth + 1));
    }
    BP_TRY(new_line(depth, content));
    out_->append("]", content);
    return {};
  }

  // Keys that are not strings become strings, as json.dumps() makes them.
  Status key(const Value& name) {
    switch (name.kind()) {
      case Kind::kString:
        return string(name.text());
      case Kind::kNone:
      case Kind::kBool:
      case Kind::kInt:
      case Kind::kFloat: {
        out_->append("\"", name.content());
        BP_TRY(write(name, 0));
        out_->append("\"", name.content());
        return {};
      }
      default:
        return error(Code::kInvalidArgument, "keys must be str, int, float, bool or None, not {}",
                     type_name(name));
    }
  }

  // Order of the entries when sort_keys asks for one.
  Result<std::vector<uint32_t>> sorted(const DictObject& dict) {
    if (dict.others.empty()) return dict.by_name;
    std::vector<Value> keys;
    keys.reserve(dict.entries.size());
    for (const auto& entry : dict.entries) keys.push_back(entry.first);
    return stable_order(heap_, keys, false);
  }

  Status object(const Value& value, size_t depth) {
    const bool content = value.content();
    const DictObject& dict = value.dict();
    if (dict.entries.empty()) {
      out_->append("{}", content);
      return {};
    }
    std::vector<uint32_t> order;
    if (style_.sort_keys) order = BP_TRY(sorted(dict));
    out_->append("{", content);
    for (size_t i = 0; i < dict.entries.size(); ++i) {
      const auto& [name, item] = dict.entries[style_.sort_keys ? order[i] : i];
      BP_TRY(separate(i == 0, depth + 1, content));
      BP_TRY(key(name));
      out_->append(style_.key_separator.bytes(), content);
      BP_TRY(write(item, depth + 1));
    }
    BP_TRY(new_line(depth, content));
    out_->append("}", content);
    return {};
  }

  Heap& heap_;
  const JsonStyle& style_;
  Text* out_;
};

}  // namespace

Status append_json(Heap& heap, const Value& value, const JsonStyle& style, Text* out) {
  const size_t before = out->size();
  BP_TRY(JsonWriter(heap, style, out).write(value, 0));
  return heap.reserve_string(out->size() - before);
}

}  // namespace bp::jinja
