// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/arguments.h"

namespace bp::jinja {

Result<Bound> Bound::bind(std::string_view function, const Arguments& arguments,
                          std::initializer_list<std::string_view> parameters, size_t required) {
  Bound out;
  out.values_.resize(parameters.size());
  if (arguments.positional.size() > parameters.size()) {
    return error(Code::kInvalidArgument, "{}() takes at most {} arguments ({} given)", function,
                 parameters.size(), arguments.positional.size());
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    out.values_[i] = &arguments.positional[i];
  }
  for (const auto& [name, value] : arguments.keyword) {
    size_t i = 0;
    while (i < parameters.size() && *(parameters.begin() + i) != name) ++i;
    if (i == parameters.size()) {
      return error(Code::kInvalidArgument, "{}() got an unexpected keyword argument '{}'", function,
                   name);
    }
    if (out.values_[i] != nullptr) {
      return error(Code::kInvalidArgument, "{}() got multiple values for argument '{}'", function,
                   name);
    }
    out.values_[i] = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (out.values_[i] == nullptr) {
      return error(Code::kInvalidArgument, "{}() missing 1 required positional argument: '{}'",
                   function, *(parameters.begin() + i));
    }
  }
  return out;
}

Result<int64_t> Bound::integer(size_t i, int64_t otherwise) const {
  const Value* value = values_[i];
  if (value == nullptr || value->is_none()) return otherwise;
  if (value->is_undefined()) return fail_undefined(*value);
  if (!value->is_integral()) {
    return error(Code::kInvalidArgument, "'{}' object cannot be interpreted as an integer",
                 type_name(*value));
  }
  return value->as_int();
}

Result<Text> Bound::text(size_t i, std::string_view otherwise) const {
  const Value* value = values_[i];
  if (value == nullptr || value->is_none()) return Text(std::string(otherwise), false);
  if (!value->is_string()) {
    return error(Code::kInvalidArgument, "must be str, not {}", type_name(*value));
  }
  return value->text();
}

Status expect_positional(std::string_view function, const Arguments& arguments, size_t least,
                         size_t most) {
  if (!arguments.keyword.empty()) {
    return error(Code::kInvalidArgument, "{}() takes no keyword arguments", function);
  }
  const size_t count = arguments.positional.size();
  if (count >= least && count <= most) return {};
  return error(Code::kInvalidArgument, "{}() takes {} to {} arguments ({} given)", function, least,
               most, count);
}

}  // namespace bp::jinja
