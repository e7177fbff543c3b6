// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/value.h"

#include <algorithm>
#include <cmath>

#include "core/text/template/unicode.h"

namespace bp::jinja {

Value Value::none(bool content) noexcept {
  Value v;
  v.kind_ = Kind::kNone;
  v.content_ = content;
  return v;
}

Value Value::boolean(bool value, bool content) noexcept {
  Value v;
  v.kind_ = Kind::kBool;
  v.integer_ = value ? 1 : 0;
  v.content_ = content;
  return v;
}

Value Value::integer(int64_t value, bool content) noexcept {
  Value v;
  v.kind_ = Kind::kInt;
  v.integer_ = value;
  v.content_ = content;
  return v;
}

Value Value::real(double value, bool content) noexcept {
  Value v;
  v.kind_ = Kind::kFloat;
  v.real_ = value;
  v.content_ = content;
  return v;
}

Value Value::object(Kind kind, std::shared_ptr<const Object> object) noexcept {
  Value v;
  v.kind_ = kind;
  v.object_ = std::move(object);
  return v;
}

Value Value::string(Text text, bool markup) {
  auto object = std::make_shared<StringObject>();
  object->ascii = is_ascii(text.bytes());
  object->length_chars = object->ascii ? text.size() : count_chars(text.bytes());
  object->text = std::move(text);
  object->markup = markup;
  return Value::object(Kind::kString, std::move(object));
}

Value Value::undefined(std::string message, bool security) {
  auto object = std::make_shared<UndefinedObject>();
  object->message = std::move(message);
  object->security = security;
  return Value::object(Kind::kUndefined, std::move(object));
}

bool Value::is_sequence_object() const noexcept {
  switch (kind_) {
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
    case Kind::kIterator:
      return true;
    default:
      return false;
  }
}

bool Value::content() const noexcept {
  if (is_sequence_object()) return seq().content;
  if (is_dict()) return dict().content;
  if (is_string()) return text().has_content();
  return content_;
}

uint32_t Value::height() const noexcept {
  if (is_sequence_object()) return seq().height;
  if (is_dict()) return dict().height;
  if (kind_ == Kind::kMethod) {
    return static_cast<const BoundMethodObject&>(*object_).self.height() + 1;
  }
  return 1;
}

bool Value::truthy() const noexcept {
  switch (kind_) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return integer_ != 0;
    case Kind::kFloat:
      return real_ != 0;
    case Kind::kString:
      return !text().empty();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
      return !seq().items.empty();
    case Kind::kDict:
      return !dict().entries.empty();
    default:
      return true;
  }
}

bool Value::identical(const Value& other) const noexcept {
  if (kind_ != other.kind_) return false;
  switch (kind_) {
    case Kind::kNone:
      return true;
    case Kind::kBool:
    case Kind::kInt:
      return integer_ == other.integer_;
    // A NaN is the same object as itself, and scalars have no other identity here.
    case Kind::kFloat:
      return real_ == other.real_ || (std::isnan(real_) && std::isnan(other.real_));
    default:
      return object_ != nullptr && object_ == other.object_;
  }
}

std::string Value::undefined_message() const {
  if (object_ == nullptr) return "value is undefined";
  return static_cast<const UndefinedObject&>(*object_).message;
}

const Value* DictObject::find(std::string_view key) const noexcept {
  const auto it = std::lower_bound(
      by_name.begin(), by_name.end(), key,
      [this](uint32_t i, std::string_view k) { return entries[i].first.bytes() < k; });
  if (it == by_name.end() || entries[*it].first.bytes() != key) return nullptr;
  return &entries[*it].second;
}

void DictObject::finish() {
  by_name.clear();
  others.clear();
  for (uint32_t i = 0; i < entries.size(); ++i) {
    (entries[i].first.is_string() ? by_name : others).push_back(i);
  }
  std::stable_sort(by_name.begin(), by_name.end(), [this](uint32_t a, uint32_t b) {
    return entries[a].first.bytes() < entries[b].first.bytes();
  });
  std::vector<bool> dropped(entries.size());
  bool any = false;
  for (size_t i = 0; i < by_name.size();) {
    size_t next = i + 1;
    while (next < by_name.size() &&
           entries[by_name[next]].first.bytes() == entries[by_name[i]].first.bytes()) {
      entries[by_name[i]].second = entries[by_name[next]].second;
      dropped[by_name[next]] = any = true;
      ++next;
    }
    i = next;
  }
  if (!any) return;
  std::vector<std::pair<Value, Value>> kept;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!dropped[i]) kept.push_back(std::move(entries[i]));
  }
  entries = std::move(kept);
  finish();  // once more at most: the keys are unique now
}

Value* NamespaceObject::find(std::string_view name) noexcept {
  for (auto& [key, value] : attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string_view type_name(const Value& value) noexcept {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return value.str().markup ? "Markup" : "str";
    case Kind::kDict:
      return "dict";
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange:
    case Kind::kView:
    case Kind::kIterator:
      return value.seq().type_name;
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kFunction:
      return "function";
    case Kind::kMethod:
      return "builtin_function_or_method";
    case Kind::kMacro:
      return "Macro";
    case Kind::kLoop:
      return "LoopContext";
  }
  return "object";
}

std::string object_type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kNone:
      return "None";
    case Kind::kNamespace:
      return "jinja2.utils.Namespace object";
    case Kind::kMacro:
      return "jinja2.runtime.Macro object";
    case Kind::kLoop:
      return "jinja2.runtime.LoopContext object";
    case Kind::kString:
      return value.str().markup ? "markupsafe.Markup object" : "str object";
    case Kind::kTuple:
      return value.seq().group ? "jinja2.filters._GroupTuple object" : "tuple object";
    default:
      return std::string(type_name(value)) + " object";
  }
}

}  // namespace bp::jinja
