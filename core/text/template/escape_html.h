// SPDX-License-Identifier: Apache-2.0
// The filter `escape`.
#pragma once

#include "core/text/template/origin_text.h"

namespace bp::jinja {

// & < > ' " as entities. The entity of a character has the character's origin.
Text escape_html(const Text& text);

}  // namespace bp::jinja
