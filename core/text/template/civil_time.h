// SPDX-License-Identifier: Apache-2.0
// A point in time as text, in English and without asking the system for anything.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/status.h"

namespace bp::jinja {

// datetime.strftime() in the C locale for `local_seconds` since 1970-01-01 00:00 of the local
// clock; no zone (%z and %Z are empty), no fraction (%f is 000000). Years 1 to 9999.
Status format_time(std::string_view format, int64_t local_seconds, std::string* out);

}  // namespace bp::jinja
