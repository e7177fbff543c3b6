// SPDX-License-Identifier: Apache-2.0
#include "compiler/architectures/qwen_windows.h"

#include "compiler/architectures/hf_config.h"

namespace bp::compiler {
namespace {

bool is_upper_layer(const Json& config, uint64_t layer) {
  const Result<uint64_t> first = json_u64_or(config, "max_window_layers", 28);
  return first.ok() && layer >= *first;
}

}  // namespace

Status read_qwen_windows(const Json& config, DecoderSpec* spec) {
  if (!BP_TRY(json_bool_or(config, "use_sliding_window", false))) return {};
  BP_TRY(json_u64_or(config, "max_window_layers", 28));
  const uint64_t window = BP_TRY(json_u64_or(config, "sliding_window", 4096));
  return read_hf_windows(config, window, is_upper_layer, spec);
}

}  // namespace bp::compiler
