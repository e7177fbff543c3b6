// SPDX-License-Identifier: Apache-2.0
// Escapes inside string literals of a template, as Python's "unicode-escape" codec reads them.
#pragma once

#include <string>
#include <string_view>

#include "core/base/status.h"

namespace bp::jinja {

// The text between the quotes to the string it means. CORRUPT for a cut or impossible escape.
Result<std::string> resolve_escapes(std::string_view literal);

}  // namespace bp::jinja
