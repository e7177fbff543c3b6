// SPDX-License-Identifier: Apache-2.0
// The tests: value is name(arguments).
#pragma once

#include <string_view>

#include "core/base/status.h"
#include "core/text/template/machine.h"

namespace bp::jinja {

struct TestEntry {
  std::string_view name;
  Result<bool> (*call)(Machine& machine, const Value& value, Arguments& arguments);
};

// Null when there is no test of that name.
const TestEntry* find_test(std::string_view name);

}  // namespace bp::jinja
