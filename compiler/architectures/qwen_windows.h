// SPDX-License-Identifier: Apache-2.0
// The sliding windows of the Qwen families: use_sliding_window turns them on, for layers from
// max_window_layers on.
#pragma once

#include "compiler/architectures/decoder.h"
#include "compiler/import/json.h"

namespace bp::compiler {

Status read_qwen_windows(const Json& config, DecoderSpec* spec);

}  // namespace bp::compiler
