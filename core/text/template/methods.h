// SPDX-License-Identifier: Apache-2.0
// Methods of Python's str, list, tuple and dict, as far as the sandbox lets templates call them.
#pragma once

#include <string_view>

#include "core/base/status.h"
#include "core/text/template/machine.h"

namespace bp::jinja {

struct Method {
  std::string_view name;
  Result<Value> (*call)(Machine& machine, const Value& self, Arguments& arguments);
  bool mutates = false;  // exists in Python, but the sandbox does not hand it out
};

// The method of that name for a kind of value, or null.
const Method* find_method(Kind kind, std::string_view name);

inline Result<Value> call_method(Machine& machine, const Value& self, const Method& method,
                                 Arguments& arguments) {
  return method.call(machine, self, arguments);
}

// Per kind, each sorted by name: methods_string.cc and methods_container.cc.
const Method* find_string_method(std::string_view name);

// Binary search in a sorted table.
template <size_t kCount>
const Method* find_in(const Method (&table)[kCount], std::string_view name) {
  size_t low = 0, high = kCount;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (table[middle].name < name) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < kCount && table[low].name == name ? &table[low] : nullptr;
}

}  // namespace bp::jinja
