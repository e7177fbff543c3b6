// SPDX-License-Identifier: Apache-2.0
// Qwen2 and Qwen2.5: Llama with biases on q, k and v, and windows on the upper layers if asked.
#include "compiler/architectures/architecture.h"
#include "compiler/architectures/gguf_config.h"
#include "compiler/architectures/hf_config.h"
#include "compiler/architectures/qwen_windows.h"

namespace bp::compiler {
namespace {

constexpr std::string_view kHfTypes[] = {"qwen2"};
constexpr std::string_view kGgufTypes[] = {"qwen2"};

Result<DecoderSpec> from_hf(const Json& config, const TensorSource& source) {
  HfDefaults defaults;
  defaults.context_length = 32768;
  DecoderSpec spec = BP_TRY(read_hf_decoder("qwen2", config, source, defaults));
  spec.attention_bias = true;
  spec.ropes.push_back(BP_TRY(read_hf_rope(config, spec, 10000)));
  BP_TRY(read_qwen_windows(config, &spec));
  return spec;
}

Result<DecoderSpec> from_gguf(const GgufMetadata& metadata, const TensorSource& source) {
  const GgufConfig config(metadata, "qwen2");
  DecoderSpec spec = BP_TRY(read_gguf_decoder("qwen2", config, source));
  spec.attention_bias = true;
  spec.ropes.push_back(BP_TRY(read_gguf_rope(config, source, spec)));
  return spec;
}

}  // namespace

const Architecture kQwen2 = {"qwen2", "Qwen2, Qwen2.5", kHfTypes, kGgufTypes, from_hf, from_gguf};

}  // namespace bp::compiler
