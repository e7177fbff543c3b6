// SPDX-License-Identifier: Apache-2.0
// Python's two ways to fill in a string: "%s" % value and "{}".format(value).
#pragma once

#include "core/base/status.h"
#include "core/text/template/machine.h"

namespace bp::jinja {

// format % arguments, where a tuple gives several and a dictionary named ones.
Result<Value> format_percent(Heap& heap, const Value& format, const Value& arguments);

// format.format(*arguments, **arguments), with fields, conversions and format specs.
Result<Value> format_braces(Machine& machine, const Value& format, const Arguments& arguments);

}  // namespace bp::jinja
