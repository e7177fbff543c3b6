// SPDX-License-Identifier: Apache-2.0
// The values that a template computes with: Python's data types as far as templates see them.
//
// A Value is a small handle; what it points to never changes after construction (namespaces and
// loops excepted, which belong to one render), so values are shared freely. Dictionaries and lists
// are immutable because the sandbox forbids their mutating methods. Every container knows its
// height, which is limited, so recursion over values is bounded.
//
// Origin: strings carry it per byte. Scalars and containers carry one bit, for the text that they
// become when printed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/text/template/origin_text.h"

namespace bp::jinja {

class Machine;
class Value;
struct Method;

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kRange,     // range(…), materialised
  kView,      // dict.keys(), values(), items()
  kIterator,  // a generator: can be walked once
  kNamespace,
  kFunction,  // global function
  kMethod,    // bound method
  kMacro,     // also caller()
  kLoop,      // the variable `loop`
};

struct Object {
  virtual ~Object() = default;
};

struct StringObject : Object {
  Text text;
  size_t length_chars = 0;
  bool ascii = true;
  bool markup = false;  // marked safe; concatenation escapes the other side
};

struct SequenceObject;
struct DictObject;

// What is not there. Prints as nothing, fails with message() when touched.
struct UndefinedObject : Object {
  std::string message;
  bool security = false;
};

class Value {
 public:
  Value() noexcept : integer_(0) {}  // an undefined without a name
  static Value none(bool content = false) noexcept;
  static Value boolean(bool value, bool content = false) noexcept;
  static Value integer(int64_t value, bool content = false) noexcept;
  static Value real(double value, bool content = false) noexcept;
  static Value object(Kind kind, std::shared_ptr<const Object> object) noexcept;
  // Not counted by any Heap: for constants and inputs.
  static Value string(Text text, bool markup = false);
  static Value undefined(std::string message, bool security = false);

  Kind kind() const noexcept { return kind_; }
  bool is(Kind kind) const noexcept { return kind_ == kind; }
  bool is_undefined() const noexcept { return kind_ == Kind::kUndefined; }
  bool is_none() const noexcept { return kind_ == Kind::kNone; }
  bool is_string() const noexcept { return kind_ == Kind::kString; }
  bool is_dict() const noexcept { return kind_ == Kind::kDict; }
  // bool counts as a number, as in Python.
  bool is_integral() const noexcept { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
  bool is_number() const noexcept { return is_integral() || kind_ == Kind::kFloat; }
  // Backed by SequenceObject: list, tuple, range, view, iterator.
  bool is_sequence_object() const noexcept;

  bool as_bool() const noexcept { return integer_ != 0; }
  int64_t as_int() const noexcept { return integer_; }  // kInt and kBool
  double as_real() const noexcept {                     // any number
    return kind_ == Kind::kFloat ? real_ : static_cast<double>(integer_);
  }
  const StringObject& str() const noexcept { return static_cast<const StringObject&>(*object_); }
  const Text& text() const noexcept { return str().text; }
  std::string_view bytes() const noexcept { return str().text.bytes(); }
  const SequenceObject& seq() const noexcept;
  const DictObject& dict() const noexcept;
  const Object* object() const noexcept { return object_.get(); }
  const std::shared_ptr<const Object>& shared_object() const noexcept { return object_; }

  // Came the value, or any part of it that is not a string of its own, from the caller's data?
  bool content() const noexcept;
  // 1 for what holds no values.
  uint32_t height() const noexcept;
  // Python's bool(value).
  bool truthy() const noexcept;
  // Same object, or same scalar: Python's `is`.
  bool identical(const Value& other) const noexcept;
  std::string undefined_message() const;

 private:
  Kind kind_ = Kind::kUndefined;
  bool content_ = false;
  union {
    int64_t integer_;
    double real_;
  };
  std::shared_ptr<const Object> object_;
};

struct SequenceObject : Object {
  std::vector<Value> items;
  uint32_t height = 1;
  bool content = false;
  bool group = false;              // a tuple of groupby(), with .grouper and .list
  const char* type_name = "list";  // as Python calls it
  int64_t range_start = 0, range_stop = 0, range_step = 1;
  mutable size_t taken = 0;  // how much of a kIterator was already walked
};

// An ordered map. Keys are scalars, strings or tuples; text keys are found by binary search.
struct DictObject : Object {
  std::vector<std::pair<Value, Value>> entries;
  std::vector<uint32_t> by_name;  // indexes of string keys, sorted by their bytes
  std::vector<uint32_t> others;   // indexes of the other keys
  uint32_t height = 1;
  bool content = false;

  const Value* find(std::string_view key) const noexcept;
  // Sorts the string keys; of equal ones the last value wins, at the first one's place.
  void finish();
};

inline const SequenceObject& Value::seq() const noexcept {
  return static_cast<const SequenceObject&>(*object_);
}

inline const DictObject& Value::dict() const noexcept {
  return static_cast<const DictObject&>(*object_);
}

// A mutable bag of attributes; owned by the render that made it, so cycles do no harm.
struct NamespaceObject : Object {
  std::vector<std::pair<std::string, Value>> attributes;
  Value* find(std::string_view name) noexcept;
};

struct BoundMethodObject : Object {
  Value self;
  const Method* method = nullptr;
};

struct FunctionObject;  // globals.h
struct MacroObject;     // machine.h
struct LoopObject;      // machine.h

// Names as Python's type(value).__name__ and as Jinja's messages call the type ("dict object").
std::string_view type_name(const Value& value) noexcept;
std::string object_type_name(const Value& value);

}  // namespace bp::jinja
