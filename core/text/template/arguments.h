// SPDX-License-Identifier: Apache-2.0
// Matching the arguments of a call to the parameters of a built-in function.
#pragma once

#include <initializer_list>
#include <string_view>
#include <vector>

#include "core/base/status.h"
#include "core/text/template/machine.h"

namespace bp::jinja {

// The arguments in the order of the parameters; null where none was given.
class Bound {
 public:
  // `required` parameters at the front must be there. INVALID_ARGUMENT in Python's words otherwise.
  static Result<Bound> bind(std::string_view function, const Arguments& arguments,
                            std::initializer_list<std::string_view> parameters,
                            size_t required = 0);

  const Value* operator[](size_t i) const { return values_[i]; }
  bool given(size_t i) const { return values_[i] != nullptr; }
  // Absent and None both count as "not given" for these; a wrong type is an error.
  Result<int64_t> integer(size_t i, int64_t otherwise) const;
  Result<Text> text(size_t i, std::string_view otherwise) const;
  bool truthy(size_t i, bool otherwise) const {
    return values_[i] != nullptr ? values_[i]->truthy() : otherwise;
  }

 private:
  std::vector<const Value*> values_;
};

// For functions that take positional arguments only, of this count.
Status expect_positional(std::string_view function, const Arguments& arguments, size_t least,
                         size_t most);

}  // namespace bp::jinja
