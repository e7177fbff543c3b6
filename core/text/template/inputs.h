// SPDX-License-Identifier: Apache-2.0
// The caller's JSON as values.
#pragma once

#include "core/base/status.h"
#include "core/text/template/machine.h"

namespace bp::jinja {

// Makes every variable of `inputs` visible in the machine. Fails for JSON that nests deeper than
// kMaxJsonDepth and for messages that are no array.
Status define_inputs(const ChatInputs& inputs, Machine* machine);

}  // namespace bp::jinja
