// SPDX-License-Identifier: Apache-2.0
// Qwen3: an RMS norm on each head of q and k before rotation.
#include "compiler/architectures/architecture.h"
#include "compiler/architectures/gguf_config.h"
#include "compiler/architectures/hf_config.h"
#include "compiler/architectures/qwen_windows.h"

namespace bp::compiler {
namespace {

constexpr std::string_view kHfTypes[] = {"qwen3"};
constexpr std::string_view kGgufTypes[] = {"qwen3"};

Result<DecoderSpec> from_hf(const Json& config, const TensorSource& source) {
  HfDefaults defaults;
  defaults.context_length = 32768;
  defaults.head_dim = 128;
  DecoderSpec spec = BP_TRY(read_hf_decoder("qwen3", config, source, defaults));
  spec.names.q_norm = "self_attn.q_norm";
  spec.names.k_norm = "self_attn.k_norm";
  spec.ropes.push_back(BP_TRY(read_hf_rope(config, spec, 10000)));
  BP_TRY(read_qwen_windows(config, &spec));
  return spec;
}

Result<DecoderSpec> from_gguf(const GgufMetadata& metadata, const TensorSource& source) {
  const GgufConfig config(metadata, "qwen3");
  DecoderSpec spec = BP_TRY(read_gguf_decoder("qwen3", config, source));
  spec.names.q_norm = "attn_q_norm";
  spec.names.k_norm = "attn_k_norm";
  spec.ropes.push_back(BP_TRY(read_gguf_rope(config, source, spec)));
  return spec;
}

}  // namespace

const Architecture kQwen3 = {"qwen3", "Qwen3", kHfTypes, kGgufTypes, from_hf, from_gguf};

}  // namespace bp::compiler
