// SPDX-License-Identifier: Apache-2.0
// Llama 2, 3, 3.1, 3.2, and what has their shape. In GGUF, general.architecture "llama" also
// covers Mistral and Mixtral; there the rows of q and k lie so that rotary pairs are neighbours.
#include "compiler/architectures/architecture.h"
#include "compiler/architectures/gguf_config.h"
#include "compiler/architectures/hf_config.h"

namespace bp::compiler {
namespace {

constexpr std::string_view kHfTypes[] = {"llama"};
constexpr std::string_view kGgufTypes[] = {"llama"};

Result<DecoderSpec> from_hf(const Json& config, const TensorSource& source) {
  DecoderSpec spec = BP_TRY(read_hf_decoder("llama", config, source, {}));
  spec.ropes.push_back(BP_TRY(read_hf_rope(config, spec, 10000)));
  return spec;
}

Result<DecoderSpec> from_gguf(const GgufMetadata& metadata, const TensorSource& source) {
  const GgufConfig config(metadata, "llama");
  DecoderSpec spec = BP_TRY(read_gguf_decoder("llama", config, source));
  spec.interleaved = true;
  spec.ropes.push_back(BP_TRY(read_gguf_rope(config, source, spec)));
  BP_TRY(read_gguf_experts(config, &spec));
  if (spec.experts != 0) spec.architecture = "mixtral";
  const uint64_t window = BP_TRY(config.u64_or("attention.sliding_window", 0));
  for (LayerSpec& layer : spec.layers) {
    layer.window = window;
    layer.experts = spec.experts != 0;
  }
  return spec;
}

}  // namespace

const Architecture kLlama = {"llama",  "Llama 2, 3, 3.1, 3.2", kHfTypes, kGgufTypes, from_hf,
                             from_gguf};

}  // namespace bp::compiler
