// SPDX-License-Identifier: Apache-2.0
// The functions that every template finds: range, dict, namespace, raise_exception, strftime_now.
#pragma once

#include <span>
#include <string_view>

#include "core/base/status.h"
#include "core/text/template/machine.h"

namespace bp::jinja {

struct FunctionEntry {
  std::string_view name;
  Result<Value> (*call)(Machine& machine, Arguments& arguments);
};

struct FunctionObject : Object {
  const FunctionEntry* entry = nullptr;
};

std::span<const FunctionEntry> global_functions();
Value global_value(const FunctionEntry& entry);

}  // namespace bp::jinja
