// SPDX-License-Identifier: Apache-2.0
// Gemma 2: soft caps on attention scores and logits; every other layer sees a window.
#include "compiler/architectures/architecture.h"
#include "compiler/architectures/gemma.h"
#include "compiler/architectures/hf_config.h"

namespace bp::compiler {
namespace {

constexpr std::string_view kHfTypes[] = {"gemma2"};
constexpr std::string_view kGgufTypes[] = {"gemma2"};
constexpr uint64_t kLayersOf27b = 46;

bool is_even_layer(const Json&, uint64_t layer) {
  return layer % 2 == 0;
}

// Absent means the family's value, null means none.
Result<double> cap(const Json& config, std::string_view key, double fallback) {
  if (config.contains(key) && json_find(config, key) == nullptr) return 0.0;
  return json_f64_or(config, key, fallback);
}

Result<DecoderSpec> from_hf(const Json& config, const TensorSource& source) {
  HfDefaults defaults;
  defaults.context_length = 8192;
  defaults.head_dim = 256;
  defaults.tied_output = true;
  DecoderSpec spec = BP_TRY(read_hf_decoder("gemma2", config, source, defaults,
                                            {"attn_logit_softcapping", "final_logit_softcapping"}));
  BP_TRY(finish_hf_gemma(config, source, &spec));
  spec.attention_softcap = BP_TRY(cap(config, "attn_logit_softcapping", 50));
  spec.logit_softcap = BP_TRY(cap(config, "final_logit_softcapping", 30));
  spec.ropes.push_back(BP_TRY(read_hf_rope(config, spec, 10000)));
  const uint64_t window = BP_TRY(json_u64_or(config, "sliding_window", 4096));
  BP_TRY(read_hf_windows(config, window, is_even_layer, &spec));
  return spec;
}

Result<DecoderSpec> from_gguf(const GgufMetadata& metadata, const TensorSource& source) {
  const GgufConfig config(metadata, "gemma2");
  DecoderSpec spec = BP_TRY(read_gguf_decoder("gemma2", config, source));
  BP_TRY(finish_gguf_gemma(config, kLayersOf27b, &spec));
  spec.attention_softcap = BP_TRY(config.f64_or("attn_logit_softcapping", 50));
  spec.logit_softcap = BP_TRY(config.f64_or("final_logit_softcapping", 30));
  spec.ropes.push_back(BP_TRY(read_gguf_rope(config, source, spec)));
  const uint64_t window = BP_TRY(config.u64_or("attention.sliding_window", 4096));
  for (size_t i = 0; i < spec.layers.size(); i += 2) spec.layers[i].window = window;
  return spec;
}

}  // namespace

const Architecture kGemma2 = {"gemma2", "Gemma 2", kHfTypes, kGgufTypes, from_hf, from_gguf};

}  // namespace bp::compiler
